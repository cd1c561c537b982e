"""The progressive bit-flip attack on weights: few flips, found by gradients, that ruin a network; and random ones.

At every step the bits of each layer are ranked by what the gradient of the loss says that their flip adds to it; the n
best of each layer are flipped and the loss is measured exactly, by the simulator; the layer whose flips give the
highest loss keeps them. n begins at 1 and grows while no layer's flips raise the loss. A bit flips once at most, so
that the flips are a fault map.

Source: Rakin, He, Fan, Bit-Flip Attack: Crushing Neural Network with Progressive Bit Search, ICCV 2019; towards one
class: Rakin et al., T-BFA: Targeted Bit-Flip Adversarial Weight Attack, TPAMI 2021.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bnnflow import Problem

from ....transforms.ir.graph import Graph
from ....transforms.ir.ops import AnyOp, Best, LabelSelect, Mvau
from ....transforms.ir.tensor import Array
from ...engine.simulator import Prefix, Simulator, class_count
from ...images import checked_labels
from ..injection.cells import FLIP, Cells
from ..injection.draws import stream
from ..injection.layout import Memory, chosen, memories
from ..injection.maps import FaultMap, checksum, contents
from .criticality import flip_changes

CANDIDATES = 100
"""Bits of a layer that are looked at in a step: the paper's greatest n."""
_KEY = 0x6266


@dataclass(frozen=True, slots=True)
class Goal:
    """What an attack raises: the mean cross entropy of wrong answers, or lowers, of one class for all images.

    Attributes:
        classes: (images,) int64, labels, or the class that every image is to get.
        targeted: whether `classes` are wanted.
        unit: what scores are divided by, above 0; no class depends on it.
    """

    classes: Array
    targeted: bool = False
    unit: float = 1.0

    @staticmethod
    def of(scores: Array, classes: Array, targeted: bool = False) -> Goal:
        """The goal whose unit is the standard deviation of the scores without flips, (images, classes).

        Whole sums have no scale, and where a network's own scale is large the images that are wrong already hide all
        others from the loss.
        """
        return Goal(classes, targeted, float(scores.std()) or 1.0)

    def loss(self, scores: Array) -> float:
        """The loss that is raised, of (images, classes) scores; of a target, less the cross entropy."""
        logits = scores.astype(np.float64) / self.unit
        top = logits.max(axis=1)
        total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        mean = float((total - logits[np.arange(len(logits)), self.classes]).mean())
        return -mean if self.targeted else mean


Gradients = Callable[[Graph], Mapping[str, Array]]
"""Of a graph with other weights: the loss's gradient by each layer's weights, -1 and +1 for XNOR units, (rows,
columns), by the unit's name."""


@dataclass(frozen=True, slots=True)
class Flipped:
    """One step of an attack.

    Attributes:
        layer: the unit whose bits it flips.
        cells: of its weight memory, ascending, word * width + bit.
        loss: on the attack's images, with all flips so far.
        simulator: of the graph with all flips so far.
    """

    layer: str
    cells: Array
    loss: float
    simulator: Simulator


def with_scores(graph: Graph) -> Graph:
    """The graph up to its class scores, where it ends in their ranking.

    Raises:
        Problem: it gives one score, and so no classes.
    """
    end = graph.maker(graph.output)
    if isinstance(end, Best | LabelSelect):
        last = graph.node(graph.output)
        graph = graph.with_nodes(tuple(node for node in graph.nodes if node is not last), last.input)
    if class_count(graph) < 2:
        raise Problem("a network with one output tells no classes apart", graph.name)
    return graph


def attacked(graph: Graph, layers: Sequence[str] = ()) -> list[Memory]:
    """The weight memories of some layers, none: of all, in the graph's order.

    Raises:
        Problem: there is none, or no such layer.
    """
    every = memories(graph)
    if not every:
        raise Problem("the network has no weights in memories", graph.name, "give a compiled network of dense layers")
    known = tuple(memory.layer for memory in every)
    wanted = {chosen(layer, known, "layer with weights") for layer in layers} or set(known)
    return [memory for memory in every if memory.layer in wanted]


@dataclass(slots=True)
class _Held:
    """A weight memory under attack.

    op: the unit without flips. logical: the number of every cell (`Memory.logical`). bits: of all cells, as they are
    now. hit: which of them are flipped.
    """

    place: Memory
    op: Mvau
    logical: Array
    bits: Array
    hit: Array

    @staticmethod
    def of(graph: Graph, place: Memory) -> _Held:
        op = graph.node(place.layer).op
        assert isinstance(op, Mvau)
        bits = place.words(op).reshape(-1)
        return _Held(place, op, place.logical(), bits, np.zeros(len(bits), bool))

    def flip(self, cells: Array) -> None:
        self.hit[cells] = True
        self.bits[cells] ^= 1

    def with_flips(self, cells: Array) -> AnyOp:
        """The unit with these cells flipped, too."""
        bits = self.bits.copy()
        bits[cells] ^= 1
        return self.place.holding(self.op, bits)

    def best(self, slopes: Array, most: int) -> Array:
        """Cells whose flips raise the loss by its gradient, those that raise it most first; of equal ones the first."""
        now = self.place.holding(self.op, self.bits)
        assert isinstance(now, Mvau)
        gains = (slopes[..., None] * flip_changes(now, self.place)).reshape(-1)[self.logical]
        gains[self.hit] = 0.0
        most = min(most, len(gains))
        least = max(0.0, float(np.partition(gains, -most)[-most]))
        cells = np.flatnonzero((gains >= least) & (gains > 0))
        return cells[np.argsort(-gains[cells], kind="stable")[:most]]


