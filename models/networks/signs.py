"""Signs in training: one pass over the numbers forward, one back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from brevitas.core.quant import ClampedBinaryQuant
from brevitas.nn import QuantIdentity
from torch import Tensor, nn

SWISH_BETA = 5.0


class _SignFunction(torch.autograd.Function):
    """The sign of x, or what was drawn in its place; backward, the estimator's slope at x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, estimator: str, drawn: Tensor | None) -> Tensor:
        ctx.save_for_backward(x)
        ctx.estimator = estimator
        return drawn if drawn is not None else sign(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (x,), (grad,) = ctx.saved_tensors, grads
        if grad.stride() != x.stride():  # in the input's layout, which the norm before sums in
            grad = torch.empty_like(x).copy_(grad)
        return through(grad, x, ctx.estimator), None, None


class BinarySign(QuantIdentity):
    """Brevitas' sign of a constant scale 1, with the same values and gradients in training, but quicker.

    Brevitas clamps and compares with `torch.where`, which torch does not vectorize: more than a third of an epoch of
    CNV on a processor (`benchmarks/training.py`). In eval mode and at export it is Brevitas' own,
    but within `quick_signs`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Any shape to the same shape of +1 (where the input >= 0) and -1; the gradient passes where |input| <= 1."""
        if self.training and not self.export_mode:
            quick: Tensor = _SignFunction.apply(input, "clip", None)
            return quick
        exact: Tensor = super().forward(input)
        return exact


class QuickBinaryQuant(ClampedBinaryQuant):
    """Brevitas' binary weights of a constant scale 1, with the same values and gradients in training, but quicker.

    Brevitas makes a number on the processor at each call and sends it to the weights' device, which waits for all that
    runs there and cannot be part of a CUDA graph. In eval mode it is Brevitas' own, but within `quick_signs`.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Latent weights to values, scale, zero point and bits, as Brevitas' quantizers give them."""
        if self.training:
            one = x.new_ones(1)
            return _SignFunction.apply(x, "clip", None), one, x.new_zeros(()), one
        exact: tuple[Tensor, Tensor, Tensor, Tensor] = super().forward(x)
        return exact


class SurrogateSign(nn.Module):
    """A sign whose gradient in training is that of a surrogate, and which may be drawn at random in training.

    Slopes: see `through`. Stochastic: +1 with probability clip((x + 1) / 2, 0, 1), else -1 (Courbariaux et al.,
    arXiv:1602.02830). In eval mode it is the exact sign.

    Args:
        sign: the exact sign.
        estimator, stochastic: see above.
    """

    def __init__(self, sign: nn.Module, estimator: str, stochastic: bool) -> None:
        super().__init__()
        self.sign = sign
        self.estimator = estimator
        self.stochastic = stochastic
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape of +1 and -1."""
        if not self.training:
            exact: Tensor = self.sign(x)
            return exact
        drawn = self._drawn(x.detach()) if self.stochastic else None
        made: Tensor = _SignFunction.apply(x, self.estimator, drawn)
        return made

    def _drawn(self, x: Tensor) -> Tensor:
        device = self.generator.device if self.generator is not None else x.device
        chance = torch.rand(x.shape, generator=self.generator, device=device).to(x.device)
        return torch.where(chance < (x + 1.0) * 0.5, 1.0, -1.0).to(x.dtype)


def sign(x: Tensor) -> Tensor:
    """+1 where x >= 0 (both zeros) else -1, of x's shape, format and layout; where x is NaN its sign bit decides."""
    # + 0.0 makes -0.0 the zero that copysign takes for positive
    return torch.copysign(torch.ones((), dtype=x.dtype, device=x.device), x + 0.0)


def through(grad: Tensor, x: Tensor, estimator: str) -> Tensor:
    """`grad` times the slope that stands for the sign's at x, both of one shape, format and layout.

    clip: 1 where |x| <= 1. polynomial: 2 - 2|x| where |x| < 1 (Liu et al., Bi-Real Net, arXiv:1808.00278). swish: the
    derivative of 2 s(5x) (1 + 5x (1 - s(5x))) - 1, s the logistic function (Darabi et al., BNN+, arXiv:1812.11800).
    identity: 1.
    """
    match estimator:
        case "clip":
            # torch's passes strictly within its bounds: the next number above 1 makes that |x| <= 1
            above = 1.0 + torch.finfo(x.dtype).eps
            passed: Tensor = torch.ops.aten.hardtanh_backward(grad, x, -above, above)
            return passed
        case "polynomial":
            return x.abs().mul_(-2.0).add_(2.0).clamp_(min=0.0).mul_(grad)
        case "swish":
            s = torch.sigmoid(SWISH_BETA * x)
            return 2.0 * SWISH_BETA * s * (1.0 - s) * (2.0 + SWISH_BETA * x * (1.0 - 2.0 * s)) * grad
    return grad


@contextmanager
def quick_signs(network: nn.Module) -> Iterator[None]:
    """Within, binary signs and weights of a network in eval mode go the quick way too: the same numbers, NaN apart."""
    quick = (BinarySign, QuickBinaryQuant)
    slow = [module for module in network.modules() if isinstance(module, quick) and not module.training]
    for module in slow:
        module.train()
    try:
        yield
    finally:
        for module in slow:
            module.eval()
