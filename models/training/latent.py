"""Latent weights: whether a network has them."""

from __future__ import annotations

from torch import nn

from bnnflow import Problem

from ..networks.ternary import MaskedWeight
from .optimizers import binary_weight_modules

HINT = "bop and packed files keep signs alone: rank by flips, deeplift or taylor, or train it further, not by bop"


def layer_without_latent(network: nn.Module, layers: list[tuple[str, nn.Conv2d | nn.Linear]]) -> str:
    """Name of the first of the layers whose weights count by their signs and have one magnitude; "" where none does.

    Bop leaves such weights, and so do packed files. Synapses that are gone do not count, nor do layers of one weight.

    Args:
        network: that the layers are part of.
        layers: names and modules.
    """
    binary = {id(module) for module in binary_weight_modules(network)}
    for name, module in layers:
        injector = getattr(getattr(module, "weight_quant", None), "quant_injector", object)
        sizes = module.weight.detach().abs()
        sizes = sizes[sizes > 0]
        counts_by_sign = id(module) in binary or issubclass(injector, MaskedWeight)
        if counts_by_sign and sizes.numel() > 1 and bool((sizes == sizes[0]).all()):
            return name
    return ""


def require_latent(network: nn.Module, layers: list[tuple[str, nn.Conv2d | nn.Linear]]) -> None:
    """Refuse layers without latent weights.

    Raises:
        Problem: at the first of them.
    """
    name = layer_without_latent(network, layers)
    if name:
        what = "its weights all have one magnitude, so there are no latent values to go by"
        raise Problem(what, name, HINT)
