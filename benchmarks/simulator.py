"""Images a second of our simulator against onnxruntime, in one run on one thread, as ratios.

    make bench

Networks have random weights and batch norms: speed does not depend on them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from bnnflow.flow.speed import network_rows, processor
from bnnflow.models.export import export_qonnx
from bnnflow.models.networks import Network, NetworkSpec
from bnnflow.transforms.compile import stages
from bnnflow.transforms.read import read
from bnnflow.transforms.write import write

TFC = NetworkSpec("mlp", (1, 28, 28), 10, (64, 64, 64), input="binary")
FASHCNN = NetworkSpec("cnn", (1, 28, 28), 10, (256,), (32, 64), (5, 3), (2, 2))
CNV = NetworkSpec("cnn", (3, 32, 32), 10, (512, 512), (64, 64, 128, 128, 256, 256), (3,) * 6, (1, 2, 1, 2, 1, 1))
NETWORKS = {"TFC": (TFC, 10_000), "FashCNN": (FASHCNN, 1_000), "CNV": (CNV, 256)}


def main() -> None:
    """Print one table."""
    torch.set_num_threads(1)
    print(f"{processor()}, 1 thread, median of 5 runs")
    print(f"{'network':<10}{'engine':<24}{'images/s':>12}{'our simulator is':>20}")
    for name, (spec, count) in NETWORKS.items():
        network = Network(spec, 0).eval()
        images = np.random.default_rng(0).integers(0, 256, (count, *spec.input_shape)).astype(np.uint8)
        with tempfile.TemporaryDirectory() as folder:
            qonnx, lowered = Path(folder) / "network.onnx", Path(folder) / "dataflow.onnx"
            export_qonnx(network, qonnx)
            lowered.write_bytes(write(stages(read(qonnx))[-1].graph).SerializeToString())
            rows = network_rows(qonnx, lowered, images, 1, network)
        ours = rows[0]["images_per_second"]
        for row in rows:
            speed = row["images_per_second"]
            ratio = "" if row is rows[0] else f"{ours / speed:.2f} x as fast"
            print(f"{name:<10}{row['engine']:<24}{speed:>12,.0f}{ratio:>20}")


if __name__ == "__main__":
    main()
