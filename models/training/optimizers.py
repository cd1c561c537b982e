"""The optimizers of one training: one for latent or float parameters, and Bop for binary weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bnnflow import Problem

from ..networks.spec import NetworkSpec
from ..networks.ternary import MaskedWeight, StepWeight, TernaryWeight
from .bop import Bop
from .float_format import FloatFormat
from .train_spec import TrainSpec


class Optimizers:
    """Steps all parameters of a network, and clips latent weights of a fixed scale to [-1, 1] afterwards.

    With bop, binary weights become their signs when training begins, and stay +1 or -1. On a GPU, rates are tensors
    there and the updates of all parameters run in few kernels; `step` then waits for nothing and can be part of a CUDA
    graph, but its numbers are rounded otherwise than on a processor.

    Args:
        network: a `Network` or a user's own, on the device that it is trained on.
        spec: how to train.

    Raises:
        Problem: bop, or drawn signs, on weights that are not +1 and -1.
    """

    def __init__(self, network: nn.Module, spec: TrainSpec) -> None:
        self.spec = spec
        self.clipped = [module.weight for module in _weight_modules(network) if _is_clipped(module)]
        self.binary = [module.weight for module in binary_weight_modules(network)]
        self.bop: Bop | None = None
        parameters = list(network.parameters())
        if spec.optimizer == "bop" or spec.weight_sign == "stochastic":
            _check_plain(network, self.binary, spec)
        if spec.optimizer == "bop":
            with torch.no_grad():
                for weight in self.binary:
                    weight.copy_(torch.where(weight >= 0, 1.0, -1.0))
            form = FloatFormat.parse(spec.momentum_format) if spec.momentum_format else None
            self.bop = Bop(self.binary, spec.bop_rate, spec.bop_threshold, form)
            mine = {id(weight) for weight in self.binary}
            parameters = [parameter for parameter in parameters if id(parameter) not in mine]
        device = next(network.parameters()).device
        self.on_gpu = device.type == "cuda"
        options: dict[str, Any] = {"lr": spec.learning_rate, "weight_decay": spec.weight_decay}
        if self.on_gpu:
            options["fused"] = True
        self.main: torch.optim.Optimizer
        if spec.optimizer == "sgd":
            self.main = torch.optim.SGD(parameters, momentum=spec.momentum, **options)
        else:
            self.main = torch.optim.Adam(parameters, capturable=self.on_gpu, **options)
        if self.on_gpu:
            for group in self.main.param_groups + (self.bop.param_groups if self.bop is not None else []):
                group["lr"] = torch.full((), group["lr"], device=device)

    def set_rate(self, factor: float) -> None:
        """Set the learning rates (and gamma of bop) to their first values times `factor`."""
        for optimizer, rate in ((self.main, self.spec.learning_rate), (self.bop, self.spec.bop_rate)):
            for group in optimizer.param_groups if optimizer is not None else ():
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate * factor)
                else:
                    group["lr"] = rate * factor

    def zero_grad(self) -> None:
        """Forget all gradients."""
        self.main.zero_grad(set_to_none=True)
        if self.bop is not None:
            self.bop.zero_grad(set_to_none=True)

    @torch.no_grad()
    def step(self) -> None:
        """One update from the gradients."""
        self.main.step()
        if self.bop is not None:
            self.bop.step()
            return
        if self.on_gpu and self.clipped:
            torch._foreach_clamp_min_(self.clipped, -1.0)
            torch._foreach_clamp_max_(self.clipped, 1.0)
            return
        for weight in self.clipped:
            weight.clamp_(-1.0, 1.0)

    def take_counts(self) -> dict[str, float]:
        """What bop counted since the last call; empty without it."""
        return self.bop.take_counts() if self.bop is not None else {}

    def tensors(self) -> list[Tensor]:
        """What `step` changes in place besides the parameters; complete behind the first step, and 0 before it."""
        optimizers = [self.main] if self.bop is None else [self.main, self.bop]
        held = [value for one in optimizers for state in one.state.values() for value in state.values()]
        return [value for value in held if isinstance(value, Tensor)] + ([] if self.bop is None else [self.bop.counts])

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return {"main": self.main.state_dict(), **({"bop": self.bop.state_dict()} if self.bop is not None else {})}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`, whichever kind of device the state was kept on."""
        _put_back(self.main, state["main"])
        if self.bop is not None:
            _put_back(self.bop, state["bop"])


def _put_back(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a state, but for how and where this optimizer computes."""
    how = ("lr", "fused", "capturable")
    own = [{name: group[name] for name in how if name in group} for group in optimizer.param_groups]
    groups = [{**group, **mine} for group, mine in zip(state["param_groups"], own, strict=True)]
    optimizer.load_state_dict({**state, "param_groups": groups})


def binary_weight_modules(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """The layers of a network whose weights are binary."""
    return [module for module in _weight_modules(network) if _bits(module) == 1]


def _weight_modules(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


def _is_clipped(module: nn.Module) -> bool:
    """Binary weights, and those of a kind whose scale is 1."""
    injector = getattr(getattr(module, "weight_quant", None), "quant_injector", object)
    return _bits(module) == 1 or issubclass(injector, TernaryWeight | MaskedWeight | StepWeight)


def _bits(module: nn.Module) -> int:
    """Bits of a Brevitas layer's weights; 32 without a quantizer."""
    quantizer = getattr(module, "weight_quant", None)
    if quantizer is None or not getattr(quantizer, "is_quant_enabled", False):
        return 32
    with torch.no_grad():
        return int(quantizer.bit_width())


def _check_plain(network: nn.Module, binary: list[torch.Tensor], spec: TrainSpec) -> None:
    shape = getattr(network, "spec", None)
    scaled = isinstance(shape, NetworkSpec) and shape.weight_scale != "none"
    if scaled or not binary:
        field = "optimizer" if spec.optimizer == "bop" else "weight_sign"
        what = "weights have a scale" if scaled else "there are no binary weights"
        raise Problem(f"{what}, but {field} {getattr(spec, field)!r} is for weights of +1 and -1", key=field)


@contextmanager
def drawn_weights(network: nn.Module, draws: torch.Generator | None) -> Iterator[None]:
    """Within, binary weights are drawn: +1 with probability (w + 1) / 2, else -1; afterwards the latent ones are back.

    Gradients that are taken within belong to the latent weights. Does nothing where `draws` is None.
    """
    if draws is None:
        yield
        return
    weights = [module.weight for module in binary_weight_modules(network)]
    latent = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight, kept in zip(weights, latent, strict=True):
            chance = torch.rand(kept.shape, generator=draws).to(kept.device)
            weight.copy_(torch.where(chance < (kept + 1.0) * 0.5, 1.0, -1.0))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, kept in zip(weights, latent, strict=True):
                weight.copy_(kept)
