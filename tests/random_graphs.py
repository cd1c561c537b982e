"""Random graphs of integers at the level of operations, for tests of simulators."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.infer import accumulator
from bnnflow.transforms.ir.ops import (
    NO_BOUNDS,
    Add,
    AddBorder,
    AddStreams,
    Affine,
    AnyOp,
    ChannelsLast,
    ChannelwiseMul,
    Concat,
    Conv,
    Dense,
    DuplicateStreams,
    Flatten,
    FMPadding,
    LabelSelect,
    MaxPool,
    Mvau,
    Pad,
    Pool,
    Scale,
    SlidingWindow,
    StreamingConcat,
    SumPool,
    Threshold,
    Thresholding,
    XnorConv,
    XnorDense,
)
from bnnflow.transforms.ir.tensor import Array, TensorType


class Builder:
    """A graph that grows operation by operation, with random weights and bounds amid the sums."""

    def __init__(self, seed: int, shape: tuple[int, ...], low: int = 0, high: int = 255) -> None:
        self.rng = np.random.default_rng(seed)
        self.input_type = TensorType(shape, low, high)
        self.nodes: list[Node] = []

    def add(self, op: AnyOp, *inputs: str) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(Node(name, op, inputs))
        self.graph(name)  # refuses what does not fit
        return name

    def graph(self, output: str) -> Graph:
        return Graph("random", "image", self.input_type, tuple(self.nodes), output)

    def type(self, tensor: str) -> TensorType:
        return self.graph(tensor).types[tensor]

    def pick(self, *values: int) -> int:
        return int(self.rng.choice(values))

    def bounds(self, sums: TensorType, rows: int, levels: int) -> Array:
        """Ascending bounds about the middle of a range; a few rows always or never reach theirs."""
        low, high = sums.range
        middle, spread = (low + high) // 2, max(1, int((high - low) ** 0.5) * 2)
        made = np.sort(self.rng.integers(middle - spread, middle + spread + 1, (rows, levels)), axis=1)
        if self.rng.random() < 0.3:
            made[0] = low if self.rng.random() < 0.5 else high + 1
        return made.astype(np.int64)

    def bits(self, *shape: int) -> Array:
        return self.rng.integers(0, 2, shape).astype(np.uint8)

    def weights(self, *shape: int) -> Array:
        kind = self.pick(0, 1, 2)
        if kind == 0:
            return (2 * self.bits(*shape).astype(np.int8) - 1).astype(np.int8)
        return self.rng.integers(-1 if kind == 1 else -7, 2 if kind == 1 else 8, shape).astype(np.int8)

    def layer(self, x: str, filters: int, kernel: tuple[int, int] = (1, 1), stride: tuple[int, int] = (1, 1)) -> str:
        """A convolution, or a dense layer of a vector, in a form that the input's type allows."""
        kind = self.type(x)
        dense, binary = len(kind.shape) == 1, kind.is_binary and self.rng.random() < 0.8
        shape = (filters, kind.channels) if dense else (filters, *kernel, kind.channels)
        weight = self.bits(*shape) if binary else self.weights(*shape)
        if self.rng.random() < 0.5:
            if dense:
                return self.add(XnorDense(weight) if binary else Dense(weight), x)
            return self.add(XnorConv(weight, stride) if binary else Conv(weight, stride), x)
        if not dense:
            x = self.add(SlidingWindow(kernel, stride), x)
        unit = Mvau(weight.reshape(filters, -1), NO_BOUNDS, binary)
        if self.rng.random() < 0.5:
            levels = self.pick(1, 1, 3)
            bounds = self.bounds(accumulator(unit, self.type(x)), filters, levels)
            unit = Mvau(unit.weight, bounds, binary, act_val=self.pick(0, -1))
        return self.add(unit, x)

    def border(self, x: str) -> str:
        kind = self.type(x)
        rows, columns = (np.minimum(np.arange(size), 1) for size in kind.shape[:2])
        values = self.rng.integers(-3, 4, (int(rows.max()) + 1, int(columns.max()) + 1, kind.channels))
        return self.add(AddBorder(values, rows, columns), x)

    def threshold(self, x: str) -> str:
        kind, levels = self.type(x), self.pick(1, 1, 1, 2, 5)
        if self.rng.random() < 0.5:
            return self.add(Thresholding(self.bounds(kind, kind.channels, levels), self.pick(0, -2)), x)
        rows = 1 if self.rng.random() < 0.2 else kind.channels
        low, step = (0, 1) if self.rng.random() < 0.5 else (-1, 2)
        return self.add(Threshold(self.bounds(kind, rows, levels), low, step), x)

    def pool(self, x: str) -> str:
        kind = self.type(x)
        choice = self.pick(0, 1, 2, 3)
        if choice == 0:
            return self.add(MaxPool((2, 2), (2, 2)), x)
        if choice == 1:
            return self.add(MaxPool((3, 2), (1, 2), (1, 1, 1, 0)), x)
        if choice == 2:
            simd = self.pick(*[n for n in range(1, kind.channels + 1) if kind.channels % n == 0])
            windows = self.add(SlidingWindow((2, 2), (1, 1), simd, depthwise=True), x)
            return self.add(Pool((2, 2), bool(self.rng.random() < 0.3), simd), windows)
        return self.add(SumPool((2, 2), (1, 2)), x)

    def pad(self, x: str) -> str:
        low, high = self.type(x).range
        value = self.pick(low, high, 0)
        pads = tuple(self.pick(0, 1, 2) for _ in range(4))
        return self.add(Pad(pads, value) if self.rng.random() < 0.5 else FMPadding(pads, value), x)  # type: ignore[arg-type]

    def join(self, x: str) -> str:
        fork = self.add(DuplicateStreams(), x)
        kind = self.type(x)
        if self.rng.random() < 0.5:
            other = self.threshold(self.layer(fork, kind.channels))
            return self.add(Add() if self.rng.random() < 0.5 else AddStreams(), fork, other)
        other = self.threshold(self.layer(fork, self.pick(1, 64)))
        return self.add(Concat() if self.rng.random() < 0.5 else StreamingConcat(), fork, other, fork)

    def scale(self, x: str) -> str:
        channels = self.type(x).channels
        factor = self.rng.integers(-3, 4, channels)
        return self.add(Scale(factor[:1]) if self.rng.random() < 0.5 else ChannelwiseMul(factor), x)


