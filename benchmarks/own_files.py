"""Two networks of plain Brevitas and torch, trained on 20,000 images of MNIST and exported as QONNX: files of anyone.

    python benchmarks/own_files.py FOLDER OUT

FOLDER holds MNIST's files. Writes OUT/conv.onnx (binary weights and signs) and OUT/residual.onnx (weights and
activations of 2 bits, a sum of two branches), whose inputs are pixels over 255, and prints their test accuracies. Two
minutes on one thread.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from brevitas.export import export_qonnx
from brevitas.nn import QuantConv2d, QuantIdentity, QuantLinear, QuantReLU
from brevitas.quant import SignedBinaryActPerTensorConst, SignedBinaryWeightPerTensorConst
from torch import Tensor, nn

from bnnflow.models.data.load import load_dataset

EPOCHS, BATCH, IMAGES, RATE = 4, 100, 20_000, 3e-3


class BinaryWeight(SignedBinaryWeightPerTensorConst):
    """+0.1 and -0.1."""

    scaling_const = 0.1


class BinaryAct(SignedBinaryActPerTensorConst):
    """+1 and -1."""

    scaling_const = 1.0


class Conv(nn.Module):
    """Two convolutions of 32 filters, a dense layer of 64 neurons, a norm a class."""

    def __init__(self) -> None:
        super().__init__()
        self.image = QuantIdentity(bit_width=8)
        binary = {"bias": False, "weight_quant": BinaryWeight}
        self.first, self.second = (QuantConv2d(i, 32, 3, stride=2, padding=1, **binary) for i in (1, 32))
        self.dense, self.scores = QuantLinear(1568, 64, **binary), QuantLinear(64, 10, **binary)
        norms = [nn.BatchNorm2d(32), nn.BatchNorm2d(32), nn.BatchNorm1d(64), nn.BatchNorm1d(10)]
        self.norms = nn.ModuleList(norms)
        self.signs = nn.ModuleList([QuantIdentity(act_quant=BinaryAct) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 28, 28) pixels over 255 to (N, 10) scores."""
        x = self.signs[0](self.norms[0](self.first(self.image(x))))
        x = self.signs[1](self.norms[1](self.second(x)))
        x = self.signs[2](self.norms[2](self.dense(torch.flatten(x, 1))))
        scores: Tensor = self.norms[3](self.scores(x))
        return scores


class Residual(nn.Module):
    """Three convolutions of 24 filters, the second with a shortcut around it."""

    def __init__(self) -> None:
        super().__init__()
        kind = {"bias": False, "weight_bit_width": 2}
        self.image = QuantIdentity(bit_width=8)
        self.first = QuantConv2d(1, 24, 3, stride=4, padding=1, **kind)
        self.second, self.third = (QuantConv2d(24, 24, 3, padding=1, **kind) for _ in range(2))
        self.norms = nn.ModuleList([nn.BatchNorm2d(24) for _ in range(3)])
        self.act = QuantReLU(bit_width=2, return_quant_tensor=True)
        self.scores = QuantLinear(24 * 49, 10, **kind)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 28, 28) pixels over 255 to (N, 10) scores."""
        x = self.act(self.norms[0](self.first(self.image(x))))
        x = self.act(self.norms[1](self.second(x))) + x
        x = self.act(self.norms[2](self.third(x)))
        scores: Tensor = self.scores(torch.flatten(getattr(x, "value", x), 1))
        return scores


def main(folder: Path, out: Path) -> None:
    """Train and export both."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = load_dataset("mnist", folder)
    images, tested = (torch.from_numpy(x.copy()).float() / 255 for x in (data.train_images[:IMAGES], data.test_images))
    labels = torch.from_numpy(data.train_labels[:IMAGES].astype(np.int64))
    steps = EPOCHS * IMAGES // BATCH
    for name, network in (("conv", Conv()), ("residual", Residual())):
        optimizer = torch.optim.Adam(network.parameters(), RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(EPOCHS):
            for rows in torch.randperm(IMAGES).split(BATCH):
                optimizer.zero_grad()
                nn.functional.cross_entropy(network(images[rows]), labels[rows]).backward()
                optimizer.step()
                schedule.step()
        network.eval()
        with torch.no_grad():
            classes = torch.cat([network(part).argmax(1) for part in tested.split(500)]).numpy()
        print(f"{name}: {np.mean(classes == data.test_labels):.2%} of {len(classes):,} test images")
        export_qonnx(network, args=images[:1], export_path=str(out / f"{name}.onnx"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
