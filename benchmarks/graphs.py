"""Networks of the literature as dataflow graphs with random weights: speed does not depend on them."""

from __future__ import annotations

import numpy as np

from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import (
    NO_BOUNDS,
    Affine,
    AnyOp,
    ChannelsLast,
    Flatten,
    FMPadding,
    Mvau,
    SlidingWindow,
    StreamingMaxPool,
    Thresholding,
)
from bnnflow.transforms.ir.tensor import TensorType

# (channels, height, width); filters of 3x3 convolutions, padding, pool behind; neurons of hidden layers
CNV = ((3, 32, 32), ((64, 0, 1), (64, 0, 2), (128, 0, 1), (128, 0, 2), (256, 0, 1), (256, 0, 1)), (512, 512))
VGG_SMALL = ((3, 32, 32), ((128, 1, 1), (128, 1, 2), (256, 1, 1), (256, 1, 2), (512, 1, 1), (512, 1, 2)), ())
LFC = ((1, 28, 28), (), (1024, 1024, 1024))
TFC = ((1, 28, 28), (), (64, 64, 64))
Spec = tuple[tuple[int, int, int], tuple[tuple[int, int, int], ...], tuple[int, ...]]
NETWORKS: dict[str, Spec] = {"CNV": CNV, "VGG-small": VGG_SMALL, "LFC": LFC, "TFC": TFC}
CLASSES = 10


def network(name: str, seed: int = 0) -> Graph:
    """One of `NETWORKS`."""
    (channels, height, width), convolutions, hidden = NETWORKS[name]
    rng = np.random.default_rng(seed)
    nodes: list[Node] = []

    def add(op: AnyOp, x: str) -> str:
        nodes.append(Node(f"n{len(nodes)}", op, (x,)))
        return nodes[-1].name

    def unit(x: str, rows: int, columns: int, xnor: bool, last: bool = False) -> str:
        bits = rng.integers(0, 2, (rows, columns)).astype(np.uint8)
        middle = columns // 2 if xnor else 0
        bounds = NO_BOUNDS if last else (rng.integers(-20, 20, (rows, 1)) + middle).astype(np.int64)
        return add(Mvau(bits if xnor else (2 * bits.astype(np.int8) - 1), bounds, xnor), x)

    x = add(ChannelsLast(), "image")
    size, depth = height, channels
    for index, (filters, pad, pool) in enumerate(convolutions):
        if pad:
            x = add(FMPadding((pad,) * 4, 0), x)  # type: ignore[arg-type]
        x = unit(add(SlidingWindow((3, 3), (1, 1)), x), filters, 9 * depth, index > 0)
        if pool > 1:
            x = add(StreamingMaxPool((pool, pool)), x)
        size, depth = (size + 2 * pad - 2) // pool, filters
    x, fan_in = add(Flatten(), x), size * size * depth
    if not convolutions:
        x = add(Thresholding(np.full((fan_in, 1), 128, np.int64)), x)
    for neurons in hidden:
        x, fan_in = unit(x, neurons, fan_in, True), neurons
    x = add(Affine(np.array([0.37]), np.array([-1.25])), unit(x, CLASSES, fan_in, True, last=True))
    return Graph(name, "image", TensorType((channels, height, width), 0, 255), tuple(nodes), x)
