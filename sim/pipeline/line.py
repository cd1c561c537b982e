"""FIFOs, processes, and how they move words from cycle to cycle."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...transforms.streams import OUTPUT, Stream
from .timing import Deadlock, FifoTiming, Timing, UnitTiming


class Fifo:
    """A FIFO: the cycle of every step that writes a word, and of every reading.

    A writer takes a word's place when it begins it; the word is there `latency` cycles later, and for the words under
    way there are as many places beside `depth`.
    """

    __slots__ = ("depth", "latency", "name", "places", "reads", "source", "target", "width", "words", "writes")

    def __init__(self, stream: Stream, depth: int, latency: int = 0) -> None:
        self.source, self.target, self.name = stream.source, stream.target, stream.name
        self.depth, self.width, self.words, self.latency = depth, stream.width, stream.words, latency
        self.places = depth + latency if depth else 0
        self.writes, self.reads = array("q"), array("q")

    def peak(self) -> int:
        """Most words at a time; a word counts until the cycle in which it is read, that one included."""
        writes, reads = np.array(self.writes, np.int64) + self.latency, np.array(self.reads, np.int64)
        held = np.arange(1, len(writes) + 1) - np.searchsorted(reads, writes, "left")
        return int(held.max(initial=0))

    def stalls(self) -> int:
        """Cycles in which a word waited to be read: each is offered when it is there and the one before was read."""
        reads = np.array(self.reads, np.int64)
        there = np.array(self.writes[: len(reads)], np.int64) + self.latency
        return int((reads - np.maximum(there, np.concatenate([[-1], reads[:-1]])) - 1).sum()) if len(reads) else 0


# A step: cycles since the step before, inputs that are read, outputs that are written.
Step = tuple[int, tuple[int, ...], tuple[int, ...]]
READ: Step = (1, (0,), ())
WRITE: Step = (1, (), (0,))
PASS: Step = (1, (0,), (0,))


@dataclass(frozen=True, slots=True)
class Watch:
    """Words of a FIFO that steps wait for, beside those that they read.

    Attributes:
        fifo: of which.
        written: whether its writings count, else its readings.
        words: of a repetition.
        behind: how many cycles after a word a step may follow.
    """

    fifo: Fifo
    written: bool
    words: int
    behind: int

    @property
    def cycles(self) -> array[int]:
        """Those in which words moved, as far as they are known."""
        return self.fifo.writes if self.written else self.fifo.reads


@dataclass(eq=False, slots=True)
class Process:
    """Steps in a fixed order.

    Attributes:
        unit: that it belongs to, for people.
        steps, count: an order of steps, and how often it is repeated over all images.
        inputs, outputs: FIFOs.
        after: for each step, the words that must have moved before it, see `_window`; negative: of repetitions before.
        watched: what `after` counts.
        need: which wait `after` is: "starved" or "blocked".
        entry: the unit's input, where `after` stands for it.
        time: cycle of the last step.
    """

    unit: str
    steps: Sequence[Step]
    count: int
    inputs: list[Fifo] = field(default_factory=list)
    outputs: list[Fifo] = field(default_factory=list)
    after: Sequence[int] = ()
    watched: Watch | None = None
    need: str = "starved"
    entry: Fifo | None = None
    time: int = -1
    index: int = 0
    done: int = 0
    busy: int = 0
    starved: int = 0
    blocked: int = 0
    idle: bool = False
    waits: tuple[str, Fifo] | None = None
    peers: list[Process] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether all its steps are made."""
        return self.done == self.count

    def run(self) -> bool:
        """Make all steps whose cycle is known; true if there were any."""
        steps, size, index, done, time = self.steps, len(self.steps), self.index, self.done, self.time
        ins = [(fifo.writes, fifo.reads, fifo.latency + 1, fifo) for fifo in self.inputs]
        outs = [(fifo.writes, fifo.reads, fifo.places, fifo) for fifo in self.outputs]
        after = self.after
        watch = self.watched
        watched, each, behind = (watch.cycles, watch.words, watch.behind) if watch else (array("q"), 0, 0)
        busy = starved = blocked = 0
        self.waits = None
        start = (done, index)
        while done < self.count:
            gap, reads, writes = steps[index]
            own = time + gap
            ready = own
            for port in reads:
                written, taken, later, fifo = ins[port]
                k = len(taken)
                if k >= len(written):
                    self.waits = ("a word of", fifo)
                    break
                arrival = written[k] + later
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
                if k > 0:
                    moment = watched[k - 1] + behind
                    if moment > free:
                        free = moment
                        if self.need == "starved":
                            ready = moment
            for port in writes:
                written, taken, places, fifo = outs[port]
                if places:
                    k = len(written) - places
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


class Line:
    """Processes and FIFOs of a graph."""

    def __init__(self, images: int) -> None:
        self.images = images
        self.processes: list[Process] = []
        self.fifos: list[Fifo] = []
        self.units: dict[str, tuple[str, list[Process]]] = {}

    def add(self, kind: str, *processes: Process) -> None:
        """Processes of one unit."""
        self.units[processes[0].unit] = (kind, list(processes))
        self.processes.extend(processes)

    def fifo(self, stream: Stream, depth: int, latency: int) -> Fifo:
        """The FIFO of a stream whose writer takes so many cycles from a step to its word."""
        self.fifos.append(Fifo(stream, depth, latency))
        return self.fifos[-1]

    def run(self) -> None:
        """Until all is done or nothing moves."""
        sides: dict[int, list[Process]] = {}
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
        trail: list[Process] = []
        while process not in trail:
            trail.append(process)
            assert process.waits is not None, "an unfinished unit waits"
            what, fifo = process.waits
            if what == "its own windows before":
                process = writers[process.unit]
            elif what == "a place in":
                process = takers[id(fifo)]
            elif process.after and process is writers.get(process.unit):
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
        finished = tuple(
            max(fifo.writes[(i + 1) * fifo.words - 1] + fifo.latency for fifo in ends) + 1 for i in range(whole)
        )
        units = [_unit_timing(name, kind, group) for name, (kind, group) in self.units.items() if kind]
        fifos = [
            FifoTiming(f.name, f.depth, f.width, f.words, len(f.writes), len(f.reads), f.peak(), f.stalls())
            for f in self.fifos
        ]
        return Timing(self.images, finished, tuple(units), tuple(fifos), deadlock)


def _unit_timing(name: str, kind: str, group: Sequence[Process]) -> UnitTiming:
    if len(group) == 1:
        return UnitTiming(name, kind, group[0].busy, group[0].starved, group[0].blocked)
    # A window reads and writes at a time; what is neither is a wait, for a place as long as the writer had its words.
    reader, writer = group
    busy = len(np.union1d(reader.inputs[0].reads, writer.outputs[0].writes))
    rest = max(reader.time, writer.time) + 1 - busy
    blocked = min(rest, writer.blocked)
    return UnitTiming(name, kind, busy, rest - blocked, blocked)
