"""Units as processes: the widths of their words, the order of their steps, and the whole graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from bnnflow import Problem

from ...transforms.ir.graph import Graph, Node
from ...transforms.ir.ops import (
    AddBorder,
    AddStreams,
    Affine,
    Best,
    ChannelsLast,
    ChannelwiseMul,
    DuplicateStreams,
    Flatten,
    FMPadding,
    GlobalAccPool,
    LabelSelect,
    Mvau,
    Pool,
    SlidingWindow,
    StreamingConcat,
    StreamingMaxPool,
    Thresholding,
    Unit,
)
from ...transforms.ir.tensor import TensorType
from .line import INPUT, OUTPUT, PASS, READ, WRITE, Fifo, Line, Process, Step


def line_of(graph: Graph, images: int, depth: int, depths: Mapping[str, int]) -> Line:
    """The units of a graph as processes, joined by FIFOs and converters."""
    line = Line(images, depth, depths)
    maker = {graph.input: INPUT}
    sources: dict[str, Process] = {}

    def connect(tensor: str, target: str, wanted: int) -> Fifo:
        source = maker[tensor]
        size = prod(graph.types[graph.input if source == INPUT else source].shape)
        if source == INPUT:
            fifo, last = line.join(INPUT, wanted, target, wanted, size)
            line.processes.append(Process(INPUT, [WRITE], images * fifo.words, [], [fifo]))
            return last
        wide = _output_width(graph.node(source), graph)
        first, last = line.join(source, wide, target, wanted, size)
        sources[source].outputs.append(first)
        return last

    for node in graph.nodes:
        if isinstance(node.op, Flatten | ChannelsLast | Affine | Best):
            maker[node.name] = maker[node.input]
            continue
        if not isinstance(node.op, Unit):
            raise Problem(
                f"{type(node.op).__name__} is no unit of hardware", f"operation {node.name!r}", "compile it to dataflow"
            )
        maker[node.name] = node.name
        types = [graph.types[tensor] for tensor in node.inputs]
        inputs = [connect(tensor, node.name, _input_width(node, types[0])) for tensor in node.inputs]
        if isinstance(node.op, SlidingWindow):
            reader, writer = _window(node, node.op, types[0], images, inputs[0])
            line.add("SlidingWindow", reader, writer)
            sources[node.name] = writer
        else:
            steps, count = _order(node, types, graph.types[node.name])
            sources[node.name] = Process(node.name, steps, images * count, inputs)
            line.add(type(node.op).__name__, sources[node.name])
    if maker[graph.output] == INPUT:
        raise Problem("this graph holds no unit of hardware", f"graph {graph.name!r}", "compile it to dataflow")
    last = graph.node(maker[graph.output])
    end = connect(graph.output, OUTPUT, _output_width(last, graph))
    line.processes.append(Process(OUTPUT, [READ], images * end.words, [end]))
    # What writes to several readers writes to all of them in the same step.
    for process in sources.values():
        every = tuple(range(len(process.outputs)))
        if not every:
            raise Problem(
                "a unit's results are read by nobody", f"operation {process.unit!r}", "compile the graph again"
            )
        if len(every) > 1:
            process.steps = [(gap, reads, every if writes else ()) for gap, reads, writes in process.steps]
    return line


def _input_width(node: Node, x: TensorType) -> int:
    """Values a word of a unit's input."""
    match node.op:
        case Mvau() | SlidingWindow() | FMPadding() | StreamingConcat():
            return node.op.simd
        case StreamingMaxPool():
            return x.channels
        case _:
            return int(getattr(node.op, "pe", 1))


def _output_width(node: Node, graph: Graph) -> int:
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


