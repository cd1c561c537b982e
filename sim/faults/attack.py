"""Greedy searches for flips that do the most harm: upper bounds beside the certificates' lower bounds.

`attack` flips, again and again, the one weight bit of some layers after which the fewest images are classified
rightly; what each flip does is exact (`criticality`), only the greed is not. `weakest_flips` looks for few flips of
one layer that change the class of one image.

Source of the idea: Rakin, He, Fan, Bit-Flip Attack, ICCV 2019, which ranks bits by gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bnnflow import Problem

from ...transforms.graph import Graph
from ...transforms.ops import NO_BOUNDS, Mvau
from ...transforms.tensor import Array
from ..engine import Simulator, classes_of
from ..walk import Walk, kernel_of
from .criticality import criticality
from .layout import memories
from .maps import replaced
from .margins import NEVER, Layer, flips_needed, layer_of
from .tail import Tail

_CANDIDATES = 64


@dataclass(frozen=True, slots=True)
class Flip:
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
) -> list[Flip]:
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
    made: list[Flip] = []
    for done in range(flips):
        best: tuple[tuple[int, int], Flip] | None = None
        for layer in layers:
            found = criticality(graph, images, labels, layer)
            # Fewest right; among these, most changed classes.
            score = found.right * (found.images + 1) - found.changed
            place = int(np.argmin(score))
            row, column, bit = (int(i) for i in np.unravel_index(place, score.shape))
            rank = (int(found.right[row, column, bit]), -int(found.changed[row, column, bit]))
            if rank[1] and (best is None or rank < best[0]):
                best = rank, Flip(layer, row, column, bit, rank[0])
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
    """Flips (row, column, 0) of one layer's weights that change one image's class; None where `limit` is not enough.

    Neuron by neuron: the one whose change takes the lead of the best class down most, for each flip that it needs.

    Args:
        graph: dataflow level.
        image: (*input shape).
        layer: an MVAU with thresholds and weights of one bit.
        limit: flips at most.
    """
    simulator = Simulator.of(graph)
    tail = Tail.of(simulator, Walk.of(graph, {}, {}), layer, image[None])
    winner = int(tail.classes[0])
    start = layer_of(graph, layer, tail.clean)
    output = tail.clean[layer].reshape(-1, start.sums.shape[1]).copy()
    weight, spent = start.op.weight.copy(), list[tuple[int, int, int]]()
    kernel_input = tail.clean[graph.node(layer).input]
    while len(spent) < limit:
        now = replace(
            start, op=replace(start.op, weight=weight), sums=_sums(graph, layer, start.op, weight, kernel_input)
        )
        needed = flips_needed(now).reshape(-1)
        order = np.argsort(needed, kind="stable")[:_CANDIDATES]
        order = order[needed[order] != NEVER]
        if not len(order):
            return None
        tries = []
        for place in order.tolist():
            vector, row = divmod(place, weight.shape[0])
            tries.append((row, _columns(now, vector, row, int(needed[place]))))
        outputs = np.stack([_output(now, output, row, columns) for row, columns in tries])
        scores = tail.scores_with(np.zeros(len(tries), np.int64), outputs.reshape(-1, *tail.clean[layer].shape[1:]))
        found = classes_of(graph, scores)
        costs = np.array([len(columns) for _, columns in tries])
        if np.any(found != winner):
            best = int(np.argmin(np.where(found != winner, costs, NEVER)))
        elif scores.shape[1] > 1:
            rivals = np.delete(scores, winner, axis=1).max(axis=1)
            best = int(np.argmax((rivals - scores[:, winner] + _lead(tail.scores[0], winner)) / costs))
        else:
            best = 0
        row, columns = tries[best]
        spent += [(row, column, 0) for column in columns]
        if found[best] != winner:
            return _odd(spent) if len(spent) <= limit else None
        weight = weight.copy()
        weight[row, columns] = 1 - weight[row, columns] if start.op.xnor else -weight[row, columns]
        output = outputs[best]
    return None


def _lead(scores: Array, winner: int) -> float:
    return float(scores[winner] - np.delete(scores, winner).max())


def _odd(flips: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Flips that are not undone by another."""
    return [flip for flip in dict.fromkeys(flips) if flips.count(flip) % 2]


def _sums(graph: Graph, layer: str, op: Mvau, weight: Array, x: Array) -> Array:
    made: Array = kernel_of(graph, layer, replace(op, weight=weight, bounds=NO_BOUNDS, low=0))(x)
    return made.astype(np.int64).reshape(-1, made.shape[-1])


def _terms(op: Mvau) -> Array:
    return 2 * op.weight.astype(np.int64) - 1 if op.xnor else op.weight.astype(np.int64)


def _columns(layer: Layer, vector: int, row: int, count: int) -> list[int]:
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


def _output(layer: Layer, output: Array, row: int, columns: list[int]) -> Array:
    """The layer's output with these flips of one row."""
    step = 1 if layer.op.xnor else 2
    sums = layer.sums[:, row] - step * (layer.x[:, columns] * _terms(layer.op)[row, columns]).sum(axis=1)
    made = output.copy()
    made[:, row] = layer.op.low + (sums[:, None] >= layer.op.bounds[row]).sum(axis=1)
    return made
