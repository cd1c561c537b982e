"""Synapses of binary layers removed one by one: a neuron counts equal bits over the synapses that it keeps.

A removed synapse is a weight of 0 in a layer of -1 and +1 (`weight_kind` "masked"); its latent weight is 0 and stays 0
in later training. On folded hardware such a layer has 2-bit weights and gains nothing; fully unrolled, each neuron is a
tree of its own over the synapses that are left (`bnnflow.build.unrolled`). In a user's own module the latent weight
stays what it was, and what the layer's quantizer makes of it is taken for 0 (`OwnSpec.sparse`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from bnnflow import Problem

from ..networks.network import Network
from ..networks.own import OwnNetwork
from ..training.flips import FlipCounts, needed
from ..training.injection import MemoriesOf
from ..training.latent import require_latent
from ..training.optimizers import binary_weight_modules
from ..training.train import Extras, Progress, TrainSpec
from .gradients import weight_relevance
from .recovery import Recovery, Removal, rounds

CRITERIA = {
    "latent": "|latent weight|: what training is sure of; refused where there are none",
    "taylor": "|w dL/dw| over training images: first-order change of the loss",
    "flips": "sign changes from epoch to epoch in the last window of training: what flips most goes first",
    "flips-step": "the same from update to update",
    "random": "drawn: the control",
}
Scores = Mapping[str, np.ndarray]
N = TypeVar("N", Network, OwnNetwork)
Layers = list[tuple[str, nn.Conv2d | nn.Linear]]


@dataclass(frozen=True, slots=True)
class SynapseSpec:
    """How to remove synapses.

    Args:
        share: of the synapses of a layer that are gone in the end, 0 to 0.99: one for all, or by layer name (others
            stay whole).
        steps: in which this is reached, 1 or more; after step t of T, share * (1 - (1 - t / T)^3) are gone (Zhu,
            Gupta, arXiv:1710.01878).
        criterion: one of `CRITERIA`.
        images: training images of criterion "taylor".
        seed: of drawn scores and ties, and of the choice of images.

    Raises:
        Problem: a value is out of its range.
    """

    share: float | Mapping[str, float]
    steps: int = 1
    criterion: str = "latent"
    images: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        shares = self.share.values() if isinstance(self.share, Mapping) else (self.share,)
        for share in shares:
            if not 0.0 <= share <= 0.99:
                raise Problem(f"a share of {share}", "share", "from 0 to 0.99")
        if self.criterion not in CRITERIA:
            what = f"there is no criterion {self.criterion!r} of single synapses"
            raise Problem(what, "criterion", f"one of {', '.join(CRITERIA)}")
        for field in ("steps", "images"):
            if getattr(self, field) < 1:
                raise Problem(f"{field} of {getattr(self, field)}", field, "1 or more")

    def shares(self, network: Network | OwnNetwork, step: int) -> dict[str, float]:
        """The share gone after step `step` (from 1) by layer name.

        Raises:
            Problem: a layer is named that the network does not have.
        """
        names = [name for name, _ in prunable_layers(network)]
        whole = self.share if isinstance(self.share, Mapping) else dict.fromkeys(names, self.share)
        for name in whole:
            if name not in names:
                raise Problem(f"there is no layer {name!r}", "layers", f"one of {', '.join(names)}")
        return {name: share * (1.0 - (1.0 - step / self.steps) ** 3) for name, share in whole.items()}


@dataclass(frozen=True, slots=True)
class SynapseStep:
    """One step: synapses kept by layer name, and accuracy (0 to 1) on the held images before and after recovery."""

    kept: dict[str, int]
    before: float
    after: float


def prunable_layers(network: Network | OwnNetwork) -> Layers:
    """The layers that single synapses can be removed of: of a user's module those of one bit that run once."""
    if isinstance(network, Network):
        return network.weight_layers()
    binary = {id(module) for module in binary_weight_modules(network)}
    return [(name, m) for name, m in network.weight_layers() if id(m) in binary and network.runs(name) == 1]


def prune_synapses(
    network: N,
    images: np.ndarray,
    labels: np.ndarray,
    held: tuple[np.ndarray, np.ndarray],
    spec: SynapseSpec,
    recovery: TrainSpec,
    flips: FlipCounts | None = None,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    memories: MemoriesOf | None = None,
) -> tuple[N, list[SynapseStep]]:
    """Remove the synapses of lowest score step by step; re-estimate, fine-tune and re-estimate after each.

    Args:
        network: binary weights without a scale, masked or not; not changed.
        images, labels: (N, C, H, W) uint8 and (N,), to score, fine-tune and re-estimate on.
        held: images and labels to judge by.
        spec: how.
        recovery: fine-tuning of each step; step t has its seed plus t.
        flips: what training counted, for "flips" and "flips-step"; the same in every step.
        progress: as for `train`, for each step anew.
        checkpoint: beside it the epochs of each step are kept, so that the same call resumes from there.
        memories: of the hardware of a network, for bit errors in fine-tuning.

    Returns:
        The masked network in eval mode, and the steps.

    Raises:
        Problem: the weights are not -1 and +1, or `synapse_scores` lacks what the criterion needs.
    """

    def lowest(best: N, step: int) -> Removal[N] | None:
        if step > spec.steps:
            return None
        found = synapse_scores(best, spec, images, labels, step, flips)
        small = masked(best, masks(best, found, spec.shares(best, step)))
        return Removal(small, f"step{step}", replace(recovery, seed=recovery.seed + step))

    recover = Recovery(images, labels, held, recovery, checkpoint, progress, extras=Extras(memories=memories))
    made, done = rounds(masked(network, {}), lowest, recover)
    return made, [SynapseStep(kept_synapses(one.network), one.before, one.after) for one in done]


