"""One trial: a network with one fault map, on all images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bnnflow import Problem

from ....transforms.ir.graph import Graph
from ....transforms.ir.ops import AnyOp
from ....transforms.ir.tensor import Array
from ...engine.simulator import Prefix, Simulator, class_count, classes_of
from ...images import checked_labels
from ..shapes.undervolting import Undervolting
from .cells import FLIP, Cells
from .draws import stream
from .layout import KINDS, Memory, chosen, elsewhere, in_block_ram, memories
from .maps import check_protected, faulty_ops
from .metrics import ClassCount, MarginSum, checked_metrics, counted, margins, summed
from .models import FaultModel
from .protect import Protections
from .rates import Rates
from .single import SingleFlips
from .streams import KINDS as STREAMS
from .streams import Stream, check_suffers, faulty_walk, streams
from .undervolting import Chip

TARGETS = (*KINDS, *STREAMS)
SINGLE = "single"
_CACHE_BYTES = 1 << 29


@dataclass(frozen=True, slots=True)
class Point:
    """What one series of trials suffers.

    Attributes:
        target: one of TARGETS, or "weights+thresholds".
        layers: names of units; empty: all that have such a target.
        model: text form of a `FaultModel`, or "single": trial t flips the t-th cell of a random order of all cells.
        rates: what is hit how often.
        protection: text form of `Protections`.
        seed: of the maps.
        fifo_depth: words of a FIFO, for the target "fifos".
        chip: device of a model that was measured ("undervolting:0.54"); of no meaning to others.
    """

    target: str
    layers: tuple[str, ...]
    model: str
    rates: Rates
    protection: str = "none"
    seed: int = 0
    fifo_depth: int = 32
    chip: Chip = Chip()  # noqa: RUF009  (frozen)

    def key(self) -> str:
        """A text that is the same for the same series alone."""
        depth = f"|fifo {self.fifo_depth}" if self.target == "fifos" else ""
        chip = f"|{self.chip.key()}" if self.voltage is not None else ""
        parts = (self.target, ",".join(self.layers), self.model, self.rates.key(), self.protection, str(self.seed))
        return "|".join(parts) + depth + chip

    @property
    def voltage(self) -> float | None:
        """Of block RAMs, in volts; None where the model is of another kind."""
        return undervolted_at(self.model)

    @property
    def sure(self) -> bool:
        """All maps are the same one: nothing can be hit, or one named unit always is."""
        if self.model == SINGLE:
            return False
        return self.rates.none or (self.rates.all and FaultModel.parse(self.model).sure)

    @property
    def family(self) -> str:
        """The model without its voltage: points of one family differ as those of several rates do."""
        return self.model if self.voltage is None else FaultModel.parse(self.model).shape.name

    def places(self, graph: Graph) -> list[Memory] | list[Stream]:
        """The memories or streams that are hit, in the graph's order.

        Raises:
            Problem: an unknown target, model, protection or layer (the hint names the closest), or a pair that
                does not go together.
        """
        kinds = self.target.split("+")
        for kind in kinds:
            chosen(kind, TARGETS, "fault target")
        safe = Protections.parse(self.protection)
        safe.check(memories(graph, KINDS))
        if self.model != SINGLE:
            model = FaultModel.parse(self.model)
            if not model.shape.measured:
                self.rates.check(model)
            check_protected(model, safe)
        if kinds[0] in KINDS and all(kind in KINDS for kind in kinds):
            found = (
                memories(graph, kinds) if self.voltage is None else self._undervolted(graph, kinds, self.voltage, safe)
            )
            named = self._named(graph, found)
            hit = [place for place in found if place.layer in named]
            self._check_rates(hit)
            for place in hit:
                self.rates.at(place.layer, place.kind)
            return hit
        if len(kinds) > 1 or self.model == SINGLE or safe.coded:
            what = f"the target {self.target!r} with model {self.model!r} and protection {self.protection!r}"
            raise Problem(
                what, "fault campaign", "only memories are joined by '+', protected or hit one by one", key="faults"
            )
        check_suffers(kinds[0], model)
        flows = streams(graph, kinds[0])
        named = self._named(graph, flows)
        taken = [place for place in flows if place.layer in named]
        self._check_rates(taken)
        for flow in taken:
            self.rates.at(flow.layer, flow.kind)
        return taken

    def check(self, graph: Graph) -> None:
        """Refuse what a graph does not have.

        Raises:
            Problem: as for `places`, or a unit that the shape names is not there.
        """
        for place in self.places(graph):
            if self.model != SINGLE and self.voltage is None:
                memory = place if isinstance(place, Memory) else place.cells(place.words)
                FaultModel.parse(self.model).shape.units(memory)

    def _undervolted(self, graph: Graph, kinds: Sequence[str], voltage: float, safe: Protections) -> list[Memory]:
        """Memories in block RAM.

        Raises:
            Problem: there are none, or a layer that is named has none; as for `Chip.check`.
        """
        self.chip.check(graph, voltage, safe)
        found, others = in_block_ram(graph, kinds), elsewhere(graph, kinds)
        for layer in self.layers:
            said = [f"{name} in {where}" for name, where in others.items() if name.rpartition(".")[0] == layer]
            if said and all(memory.layer != layer for memory in found):
                what = f"only memories in block RAM are undervolted, but there is {', '.join(said)}"
                raise Problem(what, "fault campaign", "leave the layer out", key="faults")
        if not found:
            there = ", ".join(f"{name} in {where}" for name, where in others.items())
            what = f"no {self.target} are in block RAM, which alone is undervolted" + (f": {there}" if there else "")
            hint = 'fold it so that memories are deeper, or set their ram_style to "block" in a folding file'
            raise Problem(what, "fault campaign", hint, key="faults")
        return found

    def _check_rates(self, hit: Sequence[Memory | Stream]) -> None:
        """Refuse rates of other memories or streams alone."""
        rest = self.rates.rest
        if not self.rates.by or (rest is not None and max(rest.up, rest.down) > 0):
            return
        if not self.rates.by.keys() & {name for place in hit for name in (place.name, place.layer)}:
            what = f"the rates are of {', '.join(self.rates.by)}; hit are {', '.join(place.name for place in hit)}"
            raise Problem(what, "rate table", "name another target or other layers, or give these memories a rate")

    def _named(self, graph: Graph, found: Sequence[Memory | Stream]) -> tuple[str, ...]:
        known = tuple(dict.fromkeys(place.layer for place in found))
        if not known:
            there = [kind for kind in KINDS if memories(graph, [kind])]
            there += [kind for kind in STREAMS if streams(graph, kind)]
            hint = f"it has {', '.join(there)}" if there else "compile it to dataflow"
            raise Problem(f"the network has no {self.target}", "fault campaign", hint, key="faults")
        for layer in self.layers:
            chosen(layer, known, f"layer with {self.target}")
        for name in self.rates.by:
            layer, _, kind = name.rpartition(".")
            layer = layer if kind in TARGETS else name
            chosen(layer, tuple(node.name for node in graph.nodes), "layer in the rates")
            if kind in KINDS and name not in {place.name for place in memories(graph, [kind])}:
                raise Problem(f"{layer} has no {kind}, but the rates name {name}", "rate table", "leave the row out")
        return self.layers or known


@dataclass(frozen=True, slots=True)
class Outcome:
    """One trial: images, how many were classified rightly, and how many changed their class.

    Attributes:
        trial, images, right: its number, and counts.
        changed: images with another class than without faults: silent data corruption.
        classes: the same class by class; None where `Subject.metrics` does not ask for it.
        margin: sums of margins; likewise.
    """

    trial: int
    images: int
    right: int
    changed: int
    classes: tuple[ClassCount, ...] | None = None
    margin: MarginSum | None = None


@dataclass(slots=True)
class Subject:
    """A dataflow graph with the images that it is judged on.

    Attributes:
        graph: dataflow level, folded as it will be built.
        images, labels: (N, *shape), (N,).
        make: what makes simulators of graphs, on this computer's processor or on a device; outcomes never depend on it.
            Faults of streams and sums, and single flips of weights, are simulated on the processor all the same.
        metrics: of `metrics.METRICS`, what outcomes are to tell beyond accuracy and changed classes.
    """

    graph: Graph
    images: Array
    labels: Array
    make: Callable[[Graph], Simulator] = Simulator.of
    metrics: tuple[str, ...] = ()
    _simulator: Simulator | None = None
    _classes: Array | None = None
    _margins: Array | None = None
    _prefix: tuple[str, Prefix | None] | None = None
    _flips: tuple[str, dict[str, SingleFlips | None]] | None = None
    _orders: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked_labels(self.labels, len(self.images), class_count(self.graph))
        self.metrics = checked_metrics(self.metrics, self.graph)

    @property
    def digest(self) -> str:
        """sha256 of the network with its weights and folding, of what it reads and gives, the images and the labels."""
        # Widths of sums, and so of thresholds, follow from the input's range.
        made = hashlib.sha256(f"{self.graph.input} {self.graph.input_type!r} {self.graph.output}".encode())
        for node in self.graph.nodes:
            made.update(f"{node.name} {type(node.op).__name__} {node.inputs}".encode())
            for name in node.op.__dataclass_fields__:
                value = getattr(node.op, name)
                made.update(f" {name}".encode())
                made.update(_bytes(value) if isinstance(value, np.ndarray) else repr(value).encode())
        for array in (self.images, self.labels):
            made.update(_bytes(array))
        return made.hexdigest()

    @property
    def simulator(self) -> Simulator:
        """The graph without faults, ready to run."""
        if self._simulator is None:
            self._simulator = self.make(self.graph)
        return self._simulator

    @property
    def classes(self) -> Array:
        """Classes without faults, (N,)."""
        if self._classes is None:
            self._classes = self.simulator.classes(self.images)
        return self._classes

    @property
    def margins(self) -> Array:
        """Margins without faults, (N,), as `metrics.margins` gives them."""
        if self._margins is None:
            self._margins = margins(self.simulator.scores(self.images), self.labels)
        return self._margins

    def trial(self, point: Point, trial: int) -> Outcome:
        """One fault map on all images.

        Raises:
            Problem: as for `Point.places`, or a model that the target cannot suffer.
        """
        places = point.places(self.graph)
        if isinstance(places[0], Stream):
            flows = [place for place in places if isinstance(place, Stream)]
            model = FaultModel.parse(point.model)
            walk = faulty_walk(self.graph, flows, model, point.rates, point.seed, trial, point.fifo_depth)
            return self._judged(trial, walk.scores(self.images))
        cells = [place for place in places if isinstance(place, Memory)]
        if point.model == SINGLE:
            return self._single(point, cells, trial)
        safe, model = Protections.parse(point.protection), FaultModel.parse(point.model)
        hit = faulty_ops(self.graph, cells, model, point.rates, point.seed, trial, safe, point.chip)
        return self.run(hit, trial)

    def _single(self, point: Point, places: list[Memory], trial: int) -> Outcome:
        """One flipped cell: the trial's in a random order of all cells."""
        safe = Protections.parse(point.protection)
        sizes = [safe.stored(place).size for place in places]
        order = self._orders.get(point.key())
        if order is None:
            order = self._orders[point.key()] = stream(point.seed, 0, 99)(0).permutation(sum(sizes))
        cell = int(order[trial % len(order)])
        number = int(np.searchsorted(np.cumsum(sizes), cell, side="right"))
        place, cell = places[number], cell - sum(sizes[:number])
        flips = self._flips_of(point, place) if not safe.at(place).coded else None
        if flips is not None:
            return self._judged(trial, flips.scores_with(cell))
        op = self.graph.node(place.layer).op
        hit = Cells(np.array([cell]), np.array([FLIP], np.uint8))
        code = safe.at(place)
        read = code.decode(place, hit.on(code.encode(place, place.words(op))))
        return self.run({place.layer: place.holding(op, read)}, trial)

    def _flips_of(self, point: Point, place: Memory) -> SingleFlips | None:
        """What single flips of a layer's weights share; None where they have no short cut, or memory is short."""
        if self._flips is None or self._flips[0] != point.key():
            self._flips = (point.key(), {})
        kept = self._flips[1]
        if place.kind != "weights":
            return None
        if place.layer not in kept:
            taken = sum(self._bytes_of(name) for name, flips in kept.items() if flips is not None)
            fits = taken + self._bytes_of(place.layer) <= _CACHE_BYTES // 4
            # Flips are injected into words in this computer's memory.
            here = self.simulator if self.make is Simulator.of else Simulator.of(self.graph)
            kept[place.layer] = SingleFlips.of(here, self.images, place) if fits else None
        return kept[place.layer]

    def run(self, replaced: dict[str, AnyOp], trial: int = 0) -> Outcome:
        """The network with other units in place, on all images; what comes before them is computed once."""
        if not replaced:
            return self._told(trial, self.classes, lambda: self.margins)
        first = next(node.name for node in self.graph.nodes if node.name in replaced)
        if self._prefix is None or self._prefix[0] != first:
            small = self._bytes_of(first) <= _CACHE_BYTES
            self._prefix = (first, self.simulator.prefix(self.images, first) if small else None)
        start = self._prefix[1]
        if start is None:
            return self._judged(trial, self.simulator.with_ops(replaced).scores(self.images))
        return self._judged(trial, self.simulator.finish(start, replaced))

    def _judged(self, trial: int, scores: Array) -> Outcome:
        return self._told(trial, classes_of(self.graph, scores), lambda: margins(scores, self.labels))

    def _told(self, trial: int, found: Array, faulty: Callable[[], Array]) -> Outcome:
        """The outcome of classes, and of margins where they are asked for."""
        right, changed = int((found == self.labels).sum()), int((found != self.classes).sum())
        classes = margin = None
        if "classes" in self.metrics:
            classes = counted(self.labels, self.classes, found, class_count(self.graph))
        if "margin" in self.metrics:
            margin = summed(self.graph, self.margins, faulty())
        return Outcome(trial, len(self.images), right, changed, classes, margin)

    def _bytes_of(self, node: str) -> int:
        """Memory of the prefix up to a node, for all images."""
        return len(self.images) * self.simulator.prefix(self.images[:1], node).nbytes


def undervolted_at(model: str) -> float | None:
    """The voltage of a model's text, in volts; None where it is of another kind."""
    shape = None if model == SINGLE else FaultModel.parse(model).shape
    return shape.voltage if isinstance(shape, Undervolting) else None


def population(graph: Graph, point: Point) -> int:
    """Cells that a single fault can hit."""
    safe = Protections.parse(point.protection)
    return sum(safe.stored(place).size for place in point.places(graph) if isinstance(place, Memory))


def _bytes(array: Array) -> bytes:
    return f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes()
