"""What a trial tells beyond accuracy: classes one by one, and margins between scores.

Both are read from the class scores that a trial makes anyway. A class that changes while nothing reports an error is
silent data corruption; every `Outcome` counts it as `changed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from typing import Literal

import numpy as np

from bnnflow import Problem

from ....transforms.ir.graph import Graph
from ....transforms.ir.ops import Best, LabelSelect
from ....transforms.ir.tensor import Array
from .layout import chosen

METRICS = ("changed", "classes", "margin")


@dataclass(frozen=True, slots=True)
class ClassCount:
    """Images of one true class: how many, right without faults, right with them, and with another class than without.

    Attributes:
        images, clean, right, changed: counts.
    """

    images: int
    clean: int
    right: int
    changed: int


@dataclass(frozen=True, slots=True)
class MarginSum:
    """Margins of all images added: the true class's score less the best other one.

    Attributes:
        unit: "integers" where the network's output is integers, else "scores" (its floats).
        clean, faulty: sums without and with faults; whole and exact for "integers", else rounded once.
    """

    unit: Literal["integers", "scores"]
    clean: float
    faulty: float


def checked_metrics(names: Sequence[str], graph: Graph) -> tuple[str, ...]:
    """The names, each once.

    Raises:
        Problem: one that there is not; margins of a graph that ends with the best class and gives no scores.
    """
    for name in names:
        chosen(name, METRICS, "metric")
    if "margin" in names and isinstance(graph.maker(graph.output), Best | LabelSelect):
        what = "the network ends with the best class, and has no scores whose margins could fall"
        raise Problem(what, "metric margin", "leave it out, or give the graph without its last unit", key="faults")
    return tuple(dict.fromkeys(names))


def counted(labels: Array, clean: Array, found: Array, classes: int) -> tuple[ClassCount, ...]:
    """Counts of every class.

    Args:
        labels, clean, found: (N,) true classes, those without faults, and those with them.
        classes: how many there are.
    """
    columns = (np.ones(len(labels), bool), clean == labels, found == labels, found != clean)
    counts = [np.bincount(labels[each], minlength=classes).tolist() for each in columns]
    return tuple(ClassCount(*row) for row in zip(*counts, strict=True))


def margins(scores: Array, labels: Array) -> Array:
    """The true class's score less the best other one, (N,); negative where the image is classified wrongly.

    Args:
        scores: (N, classes >= 2).
        labels: (N,).
    """
    rows = np.arange(len(labels))
    others = scores.copy()
    others[rows, labels] = -np.inf
    made: Array = scores[rows, labels] - others.max(axis=1)
    return made


def summed(graph: Graph, clean: Array, faulty: Array) -> MarginSum:
    """Margins without and with faults, added; no order of images changes the sums."""
    if graph.output_type.is_float:
        return MarginSum("scores", fsum(clean.tolist()), fsum(faulty.tolist()))
    return MarginSum("integers", int(clean.astype(np.int64).sum()), int(faulty.astype(np.int64).sum()))
