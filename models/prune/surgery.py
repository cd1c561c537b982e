"""Removal of filters and neurons: the network becomes physically smaller."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from bnnflow import Problem

from ..networks import Network, NetworkSpec


@torch.no_grad()
def remove(network: Network, keep: dict[str, np.ndarray]) -> Network:
    """A smaller network that has only the named filters and neurons of `network`.

    Latent weights and batch-norm rows are copied, and the inputs that the next layer loses are cut out (at
    the change from maps to features, height x width columns for each channel). Its sums differ from the
    large network's by the removed inputs' products: re-estimate the batch norms afterwards.

    Args:
        network: not changed.
        keep: ascending indices of what stays, by layer name; layers that are not named stay whole.

    Raises:
        Problem: a network with joins, an unknown layer, the last layer, or indices that are empty, repeated,
        unsorted or out of range.
    """
    check_prunable(network.spec)
    layers = network.spec.layers()
    kept = {layer.name: np.arange(layer.outputs) for layer in layers}
    _check_keep(network.spec, keep)
    kept |= {name: np.asarray(indices, dtype=np.int64) for name, indices in keep.items()}
    widths = [len(kept[layer.name]) for layer in layers[:-1]]
    convs = len(network.spec.channels)
    last = network.spec.channels[len(widths) :]  # with head "map", the scores' own convolution
    channels = (*widths[:convs], *last)
    small = Network(replace(network.spec, channels=channels, hidden=tuple(widths[convs:])))
    before = torch.arange(layers[0].inputs)
    for index, layer in enumerate(layers):
        if layer.kind == "dense" and index and layers[index - 1].kind == "conv":
            area = layer.inputs // layers[index - 1].outputs
            before = (before[:, None] * area + torch.arange(area)).flatten()
        rows = torch.from_numpy(kept[layer.name])
        source, target = network.layers[layer.name].weight, small.layers[layer.name].weight
        assert isinstance(source, Tensor)
        assert isinstance(target, Tensor)
        target.copy_(source[rows][:, before])
        if index < len(layers) - 1:
            _copy_rows(network.layers[f"norm{index}"], small.layers[f"norm{index}"], rows)
        before = rows
    small.layers["score"].load_state_dict(network.layers["score"].state_dict())
    return small.train(network.training)


def check_prunable(spec: NetworkSpec) -> None:
    """Whether filters can be removed from such a network.

    Raises:
        Problem: it has residual joins.
    """
    if not spec.is_chain:
        what = "filters that residual joins share cannot be removed yet"
        raise Problem(what, "prune", "set prune.enabled: false, or use a network without joins")


def _copy_rows(source: nn.Module, target: nn.Module, rows: Tensor) -> None:
    target.load_state_dict({k: v[rows] if v.dim() else v for k, v in source.state_dict().items()})


def _check_keep(spec: NetworkSpec, keep: dict[str, np.ndarray]) -> None:
    widths = {layer.name: layer.outputs for layer in spec.layers()[:-1]}
    for name, indices in keep.items():
        if name not in widths:
            raise Problem("only hidden layers can lose filters", where=name, hint=f"one of {', '.join(widths)}")
        listed = np.asarray(indices)
        good = listed.ndim == 1 and len(listed) > 0 and listed.dtype.kind in "iu"
        if not (good and listed[0] >= 0 and listed[-1] < widths[name] and bool((np.diff(listed) > 0).all())):
            raise Problem(f"what stays must be ascending indices from 0 to {widths[name] - 1}", where=name)