def _order(node: Node, types: Sequence[TensorType], made: TensorType) -> tuple[list[Step], int]:
    """The steps of a unit, and how often an image repeats them."""
    x = types[0]
    match node.op:
        case Mvau(weight, _, _, _, pe, simd):
            rows, columns = weight.shape[0] // pe, weight.shape[1] // simd
            steps: list[Step] = [READ] * (columns - 1) + [PASS]
            return [*steps, *[(columns, (), (0,))] * (rows - 1)], prod(x.shape[:-1])
        case Thresholding(_, _, pe) | ChannelwiseMul(_, pe) | DuplicateStreams(pe) | AddBorder(_, _, _, pe):
            return [PASS], prod(x.shape) // pe
        case AddStreams(pe):
            return [(1, (0, 1), (0,))], prod(x.shape) // pe
        case StreamingConcat(simd):
            parts = [(1, (port,), (0,)) for port, kind in enumerate(types) for _ in range(kind.channels // simd)]
            return list(parts), prod(x.shape[:-1])
        case FMPadding((top, left, bottom, right), _, simd):
            fold = x.channels // simd
            border = [WRITE] * (made.shape[1] * fold)
            middle = [WRITE] * (left * fold) + [PASS] * (x.shape[1] * fold) + [WRITE] * (right * fold)
            return border * top + middle * x.shape[0] + border * bottom, 1
        case StreamingMaxPool(kernel):
            return [READ] * (kernel[0] * x.shape[1]) + [WRITE] * made.shape[1], made.shape[0]
        case Pool(kernel, _, pe):
            return [READ] * (prod(kernel) - 1) + [PASS], prod(made.shape) // pe
        case GlobalAccPool(pe):
            return [READ] * (prod(x.shape) // pe) + [WRITE] * (x.channels // pe), 1
        case LabelSelect(k, pe):
            return [READ] * (x.channels // pe - 1) + [PASS] + [WRITE] * (k - 1), 1
        case _:
            raise AssertionError(f"{type(node.op).__name__} has no order of steps")


def _window(node: Node, op: SlidingWindow, x: TensorType, images: int, entry: Fifo) -> tuple[Process, Process]:
    """The two processes of a sliding window: one reads pixels, one writes windows, each as far as the other lets it."""
    height, width, channels = x.shape
    (kh, kw), (down, across) = op.kernel, op.stride
    fold, area = channels // op.simd, kh * kw
    rows, columns = (height - kh) // down + 1, (width - kw) // across + 1
    places = (
        np.arange(rows)[:, None, None, None] * down * width
        + np.arange(columns)[:, None, None] * across
        + np.arange(kh)[:, None] * width
        + np.arange(kw)
    )
    words = places.reshape(rows * columns, area, 1) * fold + np.arange(fold)
    if op.depthwise:
        words = words.swapaxes(1, 2)
    last = places.reshape(rows * columns, area)[:, -1]
    held = (kh - 1) * width + kw
    total, buffer = height * width * fold, held * fold
    if op.parallel_window:
        # A word is a whole window of simd channels; FINN's buffer then holds (held - 1) * fold + 2 words.
        buffer = (held - 1) * fold + 2
        words, needed = words.reshape(-1, area), (last[:, None] * fold + np.arange(fold) + 1).reshape(-1)
    else:
        # Words that must have been read before a word of a window is written: all of its window.
        words, needed = words.reshape(-1, 1), np.repeat((last + 1) * fold, area * fold)
        buffer += max(0, (across - 1 - area) * fold) + max(0, ((down - 1) * width - area) * fold)
    given = len(words)
    # Words that must have been written before a word is read: those that need the word whose place it takes.
    uses = np.zeros(total, np.int64)
    np.maximum.at(uses, words, np.arange(1, given + 1)[:, None])
    passed = np.zeros(total, np.int64)
    if total > buffer:
        passed[buffer:] = np.maximum.accumulate(uses[: total - buffer])
    reader = Process(node.name, [READ] * total, images, [entry], after=passed.tolist(), need="blocked", entry=entry)
    writer = Process(node.name, [WRITE] * given, images, after=needed.tolist(), entry=entry)
    reader.watched = lambda: (writer.outputs[0].writes, given)
    writer.watched = lambda: (entry.reads, total)
    return reader, writer
