"""Ensembles of binary networks (BENN): trained one after another, exported as one graph with an integer vote.

What is pruned, ranked or trained as a whole is an ensemble as a module that the rest knows nothing of (`joined`): its
groups of channels are found in its graph, as those of a user's own class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from bnnflow import Problem

from ..networks.layers import ScoreNorm
from ..networks.network import Network
from ..networks.own import OwnNetwork, OwnSpec
from ..networks.spec import NetworkSpec
from .batchnorm import reestimate
from .evaluate import predict
from .train import Progress, TrainSpec, held_out, train

GREATEST_VOTE = 15
NORM_IMAGES = 2000
_DRAW = 31
JOINED = f"{__name__}:JoinedMembers"
"""The `OwnSpec.target` of an ensemble that is one module."""


@dataclass(frozen=True, slots=True)
class EnsembleSpec:
    """Several networks of one shape and their votes.

    Args:
        member: the shape of each.
        votes: a whole number of at least 1 for each.

    Raises:
        Problem: there are no members, a vote is below 1, or the members' last sums have a scale.
    """

    member: NetworkSpec
    votes: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.votes or min(self.votes) < 1:
            raise Problem(f"votes of {list(self.votes)}", "ensemble", "one whole number of at least 1 a member")
        plain = self.member.has_unit_weights and self.member.weight_kind == "levels"
        if not plain or self.member.scores == "class":
            what = "the votes of an ensemble are sums of +1 and -1, which have no scale"
            raise Problem(what, "ensemble", "use weight_scale: none, weight_bits: 1, and scores: one or none")

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height, width of the images."""
        return self.member.input_shape

    @property
    def classes(self) -> int:
        """Number of scores."""
        return self.member.classes

    def to_dict(self) -> dict[str, Any]:
        """The fields as numbers, strings and lists, fit for JSON."""
        return {"member": self.member.to_dict(), "votes": list(self.votes)}


