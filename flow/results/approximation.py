"""What `flow approximate` finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .costs import InputHeld


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproximateLayer:
    """A layer of XNOR products as one model of sums has it.

    Attributes:
        layer: its name.
        fan_in: products of a sum.
        segments: of a sum.
        tail: products of the last segment where it has fewer than the others, else 0.
        readings: segments of all sums of an image: what converters read, or comparators decide with local thresholds.
        levels: lowest and highest popcount that are told apart; [] but for capmin.
    """

    layer: str
    fan_in: int
    segments: int
    tail: int
    readings: int
    levels: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproximateSums:
    """One model of sums.

    Attributes:
        model: lta, capmin, confusion or xnor-errors.
        size: products of a segment; 0 for xnor-errors, which know no segments.
        balanced: of lta, whether thresholds of neighbouring segments differ by one.
        kept: levels that are told apart; None but for capmin.
        level_ratio: all levels to those, 1 or more; None but for capmin.
        range_ratio: size to the distance of the highest from the lowest level, 1 or more; None but for capmin, and for
            one level.
        accuracy: share, mean over the draws.
        low, high: least and greatest share of the draws.
        changed: images whose class is not that of exact sums, mean over the draws.
        draws: trials; 1 where nothing is drawn.
        layers: those that are approximate.
        exact: why each other layer with weights is exact.
    """

    model: str
    size: int
    balanced: bool
    kept: int | None
    level_ratio: float | None
    range_ratio: float | None
    accuracy: float
    low: float
    high: float
    changed: float
    draws: int
    layers: list[ApproximateLayer]
    exact: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproximationResult:
    """Accuracy with approximate sums of XNOR products.

    Attributes:
        graph: its file.
        images: that it was judged on.
        accuracy: with exact sums, share.
        refit: whether thresholds behind approximate sums were moved to them.
        calibration: training images that levels, thresholds and histograms are of; 0 where none were needed.
        sums: one for each model.
        histograms: how often each popcount of a segment occurs, 0 first, by layer; {} where none was counted.
        histogram: file of them; None where none was asked for.
        input: what the graph's input holds.
    """

    graph: str
    images: int
    accuracy: float
    refit: bool
    calibration: int
    sums: list[ApproximateSums]
    histograms: Mapping[str, list[int]]
    histogram: str | None
    input: InputHeld | None
