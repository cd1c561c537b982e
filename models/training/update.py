"""One update of a network from one batch, and its recording as a CUDA graph."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .. import parallel
from ..networks.network import Network
from .evaluate import AnyNetwork
from .injection import Importance, MemoriesOf
from .losses import distillation, make_loss
from .optimizers import Optimizers, drawn_weights
from .train_spec import TrainSpec

_WARM_UPS = 3


@dataclass(frozen=True, slots=True)
class Extras:
    """What a method adds to training.

    Attributes:
        within: gives a context for forward and backward of each part of a batch, in which weights may be others.
        penalty: a scalar that is added to the loss of every image.
        key: says what the method does, so that a checkpoint of another is not taken.
        state, restore: what the method carries from epoch to epoch, for a checkpoint, and putting it back.
        teacher: of distillation, where the spec asks for it; None trains the float counterpart first.
        importance: of filters, where the spec's bit errors are guided by it.
        memories: of the hardware of the network that is trained, see `injection.injected`; with wrong bits of their own
            they are in place of those that the spec draws.
    """

    within: Callable[[nn.Module], AbstractContextManager[Any]] = nullcontext
    penalty: Callable[[nn.Module], Tensor] | None = None
    key: str = ""
    state: Callable[[], dict[str, Any]] = dict
    restore: Callable[[dict[str, Any]], None] = lambda state: None
    teacher: nn.Module | None = None
    importance: Importance | None = None
    memories: MemoriesOf | None = None


@dataclass(slots=True)
class Update:
    """Forward, loss, backward and a step of the optimizers. Nothing in it waits for a GPU, where `can_be_replayed`.

    Attributes:
        errors: whether the network computes with wrong bits or approximate sums.
        draws: of stochastic weights; set anew for each epoch.
    """

    network: AnyNetwork
    optimizers: Optimizers
    spec: TrainSpec
    teacher: nn.Module | None = None
    extras: Extras = field(default_factory=Extras)
    errors: bool = False
    draws: torch.Generator | None = None

    def __call__(self, batch: Tensor, labels: Tensor) -> Tensor:
        """Update by images (N, C, H, W) uint8 and labels (N,) on the network's device.

        Returns:
            (2,) float64 on that device: the loss summed over the batch, and how many of its images were right.
        """
        spec = self.spec
        self.optimizers.zero_grad()
        loss_of = make_loss(spec.loss, spec.margin, self.network.spec)
        mine = parallel.share(len(batch))
        parts = (one[mine].tensor_split(spec.accumulate) for one in (batch, labels))
        total = torch.zeros(2, dtype=torch.float64, device=batch.device)
        for images, target in zip(*parts, strict=True):
            x = images.float()
            with (
                drawn_weights(self.network, self.draws if spec.weight_sign == "stochastic" else None),
                self.extras.within(self.network),
                torch.autocast(batch.device.type, torch.bfloat16, enabled=spec.precision == "bfloat16"),
            ):
                scores = self.network(x).float()
                loss = loss_of(scores, target)
                if self.teacher is not None:
                    with torch.no_grad():
                        wanted = self.teacher(x).float()
                    soft = distillation(scores, wanted, spec.temperature)
                    loss = (1.0 - spec.distill) * loss + spec.distill * soft
                if self.extras.penalty is not None:
                    loss = loss + self.extras.penalty(self.network) * len(target)
                (loss / len(batch)).backward()
            with torch.no_grad():
                total += torch.stack([loss, (scores.argmax(1) == target).sum()])
        parallel.sum_gradients(self.network.parameters())
        self.optimizers.step()
        return parallel.summed(total) if parallel.active() else total


def can_be_replayed(update: Update, device: torch.device) -> bool:
    """Whether an update runs the same kernels every time, and asks nothing of what they computed.

    Not so: what Brevitas makes on the processor for each call (scaled weights), draws from the processor's generators,
    methods' own code, a user's network or teacher, which may do anything, and messages between processes.
    """
    networks = [update.network] if update.teacher is None else [update.network, update.teacher]
    plain = all(isinstance(one, Network) and one.spec.weight_scale == "none" for one in networks)
    drawn = update.spec.weight_sign == "stochastic" or getattr(update.network.spec, "stochastic", False)
    extras = update.extras
    methods = extras.within is not nullcontext or extras.penalty is not None or update.errors
    return device.type == "cuda" and plain and not drawn and not methods and not parallel.active()


class Replayed:
    """An update that is recorded once for each size of batch, and replayed from then on: the same kernels, without the
    time that python takes to call for them, which is most of a step of Brevitas' modules.

    A recording needs all that it changes to stay where it is, so the network and the optimizers must keep their tensors
    as long as this lives; learning rates are read from theirs. The trial updates before a recording are taken back: a
    run that resumes from a checkpoint has the bits of one that was not interrupted.

    Args:
        update: for which `can_be_replayed`.
    """

    def __init__(self, update: Update) -> None:
        self.update = update
        self._recorded: dict[int, tuple[Tensor, Tensor, Callable[[], None], Tensor]] = {}

    def __call__(self, batch: Tensor, labels: Tensor) -> Tensor:
        """As `Update`; the result is overwritten by the next call."""
        if len(batch) not in self._recorded:
            self._recorded[len(batch)] = self._record(batch.clone(), labels.clone())
        images, targets, replay, total = self._recorded[len(batch)]
        images.copy_(batch)
        targets.copy_(labels)
        replay()
        return total

    def _record(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Callable[[], None], Tensor]:
        before = [(tensor, tensor.detach().clone()) for tensor in self._changed()]

        def undo() -> None:
            _take_back(before, self._changed())
            self.update.optimizers.zero_grad()

        return images, targets, *cuda_graph(lambda: self.update(images, targets), undo)

    def _changed(self) -> list[Tensor]:
        network = self.update.network
        return [*network.parameters(), *network.buffers(), *self.update.optimizers.tensors()]


def cuda_graph(step: Callable[[], Tensor], undo: Callable[[], None]) -> tuple[Callable[[], None], Tensor]:
    """What does `step` again, and the tensor that then holds its result.

    Args:
        step: work on a GPU. It runs a few times before it is recorded, for what libraries do once (handles, work
            space, choice of kernels), on a stream of its own, as CUDA wants it.
        undo: takes that back.
    """
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    undo()
    gc.collect()  # what is let go while a recording runs may end it
    with torch.cuda.graph(graph, stream=stream):
        result = step()
    return graph.replay, result


@torch.no_grad()
def _take_back(before: list[tuple[Tensor, Tensor]], now: list[Tensor]) -> None:
    """Give tensors the values that they had, and 0 to those of optimizers that were not there before."""
    values = {id(tensor): value for tensor, value in before}
    for tensor in now:
        if id(tensor) in values:
            tensor.copy_(values[id(tensor)])
        else:
            tensor.zero_()
