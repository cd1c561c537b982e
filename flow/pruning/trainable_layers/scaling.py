"""Products, sums and norms, fixed and trained, and piecewise linear functions."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ....models.networks.plain import Bend, GainNorm, Scaling
from ....sim.norms import EPS
from ....transforms.ir.ops import AddBorder, Affine, PiecewiseLinear
from ....transforms.ir.tensor import Array
from .tensors import Constants, numbers, shaped, stored


class FixedAffine(Constants, Scaling):
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
        scale, shift, divisor = (shaped(one, x, self.axis) for one in (self.scale, self.shift, self.divisor))
        return x * scale / divisor + shift


class TrainedAffine(Constants, Scaling):
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
        return x * shaped(scale, x) / shaped(self.divisor, x) + shaped(shift, x)

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
            mean, gain, divisor, shift = (shaped(one, x) for one in self.constants())
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


class FixedBias(Constants, Scaling):
    """`Bias`."""

    shift: Tensor

    def __init__(self, shift: Array, axis: int = 1) -> None:
        super().__init__()
        self.axis = axis
        self.keep(shift=shift)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return x + shaped(self.shift, x, self.axis)


class BorderSums(Constants, Scaling):
    """`AddBorder`: a number for every place of a map; a vector is one place."""

    values: Tensor

    def __init__(self, op: AddBorder) -> None:
        super().__init__()
        self.keep(values=op.values[op.rows][:, op.columns].transpose(2, 0, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return x + (self.values if x.dim() == 4 else self.values[:, 0, 0]).to(x.dtype)


class Pieces(Constants, Bend):
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
            return shaped(values[:, index], x, self.axis)

        made = x * column(self.slopes, 0) + column(self.intercepts, 0)
        for index, belongs in enumerate(self.closed):
            knot = column(self.knots, index)
            piece = x * column(self.slopes, index + 1) + column(self.intercepts, index + 1)
            made = torch.where(x >= knot if belongs else x > knot, piece, made)
        return made