class EnsembleNetwork(nn.Module):
    """The sum over members of vote * sums of the last layer, behind one scale and shift for all classes.

    In hardware: the image is duplicated, each member is a pipeline of its own, and adders join the streams of their
    integer sums. The greatest sum is the class that is voted for.

    Source: Zhu et al., Binary Ensemble Neural Network, arXiv:1806.07550 (there the votes are class scores too).
    """

    def __init__(self, spec: EnsembleSpec, seed: int = 0) -> None:
        super().__init__()
        self.spec = spec
        self.members = nn.ModuleList(Network(spec.member, seed + index) for index in range(len(spec.votes)))
        self.score = ScoreNorm()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) float32 pixels, whole numbers 0 to 255, to (N, classes) float32 scores."""
        total: Tensor | None = None
        for vote, member in zip(self.spec.votes, self.members, strict=True):
            sums = x
            assert isinstance(member, Network)
            for name, module in member.layers.items():
                if name != "score":
                    sums = module(sums)
            sums = sums * float(vote) if vote != 1 else sums
            total = sums if total is None else total + sums
        assert total is not None
        scores: Tensor = self.score(total)
        return scores

    def weight_layers(self) -> list[tuple[str, nn.Conv2d | nn.Linear]]:
        """Name and module of every layer with weights, member by member."""
        found = []
        for index, member in enumerate(self.members):
            assert isinstance(member, Network)
            found += [(f"member{index}.{name}", module) for name, module in member.weight_layers()]
        return found


class JoinedMembers(EnsembleNetwork):
    """An ensemble of the fields of its spec, as `OwnNetwork` makes its body."""

    def __init__(self, member: dict[str, Any], votes: list[int]) -> None:
        super().__init__(EnsembleSpec(NetworkSpec.from_dict(member), tuple(votes)))


def joined(network: Network | OwnNetwork | EnsembleNetwork) -> Network | OwnNetwork:
    """An ensemble, with its weights, as one module whose votes stay; what is one already stays as it is."""
    if not isinstance(network, EnsembleNetwork):
        return network
    spec = network.spec
    made = OwnNetwork(OwnSpec(JOINED, spec.to_dict(), spec.input_shape, spec.classes))
    made.body.load_state_dict(network.state_dict())
    return made.train(network.training)


def train_ensemble(
    member: NetworkSpec,
    count: int,
    method: Literal["bagging", "boosting"],
    images: np.ndarray,
    labels: np.ndarray,
    spec: TrainSpec,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> tuple[EnsembleNetwork, list[dict[str, float]]]:
    """Train `count` networks and join them.

    bagging: each learns from a bootstrap sample (as many images, drawn with repetition) and has one vote. boosting
    (SAMME): each learns from images drawn by their weights; with error e of the weighted images, its vote is
    a = log((1 - e) / e) + log(classes - 1), and the weights of the images that it gets wrong are multiplied by exp(a).
    Votes become whole numbers from 1 to 15 in proportion.

    Args:
        member: the shape of each network.
        count, method: how many, and how.
        images: (N, C, H, W) uint8.
        labels: (N,) integers.
        spec: how to train each; member k has the seed spec.seed + k. What it holds out, no member sees.
        checkpoint: each member has its own file beside it; a run that was interrupted goes on as `train` does.
        progress: as for `train`, with `member` (from 1).

    Returns:
        The ensemble, its norms not yet measured, and a dict for each epoch of each member as `train` gives it, with
        `member`.
    """
    EnsembleSpec(member, (1,) * count)
    out, held = held_out(labels, spec), None
    if len(out):
        held = images[out], labels[out]
        images, labels = np.delete(images, out, 0), np.delete(labels, out)
    weights = np.full(len(images), 1.0 / len(images))
    networks, strengths, history = [], [], []
    for index in range(count):
        rng = np.random.default_rng([spec.seed, index, _DRAW])
        chosen = np.sort(rng.choice(len(images), len(images), p=None if method == "bagging" else weights))
        network = Network(member, spec.seed + index)
        own = checkpoint and checkpoint.with_name(f"{checkpoint.stem}-member{index + 1}{checkpoint.suffix}")
        how = replace(spec, seed=spec.seed + index)
        shown = _numbered(progress, index, count)
        rows = train(network, images[chosen], labels[chosen], how, own, shown, held=held)
        history += [{**row, "member": index + 1.0} for row in rows]
        networks.append(network)
        strength = 1.0
        if method == "boosting":
            strength, weights = _boost(network, images, labels, weights, rng)
        strengths.append(strength)
    made = EnsembleNetwork(EnsembleSpec(member, whole_votes(strengths)), spec.seed)
    for slot, network in zip(made.members, networks, strict=True):
        slot.load_state_dict(network.state_dict())
    return made, history


def _boost(
    network: Network, images: np.ndarray, labels: np.ndarray, weights: np.ndarray, rng: np.random.Generator
) -> tuple[float, np.ndarray]:
    """The strength of a member, and the images' new weights (SAMME; Zhu et al., Multi-class AdaBoost, 2009)."""
    reestimate(network, images[np.sort(rng.permutation(len(images))[:NORM_IMAGES])])
    wrong = predict(network, images).argmax(1) != labels
    error = float(np.clip(weights[wrong].sum(), 1e-6, 1.0 - 1e-6))
    strength = max(0.0, np.log((1.0 - error) / error) + np.log(network.spec.classes - 1.0))
    raised = weights * np.exp(strength * wrong)
    return float(strength), raised / raised.sum()


def whole_votes(strengths: list[float]) -> tuple[int, ...]:
    """Whole numbers from 1 to 15 in proportion to strengths; equal ones are 1."""
    greatest = max(strengths)
    if greatest <= 0 or min(strengths) == greatest:
        return (1,) * len(strengths)
    return tuple(max(1, round(GREATEST_VOTE * strength / greatest)) for strength in strengths)


def _numbered(progress: Progress | None, index: int, count: int) -> Callable[..., None] | None:
    if progress is None:
        return None
    report = progress
    return lambda done, total, figures: report(index * total + done, count * total, {"member": index + 1.0, **figures})


def ensemble_of(fields: dict[str, Any]) -> EnsembleNetwork:
    """The inverse of `EnsembleSpec.to_dict`, as an untrained ensemble."""
    return EnsembleNetwork(EnsembleSpec(NetworkSpec.from_dict(fields["member"]), tuple(fields["votes"])))


def binarize(ensemble: EnsembleNetwork, values: Callable[[Any], Tensor]) -> None:
    """Replace all latent weights by `values` of their layers."""
    with torch.no_grad():
        for _, module in ensemble.weight_layers():
            module.weight.copy_(values(module))
