"""Certificates, attacks and random flips side by side, image by image: how many flips of a layer change a class.

certified < attacked: any so many flips as are certified leave the class, so that no attack needs as few. Of the last
layer, and of a dense layer that gives it alone its bits, one flip more than are certified can be enough (the
certificate is exact); of other layers it is a lower bound, and what lies between is not known. attacked <= random: an
attack that chooses needs no more flips than chance; this alone is no theorem, but a measure of the attack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ....transforms.ir.graph import Graph
from ....transforms.ir.ops import Mvau
from ....transforms.ir.tensor import Array
from ...engine.simulator import Simulator, classes_of
from .attack import Search
from .criticality import criticality
from .margins import NEVER, certify
from .progressive import Attack, Goal, Gradients, attacked, random_flips

GradientsOf = Callable[[Array, Goal, Sequence[str]], Gradients]
"""Gradients of a goal on images, by the weights of some layers."""
_SHARP = 0.25


@dataclass(frozen=True, slots=True)
class FlipBounds:
    """Flips of one layer's weights, image by image.

    Attributes:
        layer: the unit.
        exact: whether one flip more than `certified` is enough, if it is well chosen.
        certified: (images,) any so many change no class; NEVER: no flips do.
        attacked: (images,) so many were found to change the class: the fewest of the progressive attack on the image
            alone, of `Search`, and of all single flips; NEVER: none were found.
        random: (images,) the fewest with which the class changes, over some orders in which all bits of the layer are
            flipped one after the other; NEVER: with none of the first `tried`.
        tried: flips of each order that were tried one by one.
    """

    layer: str
    exact: bool
    certified: Array
    attacked: Array
    random: Array
    tried: int

    @property
    def certificate_holds(self) -> Array:
        """(images,) whether more flips are needed than are certified, by the attack and by chance."""
        found = np.minimum(self.attacked, self.random)
        return (found > self.certified) | (found == NEVER)

    @property
    def attack_holds(self) -> Array:
        """(images,) whether chance needs at least as many flips as the attack."""
        held: Array = self.attacked <= self.random
        return held


def flip_bounds(
    graph: Graph,
    images: Array,
    gradients: GradientsOf,
    orders: int = 3,
    seed: int = 0,
    limit: int = 1000,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[FlipBounds]:
    """Bounds of every layer that is certified, in the graph's order.

    Args:
        graph: dataflow level, with class scores.
        images: (images, *input shape).
        gradients: as `Attack` takes them, for any image.
        orders, seed: of random flips.
        limit: flips of an attack, at most.
        progress: called with attacks done and in all.

    Raises:
        Problem: as for `certify`, or an operation that no gradient passes.
    """
    certificate, simulator = certify(graph, images), Simulator.of(graph)
    known = {**certificate.layers, certificate.last: certificate.weights}
    clean, scores = simulator.classes(images), simulator.scores(images)
    found = []
    for number, (layer, certified) in enumerate(known.items()):
        op = graph.node(layer).op
        assert isinstance(op, Mvau)
        search = Search.of(graph, layer) if op.has_bounds else None
        needed = np.full(len(images), NEVER)
        for index, image in enumerate(images):
            most = limit
            if search is not None and (flips := search.flips(image, limit)) is not None:
                needed[index] = len(flips)
                most = len(flips) - 1
            goal = Goal(clean[index : index + 1], unit=_SHARP * float(scores[index].std()) or 1.0)
            fewer = _progressive(simulator, image[None], goal, gradients, layer, most)
            needed[index] = min(needed[index], fewer)
            # All single flips are tried, where one may be enough.
            if needed[index] > 1 > certified[index] and criticality(graph, image[None], None, layer).critical:
                needed[index] = 1
            progress(number * len(images) + index + 1, len(known) * len(images))
        tried = min(int(needed[needed != NEVER].max(initial=1)), op.weight.size)
        drawn = [_first(simulator, images, clean, layer, seed, order, tried) for order in range(orders)]
        chance = np.min([*drawn, np.full(len(images), NEVER)], axis=0)
        exact = layer == certificate.last or layer in certificate.exact
        found.append(FlipBounds(layer, exact, certified, needed, chance, tried))
    return found


def _progressive(simulator: Simulator, image: Array, goal: Goal, gradients: GradientsOf, layer: str, most: int) -> int:
    """Flips at which a progressive attack on one image changes its class; NEVER: not with so many."""
    if most < 1:
        return int(NEVER)
    run = Attack(simulator, image, goal, gradients(image, goal, [layer]), attacked(simulator.graph, [layer]))
    for step in run.steps(most):
        if step.simulator.classes(image)[0] != goal.classes[0]:
            return run.flips
    return int(NEVER)


def _first(simulator: Simulator, images: Array, clean: Array, layer: str, seed: int, order: int, most: int) -> Array:
    """The first number of flips of one order, of 1 to `most`, with which each image's class changes; else NEVER."""
    graph = simulator.graph
    drawn = random_flips(graph, attacked(graph, [layer]), seed, order)
    start = simulator.prefix(images, layer)
    found = np.full(len(images), NEVER)
    for count in range(1, most + 1):
        now = classes_of(graph, simulator.finish(start, drawn(count).ops(graph)))
        found[(now != clean) & (found == NEVER)] = count
    return found
