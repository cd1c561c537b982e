"""Random numbers of fault maps: nested over rates, the same on any number of workers, cheap at small rates.

Every unit (a cell, a word, a bit line) of a memory has one uniform number in [0, 1); it is hit at a rate when
its number is below the rate. Maps at all rates are therefore nested (common random numbers) whatever other
rates are asked for, and the first units of a memory have the same numbers whatever its size.

Numbers are not drawn for every unit: they are drawn in bands [16^-(k+1), 16^-k). Being below 16^-k without
being below 16^-(k+1) has the probability q = (16^-k - 16^-(k+1)) / (1 - 16^-(k+1)), and the gaps between the
units that pass this test are geometric: floor(log(1 - u) / log(1 - q)) + 1. The cost is that of the units that
are hit, up to a factor of 16, not that of the memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....transforms.ir.tensor import Array

_FLOOR = 8  # 16^-8 = 2.3e-10: all smaller rates share one band
_GAPS, _VALUES = 0, 1


class Stream:
    """Independent streams of one trial: called with a small number it gives a generator (Philox).

    Args:
        words: the key of all of them, two numbers of 64 bits.
    """

    __slots__ = ("_generator", "_state", "_words")

    def __init__(self, words: Array) -> None:
        self._words = words
        self._generator: np.random.Generator | None = None
        self._state: dict[str, Any] = {}

    def __call__(self, number: int) -> np.random.Generator:
        """A generator of its own."""
        return np.random.Generator(np.random.Philox(key=self._words, counter=[0, 0, 0, number]))

    def turned(self, number: int) -> np.random.Generator:
        """The same numbers from the one generator that every call of this turns: made once, which is what costs."""
        if self._generator is None:
            self._generator = self(number)
            self._state = dict(self._generator.bit_generator.state)
        self._state["state"] = {"counter": np.array([0, 0, 0, number], np.uint64), "key": self._words}
        self._generator.bit_generator.state = self._state
        return self._generator


def stream(seed: int, trial: int, *key: int) -> Stream:
    """The streams of one trial.

    Args:
        seed: of the campaign.
        trial: number of the fault map.
        key: what the numbers are for, such as a layer's position.
    """
    return Stream(np.random.SeedSequence([seed, trial, *key]).generate_state(2, np.uint64))


def uniforms(source: Stream, count: int, below: float) -> tuple[Array, Array]:
    """The units among the first `count` whose uniform number is below a rate, and their numbers.

    Returns:
        units, ascending int64, and values, float64, one per unit.
    """
    if count < 1 or below <= 0:
        return np.zeros(0, np.int64), np.zeros(0)
    places, values = [], []
    for band in range(_FLOOR, -1, -1):
        low, high = (0.0 if band == _FLOOR else 16.0 ** -(band + 1)), 16.0**-band
        if low >= below:
            break
        hit = _hits(source.turned(2 * band + _GAPS), count, (high - low) / (1 - low))
        if len(hit):
            places.append(hit)
            values.append(low + (high - low) * source.turned(2 * band + _VALUES).random(len(hit)))
    if not places:
        return np.zeros(0, np.int64), np.zeros(0)
    # A unit that passes in several bands keeps the lowest: bands come lowest first.
    units, first = np.unique(np.concatenate(places), return_index=True)
    numbers = np.concatenate(values)[first]
    keep = numbers < below
    return units[keep], numbers[keep]


def _hits(rng: np.random.Generator, count: int, chance: float) -> Array:
    """The units that pass a test of probability `chance`, ascending; the first are the same for any count."""
    if chance >= 1:
        return np.arange(count)
    found, last = [], -1
    while last < count - 1:
        draws = int((count - 1 - last) * chance * 1.1) + 16
        if last < 0 and draws == 16:
            # Most bands hit nothing. The margin is far more than a logarithm is rounded by.
            first = float(rng.random())
            if math.log1p(-first) < (count + 1) * (1 + 1e-9) * math.log1p(-chance):
                return np.zeros(0, np.int64)
            numbers = np.concatenate(([first], rng.random(draws - 1)))
        else:
            numbers = rng.random(draws)
        gaps = np.floor(np.log1p(-numbers) / np.log1p(-chance)) + 1
        places = last + np.cumsum(np.minimum(gaps, count + 1)).astype(np.int64)
        found.append(places)
        last = int(places[-1])
    every = np.concatenate(found)
    return every[every < count]
