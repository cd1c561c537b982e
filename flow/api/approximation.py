"""Approximate sums in Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import DATA, Count, Natural, PathLike, Segment, Void, checked_arguments
from .common import array_of, given_or_default, path_of

if TYPE_CHECKING:
    import numpy as np

    from ..results.approximation import ApproximationResult

__all__ = ["approximate"]


@checked_arguments(
    DATA,
    Void(("balanced",), ("lta",)),
    Void(("draws", "seed"), ("confusion", "xnor_errors")),
    Void(("array",), ("capmin", "levels", "confusion", "histogram")),
    Void(("calibrate",), ("capmin", "refit", "histogram")),
)
def approximate(
    path: PathLike,
    images: np.ndarray | PathLike | None = None,
    labels: np.ndarray | PathLike | None = None,
    *,
    data: str = "",
    data_dir: PathLike | None = None,
    count: Count = 1000,
    lta: Sequence[Count] = (),
    balanced: bool = False,
    capmin: Sequence[Count] = (),
    levels: tuple[Natural, Natural] | None = None,
    array: Segment = 32,
    confusion: PathLike | None = None,
    xnor_errors: PathLike | None = None,
    layers: Sequence[str] = (),
    refit: bool = False,
    calibration: np.ndarray | PathLike | None = None,
    calibrate: Count = 500,
    histogram: PathLike | None = None,
    draws: Count = 5,
    seed: int | None = None,
    input: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ApproximationResult:
    """Accuracy of a graph while its sums of XNOR products are approximate, as in-memory hardware makes them.

    Args:
        path: ONNX file of any level.
        images, labels: arrays or .npy files, or
        data, data_dir: a data set's test images; without any: those of the run that the graph belongs to.
        count: the first so many.
        lta: local thresholds: products of a segment, a model each.
        balanced: thresholds of neighbouring segments differ by one, so that votes are even.
        capmin: levels of a segment's popcount that are kept, the most frequent on training images, a model each.
        levels: lowest and highest level to keep, a model more.
        array: products of a segment, for all but lta.
        confusion: CSV of probabilities, row by popcount, column by what it is read as, a model more.
        xnor_errors: CSV of error rates, row by weight, column by input, a model more.
        layers: that are approximate; none: all that can be.
        refit: thresholds behind approximate sums are moved so that bits are as often set as before.
        calibration: training images, for capmin, refit and histogram beside `images`; else those of the data set.
        calibrate: the first so many of them.
        histogram: file of popcounts: .csv, .json, .svg, .png or .pdf.
        draws, seed: trials of what is drawn.
        input: what the file's input holds, as for `load`.
        progress: called with trials done and in all.

    Raises:
        Problem: nothing is asked for, or a model does not fit the graph.

    >>> found = bf.approximate("net.onnx", data="digits", capmin=[3], refit=True, layers=["dense1"], input="uint8")
    >>> found.sums[0].range_ratio
    16.0
    """
    from ..commands import approximate as work
    from ..commands.simulation import Images
    from ..graphs.inputs import contract_of

    wanted = work.Wanted(
        lta=lta,
        balanced=balanced,
        capmin=capmin,
        levels=levels,
        array=array,
        confusion=path_of(confusion),
        xnor_errors=path_of(xnor_errors),
        layers=layers,
        refit=refit,
        calibration=array_of(calibration),
        calibrate=calibrate,
        draws=draws,
        seed=given_or_default(seed, "seed"),
        histogram=path_of(histogram),
    )
    judged = Images(array_of(images), array_of(labels), data, path_of(data_dir), count)
    return work.approximate(Path(path), contract_of(input), judged, wanted, progress)
