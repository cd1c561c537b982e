"""Random crops and flips of whole batches."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

AUGMENTS = ("none", "crop", "flip", "crop-flip")


def draw_moves(count: int, shape: tuple[int, ...], kind: str, rng: np.random.Generator) -> np.ndarray:
    """How so many images of (C, H, W) are moved.

    Args:
        count, shape: of the images.
        kind: one of `AUGMENTS`.
        rng: what is taken from it depends on `count`, `shape` and `kind` alone.

    Returns:
        (count, 3) int64: the first row and column of the window into the image with its black border, an eighth of its
        side wide, and 1 where the window is mirrored left and right, else 0.
    """
    most = (shape[1] // 8, shape[2] // 8)
    moves = np.tile(np.array([*most, 0]), (count, 1))
    if "crop" in kind:
        moves[:, 0] = rng.integers(0, 2 * most[0] + 1, count)
        moves[:, 1] = rng.integers(0, 2 * most[1] + 1, count)
    if "flip" in kind:
        moves[:, 2] = rng.random(count) < 0.5
    return moves


def augment(images: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Each image moved by up to an eighth of its side, with black beyond the edge, and mirrored with chance 1/2.

    Args:
        images: (N, C, H, W) uint8; not changed.
        kind: one of `AUGMENTS`: "crop" moves, "flip" mirrors left and right.
        rng: its draws depend on N, H, W and kind alone.

    Returns:
        (N, C, H, W) uint8.
    """
    if kind == "none":
        return images
    count, _, height, width = images.shape
    moves = draw_moves(count, images.shape[1:], kind, rng)
    if "crop" in kind:
        rows, columns = moves[:, :1] + np.arange(height), moves[:, 1:2] + np.arange(width)
        around = (height // 8, width // 8)
        padded = np.pad(images, ((0, 0), (0, 0), (around[0],) * 2, (around[1],) * 2))
        cells = padded[np.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        images = cells.transpose(0, 3, 1, 2)
    if "flip" in kind:
        images = np.where(moves[:, 2].astype(bool)[:, None, None, None], images[..., ::-1], images)
    return np.ascontiguousarray(images)


def moved(images: Tensor, moves: Tensor) -> Tensor:
    """What `augment` makes of images with these moves, computed where the images are.

    Args:
        images: (N, C, H, W) uint8; not changed.
        moves: (N, 3), as `draw_moves` gives them, on the same device.
    """
    count, channels, height, width = images.shape
    there = images.device
    around = (height // 8, width // 8)
    padded = functional.pad(images, (around[1], around[1], around[0], around[0]))
    across = torch.arange(width, device=there)
    columns = moves[:, 1:2] + torch.where(moves[:, 2:] == 1, width - 1 - across, across)
    rows = moves[:, :1] + torch.arange(height, device=there)
    each = torch.arange(count, device=there)[:, None, None, None]
    planes = torch.arange(channels, device=there)[:, None, None]
    return padded[each, planes, rows[:, None, :, None], columns[:, None, None, :]]