def random_graph(seed: int, channels: tuple[int, ...] = (1, 2, 5)) -> Graph:
    """A graph of most operations with an image of bytes as input and a few scores as output."""
    build = Builder(seed, (1 + seed % 4, 5 + seed % 3, 6))
    rng = build.rng
    x = build.add(ChannelsLast(), "image")
    if rng.random() < 0.3:
        x = build.threshold(x)
    steps: tuple[Callable[[str], str], ...] = (build.pool, build.pad, build.join, build.scale, build.threshold)
    for _ in range(int(rng.integers(1, 4))):
        height, width, _ = build.type(x).shape
        if rng.random() < 0.8:
            kernel = (build.pick(*range(1, min(3, height) + 1)), build.pick(*range(1, min(3, width) + 1)))
            x = build.layer(x, build.pick(*channels), kernel, (1, build.pick(1, 2)))
            if rng.random() < 0.3:
                x = build.border(x)
            if rng.random() < 0.8 and max(map(abs, build.type(x).range)) > 3:
                x = build.threshold(x)
        height, width, _ = build.type(x).shape
        if rng.random() < 0.7 and min(height, width) > 2:
            x = steps[int(rng.integers(len(steps)))](x)
        if max(map(abs, build.type(x).range)) > 1000:
            x = build.threshold(x)
    if rng.random() < 0.9:
        x = build.add(Flatten(), x)
        for _ in range(int(rng.integers(1, 3))):
            x = build.layer(x, build.pick(*channels))
            if rng.random() < 0.5:
                x = build.threshold(x)
        x = build.layer(x, 3)
        if rng.random() < 0.3:
            x = build.add(LabelSelect(2), x)
        elif rng.random() < 0.6:
            x = build.add(Affine(np.array([0.37]), np.array([1.0, 0.0, -0.25])), x)
    return build.graph(x)


def two_layers(channels: int, filters: int, seed: int = 0) -> Graph:
    """Bytes to bits and bits to bits and sums, with any numbers of channels."""
    build = Builder(seed, (3, 6, 5))
    x = build.add(ChannelsLast(), "image")
    first = Conv((2 * build.bits(channels, 2, 2, 3).astype(np.int8) - 1).astype(np.int8))
    x = build.add(first, x)
    x = build.add(Threshold(build.bounds(build.type(x), channels, 1), 0, 1), x)
    x = build.add(Pad((1, 1, 1, 0), 1), x)
    x = build.add(XnorConv(build.bits(filters, 3, 3, channels)), x)
    x = build.add(Threshold(build.bounds(build.type(x), filters, 1), 0, 1), x)
    x = build.add(MaxPool((2, 2), (2, 2)), x)
    x = build.add(Flatten(), x)
    x = build.add(XnorDense(build.bits(filters, build.type(x).channels)), x)
    x = build.add(Threshold(build.bounds(build.type(x), filters, 1), 0, 1), x)
    return build.graph(build.add(XnorDense(build.bits(7, filters)), x))


def images_for(graph: Graph, count: int, seed: int = 1) -> Array:
    """Random images with the extremes first."""
    low, high = graph.input_type.range
    images = np.random.default_rng(seed).integers(low, high + 1, (count, *graph.input_type.shape))
    images[0] = high
    if count > 1:
        images[1] = low
    return images.astype(np.uint8)
