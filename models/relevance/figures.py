"""Criteria that give one number per filter: from weights, activations, training, or by trying each filter."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bnnflow import Problem

from ..networks.plain import PlainNetwork, gain
from ..networks.twin import AnyNetwork
from ..training.flips import needed
from ..training.latent import require_latent
from .sample import Sample, ScoringRequest
from .taps import Probe, captured

Scores = dict[str, np.ndarray]
_BATCH = 256


def hidden_layers(network: AnyNetwork) -> dict[str, torch.nn.Conv2d | torch.nn.Linear]:
    """The weight layers but the last, or that other layers read, by name."""
    if isinstance(network, PlainNetwork):
        return network.hidden_layers()
    return dict(network.weight_layers()[:-1])


def random(asked: ScoringRequest) -> Scores:
    """Uniform numbers from 0 to 1, layer by layer."""
    rng = np.random.default_rng(asked.seed)
    return {name: rng.random(len(module.weight)) for name, module in hidden_layers(asked.network).items()}


def latent(asked: ScoringRequest) -> Scores:
    """Mean |latent weight| of each filter by the mean of its layer.

    Raises:
        Problem: a binary layer whose weights all have one magnitude, as Bop and packed files leave them.

    Source: Chen, Anderson and Kim, ASP-DAC 2023 (there single weights; filters are our definition).
    """
    layers = hidden_layers(asked.network)
    require_latent(asked.network, list(layers.items()))
    made = {}
    for name, module in layers.items():
        size = module.weight.detach().double().abs()
        mean = size.mean()
        made[name] = (size.flatten(1).mean(1) / torch.where(mean > 0, mean, 1.0)).cpu().numpy()
    return made


def reconstruction(asked: ScoringRequest) -> Scores:
    """Places in the order of removal that changes what the layers behind add up least; see `sim.reconstruction`.

    Raises:
        Problem: no exported graph is at hand.
    """
    if asked.sets is None:
        raise Problem("sets of channels are chosen in a network's exported graph", "reconstruction", "use `flow rank`")
    return asked.sets(asked.network, asked.sample, asked.seed)


def flips_of_epochs(asked: ScoringRequest) -> Scores:
    """Of epochs; see `_flips`."""
    return _flips(asked, "epoch")


def flips_of_steps(asked: ScoringRequest) -> Scores:
    """Of updates; see `_flips`."""
    return _flips(asked, "step")


def _flips(asked: ScoringRequest, kind: str) -> Scores:
    """1 / (1 + flips a weight in the last window): filters whose weights keep flipping are least important.

    Raises:
        Problem: flips were not counted, or of a network of another shape (pruned since).
    """
    filters = {name: (len(module.weight),) for name, module in hidden_layers(asked.network).items()}
    counted = needed(asked.flips).of(kind, filters)
    return {name: 1.0 / (1.0 + count.reshape(len(count), -1).mean(1)) for name, count in counted.items()}


def norm_gain(asked: ScoringRequest) -> Scores:
    """|gain| of the norm that reads each layer.

    Raises:
        Problem: a layer has no norm of its own, as in front of an integer join.
    """
    norms = Probe.of(asked.network).norms
    made = {}
    for name in hidden_layers(asked.network):
        if name not in norms:
            raise Problem("no batch norm of its own stands behind it", name, "use another criterion than norm-gain")
        made[name] = gain(norms[name]).detach().abs().double().cpu().numpy()
    return made


@torch.no_grad()
def entropy(asked: ScoringRequest) -> Scores:
    """Variance of each filter's output over images and map, a quarter of it for +1 and -1: then it is p (1 - p)."""
    first, second = _moments(Probe.of(asked.network), asked.sample)
    return {name: ((second[name] - first[name] ** 2).clamp(min=0.0) / 4.0).cpu().numpy() for name in first}


def _moments(probe: Probe, sample: Sample) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Mean and mean square of each filter's output at the taps, float64."""
    first: dict[str, Tensor] = {}
    second: dict[str, Tensor] = {}
    for start in range(0, len(sample.images), _BATCH):
        x = probe.tensor(sample.images[start : start + _BATCH])
        with torch.no_grad(), captured(probe.model, probe.taps) as outputs:
            probe.model(x)
        share = len(x) / len(sample.images)
        for name, y in outputs.items():
            rows = y.double().transpose(0, 1).flatten(1)
            first[name] = first.get(name, torch.zeros(())) + rows.mean(1) * share
            second[name] = second.get(name, torch.zeros(())) + rows.square().mean(1) * share
    return first, second


def taylor_weight(asked: ScoringRequest) -> Scores:
    """Sum over each filter of |b * dL/db|, b the quantized weights, L the mean cross entropy of the sample.

    Source: Molchanov et al., Importance Estimation for Neural Network Pruning, arXiv:1906.10771.
    """
    probe = Probe.of(asked.network, sums=False)
    sample = asked.sample
    weights = {name: module.weight.requires_grad_() for name, module in probe.model.hidden_layers().items()}
    labels = torch.from_numpy(np.array(sample.labels, np.int64))
    for start in range(0, len(sample.images), _BATCH):
        x = probe.tensor(sample.images[start : start + _BATCH])
        target = labels[start : start + _BATCH].to(x.device)
        (functional.cross_entropy(probe.model(x), target, reduction="sum") / len(labels)).backward()
    return {
        name: torch.zeros(len(w)).numpy()
        if w.grad is None
        else (w.detach() * w.grad).abs().flatten(1).sum(1).cpu().numpy()
        for name, w in weights.items()
    }


@torch.no_grad()
def ablation(asked: ScoringRequest) -> Scores:
    """Increase of the mean cross entropy when one filter's output is held at its mean over the sample.

    Runs in float32 from the module that holds the layer on; what comes before is computed once a batch.
    """
    probe = Probe.of(asked.network, sums=False, precision=torch.float32)
    sample = asked.sample
    means, _ = _moments(probe, sample)
    labels = torch.from_numpy(np.array(sample.labels, np.int64))
    # kept on the device: looking at each filter's loss would wait for it
    rise = {name: torch.zeros_like(mean, dtype=torch.float64) for name, mean in means.items()}
    for start in range(0, len(sample.images), _BATCH):
        x = probe.tensor(sample.images[start : start + _BATCH])
        target = labels[start : start + _BATCH].to(x.device)
        for name, tap in probe.taps.items():
            tail, entry, inside = probe.tail(tap, x)
            with captured(tail, {name: inside}) as kept:
                clean = functional.cross_entropy(tail(entry), target, reduction="sum").double()
            held = kept[name].clone()
            for index, mean in enumerate(means[name]):
                was = held[:, index].clone()
                held[:, index] = mean
                with captured(tail, {name: inside}, lambda _n, _y, held=held: held):  # type: ignore[misc]
                    loss = functional.cross_entropy(tail(entry), target, reduction="sum").double()
                held[:, index] = was
                rise[name][index] += (loss - clean) / len(labels)
    return {name: rises.cpu().numpy() for name, rises in rise.items()}
