"""The operations of a graph as torch modules: what is trained of each, and what it is worth as the file holds it.

Maps are (images, channels, height, width). In eval mode each module computes, in the precision of what it is given,
what `transforms.passes.floats` and the reference interpreter say of its operation; parameters are rounded to float32
first, as files hold them. Quantizers hand gradients through as a rising straight line would.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...models.networks.plain import Adding, Bend, Border, GainNorm, Pooling, Quantizer, Scaling
from ...sim.norms import EPS
from ...transforms.ir.ops import AddBorder, Affine, Conv, Dense, PiecewiseLinear, Quantize, Sign, Stairs, Threshold
from ...transforms.ir.tensor import Array

START = 0.03
"""How far latent weights begin from where their level changes; they are trained within -1 and 1."""
_FAR = 2**31


class _StraightThrough(torch.autograd.Function):
    """Forward `made`; backward the gradient times `slope`, both of x's shape or broadcast to it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, made: Tensor, slope: Tensor | None) -> Tensor:
        ctx.slope = slope
        return made

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0] if ctx.slope is None else grads[0] * ctx.slope, None, None


def _through(x: Tensor, made: Tensor, slope: Tensor | None = None) -> Tensor:
    passed: Tensor = _StraightThrough.apply(x, made, slope)
    return passed


def stored(values: Tensor) -> Tensor:
    """The float32 numbers nearest to some, as float64."""
    return values.detach().double().float().double()


def numbers(values: Tensor) -> Array:
    """A tensor as a float64 array."""
    made: Array = values.detach().double().cpu().numpy()
    return made


def _shaped(values: Tensor, x: Tensor, axis: int = 1) -> Tensor:
    """Numbers a channel, or one for all, in x's precision and shaped to go along its channel axis."""
    places = x.dim() - 1 - axis if axis > 0 else 0
    return values.to(x.dtype).view(-1, *(1,) * places)


class _Constants(nn.Module):
    """A module with constants: float64 buffers."""

    def keep(self, **arrays: Array) -> None:
        """Hold each array under its name."""
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(np.array(array, np.float64)))


# -- layers ----------------------------------------------------------------------------------------


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
            return _through(latent, made * there, there)
        return _through(latent, made)

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


# -- products, sums and norms ----------------------------------------------------------------------


class FixedAffine(_Constants, Scaling):
    """`Affine` that is not trained; `axis` is that of the channels."""

    scale: Tensor
    shift: Tensor
    divisor: Tensor

    def __init__(self, op: Affine, axis: int = 1) -> None:
        super().__init__()
        self.axis = axis
        self.keep(scale=op.scale, shift=op.shift, divisor=op.divisor)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        scale, shift, divisor = (_shaped(one, x, self.axis) for one in (self.scale, self.shift, self.divisor))
        return x * scale / divisor + shift


class TrainedAffine(_Constants, Scaling):
    """`Affine` whose scale keeps its sign, and 0: it is the first one times e to the power of what is trained."""

    first: Tensor
    divisor: Tensor

    def __init__(self, op: Affine) -> None:
        super().__init__()
        self.keep(first=op.scale, divisor=op.divisor)
        self.power = nn.Parameter(torch.zeros(op.scale.size))
        self.shift = nn.Parameter(torch.from_numpy(np.array(op.shift, np.float32)))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        scale, shift = (self.first * self.power.exp(), self.shift) if self.training else self.constants()
        return x * _shaped(scale, x) / _shaped(self.divisor, x) + _shaped(shift, x)

    def constants(self) -> tuple[Tensor, Tensor]:
        """Scale and shift, float64, as a file holds them."""
        return stored(self.first.double() * self.power.double().exp()), stored(self.shift)

    def op(self) -> Affine:
        """The operation, with scale and shift as they are now."""
        scale, shift = self.constants()
        return Affine(numbers(scale), numbers(shift), numbers(self.divisor))


