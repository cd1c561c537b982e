"""The batches of an epoch of training, from images on the processor or on the training's device."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from .augment import augment, draw_moves, moved
from .batchnorm import sent

Batch = tuple[Tensor, Tensor]


class HostFeed:
    """Images stay on the processor and are moved there; each batch is sent to the device.

    Args:
        images: (N, C, H, W) uint8.
        labels: (N,) integers.
        kind: of augmentation, see `augment.augment`.
        device: that batches are wanted on.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, kind: str, device: torch.device) -> None:
        self.images = images
        self.labels = labels
        self.kind = kind
        self.device = device

    def epoch(self, order: np.ndarray, steps: int, rng: np.random.Generator) -> Iterator[Batch]:
        """Images (n, C, H, W) uint8 and labels (n,) int64 of so many steps.

        Args:
            order: indices of the images, as they go by.
            steps: parts of the order, the first of which may have one image more than the last.
            rng: of the augmentation.
        """
        for chosen in np.array_split(order, steps):
            batch = torch.from_numpy(augment(self.images[chosen], self.kind, rng))
            yield batch.to(self.device), torch.from_numpy(self.labels[chosen].astype(np.int64)).to(self.device)


class DeviceFeed:
    """Images lie on the device and are moved there: the same batches, for which the processor waits for nothing.

    Arguments are those of `HostFeed`.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, kind: str, device: torch.device) -> None:
        self.images = torch.from_numpy(np.array(images)).to(device)
        self.labels = torch.from_numpy(labels.astype(np.int64)).to(device)
        self.kind = kind

    def epoch(self, order: np.ndarray, steps: int, rng: np.random.Generator) -> Iterator[Batch]:
        """As `HostFeed.epoch`."""
        sizes = [len(part) for part in np.array_split(order, steps)]
        device, chosen = self.images.device, sent(order, self.images.device)
        parts = chosen.split(sizes)
        if self.kind == "none":
            for rows in parts:
                yield self.images[rows], self.labels[rows]
            return
        shape = tuple(self.images.shape[1:])
        moves = sent(np.concatenate([draw_moves(size, shape, self.kind, rng) for size in sizes]), device)
        for rows, how in zip(parts, moves.split(sizes), strict=True):
            yield moved(self.images[rows], how), self.labels[rows]


def make_feed(images: np.ndarray, labels: np.ndarray, kind: str, device: torch.device) -> HostFeed | DeviceFeed:
    """The feed for a device: images lie on a GPU where they take at most half of the memory that it has free."""
    if device.type == "cuda" and images.nbytes <= torch.cuda.mem_get_info(device)[0] // 2:
        return DeviceFeed(images, labels, kind, device)
    return HostFeed(images, labels, kind, device)
