"""Layers of weights: latent ones are trained, and levels computed with."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ....transforms.ir.ops import Conv, Dense
from ....transforms.ir.tensor import Array
from .tensors import through

START = 0.03
"""How far latent weights begin from where their level changes; they are trained within -1 and 1."""


class _Latent:
    """Whole weights as the levels of latent ones.

    Weights of -1 and +1 alone are the signs of theirs. Others are round(latent / (2 `START`)), from the least to the
    greatest that the layer began with. Gradients pass unchanged.

    Attributes:
        there: where synapses were removed, 1 for those that are left, 0 for those that are 0 and stay so; else None.
    """

    weight: Tensor
    training: bool
    there: Tensor | None

    @torch.no_grad()
    def keep_zeros(self) -> None:
        """Let the zeros of weights -1, 0 and +1 stay; the others are signs from now on."""
        self.there = (self.weight != 0).to(self.weight.dtype)
        self.binary = True
        self.weight.clamp_(-START, START)

    def begin(self, weight: Array) -> None:
        """Take on whole weights, in torch's order of axes."""
        self.binary = bool(np.all(np.abs(weight) == 1))
        self.low, self.high, self.kind = int(weight.min()), int(weight.max()), weight.dtype
        far = START if self.binary else 2 * START
        # Some of torch's convolutions give no gradient of weights that lie in memory in another order.
        self.weight = nn.Parameter(torch.from_numpy(np.ascontiguousarray(weight, np.float32) * np.float32(far)))
        assert isinstance(self, nn.Module)
        self.register_buffer("there", None, persistent=False)

    def levels(self) -> Tensor:
        """The whole weights, in the precision of the latent ones."""
        latent = self.weight
        if self.training:
            with torch.no_grad():
                least, most = (-1.0, 1.0) if self.binary else (2 * START * self.low, 2 * START * self.high)
                latent.clamp_(least, most)
        with torch.no_grad():
            if self.binary:
                made = torch.where(latent >= 0, 1.0, -1.0).to(latent.dtype)
            else:
                made = torch.round(latent / (2 * START)).clamp(self.low, self.high)
        if self.there is not None:
            there = self.there.to(latent.dtype)
            return through(latent, made * there, there)
        return through(latent, made)

    def whole(self) -> Array:
        """The whole weights, of the type that the layer began with."""
        made: Array = self.levels().detach().cpu().numpy().astype(self.kind)
        return made


class TrainedConv(_Latent, nn.Conv2d):
    """`Conv`."""

    def __init__(self, op: Conv) -> None:
        filters, height, width, channels = op.weight.shape
        nn.Conv2d.__init__(self, channels, filters, (height, width), op.stride, bias=False)
        self.begin(op.weight.transpose(0, 3, 1, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Maps to maps of sums."""
        return functional.conv2d(x, self.levels(), None, self.stride)

    def plain(self) -> nn.Conv2d:
        """Torch's convolution by the whole weights of now."""
        made = nn.Conv2d(self.in_channels, self.out_channels, self.weight.shape[2:], self.stride, bias=False)  # type: ignore[arg-type]
        made.weight = nn.Parameter(self.levels().detach())
        return made

    def op(self) -> Conv:
        """The operation, with the weights as they are now."""
        return Conv(self.whole().transpose(0, 2, 3, 1), (self.stride[0], self.stride[1]))


class TrainedDense(_Latent, nn.Linear):
    """`Dense`."""

    def __init__(self, op: Dense) -> None:
        nn.Linear.__init__(self, op.weight.shape[1], op.weight.shape[0], bias=False)
        self.begin(op.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(images, features) to (images, neurons)."""
        return functional.linear(x, self.levels())

    def plain(self) -> nn.Linear:
        """Torch's dense layer by the whole weights of now."""
        made = nn.Linear(self.in_features, self.out_features, bias=False)
        made.weight = nn.Parameter(self.levels().detach())
        return made

    def op(self) -> Dense:
        """The operation, with the weights as they are now."""
        return Dense(self.whole())
