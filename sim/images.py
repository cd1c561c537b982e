"""Images on their way into a simulation: checked, and cut into parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from bnnflow import Problem

from ..transforms.ir.contract import choices
from ..transforms.ir.graph import Graph
from ..transforms.ir.tensor import Array


def admitted(graph: Graph, images: Array) -> Array:
    """Images as the kernels take them.

    Raises:
        Problem: they do not have the input's shape, range or step, or are not finite.
    """
    if images.shape[1:] != graph.input_type.shape:
        raise Problem(
            f"images have the shape {tuple(images.shape[1:])}, the graph wants {graph.input_type.shape}",
            f"input {graph.input!r} of {graph.name!r}",
            _order(images.shape[1:], graph.input_type.shape) or "give an array of shape (images, *the graph's shape)",
        )
    if images.dtype.kind not in "fiub":
        raise Problem(f"images of type {images.dtype} are not numbers", f"input {graph.input!r}")
    if images.dtype.kind == "f" and not np.all(np.isfinite(images)):
        image = int(np.argwhere(~np.isfinite(images))[0][0])
        raise Problem("an input value is NaN or infinite", f"image {image}", "repair or leave out this image")
    if graph.input_type.is_float:
        return images.astype(np.float64)
    low, high = graph.input_type.range
    if images.dtype == np.uint8 and low <= 0 and high >= 255:
        return images
    whole = images.dtype.kind != "f" or not np.any(images != np.floor(images))
    if images.size and (images.min() < low or images.max() > high or not whole):
        divided = (
            "give the data as they are stored, such as pixels from 0 to 255, not divided; --input says what they are"
        )
        raise Problem(
            f"the graph wants integers from {low} to {high}, the images hold {images.min():g} to {images.max():g}",
            f"input {graph.input!r} of {graph.name!r}",
            choices() if whole and images.dtype.kind != "f" else divided,
        )
    step = graph.input_type.step
    if step > 1 and np.any(between := (images.astype(np.int64) - low) % step):
        first = images.flat[int(np.flatnonzero(between)[0])]
        wanted = "-1 and +1" if graph.input_type.is_bipolar else f"{low}, {low + step}, ... {high}"
        what = f"the graph wants {wanted} alone, the images hold {first:g}"
        hint = "give 2 * bits - 1 for bits that are -1 and +1" if graph.input_type.is_bipolar else choices()
        raise Problem(what, f"input {graph.input!r} of {graph.name!r}", hint)
    return images.astype(np.uint8, copy=False) if low >= 0 and high <= 255 else images.astype(np.int64)


def _order(given: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """How to move the channels of maps that have them at the other end; empty where that is not what is wrong."""
    if len(given) == len(wanted) == 3 and given == (*wanted[1:], wanted[0]):
        return "the channels stand last; give numpy.moveaxis(images, -1, 1)"
    if len(given) == len(wanted) == 3 and given == (wanted[2], *wanted[:2]):
        return "the channels stand first; give numpy.moveaxis(images, 1, -1)"
    return ""


def checked_labels(labels: Array, images: int, classes: int) -> Array:
    """The labels themselves, where there is one per image and each is a class.

    Raises:
        Problem: another number of labels than images, no images, or values that are not whole numbers of classes.
    """
    if not images:
        raise Problem("there are no images", "input", "give at least one")
    if labels.shape != (images,):
        raise Problem(f"{labels.shape} labels for {images} images", "labels", "give one label per image")
    if classes < 2:
        what = "a network with one output tells no classes apart, so it has no accuracy"
        raise Problem(what, "labels", "compare its output (flow simulate --output) with what it should be")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= classes:
        raise Problem("labels are not whole numbers of classes", "labels", f"give integers from 0 to {classes - 1}")
    return labels


def batches(images: Array, size: int) -> Iterator[Array]:
    """Consecutive parts of at most `size` images."""
    for start in range(0, len(images), size):
        yield images[start : start + size]


def portions(images: Array | Iterable[Array], size: int) -> Iterator[Array]:
    """Parts of at most `size` images, of one array or of batches.

    Raises:
        Problem: a size below 1.
    """
    if size < 1:
        raise Problem(f"a batch must hold at least 1 image, not {size}", "argument batch")
    for part in (images,) if isinstance(images, np.ndarray) else images:
        yield from batches(np.asarray(part), size)
