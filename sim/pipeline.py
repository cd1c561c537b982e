"""Timing of a folded dataflow graph, word by word and clock cycle by clock cycle.

What is computed plays no part: each unit reads and writes words of its streams in an order that its shape and folding
fix. The result therefore says when every word moves, and so where units wait, how full FIFOs get, and which FIFO is
too small. It is a model of the units, not of their hardware description.

Common to all units:

* A unit makes one step a cycle. A step reads at most one word of each input and writes at most one word of each
  output, all of it or nothing: it waits while a word that it reads is missing (starved) or a FIFO that it writes is
  full (blocked). Further pipeline stages inside units, which lengthen the latency by a few cycles each, are left out.
* A word that is written in cycle t can be read from cycle t + 1 on. A place of a FIFO that is read in cycle t can be
  written from cycle t + 1 on; a FIFO of depth 1 so passes a word every other cycle.
* Units overlap images without a gap, but for `SlidingWindow`.
* Where words of neighbours differ in width, a converter stands between them, with a FIFO on each side: to wider words,
  it reads n words and writes one with the last; to narrower words, it writes the first part with the reading, then
  n - 1 parts. Where neither width divides the other, two converters meet at the least common multiple.
* The graph's input offers a word, as wide as its reader wants it, in every cycle; its output is taken at once. Shape
  changes take no time, nor what the host does behind the last unit: scales of class scores, and the best of them.

The units:

* `Mvau`: SF = MW / SIMD steps read a word each; the last of them writes the first PE results; every further SF cycles
  write the next PE: (MH / PE) * SF cycles a vector.
* `SlidingWindow`: reads pixels, SIMD channels a word, while it writes windows. A window begins when all its pixels are
  buffered and is written word by word. The buffer holds (kh - 1) * width + kw pixels and, where the stride goes beyond
  the kernel, what is skipped; a word is overwritten when the last window that needs it has passed its place there.
  Pixels of the next image are read when the last window has been written. While it does neither, it is blocked as
  long as a word of a window waits for a place, else starved.
* `Thresholding`, `ChannelwiseMul`, `AddBorder`: one word in, one word out.
* `AddStreams`: one word of both inputs, one word out. `DuplicateStreams`: one word in, the same to every reader.
* `StreamingConcat`: for each pixel, the words of the first input, then those of the second, ...
* `FMPadding`: a word a cycle; places of the border read nothing.
* `StreamingMaxPool`: whole pixels are words; the pixels of kh rows are read, then the row of maxima is written.
* `Pool`: reads kh * kw words for each word that it writes with the last of them.
* `GlobalAccPool`: reads the whole map, then writes channels / PE words.
* `LabelSelect`: reads all scores, writes the first index with the last of them, then k - 1 others.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import lcm, prod

import numpy as np

from bnnflow import Problem

from ..transforms.graph import Graph, Node
from ..transforms.ops import (
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
from ..transforms.tensor import TensorType

UNBOUNDED = 0
INPUT, OUTPUT = "(input)", "(output)"


@dataclass(frozen=True, slots=True)
class UnitTiming:
    """How a unit spent the cycles until its last step, over all images; busy + starved + blocked is their number.

    Attributes:
        name: of its node; of a converter, of the units that it joins.
        kind: its operation, or "Converter".
        busy: cycles in which it works.
        starved: cycles in which it waits for a word to read.
        blocked: cycles in which it waits for a place to write, all it reads being there.
    """

    name: str
    kind: str
    busy: int
    starved: int
    blocked: int


@dataclass(frozen=True, slots=True)
class FifoTiming:
    """What went through a FIFO.

    Attributes:
        name: "unit -> unit".
        depth: places; 0 where it is unbounded.
        width: values a word.
        words: words an image.
        written, read: words in all.
        peak: most words that it held at a time.
    """

    name: str
    depth: int
    width: int
    words: int
    written: int
    read: int
    peak: int


@dataclass(frozen=True, slots=True)
class Deadlock:
    """A circle of units that wait for each other.

    Attributes:
        cycle: the last one in which anything moved; -1 for none.
        waits: what every unit of the circle waits for, for people.
        fifo: name of the FIFO of the circle that is full.
        enough: name to depth of this FIFO and those found full after it, with which the graph runs, as fast as if
            they were unbounded; the others as they were given.
    """

    cycle: int
    waits: tuple[str, ...]
    fifo: str
    enough: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Timing:
    """Timing of some images, sent one behind the other.

    Attributes:
        images: sent.
        finished: for each image that came out whole, the cycles from the start until its last word was written.
        units, fifos: in the order of the graph.
        deadlock: None where all images came out.
    """

    images: int
    finished: tuple[int, ...]
    units: tuple[UnitTiming, ...]
    fifos: tuple[FifoTiming, ...]
    deadlock: Deadlock | None = None

    @property
    def latency(self) -> int | None:
        """Cycles of the first image from its first word on; None where it does not come out."""
        return self.finished[0] if self.finished else None

    @property
    def intervals(self) -> tuple[int, ...]:
        """Cycles from each image's end to the next one's."""
        return tuple(b - a for a, b in pairwise(self.finished))

    @property
    def interval(self) -> int | None:
        """Initiation interval: cycles between the last two images; of a single image, its latency."""
        if self.deadlock is not None or not self.finished:
            return None
        return self.intervals[-1] if len(self.finished) > 1 else self.finished[0]

    def fps(self, clock_mhz: float) -> float | None:
        """Images a second in the steady state at a clock in MHz; None after a deadlock."""
        return None if self.interval is None else clock_mhz * 1e6 / self.interval


def simulate(graph: Graph, images: int = 3, depth: int = 2, depths: Mapping[str, int] | None = None) -> Timing:
    """Timing of a folded graph at the dataflow level.

    Args:
        graph: its units, with their PE and SIMD.
        images: sent through; the more, the surer the last interval is the steady one.
        depth: of FIFOs, in words; 0 for unbounded ones.
        depths: those of single FIFOs by name, as in `Timing.fifos`.

    Raises:
        Problem: an operation that is no unit, an unknown FIFO, an impossible number, or words that a tensor does not
            fill.
    """
    own = dict(depths or {})
    if images < 1:
        raise Problem(f"{images} images cannot be sent", "images", "send at least one")
    if min(depth, *own.values(), 0) < 0:
        raise Problem("a FIFO has a negative depth", "FIFO depths", "give a number of words, or 0 for unbounded ones")
    line = _run(graph, images, depth, own)
    if line.runs:
        return line.timing()
    waits, full = line.circle()
    too_small, stuck, last = [full], full, line
    while True:
        # Unbounded, this FIFO shows what it would have held; the others throttle what surrounds it as before.
        last = _run(graph, images, depth, own | dict.fromkeys(too_small, UNBOUNDED))
        if last.runs:
            break
        stuck = last.circle()[1]
        assert stuck not in too_small, "an unbounded FIFO is never full"
        too_small.append(stuck)
    peaks = {fifo.name: fifo.peak() for fifo in last.fifos}
    return line.timing(Deadlock(line.cycle, waits, full, {name: peaks[name] for name in too_small}))


class _Fifo:
    """A FIFO: the cycle of every writing and reading of a word."""

    __slots__ = ("depth", "name", "reads", "source", "target", "width", "words", "writes")

    def __init__(self, source: str, target: str, depth: int, width: int, words: int) -> None:
        self.source, self.target, self.name = source, target, f"{source} -> {target}"
        self.depth, self.width, self.words = depth, width, words
        self.writes, self.reads = array("q"), array("q")

    def peak(self) -> int:
        """Most words at a time; a word counts until the cycle in which it is read, that one included."""
        writes, reads = np.array(self.writes, np.int64), np.array(self.reads, np.int64)
        held = np.arange(1, len(writes) + 1) - np.searchsorted(reads, writes, "left")
        return int(held.max(initial=0))


# A step: cycles since the step before, inputs that are read, outputs that are written.
_Step = tuple[int, tuple[int, ...], tuple[int, ...]]
_READ: _Step = (1, (0,), ())
_WRITE: _Step = (1, (), (0,))
_PASS: _Step = (1, (0,), (0,))


@dataclass(eq=False, slots=True)
class _Process:
    """Steps in a fixed order.

    Attributes:
        unit: that it belongs to, for people.
        steps, count: an order of steps, and how often it is repeated over all images.
        inputs, outputs: FIFOs.
        after: for each step, the words of a FIFO that must have been read (or written) before it: see `_window`.
        watched: the cycles that `after` counts in, and its words an image.
        need: which wait `after` is: "starved" or "blocked".
        entry: the unit's input, where `after` stands for it.
        time: cycle of the last step.
    """

    unit: str
    steps: Sequence[_Step]
    count: int
    inputs: list[_Fifo] = field(default_factory=list)
    outputs: list[_Fifo] = field(default_factory=list)
    after: Sequence[int] = ()
    watched: Callable[[], tuple[array[int], int]] | None = None
    need: str = "starved"
    entry: _Fifo | None = None
    time: int = -1
    index: int = 0
    done: int = 0
    busy: int = 0
    starved: int = 0
    blocked: int = 0
    idle: bool = False
    waits: tuple[str, _Fifo] | None = None
    peers: list[_Process] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        return self.done == self.count

    def run(self) -> bool:
        """Make all steps whose cycle is known; true if there were any."""
        steps, size, index, done, time = self.steps, len(self.steps), self.index, self.done, self.time
        ins = [(fifo.writes, fifo.reads, fifo) for fifo in self.inputs]
        outs = [(fifo.writes, fifo.reads, fifo.depth, fifo) for fifo in self.outputs]
        after = self.after
        watched, each = self.watched() if self.watched else (array("q"), 0)
        busy = starved = blocked = 0
        self.waits = None
        start = (done, index)
        while done < self.count:
            gap, reads, writes = steps[index]
            own = time + gap
            ready = own
            for port in reads:
                written, taken, fifo = ins[port]
                k = len(taken)
                if k >= len(written):
                    self.waits = ("a word of", fifo)
                    break
                arrival = written[k] + 1
                if arrival > ready:
                    ready = arrival
            if self.waits:
                break
            free = ready
            if after:
                k = done * each + after[index]
                if k > len(watched):
                    assert self.entry is not None
                    self.waits = ("a word of" if self.need == "starved" else "its own windows before", self.entry)
                    break
                if k:
                    moment = watched[k - 1] + 1
                    if moment > free:
                        free = moment
                        if self.need == "starved":
                            ready = moment
            for port in writes:
                written, taken, depth, fifo = outs[port]
                if depth:
                    k = len(written) - depth
                    if k >= 0:
                        if k >= len(taken):
                            self.waits = ("a place in", fifo)
                            break
                        moment = taken[k] + 1
                        if moment > free:
                            free = moment
            if self.waits:
                break
            for port in reads:
                ins[port][1].append(free)
            for port in writes:
                outs[port][0].append(free)
            busy += gap
            starved += ready - own
            blocked += free - ready
            time = free
            index += 1
            if index == size:
                index = 0
                done += 1
        self.index, self.done, self.time = index, done, time
        self.busy += busy
        self.starved += starved
        self.blocked += blocked
        return (done, index) != start


class _Line:
    """Processes and FIFOs of a graph."""

    def __init__(self, images: int, depth: int, depths: Mapping[str, int]) -> None:
        self.images, self.depth, self.depths = images, depth, depths
        self.processes: list[_Process] = []
        self.fifos: list[_Fifo] = []
        self.units: dict[str, tuple[str, list[_Process]]] = {}

    def add(self, kind: str, *processes: _Process) -> None:
        """Processes of one unit."""
        self.units[processes[0].unit] = (kind, list(processes))
        self.processes.extend(processes)

    def fifo(self, source: str, target: str, width: int, size: int) -> _Fifo:
        """A FIFO for words of `width` values of a tensor of `size`; a second one between two units is numbered."""
        if size % width:
            raise Problem(
                f"{size} values do not fill words of {width}", f"{source!r} to {target!r}", "change the folding"
            )
        made = _Fifo(source, target, self.depth, width, size // width)
        number = sum(fifo.source == source and fifo.target == target for fifo in self.fifos)
        if number:
            made.name += f" ({number + 1})"
        made.depth = self.depths.get(made.name, self.depth)
        self.fifos.append(made)
        return made

    def join(self, source: str, wide: int, target: str, wanted: int, size: int) -> tuple[_Fifo, _Fifo]:
        """FIFOs and converters between two units: the FIFO that the first writes, and that which the second reads."""
        widths = [wide, wanted]
        if wide % wanted and wanted % wide:
            widths.insert(1, lcm(wide, wanted))
        first = last = None
        for place, (a, b) in enumerate(pairwise(widths)):
            if a == b:
                continue
            name = f"{source}_to_{target}" + (f"_{place}" if place else "")
            while name in self.units:
                name += "_"
            entry = last if last is not None else self.fifo(source, name, a, size)
            first = first or entry
            leave = self.fifo(name, target, b, size)
            if last is not None:
                last.target = name
                last.name = f"{last.source} -> {name}"
                last.depth = self.depths.get(last.name, self.depth)
            last = leave
            n = max(a, b) // min(a, b)
            steps = [_READ] * (n - 1) + [_PASS] if b > a else [_PASS] + [_WRITE] * (n - 1)
            self.add("Converter", _Process(name, steps, self.images * size // max(a, b), [entry], [leave]))
        if first is None or last is None:
            only = self.fifo(source, target, wide, size)
            return only, only
        return first, last

    def run(self) -> None:
        """Until all is done or nothing moves."""
        sides: dict[int, list[_Process]] = {}
        for process in self.processes:
            for fifo in (*process.inputs, *process.outputs):
                sides.setdefault(id(fifo), []).append(process)
        for process in self.processes:
            near = (other for fifo in (*process.inputs, *process.outputs) for other in sides[id(fifo)])
            process.peers = list(dict.fromkeys(other for other in near if other is not process))
            process.peers += [
                other for _, group in self.units.values() if process in group for other in group if other is not process
            ]
        queue = deque(self.processes)
        while queue:
            process = queue.popleft()
            process.idle = True
            if process.run():
                for other in process.peers:
                    if other.idle and not other.finished:
                        other.idle = False
                        queue.append(other)

    @property
    def runs(self) -> bool:
        """Whether all images came out."""
        return all(process.finished for process in self.processes)

    @property
    def cycle(self) -> int:
        """The last one in which anything moved."""
        return max(process.time for process in self.processes)

    def circle(self) -> tuple[tuple[str, ...], str]:
        """Who waits for whom in a deadlock, and the full FIFO in front of the unit that misses a word."""
        makers = {id(fifo): process for process in self.processes for fifo in process.outputs}
        takers = {id(fifo): process for process in self.processes for fifo in process.inputs}
        writers = {group[0].unit: group[-1] for _, group in self.units.values() if len(group) > 1}
        process = next(process for process in self.processes if not process.finished)
        trail: list[_Process] = []
        while process not in trail:
            trail.append(process)
            assert process.waits is not None, "an unfinished unit waits"
            what, fifo = process.waits
            if what == "its own windows before":
                process = writers[process.unit]
            elif what == "a place in":
                process = takers[id(fifo)]
            elif process.after and process is writers[process.unit]:
                process = next(p for p in self.units[process.unit][1] if p is not process)
            else:
                process = makers[id(fifo)]
        waiting = [(p, *(p.waits or ("", None))) for p in trail[trail.index(process) :]]
        waits = tuple(f"{p.unit} waits for {what} {fifo.name if fifo else ''}" for p, what, fifo in waiting)
        full = [fifo for _, what, fifo in waiting if what == "a place in" and fifo is not None]
        assert full, "a circle of units without loops holds a full FIFO"
        # Followed from unit to unit, the last of a row of full FIFOs stands in front of a join.
        ends = [
            fifo
            for (_, what, fifo), (_, after, _) in zip(waiting, waiting[1:] + waiting[:1], strict=True)
            if what == "a place in" and after != "a place in" and fifo is not None
        ]
        return waits, (ends or full)[0].name

    def timing(self, deadlock: Deadlock | None = None) -> Timing:
        """The results."""
        ends = [fifo for fifo in self.fifos if fifo.target == OUTPUT]
        whole = min(len(fifo.writes) // fifo.words for fifo in ends)
        finished = tuple(max(fifo.writes[(i + 1) * fifo.words - 1] for fifo in ends) + 1 for i in range(whole))
        units = [_unit_timing(name, kind, group) for name, (kind, group) in self.units.items() if kind]
        fifos = [
            FifoTiming(f.name, f.depth, f.width, f.words, len(f.writes), len(f.reads), f.peak()) for f in self.fifos
        ]
        return Timing(self.images, finished, tuple(units), tuple(fifos), deadlock)


def _unit_timing(name: str, kind: str, group: Sequence[_Process]) -> UnitTiming:
    if len(group) == 1:
        return UnitTiming(name, kind, group[0].busy, group[0].starved, group[0].blocked)
    # A window reads and writes at a time; what is neither is a wait, for a place as long as the writer had its words.
    reader, writer = group
    busy = len(np.union1d(reader.inputs[0].reads, writer.outputs[0].writes))
    rest = max(reader.time, writer.time) + 1 - busy
    blocked = min(rest, writer.blocked)
    return UnitTiming(name, kind, busy, rest - blocked, blocked)


def _run(graph: Graph, images: int, depth: int, depths: Mapping[str, int]) -> _Line:
    line = _line(graph, images, depth, depths)
    unknown = [name for name in depths if name not in {fifo.name for fifo in line.fifos}]
    if unknown:
        listed = ", ".join(fifo.name for fifo in line.fifos[:8])
        raise Problem(f"there is no FIFO {unknown[0]!r}", f"graph {graph.name!r}", f"FIFOs are: {listed}, ...")
    line.run()
    return line


def _line(graph: Graph, images: int, depth: int, depths: Mapping[str, int]) -> _Line:
    """The units of a graph as processes, joined by FIFOs and converters."""
    line = _Line(images, depth, depths)
    maker = {graph.input: INPUT}
    sources: dict[str, _Process] = {}

    def connect(tensor: str, target: str, wanted: int) -> _Fifo:
        source = maker[tensor]
        size = prod(graph.types[graph.input if source == INPUT else source].shape)
        if source == INPUT:
            fifo, last = line.join(INPUT, wanted, target, wanted, size)
            line.processes.append(_Process(INPUT, [_WRITE], images * fifo.words, [], [fifo]))
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
            sources[node.name] = _Process(node.name, steps, images * count, inputs)
            line.add(type(node.op).__name__, sources[node.name])
    if maker[graph.output] == INPUT:
        raise Problem("this graph holds no unit of hardware", f"graph {graph.name!r}", "compile it to dataflow")
    last = graph.node(maker[graph.output])
    end = connect(graph.output, OUTPUT, _output_width(last, graph))
    line.processes.append(_Process(OUTPUT, [_READ], images * end.words, [end]))
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
        case SlidingWindow() | FMPadding() | StreamingConcat():
            return node.op.simd
        case StreamingMaxPool():
            return graph.types[node.name].channels
        case LabelSelect():
            return 1
        case _:
            return int(getattr(node.op, "pe", 1))


def _order(node: Node, types: Sequence[TensorType], made: TensorType) -> tuple[list[_Step], int]:
    """The steps of a unit, and how often an image repeats them."""
    x = types[0]
    match node.op:
        case Mvau(weight, _, _, _, pe, simd):
            rows, columns = weight.shape[0] // pe, weight.shape[1] // simd
            steps: list[_Step] = [_READ] * (columns - 1) + [_PASS]
            return [*steps, *[(columns, (), (0,))] * (rows - 1)], prod(x.shape[:-1])
        case Thresholding(_, _, pe) | ChannelwiseMul(_, pe) | DuplicateStreams(pe) | AddBorder(_, _, _, pe):
            return [_PASS], prod(x.shape) // pe
        case AddStreams(pe):
            return [(1, (0, 1), (0,))], prod(x.shape) // pe
        case StreamingConcat(simd):
            parts = [(1, (port,), (0,)) for port, kind in enumerate(types) for _ in range(kind.channels // simd)]
            return list(parts), prod(x.shape[:-1])
        case FMPadding((top, left, bottom, right), _, simd):
            fold = x.channels // simd
            border = [_WRITE] * (made.shape[1] * fold)
            middle = [_WRITE] * (left * fold) + [_PASS] * (x.shape[1] * fold) + [_WRITE] * (right * fold)
            return border * top + middle * x.shape[0] + border * bottom, 1
        case StreamingMaxPool(kernel):
            return [_READ] * (kernel[0] * x.shape[1]) + [_WRITE] * made.shape[1], made.shape[0]
        case Pool(kernel, _, pe):
            return [_READ] * (prod(kernel) - 1) + [_PASS], prod(made.shape) // pe
        case GlobalAccPool(pe):
            return [_READ] * (prod(x.shape) // pe) + [_WRITE] * (x.channels // pe), 1
        case LabelSelect(k, pe):
            return [_READ] * (x.channels // pe - 1) + [_PASS] + [_WRITE] * (k - 1), 1
        case _:
            raise AssertionError(f"{type(node.op).__name__} has no order of steps")


def _window(node: Node, op: SlidingWindow, x: TensorType, images: int, entry: _Fifo) -> tuple[_Process, _Process]:
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
    words = words.reshape(-1)
    total, given = height * width * fold, len(words)
    # Words that must have been read before a word of a window is written: all of its window.
    newest = (places.reshape(rows * columns, area)[:, -1] + 1) * fold
    needed = np.repeat(newest, area * fold)
    # Words that must have been written before a word is read: those that need the word whose place it takes.
    buffer = ((kh - 1) * width + kw) * fold
    buffer += max(0, (across - 1 - area) * fold) + max(0, ((down - 1) * width - area) * fold)
    uses = np.zeros(total, np.int64)
    np.maximum.at(uses, words, np.arange(1, given + 1))
    passed = np.zeros(total, np.int64)
    if total > buffer:
        passed[buffer:] = np.maximum.accumulate(uses[: total - buffer])
    reader = _Process(node.name, [_READ] * total, images, [entry], after=passed.tolist(), need="blocked", entry=entry)
    writer = _Process(node.name, [_WRITE] * given, images, after=needed.tolist(), entry=entry)
    reader.watched = lambda: (writer.outputs[0].writes, given)
    writer.watched = lambda: (entry.reads, total)
    return reader, writer
