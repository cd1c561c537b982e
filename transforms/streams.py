"""The streams of a dataflow graph: which words go from which unit to which, and where their width is converted.

Timing (`sim/pipeline`) and hardware (`build/rtl`) are both made of this, so that they have the same units, converters
and FIFOs by the same names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import lcm, prod

import numpy as np

from bnnflow import Problem

from .ir.graph import Graph, Node
from .ir.ops import (
    Affine,
    Best,
    ChannelsLast,
    Flatten,
    FMPadding,
    LabelSelect,
    Mvau,
    SlidingWindow,
    StreamingConcat,
    StreamingMaxPool,
    Unit,
)
from .ir.tensor import TensorType

INPUT, OUTPUT = "(input)", "(output)"


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Words that one part writes into a FIFO and another one reads.

    Attributes:
        name: "source -> target"; a second one between the same two ends in " (2)".
        source, target: a unit's node, a converter, `INPUT` or `OUTPUT`.
        width: values a word.
        words: an image.
        type: of the tensor that it carries.
    """

    name: str
    source: str
    target: str
    width: int
    words: int
    type: TensorType


@dataclass(frozen=True, slots=True)
class Converter:
    """Words of one width to words of another, of which one divides the other."""

    name: str
    entry: Stream
    leave: Stream


@dataclass(frozen=True, slots=True)
class StreamUnit:
    """A unit with the streams that it reads, in the order of its inputs, and writes, one a reader."""

    node: Node
    inputs: tuple[Stream, ...]
    outputs: tuple[Stream, ...]


@dataclass(frozen=True, slots=True)
class Streams:
    """All of a graph.

    Attributes:
        streams: in the order in which their readers stand.
        parts: units and converters; each behind those that it reads.
        entries: of the graph's input.
        leave: the stream that the output is.
    """

    streams: tuple[Stream, ...]
    parts: tuple[Converter | StreamUnit, ...]
    entries: tuple[Stream, ...]
    leave: Stream


