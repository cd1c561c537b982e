"""Weights assigned to few levels by distance, entropy and relevance: many become 0, and all code to few bits.

Source: Becking et al., ECQx: Explainability-Driven Quantization for Low-Bit and Sparse DNNs, arXiv:2109.04236. Its
relevance is LRP, here by choice. How rho, beta and p work together was read in a summary:
see `relevance_factor` for what is done here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bnnflow import Problem

from ..networks.network import Network
from ..relevance.guide import with_guide
from ..relevance.lrp import weight_lrp
from ..training.batchnorm import NORM_IMAGES, reestimate
from ..training.injection import MemoriesOf
from ..training.latent import require_latent
from ..training.train import Extras, Progress, TrainSpec, train
from .gradients import weight_relevance

HALVINGS = 12
RELEVANCES: dict[str, Callable[..., dict[str, np.ndarray]]] = {"taylor": weight_relevance, "lrp": weight_lrp}


@dataclass(frozen=True, slots=True)
class EcqxSpec:
    """How weights are assigned.

    Args:
        bits: 2 to 5: levels k / K for k from -K to K, K = 2^(bits - 1) - 1; 2 is ternary.
        strength: lambda, 0 or more: squared steps that a bit of code is worth.
        extra: p, 0 to 1: share of zeros that relevance may add to those of distance and entropy; 0 leaves relevance
            out (ECQ).
        relevance: of each weight, one of `RELEVANCES`: "taylor", |w dL/dw|, or "lrp", |relevance of its products|; w
            are latent weights, so that what was made 0 can come back.
        images: training images of the relevance, which is taken anew every epoch.
        seed: of their choice.

    Raises:
        Problem: a value is out of its range, or an unknown relevance.
    """

    bits: int = 2
    strength: float = 0.1
    extra: float = 0.1
    relevance: str = "taylor"
    images: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (("bits", 2, 5), ("strength", 0, 1000), ("extra", 0, 1), ("images", 1, 10**9)):
            if not low <= getattr(self, name) <= high:
                raise Problem(f"{name} of {getattr(self, name)}", name, f"from {low} to {high}")

        if self.relevance not in RELEVANCES:
            raise Problem(f"there is no relevance {self.relevance!r}", "relevance", f"one of {', '.join(RELEVANCES)}")

    @property
    def top(self) -> int:
        """K, the highest level."""
        return int(2 ** (self.bits - 1) - 1)


def assign(weights: Tensor, shares: Tensor, strength: float, factor: Tensor | None = None) -> Tensor:
    """argmin over c of (K (w - c / K))^2 - lambda log2 P_c, the cost of c = 0 times `factor`.

    Args:
        weights: any shape, -1 to 1.
        shares: (2 K + 1,), P_c, above 0.
        strength: lambda.
        factor: of the shape of the weights, rho R^beta; None is 1.

    Returns:
        Whole numbers from -K to K in float, of the shape of the weights.
    """
    top = len(shares) // 2
    levels = torch.arange(-top, top + 1, dtype=weights.dtype, device=weights.device)
    costs = (weights[..., None] * top - levels) ** 2 - strength * shares.log2()
    if factor is not None:
        costs[..., top] *= factor
    return costs.argmin(-1).to(weights.dtype) - top


def shares_of(levels: Tensor, top: int) -> Tensor:
    """P_c of whole numbers from -top to top, with one more of each so that none is 0."""
    counts = torch.bincount((levels.flatten() + top).long(), minlength=2 * top + 1) + 1.0
    return counts / counts.sum()


def relevance_factor(weights: Tensor, shares: Tensor, strength: float, relevance: Tensor, extra: float) -> Tensor:
    """rho R^beta: above 1 where a weight matters more than the mean one, so that it is not made 0, below 1 elsewhere.

    R is the relevance over its maximum; rho = mean(R)^-beta, so that the mean relevance changes nothing. beta starts at
    1 and is halved until at most `extra` more of the weights are 0 than without relevance, at last to 0. This holds
    for one assignment; in training the shares follow, so that more zeros can come about over many.
    """
    highest = relevance.max()
    if not highest > 0:
        return torch.ones_like(weights)
    scaled = relevance / highest
    before = (assign(weights, shares, strength) == 0).float().mean()
    for halving in range(HALVINGS):
        factor = (scaled / scaled.mean()) ** 0.5**halving
        if (assign(weights, shares, strength, factor) == 0).float().mean() - before <= extra:
            return factor
    return torch.ones_like(weights)


def ecqx(
    network: Network,
    images: np.ndarray,
    labels: np.ndarray,
    spec: EcqxSpec,
    recovery: TrainSpec,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    memories: MemoriesOf | None = None,
) -> Network:
    """Train with assigned weights, and leave the assigned ones.

    Latent weights are brought to the step that fits them best in squared error. Each batch is computed with their
    assignment, and the gradient goes to the latent weights (straight-through estimator); P_c are those of the batch
    before.

    Args:
        network: trained, with latent weights; not changed.
        images, labels: (N, C, H, W) uint8 and (N,), to train and re-estimate batch norms on.
        spec: how weights are assigned.
        recovery: how to train; with 0 epochs they are assigned once.
        progress: as for `train`.
        checkpoint: as for `train`; of the same `relevance`.
        memories: of the hardware of a network, for bit errors in fine-tuning.

    Returns:
        A network of `weight_kind` "steps" and the spec's bits, in eval mode, whose latent weights are its levels.

    Raises:
        Problem: such weights do not fit the network's joins, or the network has no latent weights.
    """
    require_latent(network, network.weight_layers())
    made = _in_steps(network, spec)
    chosen = np.random.default_rng([spec.seed, 41]).permutation(len(images))[: spec.images]

    def relevance(network: Network) -> dict[str, np.ndarray]:
        return RELEVANCES[spec.relevance](network, images[chosen], labels[chosen], latent=True)

    steps = -(-len(images) // recovery.batch)
    state = _Assigned(made, spec, relevance, steps * recovery.accumulate)
    reestimate(made, images, recovery.augment, recovery.seed, most=NORM_IMAGES)
    if recovery.epochs:
        extras = Extras(state.within, None, repr(spec), state.carried, state.carry_on, memories=memories)
        extras = with_guide(extras, recovery, images, labels)
        train(made, images, labels, recovery, checkpoint, progress, extras=extras)
    state.settle()
    reestimate(made, images, recovery.augment, recovery.seed, most=NORM_IMAGES)
    return made


@dataclass(slots=True)
class _Assigned:
    """The assignment of every layer while it is trained."""

    network: Network
    spec: EcqxSpec
    relevance: Callable[[Network], dict[str, np.ndarray]]
    every: int
    shares: dict[str, Tensor] = field(default_factory=dict)
    relevances: dict[str, Tensor] = field(default_factory=dict)
    calls: int = 0

    def carried(self) -> dict[str, Any]:
        """What an assignment takes over from the batches before it."""
        return {"shares": self.shares, "relevances": self.relevances, "calls": self.calls}

    def carry_on(self, state: dict[str, Any]) -> None:
        """Take up what `carried` gave."""
        self.shares, self.relevances, self.calls = state["shares"], state["relevances"], state["calls"]

    @contextmanager
    def within(self, _network: nn.Module) -> Iterator[None]:
        """Within, the weights are the assigned levels; afterwards the latent ones are back."""
        if self.calls % self.every == 0:
            self._look()
        self.calls += 1
        latent = {name: module.weight.detach().clone() for name, module in self.network.weight_layers()}
        self._write()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, module in self.network.weight_layers():
                    module.weight.copy_(latent[name])

    def settle(self) -> None:
        """Leave the assigned levels for good."""
        if not self.calls:
            self._look()
        self._write()

    def _look(self) -> None:
        """Take the relevance of the weights anew."""
        if self.spec.extra > 0:
            found = self.relevance(self.network)
            self.relevances = {name: torch.from_numpy(np.asarray(found[name])).float() for name in found}

    @torch.no_grad()
    def _write(self) -> None:
        top, strength = self.spec.top, self.spec.strength
        for name, module in self.network.weight_layers():
            weight = module.weight
            if name not in self.shares:
                self.shares[name] = shares_of((weight * top).round(), top)
            shares, relevance = self.shares[name].to(weight.device), self.relevances.get(name)
            factor = None
            if relevance is not None:
                factor = relevance_factor(weight, shares, strength, relevance.to(weight.device), self.spec.extra)
            levels = assign(weight, shares, strength, factor)
            self.shares[name] = shares_of(levels, top)
            weight.copy_(levels / top)


@torch.no_grad()
def _in_steps(network: Network, spec: EcqxSpec) -> Network:
    """A copy with constant steps, whose latent weights are scaled to the step of least squared error."""
    shape = replace(network.spec, weight_kind="steps", weight_bits=spec.bits, weight_scale="none")
    made = Network(shape)
    made.load_state_dict(network.state_dict(), strict=False)
    for _, module in made.weight_layers():
        weight = module.weight
        highest = float(weight.abs().max()) or 1.0
        best, least = highest, float("inf")
        for part in np.linspace(0.2, 1.0, 33):
            reach = highest * float(part)
            near = (weight / reach * spec.top).round().clamp(-spec.top, spec.top) / spec.top * reach
            error = float(((weight - near) ** 2).sum())
            if error < least:
                best, least = reach, error
        weight.copy_((weight / best).clamp(-1.0, 1.0))
    return made.eval()
