"""Training that resumes: the same bits whether or not a run was interrupted after an epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.backends import cudnn

from bnnflow import CHECK_FAILED, Problem

from .. import parallel, store
from ..networks.network import Network
from ..networks.signs import SurrogateSign, quick_signs
from .approximation import approximated
from .approximation_spec import EXACT
from .bit_errors import NO_ERRORS
from .evaluate import AnyNetwork, accuracy, run_key
from .feed import DeviceFeed, HostFeed, make_feed
from .flips import FlipCounts
from .injection import Injection, Memories, injected
from .optimizers import Optimizers
from .train_spec import TrainSpec
from .update import Extras, Replayed, Update, can_be_replayed

__all__ = ["Extras", "Progress", "TrainSpec", "train"]

Progress = Callable[[int, int, dict[str, float]], None]
_LOOK = 32
_VALIDATION_DRAW, _AUGMENT_DRAW, _SIGN_DRAW = 11, 12, 13


@dataclass(slots=True)
class _Run:
    """What the epochs of one training share."""

    update: Update
    step: Update | Replayed
    feed: HostFeed | DeviceFeed
    count: int
    progress: Progress | None
    held: tuple[np.ndarray, np.ndarray] | None = None
    flips: FlipCounts | None = None
    errors: Injection | None = None
    best: dict[str, Tensor] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return math.ceil(self.count / self.update.spec.batch)


def train(
    network: AnyNetwork,
    images: np.ndarray,
    labels: np.ndarray,
    spec: TrainSpec,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    flips: FlipCounts | None = None,
    extras: Extras | None = None,
    held: tuple[np.ndarray, np.ndarray] | None = None,
) -> list[dict[str, float]]:
    """Train `network` in place; latent weights of a fixed scale are clipped to [-1, 1] at each step.

    The batch norms' running statistics are left as training leaves them: call `batchnorm.reestimate`
    afterwards. Among several processes (`parallel`) each computes its share of every batch.

    Args:
        network: its present weights are the start.
        images: (N, C, H, W) uint8.
        labels: (N,) integers.
        spec: how to train.
        checkpoint: written after each epoch. Where it already belongs to the same spec, data and starting
            weights, training resumes after its last epoch; anything else in the file (another run, damage)
            is ignored. A teacher has its own file beside it.
        progress: called after each batch (on a GPU each 32nd and an epoch's last, where the processor waits for it)
            with the steps done, the total, and the epoch's `epoch`, `loss`, `accuracy` so far.
        flips: filled with the sign changes of the weights; a checkpoint without them, or of another window, is
            ignored.
        extras: what a method adds.
        held: images and labels that stand in for those that the spec's `validation` would hold out of `images`.

    Returns:
        For each epoch: `loss`, `accuracy` (share, on the training images as they went by) and `seconds`; with bop
        `lost_updates` (share) and `flips`; with images held out `validation` (accuracy).

    Raises:
        Problem: images and labels do not fit the network, or (status 1) the loss is no longer a number.
    """
    _check_data(network, images, labels)
    extras = extras or Extras()
    memories = extras.memories(network) if extras.memories is not None else None
    key = run_key(network, images, labels, spec) + extras.key + (memories.key if memories is not None else "")
    key += run_key(network, *held, spec) if held is not None else ""
    teacher = None
    if spec.distill:
        teacher = extras.teacher
        if teacher is None:
            teacher = _float_teacher(network, images, labels, spec, checkpoint, progress)
    if held is None:
        images, labels, held = _held_out(images, labels, spec)
    with (
        _placed(network, teacher, spec),
        _with_errors(network, spec, extras, memories) as errors,
        approximated(network, spec.approximation) as inexact,
    ):
        device = device_of(spec.device)
        update = Update(network, Optimizers(network, spec), spec, teacher, extras, errors is not None or bool(inexact))
        step = Replayed(update) if can_be_replayed(update, device) else update
        feed = make_feed(images, labels, spec.augment, device)
        run = _Run(update, step, feed, len(images), progress, held, flips, errors)
        history = _resumed(run, checkpoint, key)
        _go_on(run, history, checkpoint, key)
    return history


def _with_errors(
    network: AnyNetwork, spec: TrainSpec, extras: Extras, memories: Memories | None
) -> AbstractContextManager[Injection] | nullcontext[None]:
    """Within, the network computes with the spec's bit errors; without any it is as it is."""
    if not spec.bit_errors and (memories is None or memories.wrong is None):
        return nullcontext()
    return injected(network, spec.bit_errors, spec.seed, extras.importance, memories)


@contextmanager
def _placed(network: AnyNetwork, teacher: nn.Module | None, spec: TrainSpec) -> Iterator[None]:
    """Within, both are on the training's device, in the layout in which short products are fastest."""
    both = [one for one in (network, teacher) if one is not None]
    device = device_of(spec.device)
    kernels = (cudnn.benchmark, cudnn.deterministic)
    try:
        # which kernels are fastest differs from run to run, and so would the bits
        cudnn.benchmark, cudnn.deterministic = False, True
        for one in both:
            one.to(device)
            if spec.precision == "bfloat16" or device.type == "cuda":
                _lay_out(one, torch.channels_last)
        with quick_signs(teacher.eval()) if teacher is not None else nullcontext():
            yield
    finally:
        cudnn.benchmark, cudnn.deterministic = kernels
        for one in both:
            _lay_out(one.to("cpu"), torch.contiguous_format)


def load_state(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Load a network's state where it is: Brevitas makes its quantizers anew then, with constants on the processor."""
    device = next(network.parameters()).device
    network.load_state_dict(state)
    network.to(device)


def _resumed(run: _Run, checkpoint: Path | None, key: str) -> list[dict[str, float]]:
    """The history of the epochs that a checkpoint has behind it, whose state is put back; [] begins anew."""
    state = parallel.from_leader(store.load_stored(checkpoint) if checkpoint is not None else None)
    window = run.flips.window if run.flips is not None else None
    counted: dict[str, Any] | None = None
    history: list[dict[str, float]] = []
    if state is not None and state.get("key") == key and window in (None, state.get("flips", {}).get("window")):
        counted = state.get("flips")
        load_state(run.update.network, state["network"])
        run.update.optimizers.load_state_dict(state["optimizer"])
        run.best = state.get("best", {})
        run.update.extras.restore(state.get("extras", {}))
        if run.errors is not None:
            run.errors.restore(state["errors"])
        history = list(state["history"])
    if run.flips is not None:
        run.flips.begin(run.update.network.weight_layers(), counted)
    return history


def _go_on(run: _Run, history: list[dict[str, float]], checkpoint: Path | None, key: str) -> None:
    """The epochs that `history` lacks; where training ends early, the network becomes the best one."""
    network, spec, update = run.update.network, run.update.spec, run.update
    for epoch in range(len(history), spec.epochs):
        if _is_over(history, spec):
            break
        history.append(_epoch(run, epoch))
        if run.flips is not None:
            run.flips.after_epoch(epoch, spec.epochs)
        if run.held is not None:
            history[-1]["validation"] = accuracy(network, *run.held)
            if history[-1]["validation"] >= max(row["validation"] for row in history):
                run.best = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
        if checkpoint is not None and parallel.leads():
            done = {"network": network.state_dict(), "optimizer": update.optimizers.state_dict(), "history": history}
            done["extras"] = update.extras.state()
            done["errors"] = run.errors.state() if run.errors is not None else {}
            optional = {"best": run.best} if run.best else {}
            optional |= {"flips": run.flips.state_dict()} if run.flips is not None else {}
            store.save({"key": key, **done, **optional}, checkpoint)
    if spec.patience and run.best:
        load_state(network, run.best)


def device_of(wanted: str) -> torch.device:
    """The device that "auto", "cpu" or "cuda" means on this machine.

    Raises:
        Problem: "cuda" is wanted and there is none.
    """
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise Problem("torch finds no GPU here", key="device", hint="use device: auto, or install torch for your GPU")
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")


def _lay_out(network: nn.Module, layout: torch.memory_format) -> None:
    for weights in network.parameters():
        if weights.dim() == 4:
            weights.data = weights.data.contiguous(memory_format=layout)


def _float_teacher(
    network: AnyNetwork,
    images: np.ndarray,
    labels: np.ndarray,
    spec: TrainSpec,
    checkpoint: Path | None,
    progress: Progress | None,
) -> nn.Module:
    """The float counterpart, trained."""
    if not isinstance(network, Network):
        raise Problem("only the networks of `flow models` have a float counterpart", key="distill", hint="leave it out")
    teacher = Network(network.spec, spec.seed, quantized=False)
    off = {"distill": 0.0, "optimizer": "adam", "momentum_format": "", "weight_sign": "exact"}
    off |= {"bit_errors": NO_ERRORS, "approximation": EXACT}
    how = replace(spec, epochs=spec.teacher_epochs, **off)  # type: ignore[arg-type]
    beside = checkpoint and checkpoint.with_name(f"{checkpoint.stem}-teacher{checkpoint.suffix}")
    train(teacher, images, labels, how, beside, progress)
    return teacher


def _held_out(
    images: np.ndarray, labels: np.ndarray, spec: TrainSpec
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
    """The images to train on, and those held out for validation, if any."""
    out = held_out(labels, spec)
    if spec.patience and not len(out):
        what = f"patience needs images held out: {spec.validation:g} of {len(labels):,} is none"
        raise Problem(what, "validation", "hold more out")
    if not len(out):
        return images, labels, None
    rest = np.setdiff1d(np.arange(len(images)), out)
    return images[rest], labels[rest], (images[out], labels[out])


def held_out(labels: np.ndarray, spec: TrainSpec) -> np.ndarray:
    """Ascending indices of the images that training holds out for validation: of each class the same share.

    Args:
        labels: (N,) of all training images.
        spec: says the share, and seeds the draw.
    """
    order = np.random.default_rng([spec.seed, _VALIDATION_DRAW]).permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        place[of_class] = (np.arange(len(of_class)) + 0.5) / len(of_class)
    return np.sort(order[np.argsort(place[order], kind="stable")][: round(len(labels) * spec.validation)])


def _is_over(history: list[dict[str, float]], spec: TrainSpec) -> bool:
    if not spec.patience or len(history) <= spec.patience:
        return False
    seen = [row["validation"] for row in history]
    return max(seen[-spec.patience :]) <= max(seen[: -spec.patience])


def _epoch(run: _Run, epoch: int) -> dict[str, float]:
    update, spec, steps = run.update, run.update.spec, run.steps
    began = time.perf_counter()
    if run.errors is not None:
        run.errors.begin(epoch)
    update.network.train()
    _seed_signs(update.network, spec, epoch)
    update.draws = torch.Generator().manual_seed(_draw_seed(spec, epoch, 1))
    order = np.random.default_rng([spec.seed, epoch]).permutation(run.count)
    batches = run.feed.epoch(order, steps, np.random.default_rng([spec.seed, epoch, _AUGMENT_DRAW]))
    total, seen = torch.zeros(2, dtype=torch.float64, device=device_of(spec.device)), 0
    so_far = {"loss": 0.0, "accuracy": 0.0}
    for index, (images, labels) in enumerate(batches, start=1):
        update.optimizers.set_rate(spec.rate(epoch * steps + index - 1, steps))
        total += run.step(images, labels)
        seen += len(images)
        if run.flips is not None:
            run.flips.after_step()
        if images.is_cuda and index % _LOOK and index < steps:
            continue
        loss, right = total.tolist()
        so_far = {"loss": loss / seen, "accuracy": right / seen}
        if not math.isfinite(loss):
            what, where = "the training loss is no longer a number", f"epoch {epoch + 1}"
            raise Problem(what, where, "lower the learning rate", CHECK_FAILED)
        if run.progress is not None:
            run.progress(epoch * steps + index, steps * spec.epochs, {"epoch": epoch + 1.0, **so_far})
    made = {**so_far, "seconds": time.perf_counter() - began}
    return made | update.optimizers.take_counts()


def _seed_signs(network: nn.Module, spec: TrainSpec, epoch: int) -> None:
    """Drawn signs depend on seed, epoch and place alone, so that a resumed run draws the same."""
    for index, module in enumerate(network.modules()):
        if isinstance(module, SurrogateSign) and module.stochastic:
            module.generator = torch.Generator().manual_seed(_draw_seed(spec, epoch, index + 2))


def _draw_seed(spec: TrainSpec, epoch: int, index: int) -> int:
    return int(np.random.default_rng([spec.seed, epoch, _SIGN_DRAW, index]).integers(2**62))


def _check_data(network: AnyNetwork, images: np.ndarray, labels: np.ndarray) -> None:
    if images.shape[1:] != network.spec.input_shape:
        raise Problem(f"images of {images.shape[1:]} for a network of input_shape {network.spec.input_shape}", "data")
    if len(images) != len(labels) or len(images) < 2:
        raise Problem(f"{len(images)} images and {len(labels)} labels", "data", "give 2 or more, and a label to each")
    if labels.min() < 0 or labels.max() >= network.spec.classes:
        raise Problem(
            f"labels {labels.min()} to {labels.max()} for a network of {network.spec.classes} classes",
            where="data",
        )
