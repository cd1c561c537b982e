"""Channels chosen by masks that are trained with the weights: cut, or grown and cut.

"layers": one mask layer after the other from the input on, as the subsidiary component of Xu et al., A Main/Subsidiary
Network Framework for Simplifying Binary Neural Networks, CVPR 2019. "joint": all at once. Masks of a network that was
made wider first, with the new channels switched off, are the growth stage of Rakin et al., RA-BNN, arXiv:2103.13813.
Both were read in abstract and summary: thresholds, noise and penalty as stated here are this program's.

A channel has a trained number a; its mask is 1 where a > 0, else 0, behind its sign. In training with noise it is
Gumbel-sigmoid's: 1 where a + log u - log(1 - u) > 0 with u drawn uniformly for every batch. The gradient is that of
sigmoid(a) (straight-through estimator). The penalty is strength * mean over the channels of sigmoid(a), each weighted
by the products that it costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from bnnflow import Problem

from .. import store
from ..networks.network import Network
from ..relevance.guide import with_guide
from ..training.batchnorm import NORM_IMAGES, reestimate
from ..training.evaluate import accuracy
from ..training.train import Extras, Progress, TrainSpec, train
from .surgery import remove

Order = Literal["layers", "joint"]
# Adam moves a parameter by about its learning rate a step: masks need to be faster than weights.
GAIN = 20.0
START, OFF = 1.0, -1.0


@dataclass(frozen=True, slots=True)
class MaskSpec:
    """How masks are trained.

    Args:
        strength: of the penalty, 0 or more; cross entropy is of the order of 1.
        order: "joint", or "layers", with `TrainSpec.epochs` for each.
        noise: Gumbel noise on the masks in training.
        grow: width of every hidden layer to begin with, as a factor of 1 or more; the new channels start off.
        seed: of noise and new weights.

    Raises:
        Problem: a value is out of its range.
    """

    strength: float = 0.1
    order: Order = "joint"
    noise: bool = False
    grow: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.strength < 0:
            raise Problem(f"a strength of {self.strength}", "strength", "0 or more")
        if self.order not in get_args(Order):
            raise Problem(f"{self.order!r} is not one of {', '.join(get_args(Order))}", "order")
        if not 1.0 <= self.grow <= 8.0:
            raise Problem(f"growth by {self.grow}", "grow", "from 1 to 8")


@dataclass(frozen=True, slots=True)
class ChannelMasks:
    """What masks chose.

    Attributes:
        network: with the chosen channels alone, in eval mode, batch norms re-estimated; not fine-tuned since.
        whole: the network that the masks stood in, trained with them, as wide as they are.
        keep: ascending indices of the channels of `whole` that stay, by layer name, as `surgery.remove` takes them.
        widths: by layer name, before growing, and now.
        accuracy: of `network` on the held images, 0 to 1.
    """

    network: Network
    whole: Network
    keep: dict[str, np.ndarray]
    widths: dict[str, tuple[int, int]]
    accuracy: float


class ChannelMask(nn.Module):
    """0 or 1 times each channel; see the head of this file.

    Args:
        logits: (channels,), a; trained as a / `GAIN`.
        noise: draw in training.
        seed: of the draws.
    """

    def __init__(self, logits: Tensor, noise: bool, seed: int) -> None:
        super().__init__()
        self.scaled = nn.Parameter(logits / GAIN)
        self.noise = noise
        self.generator = torch.Generator().manual_seed(seed)

    def chances(self) -> Tensor:
        """(channels,) sigmoid(a), with gradient."""
        return torch.sigmoid(self.scaled * GAIN)

    def keeps(self) -> Tensor:
        """(channels,) bool; the greatest a stays whatever it is, so that no layer is empty."""
        logits = self.scaled.detach()
        kept: Tensor = (logits > 0) | (logits == logits.max())
        return kept

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, ...) to the same shape."""
        soft, hard = self.chances(), self.keeps()
        if self.noise and self.training:
            chance = torch.rand(soft.shape, generator=self.generator).clamp(1e-6, 1 - 1e-6).to(soft.device)
            drawn = self.scaled.detach() * GAIN + torch.logit(chance) > 0
            hard = drawn if bool(drawn.any()) else hard
        mask = hard.to(x.dtype) + (soft - soft.detach())
        return x * mask.reshape(1, -1, *(1,) * (x.dim() - 2))


