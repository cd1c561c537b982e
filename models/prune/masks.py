"""Channels chosen by masks that are trained with the weights: cut, or grown and cut.

"layers": one mask layer after the other from the input on, as the subsidiary component of Xu et al., A Main/Subsidiary
Network Framework for Simplifying Binary Neural Networks, CVPR 2019. "joint": all at once. Masks of a network that was
made wider first, with the new channels switched off, are the growth stage of Rakin et al., RA-BNN, arXiv:2103.13813.
Both were read in abstract and summary: thresholds, noise and penalty as stated here are this program's.

A channel has a trained number a; its mask is 1 where a > 0, else 0, in front of every layer that reads the channel:
whatever makes it, joins it or turns it around, a network whose layers read a channel as 0 is the network without it. In
training with noise the mask is Gumbel-sigmoid's: 1 where a + log u - log(1 - u) > 0 with u drawn uniformly for every
batch. The gradient is that of sigmoid(a) (straight-through estimator). The penalty is strength * mean over the channels
of sigmoid(a), each group weighted by the products that it takes part in.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor, nn

from bnnflow import Problem

from .. import store
from ..networks.network import Network
from ..networks.own import OwnNetwork, with_inputs_scaled
from ..relevance.guide import with_guide
from ..training.batchnorm import NORM_IMAGES, reestimate
from ..training.evaluate import accuracy
from ..training.train import Extras, Progress, TrainSpec, train
from .structure import MaskedGroup, SpecStructure, Structure

N = TypeVar("N", Network, OwnNetwork)
Order = Literal["layers", "joint"]
# Adam moves a parameter by about its learning rate a step: masks need to be faster than weights.
GAIN = 20.0
START, OFF = 1.0, -1.0
_PART = "channel_masks"


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
class ChannelMasks(Generic[N]):
    """What masks chose.

    Attributes:
        network: with the chosen channels alone, in eval mode, batch norms re-estimated; not fine-tuned since.
        whole: the network that the masks stood in, trained with them, as wide as they are.
        keep: ascending indices of the channels of `whole` that stay, by group, as `Structure.remove` takes them.
        widths: by group, before growing, and now.
        accuracy: of `network` on the held images, 0 to 1.
    """

    network: N
    whole: N
    keep: dict[str, np.ndarray]
    widths: dict[str, tuple[int, int]]
    accuracy: float


class ChannelMask(nn.Module):
    """0 or 1 for each channel; see the head of this file.

    Args:
        logits: (channels,), a; trained as a / `GAIN`.
        noise: draw in training.
        seed: of the draws.
        layers: for each layer that makes some of the channels, which: of each one stays. None: of all together.
    """

    def __init__(self, logits: Tensor, noise: bool, seed: int, layers: Sequence[np.ndarray] | None = None) -> None:
        super().__init__()
        self.scaled = nn.Parameter(logits / GAIN)
        self.noise = noise
        self.generator = torch.Generator().manual_seed(seed)
        made = [np.arange(len(logits))] if layers is None else [channels[channels >= 0] for channels in layers]
        self.layers = [torch.from_numpy(np.unique(channels)) for channels in made if len(channels)]

    def chances(self) -> Tensor:
        """(channels,) sigmoid(a), with gradient."""
        return torch.sigmoid(self.scaled * GAIN)

    def keeps(self) -> Tensor:
        """(channels,) bool; of every layer the greatest a stays whatever it is, so that no layer is empty."""
        return self._none_empty(self.scaled.detach() > 0)

    def _none_empty(self, kept: Tensor) -> Tensor:
        for channels in self.layers:
            there = channels.to(kept.device)
            if not bool(kept[there].any()):
                kept[there[self.scaled.detach()[there].argmax()]] = True
        return kept

    def forward(self) -> Tensor:
        """(channels,) 0 or 1, with the gradient of `chances`."""
        soft, hard = self.chances(), self.keeps()
        if self.noise and self.training:
            chance = torch.rand(soft.shape, generator=self.generator).clamp(1e-6, 1 - 1e-6).to(soft.device)
            hard = self._none_empty(self.scaled.detach() * GAIN + torch.logit(chance) > 0)
        return hard.to(soft.dtype) + (soft - soft.detach())


class InputMasks(nn.Module):
    """A mask for every group of channels, in front of all layers that read some of them; each drawn once a pass.

    Args:
        groups: of channels.
        spec: of noise and its seed.
        on: by group, how many of its first channels begin on; None: all.
    """

    def __init__(
        self, groups: Sequence[MaskedGroup], spec: MaskSpec = MaskSpec(), on: Mapping[str, int] | None = None
    ) -> None:
        super().__init__()
        self.groups = tuple(groups)
        made = []
        for index, group in enumerate(self.groups):
            logits = torch.full((group.width,), START)
            logits[group.width if on is None else on[group.name] :] = OFF
            rows = list(group.rows.values())
            made.append(ChannelMask(logits, spec.noise, spec.seed * 1000 + index, rows))
        self.masks = nn.ModuleList(made)
        self._now: list[Tensor] = []

    def by_group(self) -> dict[str, ChannelMask]:
        """The mask of each group."""
        found = {}
        for group, mask in zip(self.groups, self.masks, strict=True):
            assert isinstance(mask, ChannelMask)
            found[group.name] = mask
        return found

    def keep(self) -> dict[str, np.ndarray]:
        """Ascending channels that stay, by group."""
        return {name: np.flatnonzero(mask.keeps().cpu().numpy()) for name, mask in self.by_group().items()}

    @contextmanager
    def within(self, network: nn.Module, layers: Mapping[str, nn.Conv2d | nn.Linear]) -> Iterator[None]:
        """Within, layers of a network read as 0 what the masks leave out, and the masks are a part of the network.

        Args:
            network: that the layers are of.
            layers: by the names that the groups know them by; those that read no group may be there, too.
        """
        hooks = [network.register_forward_pre_hook(self._draw)]
        for name, layer in layers.items():
            read = [
                (index, torch.from_numpy(np.array(group.columns[name])))
                for index, group in enumerate(self.groups)
                if name in group.columns
            ]
            if read:
                hooks.append(layer.register_forward_pre_hook(partial(self._read, read)))
        network.add_module(_PART, self)
        try:
            yield
        finally:
            delattr(network, _PART)
            for hook in hooks:
                hook.remove()
            self._now = []

    def _draw(self, _network: nn.Module, _inputs: tuple[Any, ...]) -> None:
        # The last entry is that of channels of no group.
        self._now = [torch.cat([made, made.new_ones(1)]) for made in (mask() for mask in self.masks)]

    def _read(self, read: Sequence[tuple[int, Tensor]], layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        factors: Tensor | None = None
        for index, columns in read:
            found = self._now[index][columns.to(self._now[index].device)]
            factors = found if factors is None else factors * found
        assert factors is not None
        return with_inputs_scaled(layer, inputs, factors)


def train_masks(
    network: Any,
    masks: InputMasks,
    macs: Mapping[str, int],
    images: np.ndarray,
    labels: np.ndarray,
    spec: MaskSpec,
    training: TrainSpec,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    extras: Extras | None = None,
) -> list[dict[str, float]]:
    """Train the masks of a network and its weights together, in place.

    Args:
        network: whose layers the masks' groups name, as `train` takes it.
        masks: as they begin.
        macs: products of an image, by layer.
        images, labels: as for `train`.
        spec: of the masks.
        training: of weights and masks, 1 epoch or more; for each group where masks are trained one after the other.
        progress: as for `train`, for each group anew.
        checkpoint: beside it the epochs of each training are kept, so that the same call resumes from there.
        extras: of training, such as a teacher.

    Returns:
        What `train` says of each epoch.
    """
    made, costs = masks.by_group(), _costs(masks.groups, macs)
    rounds = [[name] for name in made] if spec.order == "layers" else [list(made)]
    history = []
    for turn, trained in enumerate(rounds):
        for name, mask in made.items():
            mask.scaled.requires_grad_(name in trained)

        def penalty(_: nn.Module, trained: list[str] = trained) -> Tensor:
            parts = [made[name].chances().mean() * costs[name] for name in trained]
            return spec.strength * torch.stack(parts).sum()

        with masks.within(network, dict(network.weight_layers())):
            how = replace(training, seed=training.seed + turn)
            more = replace(extras or Extras(), penalty=penalty, key=repr((spec, turn)), **_noise_state(made))
            place = store.beside(checkpoint, f"masks{turn}")
            history += train(network, images, labels, how, place, progress, extras=more)
    return history


def learn_masks(
    network: N,
    images: np.ndarray,
    labels: np.ndarray,
    held: tuple[np.ndarray, np.ndarray],
    spec: MaskSpec,
    training: TrainSpec,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    structure: Structure[N] | None = None,
) -> ChannelMasks[N]:
    """Train masks and weights together, and cut what the masks left out.

    Args:
        network: not changed.
        images, labels: (N, C, H, W) uint8 and (N,).
        held: images and labels to measure the result on.
        spec: of the masks.
        training, progress, checkpoint: as for `train_masks`.
        structure: of the network; None: that of its shape.

    Raises:
        Problem: growth of a network with joins, or of a user's own class.
    """
    before = dict((structure or _structure_of(network)).widths)
    if spec.grow > 1:
        check_growth(network)
        assert isinstance(network, Network)
        whole = widened(network, spec.grow, spec.seed)
        structure = _structure_of(whole)
    else:
        whole = copy.deepcopy(network)
        structure = structure or _structure_of(whole)
    masks = InputMasks(structure.groups, spec, before)
    extras = with_guide(None, training, images, labels)
    macs = structure.layer_macs(whole)
    train_masks(whole, masks, macs, images, labels, spec, training, progress, checkpoint, extras)
    keep = masks.keep()
    small = structure.remove(whole, keep)
    reestimate(small, images, training.augment, training.seed, most=NORM_IMAGES)
    widths = {name: (before[name], len(kept)) for name, kept in keep.items()}
    return ChannelMasks(small, whole.eval(), keep, widths, accuracy(small, *held))


def check_growth(network: Network | OwnNetwork) -> None:
    """Refuse networks that are not made wider.

    Raises:
        Problem: says why.
    """
    if not (isinstance(network, Network) and network.spec.is_chain):
        raise Problem("only networks of `flow models` without residual joins grow", "grow", "leave it at 1")


def _structure_of(network: Any) -> Any:
    return SpecStructure(network.spec)


def _noise_state(masks: Mapping[str, ChannelMask]) -> dict[str, Any]:
    """How `Extras` keeps the generators of the noise in a checkpoint."""

    def restore(state: dict[str, Tensor]) -> None:
        for name, mask in masks.items():
            mask.generator.set_state(state[name])

    return {"state": lambda: {name: mask.generator.get_state() for name, mask in masks.items()}, "restore": restore}


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


def _costs(groups: Sequence[MaskedGroup], macs: Mapping[str, int]) -> dict[str, float]:
    """Products of an image that the channels of each group take part in, as shares that sum to 1."""
    whole = {}
    for group in groups:
        parts = (*group.rows.items(), *group.columns.items())
        whole[group.name] = sum(macs[layer] * float(np.mean(channels >= 0)) for layer, channels in parts)
    return {name: part / sum(whole.values()) for name, part in whole.items()}
