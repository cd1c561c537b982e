"""What every data set becomes: arrays of images and labels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labelled images of one data set, split into a training and a test part.

    Args:
        name: the name that `load_dataset` knows it by.
        classes: the class names in the order of the labels.
        train_images: (N, C, H, W) uint8, 0 to 255, read-only.
        train_labels: (N,) int64, 0 to len(classes) - 1, read-only.
        test_images: (M, C, H, W) uint8, 0 to 255, read-only.
        test_labels: (M,) int64, read-only.
        source: the folder the files were read from, or "bnnflow" for what comes with the package.
        files: sha256 (hexadecimal) of each file's content by file name; of the decompressed content for IDX
            files.
    """

    name: str
    classes: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    source: str
    files: dict[str, str]

    def __post_init__(self) -> None:
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            array.flags.writeable = False


def mixed(data: Dataset) -> Dataset:
    """The data set with the images of each part in another order, always the same.

    Whoever takes the first so many of them then has all classes in about their shares, however they were stored.
    """
    train, test = (np.random.default_rng(0).permutation(len(y)) for y in (data.train_labels, data.test_labels))
    return replace(
        data,
        train_images=data.train_images[train],
        train_labels=data.train_labels[train],
        test_images=data.test_images[test],
        test_labels=data.test_labels[test],
    )


def stratified(labels: np.ndarray, count: int) -> np.ndarray:
    """Ascending indices of `count` images, each class in its share (largest remainders), always the same."""
    sizes = np.bincount(labels)
    exact = sizes * count / len(labels)
    wanted = np.floor(exact).astype(int)
    wanted[np.argsort(wanted - exact, kind="stable")[: count - wanted.sum()]] += 1
    rng = np.random.default_rng(0)
    parts = [rng.permutation(np.flatnonzero(labels == label))[:n] for label, n in enumerate(wanted)]
    return np.sort(np.concatenate(parts))
