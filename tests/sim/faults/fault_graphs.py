"""Small dataflow graphs for tests of faults."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from bnnflow.sim.faults import Board
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import (
    NO_BOUNDS,
    AddStreams,
    ChannelsLast,
    DuplicateStreams,
    Flatten,
    FMPadding,
    Mvau,
    SlidingWindow,
    StreamingMaxPool,
    Thresholding,
)
from bnnflow.transforms.ir.tensor import Array, TensorType


def bits(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).integers(0, 2, shape).astype(np.uint8)


def dense(seed: int, rows: int, columns: int, pe: int = 1, simd: int = 1, last: bool = False) -> Mvau:
    """An XNOR unit with one bound a row near half of its inputs."""
    rng = np.random.default_rng(seed + 77)
    bounds = NO_BOUNDS if last else rng.integers(columns // 2 - 1, columns // 2 + 2, (rows, 1))
    return Mvau(bits(seed, rows, columns), bounds, True, pe=pe, simd=simd)


def mlp(seed: int = 0, sizes: tuple[int, ...] = (12, 8, 6, 3)) -> Graph:
    """Dense XNOR layers d0, d1, ...; the last gives popcounts."""
    nodes, name = [], "x"
    for place, (columns, rows) in enumerate(pairwise(sizes)):
        op = dense(seed + place, rows, columns, pe=rows // 2 if rows % 2 == 0 else 1, last=place == len(sizes) - 2)
        nodes.append(Node(f"d{place}", op, (name,)))
        name = f"d{place}"
    return Graph("mlp", "x", TensorType((sizes[0],), 0, 1), tuple(nodes), name)


def cnn(seed: int = 0) -> Graph:
    """8-bit 1x6x6 pixels, a bipolar layer, a 2-bit layer with 3-bit weights, a join, a pool, XNOR layers."""
    rng = np.random.default_rng(seed)
    first = Mvau(
        (2 * bits(seed, 4, 4).astype(np.int8) - 1),
        np.sort(rng.integers(-200, 250, (4, 3)), axis=1),
        False,
        pe=2,
        simd=2,
    )
    weight = rng.integers(-4, 4, (4, 4)).astype(np.int8)
    weight[0, 0], weight[0, 1] = -4, 3
    wide = Mvau(weight, np.sort(rng.integers(-8, 12, (4, 1)), axis=1), False, pe=4, simd=1)
    nodes = (
        Node("last", ChannelsLast(), ("x",)),
        Node("window0", SlidingWindow((2, 2), (1, 1)), ("last",)),
        Node("conv0", first, ("window0",)),
        Node("fork", DuplicateStreams(), ("conv0",)),
        Node("conv1", wide, ("fork",)),
        Node("other", Thresholding(np.full((4, 1), 2), 0, 2), ("fork",)),
        Node("join", AddStreams(), ("conv1", "other")),
        Node("bit", Thresholding(rng.integers(1, 3, (4, 1)), 0, 1), ("join",)),
        Node("pad", FMPadding((1, 0, 0, 1), 0), ("bit",)),
        Node("pool", StreamingMaxPool((2, 2)), ("pad",)),
        Node("window2", SlidingWindow((2, 2), (1, 1), 4), ("pool",)),
        Node("conv2", dense(seed + 1, 6, 16, 3, 8), ("window2",)),
        Node("flat", Flatten(), ("conv2",)),
        Node("fc", dense(seed + 2, 3, 24, 1, 4, last=True), ("flat",)),
    )
    return Graph("cnn", "x", TensorType((1, 6, 6), 0, 255), nodes, "fc")


def pixels(seed: int, graph: Graph, count: int) -> Array:
    low, high = graph.input_type.range
    return np.random.default_rng(seed).integers(low, high + 1, (count, *graph.input_type.shape)).astype(np.uint8)


def board(*counts: list[int], bits: int = 64) -> Board:
    """At 0.6, 0.5, ... V."""
    volts = tuple(round(0.6 - 0.1 * step, 1) for step in range(len(counts)))
    return Board("made up", bits, volts, tuple(map(tuple, counts)))


def deep(style: str = "auto", rows: int = 64, seed: int = 0) -> Graph:
    """`wide`: 64 x 1,152 weights in 64 words of 1,152 bits; `narrow`: `rows` x 64 in words of 2 bits."""
    weight = bits(seed, 64, 1152)
    bounds = np.random.default_rng(seed).integers(560, 592, (64, 1))
    wide = Mvau(weight, bounds, True, pe=1, simd=1152, ram_style="distributed", ram_style_thresholds="distributed")
    narrow = Mvau(bits(seed + 1, rows, 64), NO_BOUNDS, True, pe=1, simd=2, ram_style=style)
    nodes = (Node("wide", wide, ("x",)), Node("narrow", narrow, ("wide",)))
    return Graph("deep", "x", TensorType((1152,), 0, 1), nodes, "narrow")
