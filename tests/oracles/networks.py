"""The networks that other programs judge: untrained, with batch norms of both signs measured on random images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from bnnflow.models.files.export import export_qonnx
from bnnflow.models.networks.network import Network, NetworkSpec
from bnnflow.models.prune.surgery import remove
from bnnflow.models.training.batchnorm import reestimate
from bnnflow.transforms.ir.contract_text import parse_contract
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.passes.accept import with_contract
from bnnflow.transforms.reading.read import read

from .handmade import four_bits, residual

DATA = Path(os.environ.get("BNNFLOW_DATA", Path(__file__).parents[3] / "shared" / "data"))

CNV = NetworkSpec(
    "cnn",
    (3, 32, 32),
    10,
    hidden=(512, 512),
    channels=(64, 64, 128, 128, 256, 256),
    kernels=(3,) * 6,
    pools=(1, 2, 1, 2, 1, 1),
    pool_order="after-sign",
)


@dataclass(frozen=True, slots=True)
class Case:
    """One network and how it is judged.

    Attributes:
        name: for people.
        file: QONNX.
        fps: images per second at 200 MHz that it is folded for.
        images: how many images other programs execute.
        refused: why finn-plus does not convert the QONNX itself; None where it does.
        misconverted: finn-plus converts it to something else. Here, and where it refuses, it judges our dataflow
            graph alone.
        scores: the network ends in class scores; else in their ranking.
        input: what its input holds, where the file does not say so.
        known: units whose numbers differ for a reason, with the reason, where finn-plus converts the QONNX itself.
    """

    name: str
    file: Path
    fps: float
    images: int
    refused: str | None = None
    misconverted: bool = False
    scores: bool = True
    input: str = ""
    known: dict[str, str] = field(default_factory=dict)

    def graph(self) -> Graph:
        """The network as read, its input stated."""
        graph = read(self.file)
        return with_contract(graph, parse_contract(self.input)) if self.input else graph


_EXTRA = "Reshape_rtl_0"
_LATE = (
    "finn-plus does not convert this QONNX itself, as its max pools then read floats; in our dataflow graph they "
    "follow the thresholds"
)
_DSP = "finn-plus takes DSP slices for a layer of 4-bit products without thresholds; our file asks for LUTs"
_PRODUCTS = {"MVAU_hls_4": _DSP, "MVAU_rtl_0": _DSP}


def cases(folder: Path) -> Iterator[Case]:
    """Write the networks' QONNX files into `folder`; TFC of the QONNX zoo only where its file is at hand."""
    for name in ("TFC_1W1A", "TFC_1W2A", "TFC_2W2A"):
        zoo = DATA / "qonnx_zoo" / f"{name}.onnx"
        if zoo.is_file():
            known = {_EXTRA: "flattens the image in hardware"}
            yield Case(f"{name.replace('_', '-')} (QONNX zoo)", zoo, 100_000, 20, input="pixels/255", known=known)
    mlp = NetworkSpec("mlp", (1, 28, 28), 10, hidden=(64, 64, 64), input="binary")
    yield Case("TFC, bipolar input", _export(mlp, folder / "tfc.onnx"), 100_000, 20)
    deep = NetworkSpec("mlp", (1, 28, 28), 10, hidden=(64, 64, 64))
    ranked = _ranked(folder / "tfc.onnx", folder / "ranked.onnx")
    yield Case("TFC, ends in TopK", ranked, 100_000, 20, scores=False)
    yield Case("TFC, 8-bit input", _export(deep, folder / "tfc8.onnx"), 100_000, 20)
    yield Case("CNV, 8-bit input", _export(CNV, folder / "cnv8.onnx"), 1000, 3)
    bipolar = _variant(input="binary")
    yield Case("CNV, bipolar input", _export(bipolar, folder / "cnv.onnx"), 1000, 3)
    yield Case("CNV, bipolar input, pruned", _export(bipolar, folder / "pruned.onnx", prune=True), 3000, 3)
    before = _variant(input="binary", pool_order="before-norm")
    yield Case("CNV, pools before norms", _export(before, folder / "before.onnx"), 1000, 3, _LATE)
    yield Case("4-bit weights and activations", four_bits(folder / "four.onnx"), 5000, 6, known=_PRODUCTS)
    yield Case("residual, zero padding", residual(folder / "residual.onnx"), 5000, 6, misconverted=True)


def _ranked(network: Path, file: Path) -> Path:
    """A network with a TopK behind its scores."""
    model = onnx.load(network)
    scores = model.graph.output[0].name
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "k"))
    model.graph.node.append(helper.make_node("TopK", [scores, "k"], ["values", "best"], axis=-1))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("best", TensorProto.INT64, [1, 1]))
    onnx.save(model, file)
    return file


def _variant(**changes: str) -> NetworkSpec:
    return NetworkSpec.from_dict({**CNV.to_dict(), **changes})


def _export(spec: NetworkSpec, file: Path, prune: bool = False) -> Path:
    """Write a network with gains of both signs, none near 0, so that few neurons are constant."""
    network = Network(spec, seed=1)
    generator = torch.Generator().manual_seed(2)
    for name, module in network.layers.items():
        if name.startswith("norm"):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5, generator=generator)
            flipped = torch.rand(module.weight.shape, generator=generator) < 0.5
            module.weight.data[flipped] *= -1
    images = random_images(spec.input_shape, 64)
    reestimate(network, images)
    if prune:
        rng = np.random.default_rng(3)
        keep = {}
        for layer in spec.layers()[:-1]:
            stays = max(8, layer.outputs * int(rng.integers(3, 7)) // 8 // 8 * 8)
            keep[layer.name] = np.sort(rng.permutation(layer.outputs)[:stays])
        network = remove(network, keep)
        reestimate(network, images)
    export_qonnx(network, file)
    return file


def random_images(shape: tuple[int, ...], count: int) -> np.ndarray:
    """Images of random pixels: uint8, (count, *shape)."""
    return np.random.default_rng(4).integers(0, 256, (count, *shape)).astype(np.uint8)
