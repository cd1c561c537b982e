"""Networks of the zoo as hardware, whole and pruned, which Verilator simulates: values, cycles, FIFOs, stalls.

They are untrained, with batch norms of both signs; the pruned form has half of every layer, drawn at random.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import bnnflow as bf
from bnnflow.models.files.export import export_qonnx
from bnnflow.models.files.shapes import network_of
from bnnflow.models.networks import zoo
from bnnflow.models.training.batchnorm import reestimate

from .compare import Row
from .networks import random_images

PROGRAM = "Verilator"
WHAT = "hardware: outputs, words of all streams, cycles, FIFO fills, three runs of stalls"
IMAGES, CLOCK_MHZ = 20, 100.0
# Cycles an image; windows of five by five need more.
CYCLES, MORE_CYCLES = 10_000, {"nin": 27_000}
# Of all filters and neurons, where whole networks would take an hour.
WIDTHS = {
    "vgg7": 0.25,
    "vgg-small": 0.25,
    "alexnet-small": 0.25,
    "vgg16": 0.25,
    "nin": 0.25,
    "resnet20": 0.25,
    "resnet18": 0.125,
}


def subjects() -> Iterator[tuple[str, str, bool]]:
    """How each network is called, its row of the zoo, and whether it is pruned."""
    for name in zoo.network_names():
        width = f" of {WIDTHS[name]:g} width" if name in WIDTHS else ""
        yield f"{name}{width}", name, False
        yield f"{name}{width}, half of every layer", name, True


def simulated(subject: str, name: str, pruned: bool, folder: Path) -> Row:
    """One network: made, folded, written, built, simulated."""
    folder.mkdir(parents=True, exist_ok=True)
    file = _file(name, folder / "net.onnx")
    images = random_images(zoo.zoo_row(name).shape, 64)
    if pruned:
        small = folder / "pruned.onnx"
        bf.load(file).prune(small, images, amount=0.5, unit=2, min_width=2, criterion="random", seed=5)
        file = small
    graph = bf.load(file)
    found = graph.cosim(
        images[:IMAGES], CLOCK_MHZ * 1e6 / MORE_CYCLES.get(name, CYCLES), part="xczu9eg", clock_mhz=CLOCK_MHZ
    )
    compared = (
        f"{found.outputs:,} outputs, {found.streams} streams, interval {found.interval_cycles:,}, "
        f"first image {found.latency_cycles:,}"
    )
    return Row(WHAT, PROGRAM, subject, compared, tuple(found.unexpected))


def _file(name: str, file: Path) -> Path:
    row = zoo.zoo_row(name)
    network = network_of(zoo.zoo_spec(name, row.shape, 10, WIDTHS.get(name, 1.0)), seed=1)
    generator = torch.Generator().manual_seed(2)
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and module.affine:
            torch.nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5, generator=generator)
            flipped = torch.rand(module.weight.shape, generator=generator) < 0.5
            module.weight.data[flipped] *= -1
    reestimate(network, np.asarray(random_images(row.shape, 64)))
    export_qonnx(network.eval(), file)
    return file