def synapse_scores(
    network: Network | OwnNetwork,
    spec: SynapseSpec,
    images: np.ndarray,
    labels: np.ndarray,
    step: int = 1,
    flips: FlipCounts | None = None,
) -> dict[str, np.ndarray]:
    """Scores of all weights by the spec's criterion, by layer name; higher is more important.

    Raises:
        Problem: there are no latent weights, no counted flips, or such of a network of another shape.
    """
    rng = np.random.default_rng([spec.seed, step])
    if spec.criterion == "taylor":
        chosen = np.sort(rng.permutation(len(images))[: spec.images])
        return weight_relevance(network, images[chosen], labels[chosen], layers=prunable_layers(network))
    layers = prunable_layers(network)
    if spec.criterion == "random":
        return {name: rng.random(tuple(module.weight.shape)) for name, module in layers}
    if spec.criterion.startswith("flips"):
        return _steadiness(layers, flips, "step" if spec.criterion == "flips-step" else "epoch", rng)
    require_latent(network, layers)
    return {name: module.weight.detach().abs().double().numpy() for name, module in layers}


def _steadiness(layers: Layers, flips: FlipCounts | None, kind: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Flips of each weight, negated. Most counts are 0 or 1, so that ties are the rule: they are drawn.

    Source: Li and Ren, ISQED 2020, who call a weight insensitive that flipped at all.
    """
    shapes = {name: tuple(module.weight.shape) for name, module in layers}
    counted = needed(flips).of(kind, shapes)
    return {name: rng.random(counts.shape) - counts for name, counts in counted.items()}


def masks(network: Network | OwnNetwork, scores: Scores, shares: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Which synapses stay: in each layer all but a share of the lowest scores.

    Synapses that are gone already stay gone and count; the highest of each neuron or filter always stays.

    Args:
        network: whose synapses they are.
        scores: by layer name, of the shape of the weights.
        shares: of each layer's synapses that are gone, 0 to 1, rounded to whole ones.

    Returns:
        For each layer of `shares` bool of the shape of the weights, True where a synapse stays.
    """
    there = present(network)
    return {name: highest_share(scores[name], there[name], share) for name, share in shares.items()}


def highest_share(scores: np.ndarray, there: np.ndarray, share: float) -> np.ndarray:
    """Which synapses of a layer stay: all but a share of the lowest scores; of each neuron the highest always does.

    Args:
        scores: (neurons, ...).
        there: bool, of the same shape; what is gone already stays gone and counts.
        share: gone in the end, 0 to 1, rounded to whole synapses.

    Returns:
        bool of the same shape.
    """
    ranked = np.where(there, scores, -np.inf).reshape(len(there), -1)
    ranked[np.arange(len(ranked)), ranked.argmax(axis=1)] = np.inf
    order = np.argsort(ranked, axis=None, kind="stable")
    keep = np.ones(ranked.size, bool)
    keep[order[: round(share * ranked.size)]] = False
    stays: np.ndarray = (keep.reshape(ranked.shape) | np.isposinf(ranked)).reshape(there.shape) & there
    return stays


@torch.no_grad()
def masked(network: N, keep: Mapping[str, np.ndarray]) -> N:
    """A copy whose synapses outside of `keep` are gone, of `weight_kind` "masked" where it is no user's module.

    Args:
        network: binary weights without a scale, masked or not; of a user's, whatever else has other weights. Not
            changed.
        keep: bool of the shape of the weights by layer name; layers that are not named lose none.

    Raises:
        Problem: the weights are not -1 and +1, or all synapses of a neuron would go.
    """
    for name, stays in keep.items():
        if not stays.reshape(len(stays), -1).any(axis=1).all():
            raise Problem("a neuron or filter keeps no synapse", name, "remove it as a whole")
    if isinstance(network, OwnNetwork):
        return network.with_synapses({name: torch.from_numpy(stays) for name, stays in keep.items()})
    if not (network.spec.weight_bits == 1 and network.spec.has_unit_weights):
        what = "only synapses of weights -1 and +1 can be masked"
        raise Problem(what, "model.weight_bits", "use weight_bits: 1 and weight_scale: none")
    made = Network(replace(network.spec, weight_kind="masked"))
    made.load_state_dict(network.state_dict())
    for name, module in made.weight_layers():
        weight = module.weight
        if network.spec.weight_kind != "masked":
            # A latent weight of 0 is a +1; only masks make zeros.
            weight[weight == 0] = torch.finfo(weight.dtype).tiny
        if name in keep:
            weight.mul_(torch.from_numpy(keep[name]))
    return made.train(network.training)


def synapses(network: Network | OwnNetwork) -> dict[str, tuple[int, int]]:
    """Synapses kept, and all, by name of the layers that they can be removed of."""
    return {name: (int(there.sum()), there.size) for name, there in present(network).items()}


def present(network: Network | OwnNetwork) -> dict[str, np.ndarray]:
    """Which synapses are there: bool of the shape of the weights, by name of the layers that they can be removed of."""
    left = network.synapses_left() if isinstance(network, OwnNetwork) else {}
    made = {}
    for name, module in prunable_layers(network):
        weight = module.weight.detach().cpu().numpy()
        if name in left:
            made[name] = left[name].cpu().numpy() > 0
        else:
            is_masked = isinstance(network, Network) and network.spec.weight_kind == "masked"
            made[name] = weight != 0 if is_masked else np.ones(weight.shape, bool)
    return made


def kept_synapses(network: Network | OwnNetwork) -> dict[str, int]:
    """Synapses kept, by layer name."""
    return {name: kept for name, (kept, _) in synapses(network).items()}