def learn_masks(
    network: Network,
    images: np.ndarray,
    labels: np.ndarray,
    held: tuple[np.ndarray, np.ndarray],
    spec: MaskSpec,
    training: TrainSpec,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> ChannelMasks:
    """Train masks and weights together, and cut what the masks left out.

    Args:
        network: a chain; not changed.
        images, labels: (N, C, H, W) uint8 and (N,).
        held: images and labels to measure the result on.
        spec: of the masks.
        training: of weights and masks, 1 epoch or more; for each layer where masks are trained one after the other.
        progress: as for `train`, for each layer anew.
        checkpoint: beside it the epochs of each training are kept, so that the same call resumes from there.

    Raises:
        Problem: the network has joins.
    """
    if not network.spec.is_chain:
        raise Problem("masks of channels that residual joins share are not trained yet", "model", "use flow prune")
    whole = widened(network, spec.grow, spec.seed)
    before = {layer.name: layer.outputs for layer in network.spec.layers()[:-1]}
    made: dict[str, ChannelMask] = {}
    for index, (name, width) in enumerate(_widths(whole).items()):
        logits = torch.full((width,), START)
        logits[before[name] :] = OFF
        made[name] = ChannelMask(logits, spec.noise, spec.seed * 1000 + index)
    costs = _costs(whole)
    rounds = [[name] for name in made] if spec.order == "layers" else [list(made)]
    for turn, trained in enumerate(rounds):
        for name, mask in made.items():
            mask.scaled.requires_grad_(name in trained)

        def penalty(_: nn.Module, trained: list[str] = trained) -> Tensor:
            parts = [made[name].chances().mean() * costs[name] for name in trained]
            return spec.strength * torch.stack(parts).sum()

        with masked_signs(whole, made):
            how = replace(training, seed=training.seed + turn)
            extras = Extras(penalty=penalty, key=repr((spec, turn)), **_noise_state(made))
            extras = with_guide(extras, how, images, labels)
            train(whole, images, labels, how, store.beside(checkpoint, f"masks{turn}"), progress, extras=extras)
    keep = {name: np.flatnonzero(mask.keeps().numpy()) for name, mask in made.items()}
    small = remove(whole, keep)
    reestimate(small, images, training.augment, training.seed, most=NORM_IMAGES)
    widths = {name: (before[name], len(kept)) for name, kept in keep.items()}
    return ChannelMasks(small, whole.eval(), keep, widths, accuracy(small, *held))


def _noise_state(masks: dict[str, ChannelMask]) -> dict[str, Any]:
    """How `Extras` keeps the generators of the noise in a checkpoint."""

    def restore(state: dict[str, Tensor]) -> None:
        for name, mask in masks.items():
            mask.generator.set_state(state[name])

    return {"state": lambda: {name: mask.generator.get_state() for name, mask in masks.items()}, "restore": restore}


@contextmanager
def masked_signs(network: Network, masks: dict[str, ChannelMask]) -> Iterator[None]:
    """Within, the sign behind each named layer is followed by its mask, which is a part of the network."""
    places = {layer.name: f"sign{index}" for index, layer in enumerate(network.spec.layers()[:-1])}
    signs = {name: network.layers[places[name]] for name in masks}
    for name, mask in masks.items():
        network.layers[places[name]] = nn.Sequential(signs[name], mask)
    try:
        yield
    finally:
        for name, sign in signs.items():
            network.layers[places[name]] = sign


@torch.no_grad()
def widened(network: Network, factor: float, seed: int) -> Network:
    """A network with every hidden layer wider by a factor; its first channels are the old ones.

    New weights are drawn as for a new network. With the new channels masked it computes what the old one does.
    """
    spec = network.spec
    grow = [round(width * factor) for width in (*spec.channels, *spec.hidden)]
    count = len(spec.channels)
    last = 1 if spec.head == "map" else 0
    channels = tuple(grow[:count])
    if last:
        channels = (*channels[:-1], spec.channels[-1])
    made = Network(replace(spec, channels=channels, hidden=tuple(grow[count:])), seed)
    old, layers = dict(network.named_modules()), spec.layers()
    for index, (layer, (name, module)) in enumerate(zip(layers, made.weight_layers(), strict=True)):
        rows, source = layer.outputs, dict(network.weight_layers())[name].weight
        # Where maps become features, a channel is a block of them, and blocks keep their order.
        module.weight[:rows, : source.shape[1]] = source
        if index < len(layers) - 1:
            _copy_first(old[f"layers.norm{index}"], made.layers[f"norm{index}"], rows)
    made.layers["score"].load_state_dict(network.layers["score"].state_dict())
    return made.train(network.training)


def _copy_first(source: nn.Module, target: nn.Module, rows: int) -> None:
    state = target.state_dict()
    for name, tensor in source.state_dict().items():
        if tensor.dim():
            state[name][:rows] = tensor
        else:
            state[name].copy_(tensor)


def _widths(network: Network) -> dict[str, int]:
    return {layer.name: layer.outputs for layer in network.spec.layers()[:-1]}


def _costs(network: Network) -> dict[str, float]:
    """Products of an image that the channels of each hidden layer take part in, as shares that sum to 1."""
    layers = network.spec.layers()
    whole = [layer.macs + after.macs for layer, after in pairwise(layers)]
    return {layer.name: macs / sum(whole) for layer, macs in zip(layers, whole, strict=False)}
