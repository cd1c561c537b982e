"""Training on several processes (torchrun): every process holds the whole network and takes its share of each batch.

Batch norms use the statistics of the whole batch, and gradients are summed, so that one process and several compute
the same numbers but for rounding. Works with gloo on processors and nccl on GPUs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def active() -> bool:
    """Whether several processes train together."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def share(count: int) -> slice:
    """The part of a batch of `count` images that this process takes."""
    if not active():
        return slice(None)
    rank, size = dist.get_rank(), dist.get_world_size()
    return slice(count * rank // size, count * (rank + 1) // size)


def leads() -> bool:
    """Whether this process writes files: the only one, or the first of several."""
    return not active() or dist.get_rank() == 0


class _Sum(torch.autograd.Function):
    """The sum over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.clone()
        dist.all_reduce(total)
        return total


def summed(x: Tensor) -> Tensor:
    """The sum over all processes, with its gradient."""
    total: Tensor = _Sum.apply(x)
    return total


def moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each row of (C, values) over all processes."""
    count = torch.full((1,), float(rows.shape[1]), dtype=rows.dtype, device=rows.device)
    total = summed(torch.cat((rows.sum(1), count)))
    mean = total[:-1] / total[-1]
    centred = rows - mean[:, None]
    var = summed((centred * centred).sum(1)) / total[-1].detach()
    return mean, var


def batch_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor:
    """What `norm` does in training mode, with the statistics of the batches of all processes."""
    mean, var = moments(x.transpose(0, 1).flatten(1))
    values = x.new_tensor(x.numel() / x.shape[1])
    dist.all_reduce(values)
    with torch.no_grad():
        momentum = 0.1 if norm.momentum is None else norm.momentum
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.lerp_(mean, momentum)
        norm.running_var.lerp_(var * (values / (values - 1).clamp(min=1.0)), momentum)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked += 1
    shape = (1, -1) + (1,) * (x.dim() - 2)
    scale = torch.rsqrt(var + norm.eps) * norm.weight
    return (x - mean.reshape(shape)) * scale.reshape(shape) + norm.bias.reshape(shape)


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Add up each gradient over all processes, in one message."""
    if not active():
        return
    held = [p for p in parameters if p.grad is not None]
    flat = torch.cat([p.grad.flatten() for p in held if p.grad is not None])
    dist.all_reduce(flat)
    start = 0
    for parameter in held:
        assert parameter.grad is not None
        parameter.grad.copy_(flat[start : start + parameter.numel()].reshape(parameter.shape))
        start += parameter.numel()


def from_leader(value: Any) -> Any:
    """What the first process holds under this name, in every process."""
    if not active():
        return value
    held = [value]
    dist.broadcast_object_list(held)
    return held[0]
