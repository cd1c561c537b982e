"""How far a network is from going wrong: exact margins of neurons, certified flips of images, exact probabilities.

A flip of one weight bit of an XNOR unit moves one sum by 1 (by 2 in sums of -1 and +1, by 2 |x| for an input x). So
the fewest flips that carry a sum over its bound, and the fewest flips of the last layer that change the best class,
can be counted; fewer flips than that, anywhere in that layer, change nothing. Layers have weights of one bit here.

Source of the idea: Buschjaeger et al., Margin-Maximization in Binarized Neural Networks for Optimizing Bit Error
Tolerance, DATE 2021; the counts are derived anew and exact, ties and different scales of classes included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from bnnflow import Problem

from ....transforms.ir.graph import Graph, Node
from ....transforms.ir.ops import NO_BOUNDS, AddBorder, Affine, Best, ChannelwiseMul, LabelSelect, Mvau, Scale
from ....transforms.ir.tensor import Array
from ...engine.simulator import Simulator, classes_of
from ...walk import kernel_of
from ..campaigns.statistics import binomial_pmf
from ..injection.layout import chosen, memories

NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class MarginLayer:
    """One MVAU with weights of one bit, and the values that one block of images brings it.

    Attributes:
        name, op: the unit.
        x: (vectors, columns) int64, bits as -1 and +1 for XNOR units.
        sums: (vectors, rows) int64.
        images: vectors are (images, vectors / images).
        bits: what its inputs can be: "xnor" (bits of an XNOR unit), "bipolar" (-1, +1), "binary" (0, 1), else "".
    """

    name: str
    op: Mvau
    x: Array
    sums: Array
    images: int
    bits: str = ""


def layers(graph: Graph) -> list[str]:
    """Names of the MVAUs with integer inputs and weights of one bit, in order."""
    found = []
    for memory in memories(graph):
        if memory.bits == 1 and not graph.types[graph.node(memory.layer).input].is_float:
            found.append(memory.layer)
    return found


def layer_of(graph: Graph, name: str, tensors: dict[str, Array]) -> MarginLayer:
    """A layer with its sums.

    Raises:
        Problem: there is no such layer with weights of one bit.
    """
    chosen(name, layers(graph), "layer with weights of one bit")
    node = graph.node(name)
    assert isinstance(node.op, Mvau)
    given = tensors[node.input]
    kernel = kernel_of(graph, name, replace(node.op, bounds=NO_BOUNDS, act_val=0))
    sums = kernel(given).astype(np.int64)
    x = given.reshape(-1, given.shape[-1]).astype(np.int64)
    kind = graph.types[node.input]
    bits = "xnor" if node.op.xnor else "bipolar" if kind.is_bipolar else "binary" if kind.is_binary else ""
    return MarginLayer(
        name, node.op, 2 * x - 1 if node.op.xnor else x, sums.reshape(-1, sums.shape[-1]), len(given), bits
    )


def flips_needed(layer: MarginLayer) -> Array:
    """Fewest flips of weights of a neuron's row that change its output, (vectors, rows) int64; NEVER where none can.

    Flips of the row's input bits count alike in XNOR units. For one bound T and a popcount s of K: s - T + 1
    where s >= T > 0, T - s where s < T <= K.

    Raises:
        Problem: the layer has no bounds.
    """
    if not layer.op.has_bounds:
        raise Problem("the layer has no thresholds", layer.name, "the margins of the last layer are those of images")
    if layer.op.xnor or not np.any(np.abs(layer.x) != 1):
        return _even_flips(layer)
    down, up = _reach(layer)
    fewest = np.full(layer.sums.shape, NEVER)
    for row, bounds in enumerate(layer.op.bounds):
        for bound in bounds.tolist():
            above = layer.sums[:, row] >= bound
            gap = np.where(above, layer.sums[:, row] - bound + 1, bound - layer.sums[:, row])
            for side, gains in ((above, down), (~above, up)):
                # The n greatest gains together: as few flips as can be.
                reached = gains(row)[side]
                count = (reached < gap[side, None]).sum(axis=1) + 1
                fewest[side, row] = np.minimum(fewest[side, row], np.where(count > reached.shape[1], NEVER, count))
    return fewest


def _even_flips(layer: MarginLayer) -> Array:
    """All flips count alike: 1 of popcounts, 2 of sums of -1 and +1."""
    columns = layer.x.shape[1]
    step = 1 if layer.op.xnor else 2
    least, most = (0, columns) if layer.op.xnor else (-columns, columns)
    fewest = np.full(layer.sums.shape, NEVER)
    for level in range(layer.op.bounds.shape[1]):
        bound = layer.op.bounds[:, level]
        above = layer.sums >= bound
        count = np.where(above, (layer.sums - bound) // step + 1, -((layer.sums - bound) // step))
        possible = np.where(above, bound > least, bound <= most)
        fewest = np.minimum(fewest, np.where(possible, count, NEVER))
    return fewest


def _reach(layer: MarginLayer) -> tuple[Callable[[int], Array], Callable[[int], Array]]:
    """Functions of a row: sums of its greatest gains downwards and upwards, (vectors, columns), by number of flips."""
    terms = layer.op.weight.astype(np.int64)

    def gains(row: int, sign: int) -> Array:
        each = np.maximum(sign * -2 * layer.x * terms[row], 0)
        return np.cumsum(-np.sort(-each, axis=1), axis=1)

    return (lambda row: gains(row, -1)), (lambda row: gains(row, 1))


@dataclass(frozen=True, slots=True)
class Certificate:
    """Flips that provably change no class, image by image.

    Attributes:
        last: name of the last layer.
        weights: (images,) any so many flips of weight bits of the last layer leave the class as it is; one more,
            well chosen, changes it (NEVER: none can).
        inputs: (images,) the same for flips of the last layer's input bits; None where they are no bits.
        layers: for each other layer, (images,) flips of its weights that are safe. Of those in `exact`, one more, well
            chosen, changes the class. Of the others no output changes; more flips may be safe.
        exact: names of the dense layers that give the last layer, and no other, its input bits.
    """

    last: str
    weights: Array
    inputs: Array | None
    layers: dict[str, Array]
    exact: frozenset[str] = frozenset()


def certify(graph: Graph, images: Array, block: int = 100) -> Certificate:
    """Certify every image.

    Raises:
        Problem: the last MVAU is not followed by per-class scales alone, has bounds or weights of more bits.
    """
    simulator, names = Simulator.of(graph), layers(graph)
    last, behind = _last(graph, names)
    direct = frozenset(name for name in names if name != last and _feeds(graph, name, last))
    weights, inputs = list[Array](), list[Array]()
    fewest: dict[str, list[Array]] = {name: [] for name in names if name != last}
    bits = ""
    for first in range(0, len(images), block):
        tensors = simulator.tensors(images[first : first + block])
        final = layer_of(graph, last, tensors)
        bits, winners = final.bits, classes_of(graph, tensors[graph.output].astype(np.float64))
        weights.append(_last_flips(final, behind, winners))
        if bits:
            inputs.append(_bit_flips(final, behind, winners, np.ones(final.x.shape, np.int64)))
        for name, found in fewest.items():
            layer = layer_of(graph, name, tensors)
            if not layer.op.has_bounds:
                found.append(np.zeros(layer.images, np.int64))
                continue
            each = flips_needed(layer).reshape(layer.images, -1)
            if name in direct:
                found.append(_bit_flips(final, behind, winners, each))
            else:
                least = each.min(axis=1)
                found.append(np.where(least == NEVER, NEVER, least - 1))
    made = {name: np.concatenate(found) for name, found in fewest.items()}
    return Certificate(last, np.concatenate(weights), np.concatenate(inputs) if bits else None, made, direct)


def joined(parts: Sequence[Certificate]) -> Certificate:
    """Certificates of consecutive parts of the images, as one."""
    first = parts[0]
    inputs = [part.inputs for part in parts if part.inputs is not None]
    layers = {name: np.concatenate([part.layers[name] for part in parts]) for name in first.layers}
    weights = np.concatenate([part.weights for part in parts])
    return Certificate(first.last, weights, np.concatenate(inputs) if inputs else None, layers, first.exact)


def check_certifiable(graph: Graph) -> None:
    """Whether `certify` has a last layer to certify.

    Raises:
        Problem: as for `certify`.
    """
    _last(graph, layers(graph))


def _last(graph: Graph, names: list[str]) -> tuple[str, list[Node]]:
    """The last layer and the scales behind it."""
    node, behind = graph.node(graph.output), list[Node]()
    if isinstance(node.op, Best | LabelSelect):
        node = graph.node(node.input)
    while isinstance(node.op, Affine | Scale | ChannelwiseMul | AddBorder):
        behind.insert(0, node)
        node = graph.node(node.input)
    if node.name not in names or not isinstance(node.op, Mvau) or node.op.has_bounds:
        hint = "the last layer must give class scores and have weights of one bit"
        raise Problem("this network has no last layer that can be certified", node.name, hint)
    return node.name, behind


def _scored(behind: list[Node], sums: Array) -> Array:
    """Class scores of sums (..., classes), float64."""
    made = sums.astype(np.float64)
    for node in behind:
        if isinstance(node.op, Affine):
            made = made * node.op.scale / node.op.divisor + node.op.shift
        elif isinstance(node.op, AddBorder):
            made = made + node.op.values[0, 0]
        else:
            assert isinstance(node.op, Scale | ChannelwiseMul)
            made = made * node.op.factor
    return made


def _last_flips(layer: MarginLayer, behind: list[Node], winners: Array) -> Array:
    """Flips of the last layer's weights that no image's class can suffer from, (images,)."""
    rows, columns = layer.op.weight.shape
    step = 1 if layer.op.xnor else 2
    terms = 2 * layer.op.weight.astype(np.int64) - 1 if layer.op.xnor else layer.op.weight.astype(np.int64)
    safe = np.empty(layer.images, np.int64)
    for image in range(layer.images):
        products = layer.x[image] * terms
        zeros = np.zeros((rows, 1), np.int64)
        # After n flips of one row its sum lies at most this far down or up: the n greatest products turned.
        down = np.concatenate([zeros, np.cumsum(-np.sort(-np.maximum(products, 0), axis=1), axis=1)], axis=1)
        up = np.concatenate([zeros, np.cumsum(-np.sort(-np.maximum(-products, 0), axis=1), axis=1)], axis=1)
        low = _scored(behind, (layer.sums[image] - step * down.T)).T
        high = _scored(behind, (layer.sums[image] + step * up.T)).T
        worst = np.minimum.accumulate(np.minimum(low, high), axis=1)
        best = np.maximum.accumulate(np.maximum(low, high), axis=1)
        safe[image] = _rivals(worst, best, int(winners[image]), columns) - 1
    return np.where(safe == NEVER - 1, NEVER, safe)


def _rivals(worst: Array, best: Array, winner: int, columns: int) -> int:
    """Fewest flips, split between the winner's row and one rival's, at which the rival wins."""
    fewest, spent = int(NEVER), np.arange(columns + 1)
    for rival in range(len(best)):
        if rival == winner:
            continue
        # Equal scores go to the lower class.
        needed = np.searchsorted(best[rival], worst[winner], side="left" if rival < winner else "right")
        possible = needed <= columns
        if possible.any():
            fewest = min(fewest, int((spent + needed)[possible].min()))
    return fewest


def _bit_flips(layer: MarginLayer, behind: list[Node], winners: Array, costs: Array) -> Array:
    """What can be spent on the last layer's input bits without changing the class, where a flip costs `costs`.

    A flip moves the difference of two classes by the difference of their products. Weights of -1 and +1 and one scale
    a class leave no more than two such moves that help a rival, so that the cheapest flips of each, in order, are
    enough: for every number of the one, the fewest of the other.

    Args:
        layer: the last one.
        behind: scales of its classes.
        winners: (images,).
        costs: (images, columns) int64 of 1 or more, NEVER for bits that cannot be flipped.

    Returns:
        (images,) int64; NEVER where no flips change the class.
    """
    rows = len(layer.op.weight)
    terms = 2 * layer.op.weight.astype(np.int64) - 1 if layer.op.xnor else layer.op.weight.astype(np.int64)
    # What the flip of a bit takes from a sum, times the weight.
    moves = {"xnor": layer.x, "bipolar": 2 * layer.x, "binary": 2 * layer.x - 1}[layer.bits]
    # Scores are affine in the sums: the slope of each class.
    slope = (_scored(behind, np.ones((1, rows))) - _scored(behind, np.zeros((1, rows))))[0]
    whole = bool(np.all(slope == np.floor(slope)))
    scores = _scored(behind, layer.sums)
    safe = np.empty(layer.images, np.int64)
    for image in range(layer.images):
        winner, fewest = int(winners[image]), int(NEVER)
        for rival in range(rows):
            if rival != winner:
                gain = moves[image] * (slope[winner] * terms[winner] - slope[rival] * terms[rival])
                gap = float(scores[image, winner] - scores[image, rival])
                # Rounding of float scores must not certify too much; whole scores are exact.
                slack = 0.0 if whole else 1e-9 * (1 + abs(gap))
                fewest = min(fewest, _cheapest(gain, costs[image], gap - slack, rival < winner or not whole))
        # Equal scores are below their slack: no flips change nothing all the same.
        safe[image] = max(fewest, 1) - 1 if fewest != NEVER else NEVER
    return safe


def _cheapest(gain: Array, costs: Array, gap: float, ties: bool) -> int:
    """Least cost of bits whose gains together reach the gap (pass it, without `ties`); NEVER where none do."""
    can = (gain > 0) & (costs != NEVER)
    sizes = np.unique(gain[can])
    if not len(sizes):
        return int(NEVER)
    assert len(sizes) <= 2, "weights of one bit and one scale per class leave two gains"
    first, second = (np.sort(costs[can & (gain == size)]) for size in (sizes[0], sizes[-1]))
    second = second if len(sizes) == 2 else second[:0]
    spent, more = (np.concatenate([[0], np.cumsum(cost)]) for cost in (first, second))
    left = gap - sizes[0] * np.arange(len(spent))
    count = np.searchsorted(sizes[-1] * np.arange(len(more)), left, side="left" if ties else "right")
    enough = count < len(more)
    return int((spent[enough] + more[count[enough]]).min()) if enough.any() else int(NEVER)


def _feeds(graph: Graph, name: str, last: str) -> bool:
    """The layer is dense, gives bits by thresholds, and nothing but the last layer reads them."""
    reader, made, op = graph.sole_reader(name), graph.types[name], graph.node(name).op
    alone = reader is not None and reader.name == last and len(made.shape) == 1
    return alone and made.is_binary and isinstance(op, Mvau) and op.has_bounds


def flip_probability(layer: MarginLayer, rate: float) -> Array:
    """Exact probability that a neuron's output changes under independent flips of its weights, (vectors, rows).

    A sum moves by -step per hit among the products that raise it and +step among the others: the difference of
    two binomials for even steps, convolved product by product (Poisson-binomial) where inputs differ.

    Raises:
        Problem: the layer has no bounds, or the rate is none.
    """
    if not 0 <= rate <= 1:
        raise Problem(f"a fault rate of {rate:g}", layer.name, "give a number from 0 to 1")
    if not layer.op.has_bounds:
        raise Problem("the layer has no thresholds", layer.name, "the last layer has no neurons that switch")
    made = np.empty(layer.sums.shape)
    terms = 2 * layer.op.weight.astype(np.int64) - 1 if layer.op.xnor else layer.op.weight.astype(np.int64)
    even = not np.any(np.abs(layer.x) != 1)
    columns = layer.x.shape[1]
    known: dict[tuple[int, int], float] = {}
    for row, bounds in enumerate(layer.op.bounds):
        for vector, total in enumerate(layer.sums[:, row].tolist()):
            if not even:
                moved = _moves(layer.x[vector] * terms[row], rate)
                made[vector, row] = _changed(moved, total, bounds)
                continue
            if (row, total) not in known:
                plus = total if layer.op.xnor else (columns + total) // 2
                step = 1 if layer.op.xnor else 2
                odds = _difference(plus, columns - plus, rate)
                moved = (step * np.arange(-plus, columns - plus + 1), odds)
                known[row, total] = _changed(moved, total, bounds)
            made[vector, row] = known[row, total]
    return made


@lru_cache(maxsize=4096)
def _difference(falling: int, rising: int, rate: float) -> Array:
    """Probabilities of Bin(rising) - Bin(falling) = -falling ... rising."""
    made: Array = np.convolve(binomial_pmf(falling, rate)[::-1], binomial_pmf(rising, rate))
    return made


def _moves(products: Array, rate: float) -> tuple[Array, Array]:
    """Moves of a sum and their probabilities when each product turns round with this probability."""
    span = int(2 * np.abs(products).sum())
    odds = np.zeros(2 * span + 1)
    odds[span] = 1.0
    for move in (-2 * products[products != 0]).tolist():
        hit = np.zeros_like(odds)
        if move > 0:
            hit[move:] = odds[:-move]
        else:
            hit[:move] = odds[-move:]
        odds = (1 - rate) * odds + rate * hit
    return np.arange(-span, span + 1), odds


def _changed(moved: tuple[Array, Array], total: int, bounds: Array) -> float:
    moves, odds = moved
    level = (total >= bounds).sum()
    after = ((total + moves)[:, None] >= bounds).sum(axis=1)
    return float(odds[after != level].sum())
