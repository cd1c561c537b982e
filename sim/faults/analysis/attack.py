"""Greedy searches for flips that do the most harm: upper bounds beside the certificates' lower bounds.

`attack` flips, again and again, the one weight bit of some layers after which the fewest images are classified
rightly; what each flip does is exact (`criticality`), only the greed is not. `Search` looks for few flips of one layer
that change the class of one image.

Source of the idea: Rakin, He, Fan, Bit-Flip Attack, ICCV 2019, which ranks bits by gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bnnflow import Problem

from ....transforms.ir.graph import Graph
from ....transforms.ir.ops import Mvau
from ....transforms.ir.tensor import Array
from ...engine.simulator import Simulator, classes_of
from ...walk import Walk
from ..injection.layout import chosen, memories
from ..injection.maps import replaced
from ..injection.tail import Tail
from .criticality import criticality
from .margins import NEVER, MarginLayer, flips_needed, layer_of
from .margins import layers as layers_of

_CANDIDATES = 256
_AT_ONCE = 64
_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class BitFlip:
    """One flipped weight bit, and how many images are classified rightly with it and all flips before."""

    layer: str
    row: int
    column: int
    bit: int
    right: int


def attack(
    graph: Graph,
    images: Array,
    labels: Array,
    layers: Sequence[str],
    flips: int,
    progress: Callable[[int], None] = lambda done: None,
) -> list[BitFlip]:
    """Flip up to so many weight bits, each the worst for these images; ends early where no flip changes a class.

    Args:
        graph: dataflow level.
        images, labels: what the attack is judged on; a few hundred at most, as every bit is tried at every step.
        layers: MVAUs that may be hit.
        flips: how many.
        progress: called with the number of flips found.

    Raises:
        Problem: no such layers, or less than one flip.
    """
    if flips < 1:
        raise Problem(f"an attack of {flips} flips", "attack", "give 1 or more")
    made: list[BitFlip] = []
    for done in range(flips):
        best: tuple[tuple[int, int], BitFlip] | None = None
        for layer in layers:
            found = criticality(graph, images, labels, layer)
            # Fewest right; among these, most changed classes.
            score = found.right * (found.images + 1) - found.changed
            place = int(np.argmin(score))
            row, column, bit = (int(i) for i in np.unravel_index(place, score.shape))
            rank = (int(found.right[row, column, bit]), -int(found.changed[row, column, bit]))
            if rank[1] and (best is None or rank < best[0]):
                best = rank, BitFlip(layer, row, column, bit, rank[0])
        if best is None:
            break
        made.append(best[1])
        graph = flipped(graph, best[1].layer, [(best[1].row, best[1].column, best[1].bit)])
        progress(done + 1)
    return made


def flipped(graph: Graph, layer: str, flips: Sequence[tuple[int, int, int]]) -> Graph:
    """The graph with these weight bits (row, column, bit) of one layer flipped."""
    memory = next(memory for memory in memories(graph) if memory.layer == layer)
    words, back = memory.words(graph.node(layer).op), memory.physical()
    for row, column, bit in flips:
        words.reshape(-1)[back[(row * memory.values[1] + column) * memory.bits + bit]] ^= 1
    return replaced(graph, {layer: memory.holding(graph.node(layer).op, words)})


def weakest_flips(graph: Graph, image: Array, layer: str, limit: int = 1000) -> list[tuple[int, int, int]] | None:
    """Flips (row, column, 0) of one layer's weights that change one image's class; see `Search.flips`.

    Args:
        graph: dataflow level.
        image: (*input shape).
        layer: an MVAU with thresholds and weights of one bit.
        limit: flips at most.

    Raises:
        Problem: there is no such layer.
    """
    return Search.of(graph, layer).flips(image, limit)


@dataclass(frozen=True, slots=True)
class Search:
    """A search for few flips of one layer, image by image.

    Attributes:
        simulator, walk: of the graph.
        layer: an MVAU with thresholds and weights of one bit.
    """

    simulator: Simulator
    walk: Walk
    layer: str

    @staticmethod
    def of(graph: Graph, layer: str) -> Search:
        """Prepare a search.

        Raises:
            Problem: there is no such layer, or it has no thresholds.
        """
        can = [name for name in layers_of(graph) if graph.node(name).op.has_bounds]  # type: ignore[union-attr]
        return Search(Simulator.of(graph), Walk.of(graph, {}, {}), chosen(layer, can, "layer with thresholds"))

    def flips(self, image: Array, limit: int = 1000) -> list[tuple[int, int, int]] | None:
        """Flips (row, column, 0) that change the class of an image, (*input shape); None where none were found.

        In rounds: for each of the neurons that the fewest flips turn, the lead that the best class loses when it
        turns; those that cost it most a flip are turned together, as many as it takes. Neurons that turn out not to
        be needed are left out again. What is found changes the class; fewer flips might, too.
        """
        graph = self.walk.graph
        tail = Tail.of(self.simulator, self.walk, self.layer, image[None])
        state = _State.of(layer_of(graph, self.layer, tail.clean), tail)
        winner, lead = int(tail.classes[0]), _leads(tail.scores, int(tail.classes[0]))[0]
        turned: list[_Turn] = []
        for _ in range(_ROUNDS):
            turns = state.turns(turned)
            if not turns:
                return None
            leads, changed = self._judged(tail, state, [[*turned, turn] for turn in turns], winner)
            gain = (lead - leads) / np.array([len(turn.columns) for turn in turns])
            order = dict[int, _Turn]()
            for place in np.argsort(-gain, kind="stable").tolist():
                if gain[place] >= 0:
                    order.setdefault(turns[place].row, turns[place])
            if not order:
                return None
            ranked = list(order.values())
            sets = [[*turned, *ranked[: count + 1]] for count in range(len(ranked))]
            leads, changed = self._judged(tail, state, sets, winner)
            if changed.any():
                best = self._needed(tail, state, sets[int(np.argmax(changed))], winner)
                found = [(turn.row, column, 0) for turn in best for column in turn.columns]
                return found if len(found) <= limit else None
            turned, lead = sets[int(np.argmin(leads))], float(leads.min())
            if sum(len(turn.columns) for turn in turned) > limit:
                return None
        return None

    def _needed(self, tail: Tail, state: _State, turned: list[_Turn], winner: int) -> list[_Turn]:
        """The turns without those that the class changes without, the costliest first."""
        while len(turned) > 1:
            sets = [turned[:place] + turned[place + 1 :] for place in range(len(turned))]
            _, changed = self._judged(tail, state, sets, winner)
            if not changed.any():
                break
            costs = np.array([len(turn.columns) for turn in turned])
            del turned[int(np.argmax(np.where(changed, costs, 0)))]
        return turned

    def _judged(self, tail: Tail, state: _State, sets: list[list[_Turn]], winner: int) -> tuple[Array, Array]:
        """The lead that the class keeps, and whether it is another, (sets,) each."""
        parts = []
        for first in range(0, len(sets), _AT_ONCE):
            some = sets[first : first + _AT_ONCE]
            outputs = np.stack([state.output(turned) for turned in some])
            shape = tail.clean[self.layer].shape[1:]
            parts.append(tail.scores_with(np.zeros(len(some), np.int64), outputs.reshape(-1, *shape)))
        scores = np.concatenate(parts)
        return _leads(scores, winner), classes_of(self.walk.graph, scores) != winner


@dataclass(frozen=True, slots=True)
class _Turn:
    """Flips of one row that carry a neuron over its nearest bound, and what the row gives then, (vectors,)."""

    row: int
    columns: tuple[int, ...]
    output: Array


@dataclass(frozen=True, slots=True)
class _State:
    """A layer on one image, and its neurons by what turns them.

    start: without flips. clean: its output, (vectors, rows). needed: (vectors * rows,) fewest flips.
    """

    start: MarginLayer
    clean: Array
    needed: Array

    @staticmethod
    def of(start: MarginLayer, tail: Tail) -> _State:
        clean = tail.clean[start.name].reshape(-1, start.sums.shape[1])
        return _State(start, clean, flips_needed(start).reshape(-1))

    def turns(self, without: Sequence[_Turn]) -> list[_Turn]:
        """Turns of the neurons that the fewest flips turn, of rows that are not turned yet."""
        rows = self.start.sums.shape[1]
        place = np.arange(len(self.needed))
        free = (self.needed != NEVER) & ~np.isin(place % rows, [turn.row for turn in without])
        every = place[free]
        cheap = every[np.argsort(self.needed[every], kind="stable")[:_CANDIDATES]]
        layer, step, turns = self.start, 1 if self.start.op.xnor else 2, {}
        terms = _terms(layer.op)
        for vector, row in (divmod(int(one), rows) for one in cheap):
            columns = _columns(layer, vector, row, int(self.needed[vector * rows + row]))
            if (row, tuple(columns)) not in turns:
                sums = layer.sums[:, row] - step * (layer.x[:, columns] @ terms[row, columns])
                made = layer.op.act_val + (sums[:, None] >= layer.op.bounds[row]).sum(axis=1)
                turns[row, tuple(columns)] = _Turn(row, tuple(columns), made)
        return list(turns.values())

    def output(self, turned: Sequence[_Turn]) -> Array:
        """The layer's output with these turns, of different rows."""
        made = self.clean.copy()
        for turn in turned:
            made[:, turn.row] = turn.output
        return made


def _leads(scores: Array, winner: int) -> Array:
    """By how much a class is ahead of the best other, (sets,); where it is the only one, its score."""
    others = np.delete(scores, winner, axis=1)
    return scores[:, winner] - (others.max(axis=1) if others.shape[1] else 0)


def _terms(op: Mvau) -> Array:
    return 2 * op.weight.astype(np.int64) - 1 if op.xnor else op.weight.astype(np.int64)


def _columns(layer: MarginLayer, vector: int, row: int, count: int) -> list[int]:
    """The columns whose flips carry a neuron over its nearest bound: the greatest products of the right sign."""
    products = layer.x[vector] * _terms(layer.op)[row]
    step = 1 if layer.op.xnor else 2
    total = int(layer.sums[vector, row])
    level = int((total >= layer.op.bounds[row]).sum())
    for sign in (1, -1):
        chosen = np.argsort(-sign * products, kind="stable")[:count]
        chosen = chosen[sign * products[chosen] > 0]
        after = total - step * int(products[chosen].sum())
        if len(chosen) == count and int((after >= layer.op.bounds[row]).sum()) != level:
            return [int(column) for column in chosen]
    raise AssertionError("the count of flips was wrong")
