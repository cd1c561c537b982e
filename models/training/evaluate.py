"""What a network answers, how often it is right, and what tells it from others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from ..networks.network import Network
from ..networks.own import OwnNetwork, OwnSpec, code_digest
from ..networks.signs import quick_signs
from .batchnorm import in_batches

AnyNetwork = Network | OwnNetwork


@torch.no_grad()
def predict(network: torch.nn.Module, images: np.ndarray, batch: int | None = None, quick: bool = False) -> np.ndarray:
    """The scores in eval mode; the network's mode is put back afterwards.

    Args:
        network: a `Network`, its twin, or any module that gives scores.
        images: (N, C, H, W) uint8.
        batch: images at a time, see `batchnorm.in_batches`.
        quick: binary signs and weights in one pass, in place of Brevitas' own: the same numbers, NaN apart.

    Returns:
        (N, classes) float32.
    """
    training = network.training
    network.eval()
    try:
        with quick_signs(network) if quick else nullcontext():
            # kept where they are until the last: each look at a GPU's numbers waits for them
            parts = [network(x).float() for x in in_batches(network, images, batch)]
    finally:
        network.train(training)
    scores: np.ndarray = torch.cat(parts).cpu().numpy()
    return scores


class Unsoftened(TorchFunctionMode):
    """Within it softmax, and its logarithm, give what they are given: with networks that end so, the class scores."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The first argument of a softmax, and what any other function gives."""
        given = kwargs or {}
        if func in _SOFTMAX:
            return args[0] if args else given["input"]
        return func(*args, **given)


_SOFTMAX = (
    *(torch.softmax, torch.log_softmax, torch.Tensor.softmax, torch.Tensor.log_softmax),
    *(torch.nn.functional.softmax, torch.nn.functional.log_softmax),
)


def accuracy(network: torch.nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    """The share, 0 to 1, of images (N, C, H, W) uint8 whose highest score is that of their label."""
    return float((predict(network, images, quick=True).argmax(1) == labels).mean())


def digest(network: AnyNetwork) -> str:
    """sha256 (hexadecimal) of the network's shape, weights and statistics; of a class of the user's its code, too."""
    spec = network.spec
    total = hashlib.sha256(json.dumps(spec.to_dict(), sort_keys=True).encode())
    total.update(code_digest(spec).encode() if isinstance(spec, OwnSpec) else b"")
    for name, tensor in sorted(network.state_dict().items()):
        total.update(name.encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def run_key(network: AnyNetwork, images: np.ndarray, labels: np.ndarray, spec: Any) -> str:
    """sha256 (hexadecimal) of what a checkpoint must share with a run to be continued by it: spec, start, data."""
    total = hashlib.sha256(json.dumps([type(spec).__name__, asdict(spec)], sort_keys=True).encode())
    total.update(digest(network).encode())
    for array in (images, labels):
        total.update(str((array.shape, array.dtype.str)).encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()
