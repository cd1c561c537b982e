"""Which channels stay: the highest, and of layers that are concatenated one of each."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bnnflow.models.prune.widths import highest, one_of_each, spared, width_left


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, list[np.ndarray]]:
    """Scores, many of them equal, and layers that make them, some in common."""
    width = draw(st.integers(1, 12))
    scores = np.array(draw(st.lists(st.integers(-3, 3), min_size=width, max_size=width)), float)
    channels = st.lists(st.integers(0, width - 1), min_size=1, max_size=width).map(np.array)
    return scores, draw(st.lists(channels, min_size=1, max_size=4))


@given(scored(), st.integers(0, 12))
def test_every_layer_keeps_a_channel(case: tuple[np.ndarray, list[np.ndarray]], count: int) -> None:
    scores, layers = case
    kept = highest(scores, count, layers)
    assert all(np.isin(channels, kept).any() for channels in layers)
    assert (np.diff(kept) > 0).all()
    assert len(kept) == min(len(scores), max(count, len(one_of_each(scores, layers))))
    # Where the highest alone do, they are it.
    plain = highest(scores, count)
    if all(np.isin(channels, plain).any() for channels in layers):
        assert np.array_equal(kept, plain)
    # Who has the scores alone decides alike.
    if count >= len(one_of_each(scores, layers)):
        assert np.array_equal(highest(spared(scores, layers), count), kept)


def test_of_equal_scores_the_first_stay() -> None:
    assert highest(np.array([1.0, 1.0, 1.0]), 2).tolist() == [0, 1]
    assert highest(np.array([1.0, 2.0, 1.0]), 0).tolist() == []


def test_widths_are_whole_units() -> None:
    assert [width_left(64, share, 8, 1) for share in (1.0, 0.75, 0.7, 0.01)] == [64, 48, 48, 8]
    assert width_left(64, 0.1, 8, 20) == 20
    assert width_left(6, 0.5, 8, 1) == 6
