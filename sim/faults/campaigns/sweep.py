"""The plain sweep: accuracy of a dataflow graph against the bit error rate of its weight memories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ....transforms.ir.graph import Graph
from ....transforms.ir.tensor import Array
from ..injection.rates import Rates
from ..injection.trials import Subject
from .campaign import Campaign, Grid, Plan
from .statistics import half_width


@dataclass(frozen=True, slots=True)
class Sweep:
    """Accuracy under faults.

    Attributes:
        rates: bit error rates, in [0, 1].
        accuracy: (rates, maps), share of images classified rightly.
        clean: the same share without faults, on the same images.
        images: how many.
    """

    rates: tuple[float, ...]
    accuracy: Array
    clean: float
    images: int

    @property
    def mean(self) -> Array:
        """Mean over the maps, (rates,)."""
        return self.accuracy.mean(axis=1)

    @property
    def half_width(self) -> Array:
        """Half of the 95 % interval that the choice of maps leaves to the mean (`statistics.half_width`), (rates,)."""
        return np.array([half_width(row.tolist(), 1 / self.images) for row in self.accuracy])


def sweep(
    graph: Graph,
    images: Array,
    labels: Array,
    rates: Sequence[float],
    maps: int,
    seed: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Sweep:
    """Accuracy of a dataflow graph under independent flips of its weight bits.

    Args:
        graph: dataflow level, folded as it will be built.
        images, labels: what accuracy is measured on.
        rates: bit error rates.
        maps: fault maps per rate; map m of one network is map m of every other.
        seed: of the maps.
        progress: called with the number of simulated maps.
    """
    subject = Subject(graph, images, labels)
    points = Grid([Rates.of(rate) for rate in dict.fromkeys(rates)], seeds=(seed,)).points(graph)
    series = Campaign(subject, points, Plan(maps=maps)).run(lambda done, total: progress(done))
    found = {one.point.rates.value: one.accuracy for one in series}
    clean = float(np.mean(subject.classes == labels))
    return Sweep(tuple(rates), np.array([found[rate] for rate in rates]), clean, len(images))