class Norm(GainNorm):
    """A batch norm that is two `Affine`: x - mean, then x * gain / sqrt(variance + eps) + bias; of maps and of rows.

    The gain keeps its sign, and 0: it is the first one times e to the power of what is trained. A training's batches
    are normed by their own statistics; `models.training.batchnorm.reestimate` sets the ones that stay.

    Args:
        channels: how many.
        centre: of which the shift is -mean.
        spread: of which the divisor is sqrt(variance + eps).
    """

    def __init__(self, channels: int, centre: Affine, spread: Affine) -> None:
        divisor = np.abs(spread.divisor)
        # A negative divisor is a negative gain.
        gain = spread.scale * np.where(spread.divisor < 0, -1.0, 1.0)
        super().__init__(channels, min(EPS, float((divisor * divisor).min()) / 2), affine=False)
        self.double()
        self.running_mean: Tensor
        self.running_var: Tensor
        self.running_mean.copy_(torch.from_numpy(np.array(-centre.shift)))
        self.running_var.copy_(torch.from_numpy(divisor * divisor - self.eps))
        self.first: Tensor
        self.register_buffer("first", torch.from_numpy(np.array(gain, np.float64)))
        self.power = nn.Parameter(torch.zeros(gain.size))
        self.shift = nn.Parameter(torch.from_numpy(np.array(spread.shift, np.float32)))

    def forward(self, x: Tensor) -> Tensor:
        """(images, channels, ...) to the same shape."""
        if not self.training:
            mean, gain, divisor, shift = (_shaped(one, x) for one in self.constants())
            return (x - mean) * gain / divisor + shift
        # One number for all channels has to lie in memory as often: torch's gradient reads beyond an expanded one.
        gain, shift = (
            one.expand(self.num_features).contiguous() for one in (self.first * self.power.exp(), self.shift)
        )
        assert self.momentum is not None
        return functional.batch_norm(
            x, self.running_mean, self.running_var, gain.to(x.dtype), shift, True, self.momentum, self.eps
        )

    def gain(self) -> Tensor:
        """See `GainNorm`."""
        return self.constants()[1].expand(self.num_features)

    def constants(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mean, gain, divisor and bias, float64, as a file holds them."""
        divisor = (self.running_var.double() + self.eps).sqrt()
        gain = self.first.double() * self.power.double().exp()
        return stored(self.running_mean), stored(gain), stored(divisor), stored(self.shift)

    def ops(self, centre: Affine) -> tuple[Affine, Affine]:
        """Both operations with the numbers of now; a product that stands in the first one stays."""
        mean, gain, divisor, shift = (numbers(one) for one in self.constants())
        return Affine(centre.scale, -mean, centre.divisor), Affine(gain, shift, divisor)


class NormStep(nn.Module):
    """`Norm` behind the product of its first operation."""

    def __init__(self, channels: int, centre: Affine, spread: Affine) -> None:
        super().__init__()
        plain = bool(np.all(centre.scale == 1) and np.all(centre.divisor == 1))
        product = FixedAffine(Affine(centre.scale, np.zeros(1), centre.divisor))
        self.product = nn.Identity() if plain else product
        self.norm = Norm(channels, centre, spread)

    def forward(self, x: Tensor) -> Tensor:
        """(images, channels, ...) to the same shape."""
        made: Tensor = self.norm(self.product(x))
        return made


class FixedBias(_Constants, Scaling):
    """`Bias`."""

    shift: Tensor

    def __init__(self, shift: Array, axis: int = 1) -> None:
        super().__init__()
        self.axis = axis
        self.keep(shift=shift)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return x + _shaped(self.shift, x, self.axis)


class BorderSums(_Constants, Scaling):
    """`AddBorder`: a number for every place of a map; a vector is one place."""

    values: Tensor

    def __init__(self, op: AddBorder) -> None:
        super().__init__()
        self.keep(values=op.values[op.rows][:, op.columns].transpose(2, 0, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return x + (self.values if x.dim() == 4 else self.values[:, 0, 0]).to(x.dtype)


class Pieces(_Constants, Bend):
    """`PiecewiseLinear`; its gradient is the slope."""

    knots: Tensor
    slopes: Tensor
    intercepts: Tensor

    def __init__(self, op: PiecewiseLinear, axis: int = 1) -> None:
        super().__init__()
        self.axis, self.closed = axis, op.closed
        self.keep(knots=op.knots, slopes=op.slopes, intercepts=op.intercepts)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""

        def column(values: Tensor, index: int) -> Tensor:
            return _shaped(values[:, index], x, self.axis)

        made = x * column(self.slopes, 0) + column(self.intercepts, 0)
        for index, belongs in enumerate(self.closed):
            knot = column(self.knots, index)
            piece = x * column(self.slopes, index + 1) + column(self.intercepts, index + 1)
            made = torch.where(x >= knot if belongs else x > knot, piece, made)
        return made


# -- quantizers ------------------------------------------------------------------------------------


class Rounding(_Constants, Quantizer):
    """`Quantize`; the gradient passes inside its range."""

    scale: Tensor

    def __init__(self, op: Quantize, axis: int = 1) -> None:
        super().__init__()
        self.axis, self.low, self.high, self.rounding = axis, op.low, op.high, op.rounding
        self.keep(scale=op.scale)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        scale = _shaped(self.scale, x, self.axis)
        with torch.no_grad():
            steps = x / scale
            made = self._rounded(steps).clamp(self.low, self.high) * scale
            half = 0.5 if self.high - self.low > 1 else 1.0
            inside = (steps >= self.low - half) & (steps <= self.high + half)
        return _through(x, made, inside.to(x.dtype))

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
        return _through(x, made, slope)

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


class Steps(_Constants, Quantizer):
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
        z = self.norm(x) * _shaped(self.power.exp(), x) + _shaped(self.shift, x)
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
            made += x >= _shaped(bounds[:, index], x)
        return made * self.rise + self.bias

    def _stairs(self, x: Tensor, bounds: Tensor, spread: Tensor | float) -> Tensor:
        with torch.no_grad():
            there = bounds.isfinite()
            count = there.sum(1)
            low = torch.where(there, bounds, math.inf).amin(1)
            high = torch.where(there, bounds, -math.inf).amax(1)
            step = torch.where(count > 1, (high - low) / (count - 1).clamp(min=1), 2.0 * spread)
            step = torch.where((count > 0) & (step > 0), step, 2.0 * spread)
            inside = (x >= _shaped(low - step / 2, x)) & (x <= _shaped(high + step / 2, x))
            slope = inside.to(x.dtype) * _shaped(self.rise / step, x)
            made = self._levels(x, bounds)
        return _through(x, made, slope)

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


# -- shapes ----------------------------------------------------------------------------------------


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
