"""Local thresholding: each segment of a sum is compared with a threshold of its own, and the majority decides.

After the local thresholding approximation (LTA; IEEE JETCAS 2023, doi 10.1109/JETCAS.2023.3315561), in which no
analog-digital converter reads a segment's popcount: a comparator is enough. Its published code divides by integers
where the tail's threshold is made, so that it is 0 for any tail, and compares the wrong way where a norm's gain is
negative; neither is so here: a compiled graph holds negative gains in its weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bnnflow import Problem

from ...transforms.ir.tensor import Array
from ..segments import Segments, popcounts
from ..walk import Change
from .layers import KEY, BinaryLayer


def local_thresholds(thresholds: Array, segments: Segments, balanced: bool = False) -> Array:
    """Least popcounts of each segment at which it votes for the bit: (segments, *thresholds.shape) int64.

    A segment of a of the fan-in's f products gets floor(T a / f + 1/2), the tail by its own length.

    Balanced: a popcount that reaches T is above T - 1/2, and above these limits, not T, is what segments have in
    proportion. Limits T_k - 1/2 of the segments are to sum to T - 1/2, so with e_k products up to segment k, and
    C_k = (T - 1/2) e_k / f + k / 2, segment k gets floor(C_k + 1/2) - floor(C_(k-1) + 1/2), but 0 to a. Where popcounts
    are a / 2 on average, 57 of 100 segments of 32 random products reach 16, and 43 reach 17:
    half of them vote where every other one has 17.

    T = f + 1, which no popcount reaches, is reached by no segment, either (a + 1); T = 0 is reached by all.

    Args:
        thresholds: T, on popcounts of the whole fan-in, 0 to f + 1.
        segments: of the fan-in.
        balanced: see above.
    """
    fan_in, lengths = segments.fan_in, np.array(segments.lengths, np.int64).reshape(-1, *(1,) * thresholds.ndim)
    if balanced:
        ends, numbers = np.cumsum(lengths, axis=0), np.arange(1, len(lengths) + 1).reshape(lengths.shape)
        above = ((2 * thresholds - 1) * ends + fan_in * (numbers + 1)) // (2 * fan_in)
        below = ((2 * thresholds - 1) * (ends - lengths) + fan_in * numbers) // (2 * fan_in)
        shared = np.where(thresholds > 0, np.clip(above - below, 0, lengths), 0)
    else:
        shared = (2 * thresholds * lengths + fan_in) // (2 * fan_in)
    return np.where(thresholds > fan_in, lengths + 1, shared)


@dataclass(frozen=True, slots=True)
class LocalThresholds:
    """The bit of a layer is set where more than half of its segments reach their local thresholds; a tie leaves it out.

    Every segment has one vote, the tail, too. A layer of one segment is exact.

    Args:
        gates: n, products of a segment.
        balanced: how thresholds are shared, see `local_thresholds`.

    Raises:
        Problem: less than one.
    """

    name: ClassVar[str] = "lta"
    on_bits: ClassVar[bool] = True
    """Whether it gives the bit behind the sums, and not sums."""
    drawn: ClassVar[bool] = False
    """Whether it differs from trial to trial."""

    gates: int
    balanced: bool = False

    def __post_init__(self) -> None:
        if self.gates < 1:
            raise Problem(f"segments of {self.gates} products", "approximation", "1 or more", key=KEY)

    @property
    def size(self) -> int:
        """Products of a whole segment."""
        return self.gates

    def segments(self, layer: BinaryLayer) -> Segments:
        """How it divides a layer's sums."""
        return Segments(layer.fan_in, self.gates)

    def replacing(self, layer: BinaryLayer, seed: int, trial: int) -> Change:
        """What the layer does in place of sums and threshold: (batch, ..., fan-in) to the bit, `low` or `low` + 1."""
        assert layer.thresholds is not None
        divided = self.segments(layer)
        local = local_thresholds(layer.thresholds, divided, self.balanced).astype(np.float32)
        counts = popcounts(layer.op, divided)

        def run(x: Array, first: int) -> Array:
            votes = np.zeros(1, np.int32)
            for popcount, least in zip(counts(x), local, strict=True):
                votes = votes + (popcount >= least)
            made: Array = (2 * votes > divided.count) + np.int8(layer.low)
            return made

        return run
