"""What the modules share: numbers as files hold them, constants, and gradients that go straight through."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ....transforms.ir.tensor import Array


class _StraightThrough(torch.autograd.Function):
    """Forward `made`; backward the gradient times `slope`, both of x's shape or broadcast to it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, made: Tensor, slope: Tensor | None) -> Tensor:
        ctx.slope = slope
        return made

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0] if ctx.slope is None else grads[0] * ctx.slope, None, None


def through(x: Tensor, made: Tensor, slope: Tensor | None = None) -> Tensor:
    """Forward `made`; backward the gradient of x, times `slope`, if given, of x's shape or broadcast to it."""
    passed: Tensor = _StraightThrough.apply(x, made, slope)
    return passed


def stored(values: Tensor) -> Tensor:
    """The float32 numbers nearest to some, as float64."""
    return values.detach().double().float().double()


def numbers(values: Tensor) -> Array:
    """A tensor as a float64 array."""
    made: Array = values.detach().double().cpu().numpy()
    return made


def shaped(values: Tensor, x: Tensor, axis: int = 1) -> Tensor:
    """Numbers a channel, or one for all, in x's precision and shaped to go along its channel axis."""
    places = x.dim() - 1 - axis if axis > 0 else 0
    return values.to(x.dtype).view(-1, *(1,) * places)


class Constants(nn.Module):
    """A module with constants: float64 buffers."""

    def keep(self, **arrays: Array) -> None:
        """Hold each array under its name."""
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(np.array(array, np.float64)))
