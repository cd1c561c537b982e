"""Random crops and flips of whole batches."""

from __future__ import annotations

import numpy as np

AUGMENTS = ("none", "crop", "flip", "crop-flip")


def augment(images: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Each image moved by up to an eighth of its side, with black beyond the edge, and mirrored with chance 1/2.

    Args:
        images: (N, C, H, W) uint8; not changed.
        kind: one of `AUGMENTS`: "crop" moves, "flip" mirrors left and right.
        rng: its draws depend on N and kind alone.

    Returns:
        (N, C, H, W) uint8.
    """
    if kind == "none":
        return images
    count, _, height, width = images.shape
    if "crop" in kind:
        most = (height // 8, width // 8)
        rows = rng.integers(0, 2 * most[0] + 1, (count, 1)) + np.arange(height)
        columns = rng.integers(0, 2 * most[1] + 1, (count, 1)) + np.arange(width)
        padded = np.pad(images, ((0, 0), (0, 0), (most[0],) * 2, (most[1],) * 2))
        cells = padded[np.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        images = cells.transpose(0, 3, 1, 2)
    if "flip" in kind:
        mirrored = rng.random((count, 1, 1, 1)) < 0.5
        images = np.where(mirrored, images[..., ::-1], images)
    return np.ascontiguousarray(images)
