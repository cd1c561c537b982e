"""Images of which every second one chooses, and the others judge what was chosen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bnnflow import Problem

from ...transforms.ir.graph import Graph
from ..graphs.campaign import labelled
from .faults import judged_on
from .simulation import Images


@dataclass(frozen=True, slots=True)
class Halves:
    """Images with their labels.

    Attributes:
        images: (N, *input shape).
        labels: (N,).
    """

    images: np.ndarray
    labels: np.ndarray

    @staticmethod
    def of(graph: Graph, source: Path, given: Images) -> Halves:
        """What a graph is to be judged on.

        Raises:
            Problem: fewer than four images, or no labels.
        """
        pixels, labels = judged_on(graph, source, given)
        truth = labelled(labels)
        if len(pixels) < 4:
            raise Problem(f"{len(pixels)} images to choose and judge by", "--images", "give 4 or more")
        return Halves(pixels, truth)

    @property
    def choosing(self) -> tuple[np.ndarray, np.ndarray]:
        """Those that choose, with their labels."""
        return self.images[::2], self.labels[::2]

    @property
    def judging(self) -> tuple[np.ndarray, np.ndarray]:
        """Those that judge, with their labels."""
        return self.images[1::2], self.labels[1::2]
