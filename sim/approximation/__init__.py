"""Approximate sums of XNOR products, as in-memory hardware computes them, exact on integers on any compiled graph.

`CapMin` and `Confusion` read each segment's popcount with few levels, or others by chance; `LocalThresholds` decides
each segment and takes the majority; `XnorErrors` turns single products, by their operands. `binary_layers` says which
layers have such sums, `approximated` is the graph that runs with them, `histograms` counts
segments' popcounts, `refitted` moves thresholds to where approximate sums are.
"""

from __future__ import annotations

from .approximate import Judged, SumModel, approximated, judge
from .capmin import CapMin, Confusion, histograms, read_confusion
from .layers import BinaryLayer, binary_layers, left_out, mapped
from .lta import LocalThresholds, local_thresholds
from .refit import refitted
from .xnor_errors import XnorErrors, read_xnor_errors

__all__ = [
    "BinaryLayer",
    "CapMin",
    "Confusion",
    "Judged",
    "LocalThresholds",
    "SumModel",
    "XnorErrors",
    "approximated",
    "binary_layers",
    "histograms",
    "judge",
    "left_out",
    "local_thresholds",
    "mapped",
    "read_confusion",
    "read_xnor_errors",
    "refitted",
]
