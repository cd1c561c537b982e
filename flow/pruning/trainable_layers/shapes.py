"""Borders, pools, joins, and other orders of the same values."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....models.networks.plain import Adding, Border, Pooling


class Padding(Border):
    """`Pad`; without a value the border of a `MaxPool`.

    That repeats what lies at the edge, which every window that reaches beyond it holds, so that no maximum changes: a
    border of -inf would have no differences.
    """

    def __init__(self, pads: tuple[int, int, int, int], value: float | None = None) -> None:
        super().__init__()
        top, left, bottom, right = pads
        self.pads, self.value = (left, right, top, bottom), value

    def forward(self, x: Tensor) -> Tensor:
        """Maps to larger maps."""
        if self.value is None:
            return functional.pad(x, self.pads, mode="replicate")
        return functional.pad(x, self.pads, value=self.value)


class Total(Pooling):
    """`SumPool`."""

    def __init__(self, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """Maps to smaller maps."""
        return functional.avg_pool2d(x, self.kernel, self.stride, divisor_override=1)


class Turned(nn.Module):
    """Maps to rows, channels fastest."""

    def forward(self, x: Tensor) -> Tensor:
        """(images, channels, height, width) to (images, height * width * channels)."""
        return x.permute(0, 2, 3, 1).flatten(1)


class Plus(Adding):
    """`Add`."""

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Two tensors of a shape to that shape."""
        return one + other


class Joined(nn.Module):
    """`Concat`."""

    def forward(self, *parts: Tensor) -> Tensor:
        """Channels one behind the other."""
        return torch.cat(parts, 1)


class AsMap(nn.Module):
    """(images, channels, length) to (images, channels, 1, length)."""

    def forward(self, x: Tensor) -> Tensor:
        """A line as a map of one row."""
        return x.unsqueeze(2)