@dataclass(slots=True)
class Attack:
    """A progressive attack on a dataflow graph, which goes on step by step.

    Attributes:
        simulator: of a graph of the dataflow level without flips, which gives class scores.
        images: (images, *input shape) that gradients and losses are of; none that the attack is judged on.
        goal: of these images.
        gradients: of the goal's loss.
        places: memories that may be hit.
        candidates: bits of a layer that are looked at in a step, the greatest n.
        start: flips to begin with; the attack goes on as one that made them.

    Raises:
        Problem: classes or flips that do not fit the graph, no candidates, or cells that `start` holds at 0 or 1.
    """

    simulator: Simulator
    images: Array
    goal: Goal
    gradients: Gradients
    places: Sequence[Memory]
    candidates: int = CANDIDATES
    start: FaultMap | None = None
    _graph: Graph = field(init=False)
    _held: list[_Held] = field(init=False)
    _prefixes: dict[str, Prefix] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._graph = self.simulator.graph
        if self.candidates < 1:
            raise Problem(f"{self.candidates} candidates", "attack", "give 1 or more")
        checked_labels(self.goal.classes, len(self.images), class_count(self._graph))
        self._held = [_Held.of(self._graph, place) for place in self.places]
        if self.start is not None:
            self._begin(self.start)

    def _begin(self, start: FaultMap) -> None:
        known = {held.place.name: held for held in self._held}
        ops = start.ops(self._graph)
        for name, cells in start.cells.items():
            if name not in known or np.any(cells.effect != FLIP):
                what = f"the attack cannot begin with the faults of {name}"
                raise Problem(what, "attack", "give a map of flips in weights that are attacked")
            known[name].flip(cells.index)
        self.simulator = self.simulator.with_ops(ops)

    @property
    def flips(self) -> int:
        """Bits that are flipped."""
        return sum(int(held.hit.sum()) for held in self._held)

    def map(self) -> FaultMap:
        """The flips so far, as faulty cells of the graph's weight memories: chosen for what these hold."""
        found = flip_map(self._graph, {held.place: np.flatnonzero(held.hit) for held in self._held})
        return replace(found, contents=contents(self._graph))

    def steps(self, flips: int) -> Iterator[Flipped]:
        """Flip up to so many bits in all; ends before where no candidates raise the loss."""
        loss = self.goal.loss(self.simulator.scores(self.images))
        names = [node.name for node in self._graph.nodes]
        while (left := flips - self.flips) > 0:
            best = self._best(loss, left)
            if best is None:
                return
            held, cells, loss = best
            held.flip(cells)
            layer = held.place.layer
            self.simulator = self.simulator.with_ops({layer: held.place.holding(held.op, held.bits)})
            behind = set(names[names.index(layer) + 1 :])
            self._prefixes = {name: kept for name, kept in self._prefixes.items() if name not in behind}
            yield Flipped(layer, np.sort(cells), loss, self.simulator)

    def _best(self, loss: float, most: int) -> tuple[_Held, Array, float] | None:
        """The layer and the cells whose flips raise the loss most, and the new loss.

        As few cells as raise it, `most` at most; where no number of a layer's best does, each candidate by itself.
        """
        slopes = self.gradients(self.simulator.graph)
        ranked = [(held, held.best(slopes[held.place.layer], self.candidates)) for held in self._held]
        for count in range(1, min(self.candidates, most) + 1):
            sets = [(held, cells[:count]) for held, cells in ranked if len(cells) >= count]
            best = self._highest(sets, loss)
            if best is not None or not sets:
                return best
        return self._highest([(held, cells[i : i + 1]) for held, cells in ranked for i in range(1, len(cells))], loss)

    def _highest(self, sets: Sequence[tuple[_Held, Array]], loss: float) -> tuple[_Held, Array, float] | None:
        """The flips with the highest exact loss, the first of equal ones; None where none is above `loss`."""
        best: tuple[_Held, Array, float] | None = None
        for held, cells in sets:
            layer = held.place.layer
            if layer not in self._prefixes:
                self._prefixes[layer] = self.simulator.prefix(self.images, layer)
            made = self.goal.loss(self.simulator.finish(self._prefixes[layer], {layer: held.with_flips(cells)}))
            if made > loss:
                best, loss = (held, cells, made), made
        return best


def flip_map(graph: Graph, cells: Mapping[Memory, Array]) -> FaultMap:
    """Flips of some cells of weight memories, ascending, as a fault map."""
    hit = {place: index for place, index in cells.items() if len(index)}
    found = {place.name: Cells(index, np.full(len(index), FLIP, np.uint8)) for place, index in hit.items()}
    return FaultMap(checksum(graph), found)


def random_flips(graph: Graph, places: Sequence[Memory], seed: int, trial: int) -> Callable[[int], FaultMap]:
    """Maps of n flips drawn from all cells of some memories, each cell with equal chance; more flips hold the fewer."""
    sizes = np.array([place.size for place in places])
    order = stream(seed, trial, _KEY)(0).permutation(int(sizes.sum()))
    ends = np.cumsum(sizes)

    def drawn(flips: int) -> FaultMap:
        cells = np.sort(order[:flips])
        parts = np.split(cells, np.searchsorted(cells, ends[:-1]))
        firsts = (ends - sizes).tolist()
        return flip_map(graph, {place: part - first for place, part, first in zip(places, parts, firsts, strict=True)})

    return drawn
