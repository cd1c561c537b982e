"""Signs, thresholds and roundings, and what is trained of them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ....models.networks.plain import Quantizer
from ....sim.norms import EPS
from ....transforms.ir.ops import Quantize, Sign, Stairs, Threshold
from .tensors import Constants, numbers, shaped, stored, through

_FAR = 2**31


class Rounding(Constants, Quantizer):
    """`Quantize`; the gradient passes inside its range."""

    scale: Tensor

    def __init__(self, op: Quantize, axis: int = 1) -> None:
        super().__init__()
        self.axis, self.low, self.high, self.rounding = axis, op.low, op.high, op.rounding
        self.keep(scale=op.scale)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        scale = shaped(self.scale, x, self.axis)
        with torch.no_grad():
            steps = x / scale
            made = self._rounded(steps).clamp(self.low, self.high) * scale
            half = 0.5 if self.high - self.low > 1 else 1.0
            inside = (steps >= self.low - half) & (steps <= self.high + half)
        return through(x, made, inside.to(x.dtype))

    def _rounded(self, x: Tensor) -> Tensor:
        match self.rounding:
            case "HALF_ODD":
                return torch.round(x - 1) + 1
            case "FLOOR":
                return torch.floor(x)
            case "CEIL":
                return torch.ceil(x)
            case "ROUND_TO_ZERO":
                return torch.trunc(x)
        return torch.round(x)


class Signs(Quantizer):
    """`Sign`; the gradient, 1 / width, passes where |x| <= width, the spread of what it sees before training."""

    def __init__(self, op: Sign) -> None:
        super().__init__()
        self.zero, self.width = float(op.zero), 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        with torch.no_grad():
            made = torch.copysign(torch.ones((), dtype=x.dtype, device=x.device), x + 0.0)
            if self.zero != 1:
                made = torch.where(x == 0, self.zero, made)
            slope = (x.abs() <= self.width).to(x.dtype) / self.width
        return through(x, made, slope)

    def begin(self, mean: Tensor, variance: Tensor) -> None:
        """Take the spread of all channels together; (channels,) float64 each."""
        self.width = _spread(variance)


class _Seen(nn.BatchNorm2d):
    """A batch norm without gain and bias in training mode, of maps and of rows; in eval mode what it is given."""

    def forward(self, x: Tensor) -> Tensor:
        """(images, channels, ...) to the same shape."""
        if not self.training:
            return x
        assert self.momentum is not None
        return functional.batch_norm(x, self.running_mean, self.running_var, None, None, True, self.momentum, self.eps)


class Steps(Constants, Quantizer):
    """`Threshold` and `Stairs`; where `normed`, their bounds are trained, through a batch norm that is not in the file.

    What is trained stands between sums and bounds: z = gain (x - mean) / spread + shift reaches fixed bounds u. The
    bounds t of x, which alone exist in eval mode and in the file, follow from the first ones, t0, by

        t = r t0 + (mean - r mean0) - spread * shift / gain,   r = spread / (gain spread0)

    and are t0 exactly as long as nothing changes. Of whole numbers they are rounded up to the next, since a sum of
    whole numbers reaches both or neither. The gradient passes from half a step below the first bound to half a step
    above the last as along a straight line; a single bound's step is two spreads.

    Args:
        op: the operation.
        kind: range of what it reads, for `Threshold`; bounds that are always or never reached stay so.
        channels: how many, where it is `normed`.
        normed: whether its bounds are trained.
    """

    bounds: Tensor
    mean0: Tensor
    spread0: Tensor

    def __init__(self, op: Threshold | Stairs, kind: tuple[int, int] | None, channels: int, normed: bool) -> None:
        super().__init__()
        self.whole = isinstance(op, Threshold)
        self.bias, self.rise = float(op.out_bias), float(op.out_scale)
        bounds = np.asarray(op.bounds, np.float64)
        if normed:
            bounds = np.broadcast_to(bounds, (channels, bounds.shape[1]))
        # Whole numbers begin in the middle, so that no rounding is near one.
        bounds = bounds - 0.5 if self.whole else bounds
        if kind is not None:
            bounds = np.where(bounds > kind[1], np.inf, np.where(bounds < kind[0], -np.inf, bounds))
        self.keep(bounds=bounds)
        self.width = 1.0
        self.norm: _Seen | None = None
        if normed:
            self.norm = _Seen(channels, EPS, affine=False).double()
            self.power = nn.Parameter(torch.zeros(channels))
            self.shift = nn.Parameter(torch.zeros(channels))
            self.keep(mean0=np.zeros(channels), spread0=np.full(channels, math.sqrt(1 + EPS)))

    def forward(self, x: Tensor) -> Tensor:
        """(images, channels, ...) to the same shape."""
        if self.norm is None or not self.training:
            return self._stairs(x if self.norm is None else self.norm(x), self.current(), self._width())
        z = self.norm(x) * shaped(self.power.exp(), x) + shaped(self.shift, x)
        return self._stairs(z, (self.bounds - self.mean0[:, None]) / self.spread0[:, None], 1.0)

    def _width(self) -> Tensor | float:
        """What a spread of what bounds are trained on is of x: one number, or (channels,)."""
        if self.norm is None:
            return self.width
        assert self.norm.running_var is not None
        return (self.norm.running_var.double() + EPS).sqrt() / self.power.detach().double().exp()

    def _levels(self, x: Tensor, bounds: Tensor) -> Tensor:
        made = torch.zeros_like(x)
        for index in range(bounds.shape[1]):
            made += x >= shaped(bounds[:, index], x)
        return made * self.rise + self.bias

    def _stairs(self, x: Tensor, bounds: Tensor, spread: Tensor | float) -> Tensor:
        with torch.no_grad():
            there = bounds.isfinite()
            count = there.sum(1)
            low = torch.where(there, bounds, math.inf).amin(1)
            high = torch.where(there, bounds, -math.inf).amax(1)
            step = torch.where(count > 1, (high - low) / (count - 1).clamp(min=1), 2.0 * spread)
            step = torch.where((count > 0) & (step > 0), step, 2.0 * spread)
            inside = (x >= shaped(low - step / 2, x)) & (x <= shaped(high + step / 2, x))
            slope = inside.to(x.dtype) * shaped(self.rise / step, x)
            made = self._levels(x, bounds)
        return through(x, made, slope)

    def begin(self, mean: Tensor, variance: Tensor) -> None:
        """Take what it sees before training, (channels,) float64 each, as the norm that its bounds were made with."""
        self.width = _spread(variance)
        if self.norm is not None:
            assert self.norm.running_mean is not None
            assert self.norm.running_var is not None
            self.norm.running_mean.copy_(mean)
            self.norm.running_var.copy_(variance)
            self.mean0.copy_(mean)
            self.spread0.copy_((variance + EPS).sqrt())

    def current(self) -> Tensor:
        """The bounds of now, float64, (channels or 1, levels); whole numbers or float32 where they are trained."""
        bounds = self.bounds.double()
        if self.norm is not None:
            assert self.norm.running_mean is not None
            assert self.norm.running_var is not None
            gain = self.power.double().exp()
            mean, spread = self.norm.running_mean.double(), (self.norm.running_var.double() + EPS).sqrt()
            ratio = spread / (gain * self.spread0.double())
            moved = mean - ratio * self.mean0.double() - spread * self.shift.double() / gain
            bounds = ratio[:, None] * bounds + moved[:, None]
            if not self.whole:
                return stored(bounds)
        return bounds.detach().ceil() if self.whole else bounds

    def op(self, kind: tuple[int, int] | None, first: Threshold | Stairs) -> Threshold | Stairs:
        """The operation with the bounds of now, for sums of the range `kind`."""
        bounds = numbers(self.current())
        if isinstance(first, Stairs):
            return Stairs(bounds, first.out_bias, first.out_scale)
        bounds = np.clip(bounds, -_FAR, _FAR)
        if kind is not None:
            bounds = np.clip(bounds, kind[0], kind[1] + 1)
        return Threshold(bounds.astype(np.int64), first.out_bias, first.out_scale)


def _spread(variance: Tensor) -> float:
    found = float(variance.mean().sqrt())
    return found if found > 0 and math.isfinite(found) else 1.0
