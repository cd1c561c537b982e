"""Trained networks to one bit a binary weight and back: what the network computes is kept, latent weights are not."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from bnnflow import Problem

from ..networks.own import OwnNetwork
from ..networks.spec import NetworkSpec
from ..training.ensemble import JOINED
from ..training.optimizers import binary_weight_modules
from .packed_file import PackedNetwork, Provenance
from .shapes import Trained, network_of


def pack_network(network: Trained, provenance: Provenance) -> PackedNetwork:
    """The network with the signs of its binary weights, and one magnitude a layer.

    Weights of several bits and weights with a scale (the mean of their latent magnitudes) are kept as they are, and so
    are batch norms and scores: the network that comes back computes the same, bit for bit.

    Args:
        network: on the processor; not changed.
        provenance: where it comes from.

    Raises:
        Problem: a class of the user's.
    """
    if isinstance(network, OwnNetwork) and network.spec.target != JOINED:
        what = f"{network.spec.target} is a class of your own, which a packed file cannot hold"
        raise Problem(what, "model.arch", "keep the run's weights.pt with the class, or its network.onnx")
    state = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
    binary = _binary(network)
    return PackedNetwork(
        network.spec.to_dict(),
        provenance,
        bits={name: np.packbits(state[name] >= 0) for name in binary},
        sizes={name: np.abs(state[name]).mean(keepdims=True).reshape(1) for name in binary},
        others={name: array for name, array in state.items() if name not in binary},
    )


def unpack_network(packed: PackedNetwork) -> Trained:
    """The network, in eval mode; latent weights that were not kept are their signs times the layer's magnitude.

    Raises:
        Problem: the arrays do not fit the shape.
    """
    network = network_of(packed.spec)
    try:
        state = {name: torch.from_numpy(np.array(array)) for name, array in packed.others.items()}
        for name, module in _binary(network).items():
            shape = module.weight.shape
            positive = np.unpackbits(packed.bits[name], count=shape.numel()).astype(bool)
            size = packed.sizes[name]
            state[name] = torch.from_numpy(np.where(positive, size, -size)).reshape(shape)
        network.load_state_dict(state)
    except (KeyError, RuntimeError, ValueError) as error:
        what = "the packed weights do not fit the network's shape"
        raise Problem(what, "", "was the file written by another version?") from error
    return network.eval()


def _binary(network: Trained) -> dict[str, nn.Conv2d | nn.Linear]:
    """The layers whose weights count by their signs alone, by the names of their weights in the state dict."""
    if isinstance(network.spec, NetworkSpec) and network.spec.weight_scale != "none":
        return {}
    wanted = {id(module) for module in binary_weight_modules(network)}
    modules = ((name, m) for name, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear))
    return {f"{name}.weight": module for name, module in modules if id(module) in wanted}
