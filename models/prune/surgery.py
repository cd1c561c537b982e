"""Removal of filters, neurons, residual units and input channels: the network becomes physically smaller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from bnnflow import Problem

from ..networks.layers import ScoreNorm
from ..networks.network import Network, NetworkSpec
from ..networks.spec import inner_widths
from .constants import absorb, shifts
from .groups import groups, normed, norms

Keep = Mapping[str, np.ndarray]


@torch.no_grad()
def remove(network: Network, keep: Keep, constants: Keep | None = None) -> Network:
    """A smaller network that has only the named channels of `network`.

    Latent weights and batch-norm rows are copied, and the inputs that other layers lose are cut out (at the change
    from maps to features, height x width columns for each channel). Its sums differ from the large network's by the
    removed inputs' products: re-estimate the batch norms afterwards, or name the constants that take their places.
    With weights of a scale or of several bits, a layer's scale is measured on the weights that are left.

    Args:
        network: not changed.
        keep: ascending channels that stay, by name of their group (`groups`): in networks without joins, of the
            layer. Groups that are not named stay whole.
        constants: for groups of `keep`, -1 or +1 for each removed channel, ascending: the result is what `network`
            computes when the signs of those channels give these constants, exactly but for the rounding of the running
            means, which absorb what the constants add to the sums behind.

    Raises:
        Problem: not a `Network`; an unknown group, or the last layer; channels that are none, repeated, unsorted or
            out of range; constants that cannot be absorbed exactly (see `constants.shifts`).
    """
    spec = _spec(network)
    kept = _checked(spec, keep)
    given = {name: np.asarray(values) for name, values in (constants or {}).items()}
    moved = shifts(network, kept, given)
    layers = spec.layers()
    filters = {name: group.rows(name, kept[group.name]) for group in groups(spec) for name in group.layers}
    filters[layers[-1].name] = np.arange(layers[-1].outputs)
    small = Network(_smaller(spec, filters)).to(next(network.parameters()).device)
    old, new = dict(network.weight_layers()), dict(small.weight_layers())
    outputs = {layer.name: layer.outputs for layer in layers}
    for layer in layers:
        columns = filters.get(layer.source, np.arange(layer.inputs))
        area = layer.inputs // outputs.get(layer.source, layer.inputs)
        columns = (columns[:, None] * area + np.arange(area)).reshape(-1)
        rows = torch.from_numpy(filters[layer.name])
        new[layer.name].weight.copy_(old[layer.name].weight[rows][:, torch.from_numpy(columns)])
    for name, source, target in zip(normed(spec), norms(network), norms(small), strict=True):
        rows = torch.from_numpy(filters[name])
        target.load_state_dict({k: v[rows] if v.dim() else v for k, v in source.state_dict().items()})
    small.layers["score"].load_state_dict(network.layers["score"].state_dict())
    for name, shift in moved.items():
        absorb(small, name, shift[torch.from_numpy(filters[name])])
    return small.train(network.training)


@torch.no_grad()
def drop_blocks(network: Network, blocks: Sequence[str]) -> Network:
    """The residual network without some units: what it computes when the convolutions in them add 0.

    Args:
        network: not changed.
        blocks: names of units, block0, block1, ..., that do not shrink the map: of one convolution with join
            "integer", of two with "thresholded".

    Raises:
        Problem: a network without joins, an unknown unit, one that shrinks the map, or all of a first stage with
            thresholded joins.
    """
    spec = _spec(network)
    _check_joins(spec)
    stages, shrinking = stages_of_blocks(spec), _shrinking(spec)
    for name in blocks:
        if name not in stages:
            raise Problem("there is no such residual unit", name, f"block0 to block{len(stages) - 1}")
        if name in shrinking:
            raise Problem("this unit shrinks the map, which a stage cannot do without", name, "drop another one")
    left = [sum(stage == s and name not in blocks for name, stage in stages.items()) for s in range(len(spec.channels))]
    if not blocks:
        small_spec = spec
    elif spec.join == "integer":
        small_spec = replace(spec, units=tuple(left))
    else:
        if not left[0]:
            raise Problem("a stage keeps one block at least", "depths", f"drop no more than {spec.depths[0] - 1} of it")
        inner = zip(spec.inner or inner_widths(spec), stages, strict=True)
        small_spec = replace(spec, depths=tuple(left), inner=tuple(w for w, name in inner if name not in blocks))
    small = Network(_plain(small_spec)).to(next(network.parameters()).device)
    dropped = tuple(f"layers.{name}." for name in blocks)
    old = [m for name, m in network.named_modules() if _has_state(m) and not f"{name}.".startswith(dropped)]
    for source, target in zip(old, (m for m in small.modules() if _has_state(m)), strict=True):
        target.load_state_dict(source.state_dict())
    return small.train(network.training)


@torch.no_grad()
def remove_inputs(network: Network, keep: np.ndarray) -> Network:
    """The network without some input channels of its first layer: the lowest bit planes of the pixels.

    Args:
        network: with input "planes"; not changed.
        keep: ascending input channels of the first layer that stay: the highest planes of all colours, the highest
            plane first.

    Raises:
        Problem: another input code; channels that are not the highest planes.
    """
    spec = _spec(network)
    if spec.input != "planes":
        what = f"the first layer with input {spec.input!r} reads whole pixels, and images keep all their channels"
        raise Problem(what, "input", "use input: planes to drop bits, or grey images to drop colours")
    colours, kept = spec.input_shape[0], np.asarray(keep)
    planes = len(kept) // colours
    if kept.ndim != 1 or not 1 <= planes <= spec.planes or not np.array_equal(kept, np.arange(planes * colours)):
        what = f"what stays must be the highest bit planes, each of {colours} channels"
        raise Problem(what, spec.layers()[0].name, "a plane is made of those above it: drop the lowest ones")
    small = Network(replace(spec, planes=planes)).to(next(network.parameters()).device)
    first = spec.layers()[0].name
    state = network.state_dict()
    state |= {name: value[:, kept] for name, value in state.items() if name == f"layers.{first}.weight"}
    wanted = small.state_dict().keys()
    small.load_state_dict({name: value for name, value in state.items() if name in wanted})
    return small.train(network.training)


def _spec(network: nn.Module) -> NetworkSpec:
    if not isinstance(network, Network):
        what = f"filters of {type(network).__name__} cannot be removed"
        raise Problem(what, "model", "use one network of `flow models`, or an mlp, cnn or resnet")
    return network.spec


def _smaller(spec: NetworkSpec, filters: Keep) -> NetworkSpec:
    layers = spec.layers()
    widths = {layer.name: len(filters[layer.name]) for layer in layers}
    hidden = tuple(widths[layer.name] for layer in layers[:-1] if layer.kind == "dense")
    if spec.is_chain:
        convolutions = layers[: len(spec.channels)]
        last = spec.channels[-1:] if spec.head == "map" else ()  # the scores' own convolution
        channels = tuple(widths[layer.name] for layer in convolutions[: len(spec.channels) - len(last)]) + last
        return replace(spec, channels=channels, hidden=hidden)
    joined = {layer.stage: widths[layer.name] for layer in layers if layer.stage >= 0}
    inner = tuple(widths[layer.name] for layer in layers if layer.kind == "conv" and layer.stage < 0)
    return _plain(replace(spec, channels=tuple(joined.values()), hidden=hidden, inner=inner))


def _plain(spec: NetworkSpec) -> NetworkSpec:
    """The same shape, without inner widths where they are those of the stages."""
    return replace(spec, inner=()) if spec.inner == inner_widths(spec) else spec


def stages_of_blocks(spec: NetworkSpec) -> dict[str, int]:
    """Stage of every residual unit, in the order of execution."""
    stages = [layer.stage for layer in spec.layers() if layer.stage >= 0 and not layer.name.startswith("short")]
    return {f"block{index}": stage for index, stage in enumerate(stages[1:])}


def removable(spec: NetworkSpec) -> tuple[str, ...]:
    """The residual units of which `drop_blocks` can take any one, from input to output.

    Raises:
        Problem: a network without joins.
    """
    _check_joins(spec)
    shrinking = _shrinking(spec)
    alone = spec.join == "thresholded" and spec.depths[0] == 1
    blocks = stages_of_blocks(spec).items()
    return tuple(name for name, stage in blocks if name not in shrinking and not (alone and stage == 0))


def most_removable(spec: NetworkSpec) -> int:
    """How many residual units `drop_blocks` can take in all.

    Raises:
        Problem: a network without joins.
    """
    stays = spec.join == "thresholded" and spec.depths[0] > 1
    return len(removable(spec)) - stays


def _check_joins(spec: NetworkSpec) -> None:
    if spec.is_chain:
        raise Problem("a network without residual joins has no units to drop", "model")


def _shrinking(spec: NetworkSpec) -> set[str]:
    """The first unit of every stage but the first."""
    first: dict[int, str] = {}
    for name, stage in stages_of_blocks(spec).items():
        first.setdefault(stage, name)
    return {name for stage, name in first.items() if stage > 0}


def _has_state(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm1d | nn.BatchNorm2d | ScoreNorm)


def _checked(spec: NetworkSpec, keep: Keep) -> dict[str, np.ndarray]:
    """The channels of every group that stay."""
    known = {group.name: group.width for group in groups(spec)}
    kept = {name: np.arange(width) for name, width in known.items()}
    for name, indices in keep.items():
        if name not in known:
            raise Problem("only hidden layers can lose filters", where=name, hint=f"one of {', '.join(known)}")
        listed = np.asarray(indices)
        good = listed.ndim == 1 and len(listed) > 0 and listed.dtype.kind in "iu"
        if not (good and listed[0] >= 0 and listed[-1] < known[name] and bool((np.diff(listed) > 0).all())):
            raise Problem(f"what stays must be ascending indices from 0 to {known[name] - 1}", where=name)
        kept[name] = listed.astype(np.int64)
    return kept
