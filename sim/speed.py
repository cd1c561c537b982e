"""Images a second, and the time of one image, of any program that maps per batch to scores; both of wall time."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from ..transforms.ir.tensor import Array

Program = Callable[[Array], object]


def throughput(run: Program, images: Array, repeats: int = 5, seconds: float = 10.0) -> float:
    """Images a second: median over runs over all images, after one run to warm up.

    Args:
        run: the program; it is given all images at once and may batch them as it likes.
        images: (images, ...).
        repeats: runs at most, at least 1.
        seconds: no run is begun later than this after the first.
    """
    return len(images) / _median_seconds(run, images, repeats, seconds)


def latency(run: Program, image: Array, repeats: int = 100, seconds: float = 1.0) -> float:
    """Milliseconds that a batch of one image takes: median, after one run to warm up.

    Args:
        run, repeats, seconds: as for `throughput`.
        image: (1, ...).
    """
    return 1e3 * _median_seconds(run, image, repeats, seconds)


def affordable_images(run: Program, images: Array, seconds: float) -> int:
    """Images, of these and at least 1, that a program computes in about so many seconds.

    It runs on one image to warm up, then on more and more, for about half as long again in all.
    """
    run(images[:1])
    size = 1
    while True:
        start = time.perf_counter()
        run(images[:size])
        taken = time.perf_counter() - start
        if size == len(images) and taken <= seconds:
            return size
        if size == len(images) or 4 * taken > seconds:
            return max(1, min(len(images), int(size * seconds / taken)))
        size = min(4 * size, len(images))


def _median_seconds(run: Program, images: Array, repeats: int, seconds: float) -> float:
    run(images)
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while not taken or (len(taken) < repeats and time.perf_counter() < end):
        start = time.perf_counter()
        run(images)
        taken.append(time.perf_counter() - start)
    return median(taken)
