"""Which training images a network has never seen, and what people are told of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..recipe.objects import train_settings
from ..recipe.schema import Recipe
from ..results.stages import SEEN, UNKNOWN, UNSEEN


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Training images that a recipe's training, and every fine-tuning behind it, leaves out.

    Attributes:
        images: (n,) their indices, ascending; none where the network may have seen all.
        called: for people: `UNSEEN`, `UNKNOWN` of a network whose weights were given, `SEEN` where there are none.
    """

    images: np.ndarray
    called: str

    @staticmethod
    def of(recipe: Recipe, labels: np.ndarray) -> HeldOut:
        """Of the recipe that the network was trained by, or is being.

        Args:
            recipe: says share and seed.
            labels: (N,) of all its training images.
        """
        from ...models.training.train import held_out

        out = held_out(labels, train_settings(recipe))
        if not len(out):
            return HeldOut(out, SEEN)
        given = recipe.model.has_weights or not recipe.epochs
        return HeldOut(out, UNKNOWN if given else UNSEEN)

    @property
    def if_any(self) -> np.ndarray | None:
        """The indices; None where there are none."""
        return self.images if len(self.images) else None

    @staticmethod
    def none() -> HeldOut:
        """Nothing is known to be unseen."""
        return HeldOut(np.zeros(0, np.int64), SEEN)
