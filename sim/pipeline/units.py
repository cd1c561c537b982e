"""Units as processes: the order of their steps, and the whole graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from ...transforms.ir.graph import Graph, Node
from ...transforms.ir.ops import (
    AddBorder,
    AddStreams,
    ChannelwiseMul,
    DuplicateStreams,
    FMPadding,
    GlobalAccPool,
    LabelSelect,
    Mvau,
    Pool,
    SlidingWindow,
    StreamingConcat,
    StreamingMaxPool,
    Thresholding,
)
from ...transforms.ir.tensor import TensorType
from ...transforms.streams import INPUT, OUTPUT, Converter, Stream, WindowMoves, streams_of
from .line import PASS, READ, WRITE, Fifo, Line, Process, Step, Watch


def line_of(
    graph: Graph, images: int, depth: int, depths: Mapping[str, int], latencies: Mapping[str, int] | None = None
) -> Line:
    """The units of a graph as processes, joined by FIFOs and converters."""
    made, late = streams_of(graph), latencies or {}
    line = Line(images)
    fifos = {id(each): line.fifo(each, depths.get(each.name, depth), late.get(each.source, 0)) for each in made.streams}

    def of(streams: Sequence[Stream]) -> list[Fifo]:
        return [fifos[id(each)] for each in streams]

    for entry in made.entries:
        line.processes.append(Process(INPUT, [WRITE], images * entry.words, [], of([entry])))
    for part in made.parts:
        if isinstance(part, Converter):
            n = max(part.entry.width, part.leave.width) // min(part.entry.width, part.leave.width)
            wider = part.leave.width > part.entry.width
            steps = [READ] * (n - 1) + [PASS] if wider else [PASS] + [WRITE] * (n - 1)
            count = images * min(part.entry.words, part.leave.words)
            line.add("Converter", Process(part.name, steps, count, of([part.entry]), of([part.leave])))
            continue
        node, inputs, outputs = part.node, of(part.inputs), of(part.outputs)
        types = [graph.types[tensor] for tensor in node.inputs]
        if isinstance(node.op, SlidingWindow):
            line.add("SlidingWindow", *_window(node, node.op, types[0], images, inputs[0], outputs))
        else:
            steps, count = _order(node, types, graph.types[node.name])
            if len(outputs) > 1:
                # What writes to several readers writes to all of them in the same step.
                every = tuple(range(len(outputs)))
                steps = [(gap, reads, every if writes else ()) for gap, reads, writes in steps]
            process = Process(node.name, steps, images * count, inputs, outputs)
            if isinstance(node.op, FMPadding):
                # A border begins when the first word of its image is there.
                process.after, process.entry = [1, *[0] * (len(steps) - 1)], inputs[0]
                process.watched = Watch(inputs[0], True, inputs[0].words, inputs[0].latency + 1)
            line.add(type(node.op).__name__, process)
    line.processes.append(Process(OUTPUT, [READ], images * made.leave.words, of([made.leave])))
    return line


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
        case StreamingMaxPool((kh, kw)):
            last = ([READ] * (kw - 1) + [PASS]) * made.shape[1]
            return [READ] * ((kh - 1) * x.shape[1]) + last, made.shape[0]
        case Pool(kernel, _, pe):
            return [READ] * (prod(kernel) - 1) + [PASS], prod(made.shape) // pe
        case GlobalAccPool(pe):
            return [READ] * (prod(x.shape) // pe) + [WRITE] * (x.channels // pe), 1
        case LabelSelect(k, pe):
            return [READ] * (x.channels // pe - 1) + [PASS] + [WRITE] * (k - 1), 1
        case _:
            raise AssertionError(f"{type(node.op).__name__} has no order of steps")


def _window(
    node: Node, op: SlidingWindow, x: TensorType, images: int, entry: Fifo, outputs: list[Fifo]
) -> tuple[Process, Process]:
    """The two processes of a sliding window: one reads pixels, one writes windows, each as far as the other lets it."""
    height, width, channels = x.shape
    moves, fold = WindowMoves.of(op, x.shape), channels // op.simd
    firsts, total, buffer = moves.firsts(op, x.shape), height * width * fold, moves.buffer
    each = fold if op.parallel_window else prod(op.kernel) * fold
    given = len(firsts) * each
    if op.parallel_window:
        # A word is a whole window of simd channels: the next is written when the last pixel's next word is there.
        needed = (firsts[:, None] + moves.held - fold + np.arange(fold) + 1).reshape(-1)
    else:
        # Words that must have been read before a word of a window is written: all of its window.
        needed = np.repeat(firsts + moves.held, each)
    nexts = np.append(firsts[1:], total)
    # The last word of a window leaves when all words in front of the next window are there.
    needed[each - 1 :: each] = np.maximum(needed[each - 1 :: each], nexts)
    # Words that must have been written before a word is read: all windows that begin where the ring still has to keep
    # what the new word would overwrite, those of images before included (negative numbers).
    kept = np.arange(total) - buffer + 1
    before, place = np.divmod(kept - 1, total)
    after = before * given + (np.searchsorted(nexts, place + 1) + 1) * each
    reader = Process(node.name, [READ] * total, images, [entry], after=after.tolist(), need="blocked", entry=entry)
    writer = Process(node.name, [WRITE] * given, images, [], outputs, after=needed.tolist(), entry=entry)
    reader.watched = Watch(outputs[0], True, given, 1)
    writer.watched = Watch(entry, False, total, 1)
    return reader, writer
