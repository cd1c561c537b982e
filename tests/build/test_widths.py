"""Widths that divide badly, against all foldings that there are."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnnflow.build.widths import (
    FRIENDLY,
    UNFRIENDLY,
    Matrix,
    division,
    friendly_widths,
    groups_of,
    matrices,
    unfriendly,
)
from bnnflow.transforms.channels import ChannelGroup

from ..hardware_graphs import residual
from .test_explore import layers


@given(st.integers(1, 70), st.integers(1, 2100), st.integers(1, 9), st.integers(1, 3000))
def test_no_legal_folding_does_with_fewer_products(rows: int, columns: int, vectors: int, cycles: int) -> None:
    found = division(Matrix(rows, columns, vectors), cycles)
    legal = [
        pe * simd
        for pe in range(1, rows + 1)
        for simd in range(ceil(columns / 1024), columns + 1)
        if rows % pe == 0 and columns % simd == 0 and vectors * (rows // pe) * (columns // simd) <= cycles
    ]
    assert (found is None) == (not legal) == (vectors > cycles)
    if found is not None:
        assert found.pe * found.simd == min(legal) and rows % found.pe == 0 and columns % found.simd == 0
        assert found.overshoot >= 1 and found.needed >= vectors * rows * columns / cycles


@given(st.integers(0, 9), st.integers(0, 13), st.integers(1, 5000))
def test_powers_of_two_are_never_unfriendly(rows: int, columns: int, cycles: int) -> None:
    found = division(Matrix(2**rows, 2**columns, 1), cycles)
    assert found is not None and not found.unfriendly


def test_primes_are() -> None:
    graph = layers((61, 128), (53, 61), (10, 53))
    assert matrices(graph) == {
        "dense0": Matrix(61, 128, 1),
        "dense1": Matrix(53, 61, 1),
        "dense2": Matrix(10, 53, 1),
    }
    found = unfriendly(graph, 50)
    assert list(found) == ["dense1", "dense2"], "the worst first"
    one = found["dense1"]
    # Of 53 x 61 one, 53, 61 or all products a cycle can be had.
    assert (one.needed, one.pe, one.simd) == (65, 53, 61)
    assert unfriendly(graph, 10**6) == {} and unfriendly(layers((64, 128), (16, 64)), 50) == {}


def group(width: int, reader_columns: int, kernel: int = 1, reason: str = "") -> ChannelGroup:
    inputs = np.arange(reader_columns // kernel) % width
    return ChannelGroup("one", width, {"one": np.arange(width)}, {"two": inputs}, reason)


@pytest.mark.parametrize(("kernel", "places"), [(1, 1), (9, 1), (1, 4)])
@pytest.mark.parametrize("width", [37, 53, 61])
@pytest.mark.parametrize("cycles", [40, 300, 2000])
def test_the_nearest_friendly_widths(width: int, kernel: int, places: int, cycles: int) -> None:
    """Neither is passed over, and none makes another layer divide worse than it did."""
    known = {"one": Matrix(width, 120, 2), "two": Matrix(48, width * kernel * places, 3)}

    def at(channels: int) -> list[float]:
        made = (Matrix(channels, 120, 2), Matrix(48, channels * kernel * places, 3))
        found = [division(each, cycles) for each in made]
        return [1e9 if each is None else each.overshoot for each in found]

    before = at(width)
    for place, name in enumerate(known):
        good = [
            channels
            for channels in range(ceil(0.75 * width), int(1.25 * width) + 1)
            if channels != width
            and at(channels)[place] < FRIENDLY
            and all(after < UNFRIENDLY or after <= was for after, was in zip(at(channels), before, strict=True))
        ]
        below, above = [each for each in good if each < width], [each for each in good if each > width]
        expected = [max(below)] * bool(below) + [min(above)] * bool(above)
        made = friendly_widths(name, group(width, width * kernel * places, kernel), known, cycles)
        assert [channels for channels, _ in made] == expected
        assert all(one.overshoot == at(channels)[place] for channels, one in made)


def test_what_cannot_be_changed_is_not_offered() -> None:
    assert [side for side, _ in groups_of("one", [group(8, 8)])] == ["outputs"]
    assert [side for side, _ in groups_of("two", [group(8, 8)])] == ["inputs"]
    assert list(groups_of("one", [group(8, 8, reason="they are the class scores")])) == []
    twice = ChannelGroup("one", 4, {"one": np.array([0, 1, 2, 3, 0, 1, 2, 3])}, {})
    assert list(groups_of("one", [twice])) == []


def test_units_with_branches_have_matrices_too() -> None:
    assert all(one.vectors >= 1 for one in matrices(residual()).values())
