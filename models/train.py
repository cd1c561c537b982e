"""Training that resumes: the same bits whether or not a run was interrupted after an epoch."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bnnflow import Problem

from . import store
from .networks import Network, NetworkSpec

Progress = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True, slots=True)
class TrainSpec:
    """How to train.

    Args:
        epochs: passes over the training images; 0 leaves the network as it is.
        batch: images in a step, at least 2; the steps of an epoch differ by at most one image.
        learning_rate: of Adam at the first step; it falls to 0 along half a cosine over all steps.
        seed: of the order of the images; the order depends on seed and epoch alone.

    Raises:
        Problem: a value is out of its range.
    """

    epochs: int
    batch: int
    learning_rate: float
    seed: int

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise Problem(f"{self.epochs} epochs", where="epochs", hint="0 or more")
        if self.batch < 2:
            raise Problem(f"a batch of {self.batch}", where="batch", hint="batch norm needs 2 images or more")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise Problem(f"a learning rate of {self.learning_rate}", where="learning_rate", hint="for example 0.001")
        if self.seed < 0:
            raise Problem(f"a seed of {self.seed}", where="seed", hint="0 or more")


def train(
    network: Network,
    images: np.ndarray,
    labels: np.ndarray,
    spec: TrainSpec,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> list[dict[str, float]]:
    """Train `network` in place: Adam, cosine schedule, cross entropy, latent weights clipped to [-1, 1] at
    each step.

    The batch norms' running statistics are left as training leaves them: call `batchnorm.reestimate`
    afterwards.

    Args:
        network: its present weights are the start.
        images: (N, C, H, W) uint8.
        labels: (N,) integers.
        spec: how to train.
        checkpoint: written after each epoch. Where it already belongs to the same spec, data and starting
            weights, training goes on after its last epoch; anything else in the file (another run, damage)
            is ignored.
        progress: called after each batch with the steps done, the total, and the epoch's `epoch`, `loss`,
            `accuracy` so far.

    Returns:
        For each epoch: `loss`, `accuracy` (share, on the training images as they went by) and `seconds`.

    Raises:
        Problem: images and labels do not fit the network, or the loss is no longer a number.
    """
    _check_data(network, images, labels)
    key = run_key(network, images, labels, spec)
    optimizer = torch.optim.Adam(network.parameters(), lr=spec.learning_rate)
    history: list[dict[str, float]] = []
    state = store.load(checkpoint) if checkpoint is not None else None
    if state is not None and state.get("key") == key:
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        history = list(state["history"])
    steps = math.ceil(len(images) / spec.batch)
    for epoch in range(len(history), spec.epochs):
        history.append(_epoch(network, optimizer, images, labels, spec, epoch, steps, progress))
        if checkpoint is not None:
            done = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "history": history}
            store.save({"key": key, **done}, checkpoint)
    return history


def _epoch(
    network: Network,
    optimizer: torch.optim.Optimizer,
    images: np.ndarray,
    labels: np.ndarray,
    spec: TrainSpec,
    epoch: int,
    steps: int,
    progress: Progress | None,
) -> dict[str, float]:
    began = time.perf_counter()
    network.train()
    order = np.random.default_rng([spec.seed, epoch]).permutation(len(images))
    total = steps * spec.epochs
    loss_sum = 0.0
    right = seen = 0
    for index, chosen in enumerate(np.array_split(order, steps)):
        step = epoch * steps + index
        for group in optimizer.param_groups:
            group["lr"] = spec.learning_rate * 0.5 * (1.0 + math.cos(math.pi * step / total))
        target = torch.from_numpy(labels[chosen].astype(np.int64))
        loss, scores = _step(network, optimizer, torch.from_numpy(images[chosen]).float(), target)
        loss_sum += loss * len(chosen)
        right += int((scores.argmax(1) == target).sum())
        seen += len(chosen)
        if not math.isfinite(loss):
            raise Problem("the training loss is no longer a number", f"epoch {epoch + 1}", "lower the learning rate")
        if progress is not None:
            progress(step + 1, total, {"epoch": epoch + 1.0, "loss": loss_sum / seen, "accuracy": right / seen})
    return {"loss": loss_sum / seen, "accuracy": right / seen, "seconds": time.perf_counter() - began}


def _step(network: Network, optimizer: torch.optim.Optimizer, x: Tensor, target: Tensor) -> tuple[float, Tensor]:
    optimizer.zero_grad(set_to_none=True)
    scores = network(x)
    loss = functional.cross_entropy(scores, target)
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        for _, module in network.weight_layers():
            module.weight.clamp_(-1.0, 1.0)
    return loss.item(), scores.detach()


@torch.no_grad()
def predict(network: torch.nn.Module, images: np.ndarray, batch: int = 500) -> np.ndarray:
    """The scores in eval mode; the network's mode is put back afterwards.

    Args:
        network: a `Network` or its twin.
        images: (N, C, H, W) uint8.
        batch: images at a time.

    Returns:
        (N, classes) float32.
    """
    training = network.training
    network.eval()
    parts = [
        network(torch.tensor(images[start : start + batch], dtype=torch.float32)).numpy()
        for start in range(0, len(images), batch)
    ]
    network.train(training)
    return np.concatenate(parts).astype(np.float32)


def accuracy(network: torch.nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    """The share, 0 to 1, of images (N, C, H, W) uint8 whose highest score is that of their label."""
    return float((predict(network, images).argmax(1) == labels).mean())


def save_network(network: Network, path: Path) -> None:
    """Write the network with its shape to one file, atomically."""
    store.save({"spec": network.spec.to_dict(), "network": network.state_dict()}, path)


def load_network(path: Path) -> Network:
    """Read what `save_network` wrote, in eval mode.

    Raises:
        Problem: the file is absent, damaged, or not a network.
    """
    if not path.is_file():
        raise Problem("there is no such file", where=str(path))
    state = store.load(path)
    if state is None or not {"spec", "network"} <= state.keys():
        raise Problem("not a network, or damaged", where=str(path), hint="train it again, or copy the file again")
    network = Network(NetworkSpec.from_dict(state["spec"]))
    try:
        network.load_state_dict(state["network"])
    except RuntimeError as error:
        raise Problem(
            "the weights do not fit the network's shape", str(path), "was it written by another version?"
        ) from error
    return network.eval()


def digest(network: Network) -> str:
    """sha256 (hexadecimal) of the network's shape, weights and statistics."""
    total = hashlib.sha256(json.dumps(network.spec.to_dict(), sort_keys=True).encode())
    for name, tensor in sorted(network.state_dict().items()):
        total.update(name.encode())
        total.update(tensor.contiguous().numpy().tobytes())
    return total.hexdigest()


def run_key(network: Network, images: np.ndarray, labels: np.ndarray, spec: Any) -> str:
    """sha256 (hexadecimal) of what a checkpoint must share with a run to be continued by it: spec, start, data."""
    total = hashlib.sha256(json.dumps([type(spec).__name__, asdict(spec)], sort_keys=True).encode())
    total.update(digest(network).encode())
    for array in (images, labels):
        total.update(str((array.shape, array.dtype.str)).encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def _check_data(network: Network, images: np.ndarray, labels: np.ndarray) -> None:
    if images.shape[1:] != network.spec.input_shape:
        raise Problem(f"images of {images.shape[1:]} for a network of input_shape {network.spec.input_shape}", "data")
    if len(images) != len(labels) or len(images) < 2:
        raise Problem(f"{len(images)} images and {len(labels)} labels", "data", "give 2 or more, and a label to each")
    if labels.min() < 0 or labels.max() >= network.spec.classes:
        raise Problem(
            f"labels {labels.min()} to {labels.max()} for a network of {network.spec.classes} classes",
            where="data",
        )
