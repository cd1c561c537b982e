"""How many channels of a group stay, and which. On numbers alone, without torch."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def width_left(width: int, share: float, unit: int, least: int) -> int:
    """Channels that a share (0 to 1) of `width` is: whole units, at least one and `least`, at most `width`."""
    return min(width, max(unit, least, int(width * share / unit + 0.5) * unit))


def highest(scores: np.ndarray, count: int, layers: Iterable[np.ndarray] = ()) -> np.ndarray:
    """Ascending indices of the `count` highest scores; of equal ones the first.

    Args:
        scores: (channels,).
        count: how many; more where `layers` ask for them.
        layers: for each layer that makes some of the channels, which; every one of them keeps its highest, or one
            that another layer makes, too.
    """
    first = one_of_each(scores, layers)
    return np.sort(_order(scores, first)[: max(count, len(first))])


def one_of_each(scores: np.ndarray, layers: Iterable[np.ndarray]) -> np.ndarray:
    """Channels of which every layer makes one: in turn, the highest of each layer that has none of them yet."""
    found: list[int] = []
    for channels in layers:
        if len(channels) and not np.isin(found, channels).any():
            candidates = np.unique(channels)
            found.append(int(candidates[np.argmax(np.asarray(scores)[candidates])]))
    return np.array(found, np.int64)


def spared(scores: np.ndarray, layers: Iterable[np.ndarray]) -> np.ndarray:
    """Scores by whose order alone `highest` leaves every layer a channel: as they are where theirs does."""
    order = _order(scores, one_of_each(scores, layers))
    if np.array_equal(order, _order(scores, order[:0])):
        return scores
    made = np.empty(len(scores))
    made[order] = -np.arange(len(scores), dtype=np.float64)
    return made


def _order(scores: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Channels from the highest score down, some of them before all others."""
    order = np.argsort(-np.asarray(scores), kind="stable")
    return np.concatenate([first, order[~np.isin(order, first)]])
