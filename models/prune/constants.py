"""Constant bits in place of removed channels: what they add to the sums behind them goes into the norms there."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from bnnflow import Problem

from ..networks.layers import MapNorm, RowNorm, ScoreNorm
from ..networks.network import Network
from ..networks.spec import NetworkSpec, WeightLayer
from ..networks.twin import binary_weights
from .groups import Group, groups, normed, norms


def shifts(network: Network, kept: Mapping[str, np.ndarray], constants: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """What removed channels of constant value add to each sum of the layers that read them.

    Args:
        network: the network before the removal.
        kept: ascending channels that stay, by group.
        constants: by group, -1 or +1 for each removed channel, ascending.

    Returns:
        By layer, (filters,) float32 whole numbers; at the class scores summed over the map where scores are means.

    Raises:
        Problem: an unknown group; values other than -1 and +1, or not one per removed channel; a group that residual
            joins share; activations that are not signs; weights with a scale, which is measured on the weights that
            are left; a layer behind that is padded with another value than the constant, so that its border differs
            from its inside; class scores that would move by different amounts.
    """
    spec, made = network.spec, {}
    known = {group.name: group for group in groups(spec)}
    weights = dict(network.weight_layers())
    for name, values in constants.items():
        if name not in known:
            raise Problem("there is no such group of channels", name, f"one of {', '.join(known)}")
        _check(spec, known[name], len(kept[name]), values)
        gone = torch.from_numpy(np.setdiff1d(np.arange(known[name].width), kept[name]))
        if not len(gone):
            continue
        (reader,) = (layer for layer in spec.layers() if layer.source == name)
        _check_border(spec, reader, values)
        weight = binary_weights(weights[reader.name])
        by_channel = weight.reshape(reader.outputs, known[name].width, -1).sum(2)[:, gone]
        made[reader.name] = (by_channel @ torch.from_numpy(values).to(weight)) * _places(spec, reader)
        if reader == spec.layers()[-1]:
            _check_scores(spec, name, made[reader.name])
    return made


def absorb(network: Network, layer: str, shift: Tensor) -> None:
    """Take a constant off the running means behind `layer`, so that sums that lack `shift` give what they gave.

    Args:
        network: changed in place.
        layer: whose sums lack it.
        shift: (filters,).
    """
    spec, score = network.spec, network.layers["score"]
    if layer == spec.layers()[-1].name:
        if isinstance(score, ScoreNorm):
            score.running_mean -= shift[0]
        elif isinstance(score, RowNorm):
            _move(score, shift)
        return
    group = next(group for group in groups(spec) if layer in group.copies)
    # Sums that are added as they are carry the constant to every norm along the stream.
    along = group.layers if spec.arch == "resnet" and spec.join == "integer" else (layer,)
    for name, norm in zip(normed(spec), norms(network), strict=True):
        if name in along:
            _move(norm, shift.repeat(group.copies[name] // group.copies[layer]))


def _move(norm: MapNorm | RowNorm, shift: Tensor) -> None:
    assert norm.running_mean is not None
    norm.running_mean -= shift


def _check(spec: NetworkSpec, group: Group, left: int, values: np.ndarray) -> None:
    if not group.single:
        what = "these channels are sums that residual joins add, not the bits of one sign"
        raise Problem(what, group.name, "remove them without constants")
    if spec.activation != "sign":
        raise Problem("constants stand for signs", group.name, "use a network with activation: sign")
    if spec.weight_bits > 1 or spec.weight_scale != "none":
        what = "the weights' scale is measured on those that are left, so that all sums change"
        raise Problem(what, group.name, "remove the channels without constants")
    if values.shape != (group.width - left,) or not np.isin(values, (-1, 1)).all():
        raise Problem(f"{group.width - left} constants are needed, each -1 or +1", group.name)


def _check_border(spec: NetworkSpec, reader: WeightLayer, values: np.ndarray) -> None:
    wrong = reader.padding > 0 and bool((values != spec.padding).any())
    if wrong:
        what = f"layer {reader.name!r} is padded with {spec.padding}: at its border other values than the constant"
        raise Problem(what, reader.source, "remove these channels without constants, or where the constant is the same")


def _check_scores(spec: NetworkSpec, group: str, shift: Tensor) -> None:
    uneven = bool((shift != shift[0]).any())
    if (spec.scores == "one" and uneven) or (spec.scores == "none" and bool(shift.any())):
        what = "the constants add different amounts to the class scores, which have no shift of their own"
        raise Problem(what, group, "use a network with scores: class, or remove the channels without constants")


def _places(spec: NetworkSpec, reader: WeightLayer) -> int:
    """How many sums or inputs of a map a score or a feature adds up."""
    if spec.head == "map" and reader == spec.layers()[-1]:
        return math.prod(reader.out_map)
    if spec.head == "average" and reader.kind == "dense":
        source = next(layer for layer in spec.layers() if layer.name == reader.source)
        return math.prod(source.out_map) // source.pool**2 if source.kind == "conv" else 1
    return 1
