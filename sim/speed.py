"""Images a second of any program that maps a batch to scores."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from ..transforms.tensor import Array


def throughput(run: Callable[[Array], object], images: Array, repeats: int = 5) -> float:
    """Images a second of wall time: median of `repeats` runs over all images, after one run to warm up.

    Args:
        run: the program; it is given all images at once and may batch them as it likes.
        images: (images, ...).
        repeats: at least 1.
    """
    run(images)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run(images)
        seconds.append(time.perf_counter() - start)
    return len(images) / median(seconds)
