"""Scores that guide bit errors in training: which filters get fewer of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..networks.twin import AnyNetwork
from ..training.bit_errors import BitErrors
from ..training.injection import Importance
from ..training.train_spec import TrainSpec
from ..training.update import Extras
from .criteria import check_scores_in_training
from .sample import Sample
from .scores import score

_DRAW = 51


def with_guide(extras: Extras | None, plan: TrainSpec, images: np.ndarray, labels: np.ndarray) -> Extras:
    """What a method adds to a training on `images` and `labels`, with the scores that guide its bit errors."""
    return replace(extras or Extras(), importance=guide(plan.bit_errors, plan.seed, images, labels))


def guide(spec: BitErrors, seed: int, images: np.ndarray, labels: np.ndarray) -> Importance | None:
    """What scores a network's filters as `spec.guide` says; None where nothing is guided.

    Args:
        spec: criterion and number of images.
        seed: of their draw.
        images, labels: (N, C, H, W) uint8 and (N,) of training, of which `spec.guide_images` are scored.

    Raises:
        Problem: as `check_scores_in_training`.
    """
    if not spec.guide:
        return None
    criterion = check_scores_in_training(spec.guide)
    sample = Sample.draw(images, labels, spec.guide_images, np.random.default_rng([seed, _DRAW]))

    def scores(network: AnyNetwork) -> Mapping[str, np.ndarray]:
        return score(network, criterion, sample, seed, by_captum=False).scores

    return scores