@dataclass(slots=True)
class _Joining:
    graph: Graph
    streams: list[Stream] = field(default_factory=list)
    parts: list[Converter | StreamUnit] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def add(self, source: str, target: str, width: int, kind: TensorType) -> Stream:
        size = prod(kind.shape)
        if size % width:
            what = f"{size} values do not fill words of {width}"
            raise Problem(what, f"{source!r} to {target!r}", "change the folding")
        number = sum((each.source, each.target) == (source, target) for each in self.streams)
        name = f"{source} -> {target}" + (f" ({number + 1})" if number else "")
        self.streams.append(Stream(name, source, target, width, size // width, kind))
        return self.streams[-1]

    def join(self, source: str, wide: int, target: str, wanted: int, kind: TensorType) -> tuple[Stream, Stream]:
        """What the first writes and the second reads; converters between them go to the least common multiple."""
        widths = [wide, wanted] if wide % wanted == 0 or wanted % wide == 0 else [wide, lcm(wide, wanted), wanted]
        if wide == wanted:
            only = self.add(source, target, wide, kind)
            return only, only
        names = [self._converter(source, target, place) for place in range(len(widths) - 1)]
        ends = [source, *names, target]
        made = [self.add(a, b, width, kind) for (a, b), width in zip(pairwise(ends), widths, strict=True)]
        self.parts += [Converter(name, a, b) for name, (a, b) in zip(names, pairwise(made), strict=True)]
        return made[0], made[-1]

    def _converter(self, source: str, target: str, place: int) -> str:
        name = f"{source}_to_{target}" + (f"_{place}" if place else "")
        while name in self.names:
            name += "_"
        self.names.add(name)
        return name


def streams_of(graph: Graph) -> Streams:
    """The units of a dataflow graph and what flows between them.

    Raises:
        Problem: an operation that is no unit, a tensor that no unit reads, or words that a tensor does not fill.
    """
    made = _Joining(graph, names={node.name for node in graph.nodes})
    maker = {graph.input: INPUT}
    written: dict[str, list[Stream]] = {INPUT: []}
    units: dict[str, int] = {}

    def connect(tensor: str, target: str, wanted: int) -> Stream:
        source = maker[tensor]
        kind = graph.types[graph.input if source == INPUT else source]
        wide = wanted if source == INPUT else output_width(graph.node(source), graph)
        first, last = made.join(source, wide, target, wanted, kind)
        written[source].append(first)
        return last

    for node in graph.nodes:
        if isinstance(node.op, Flatten | ChannelsLast | Affine | Best):
            maker[node.name] = maker[node.input]
            continue
        if not isinstance(node.op, Unit):
            what = f"{type(node.op).__name__} is no unit of hardware"
            raise Problem(what, f"operation {node.name!r}", "compile it to dataflow")
        maker[node.name], written[node.name] = node.name, []
        inputs = tuple(connect(tensor, node.name, input_width(node, graph)) for tensor in node.inputs)
        units[node.name] = len(made.parts)
        made.parts.append(StreamUnit(node, inputs, ()))
    if maker[graph.output] == INPUT:
        raise Problem("this graph holds no unit of hardware", f"graph {graph.name!r}", "compile it to dataflow")
    leave = connect(graph.output, OUTPUT, output_width(graph.node(maker[graph.output]), graph))
    for name, place in units.items():
        if not written[name]:
            raise Problem("a unit's results are read by nobody", f"operation {name!r}", "compile the graph again")
        part = made.parts[place]
        assert isinstance(part, StreamUnit)
        made.parts[place] = StreamUnit(part.node, part.inputs, tuple(written[name]))
    return Streams(tuple(made.streams), tuple(made.parts), tuple(written[INPUT]), leave)


def input_width(node: Node, graph: Graph) -> int:
    """Values a word of a unit's inputs."""
    match node.op:
        case Mvau() | SlidingWindow() | FMPadding() | StreamingConcat():
            return node.op.simd
        case StreamingMaxPool():
            return graph.types[node.input].channels
        case _:
            return int(getattr(node.op, "pe", 1))


def output_width(node: Node, graph: Graph) -> int:
    """Values a word of a unit's output."""
    match node.op:
        case SlidingWindow(kernel, parallel_window=parallel, simd=simd):
            return simd * prod(kernel) if parallel else simd
        case FMPadding() | StreamingConcat():
            return node.op.simd
        case StreamingMaxPool():
            return graph.types[node.name].channels
        case LabelSelect():
            return 1
        case _:
            return int(getattr(node.op, "pe", 1))


@dataclass(frozen=True, slots=True)
class WindowMoves:
    """How a sliding window moves over its map, in words of SIMD channels, and the ring buffer that this takes.

    Attributes:
        held: words from a window's first to its last.
        move, move_row, move_image: from a window's first word to the next one's: beside it, in the next row of windows,
            in the next image.
    """

    held: int
    move: int
    move_row: int
    move_image: int

    @staticmethod
    def of(op: SlidingWindow, shape: tuple[int, ...]) -> WindowMoves:
        """Of a window over a map of (height, width, channels)."""
        height, width, channels = shape
        (kh, kw), (down, across) = op.kernel, op.stride
        rows, columns = (height - kh) // down + 1, (width - kw) // across + 1
        fold = channels // op.simd
        at_end = (columns - 1) * across
        return WindowMoves(
            ((kh - 1) * width + kw) * fold,
            across * fold,
            (down * width - at_end) * fold,
            (height * width - (rows - 1) * down * width - at_end) * fold,
        )

    @property
    def buffer(self) -> int:
        """Words of the ring: a window and its greatest move, so that no image waits for the one before."""
        return self.held + max(self.move, self.move_row, self.move_image)

    def firsts(self, op: SlidingWindow, shape: tuple[int, ...]) -> np.ndarray:
        """(windows,) first word of each, in the order in which they leave."""
        height, width, channels = shape
        (kh, kw), (down, across) = op.kernel, op.stride
        fold = channels // op.simd
        rows = np.arange((height - kh) // down + 1) * down * width * fold
        return (rows[:, None] + np.arange((width - kw) // across + 1) * across * fold).reshape(-1)
