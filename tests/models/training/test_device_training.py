"""Training on a device makes the same batches and steps as on a processor, and nothing in it waits for the device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import numpy as np
import pytest
import torch
from brevitas.core.quant import ClampedBinaryQuant
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bnnflow.models.data.load import Dataset
from bnnflow.models.networks.network import Network, NetworkSpec
from bnnflow.models.networks.own import OwnNetwork, OwnSpec
from bnnflow.models.networks.signs import QuickBinaryQuant, quick_signs
from bnnflow.models.training import train as training
from bnnflow.models.training import update as updates
from bnnflow.models.training.augment import AUGMENTS, augment, draw_moves, moved
from bnnflow.models.training.evaluate import digest
from bnnflow.models.training.feed import DeviceFeed, HostFeed
from bnnflow.models.training.losses import LOSSES
from bnnflow.models.training.optimizers import Optimizers
from bnnflow.models.training.train import Extras, train
from bnnflow.models.training.train_spec import TrainSpec
from bnnflow.models.training.update import Update, can_be_replayed
from tests.models.conftest import CNN, MLP, RESIDUAL

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SPEC = TrainSpec(epochs=3, batch=32, learning_rate=0.01, seed=5, augment="crop-flip")
OPTIONS: dict[str, dict[str, Any]] = {
    "adam": {"warmup_epochs": 1, "weight_decay": 1e-4},
    "sgd": {"optimizer": "sgd", "schedule": "step", "step_epochs": 1},
    "bop": {"optimizer": "bop", "bop_rate": 1e-2, "momentum_format": "e5m2", "loss": "mcel"},
    "parts": {"accumulate": 3, "loss": "mhl", "augment": "none"},
    "teacher": {"distill": 0.5, "teacher_epochs": 1, "augment": "flip"},
    "bfloat16": {"precision": "bfloat16", "loss": "squared-hinge"},
}
SHAPES: dict[str, NetworkSpec] = {
    "cnn": CNN,
    "mlp": MLP,
    "planes": replace(CNN, input="planes"),
    "ternary": replace(CNN, weight_kind="ternary", weight_bits=2),
    "masked": replace(CNN, weight_kind="masked"),
    "steps": replace(CNN, weight_kind="steps", weight_bits=3),
    "four bits": replace(CNN, weight_bits=4),
    "unit": replace(CNN, activation="unit"),
    "two bits": replace(CNN, activation="unit", act_bits=2),
    "swish": replace(CNN, estimator="swish"),
    "class scores": replace(CNN, scores="class"),
    **RESIDUAL,
}


class Stop(Exception):
    pass


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(1, 34), st.integers(1, 34)),
    kind=st.sampled_from(AUGMENTS),
    seed=st.integers(0, 2**32),
)
def test_images_are_moved_on_the_device_as_by_numpy(shape: tuple[int, ...], kind: str, seed: int) -> None:
    images = np.random.default_rng(seed + 1).integers(0, 256, shape, np.uint8)
    wanted = augment(images, kind, np.random.default_rng(seed))
    moves = torch.from_numpy(draw_moves(shape[0], shape[1:], kind, np.random.default_rng(seed)))
    found = moved(torch.from_numpy(images), moves)
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found.numpy(), wanted)


@pytest.mark.parametrize("kind", AUGMENTS)
def test_both_feeds_give_the_same_batches(kind: str) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (50, 3, 16, 17), np.uint8), rng.integers(0, 10, 50).astype(np.uint8)
    order = rng.permutation(50)
    both = [
        feed(images, labels, kind, CPU).epoch(order, 4, np.random.default_rng(1)) for feed in (HostFeed, DeviceFeed)
    ]
    for (there, names), (here, same) in zip(*both, strict=True):
        assert torch.equal(there, here) and torch.equal(names, same)
        assert there.dtype == here.dtype == torch.uint8 and names.dtype == same.dtype == torch.int64


def on_device(step: Callable[[], Tensor], undo: Callable[[], None]) -> tuple[Callable[[], None], Tensor]:
    """What `cuda_graph` does, where recording is only to remember."""
    for _ in range(3):
        step()
    undo()
    result = torch.zeros(2, dtype=torch.float64)

    def replay() -> None:
        result.copy_(step())

    return replay, result


def run(digits: Dataset, spec: TrainSpec, device: bool, checkpoint: Path | None = None, stop: int = 0) -> str:
    """The digest of a small network after training, by the way of a processor or of a device; `stop`: an epoch."""
    network = Network(CNN, 1)
    history: list[dict[str, float]] = []

    def progress(_step: int, _total: int, metrics: dict[str, float]) -> None:
        if metrics["epoch"] == stop:
            raise Stop

    with contextlib.ExitStack() as stack:
        if device:
            stack.enter_context(mock.patch.object(training, "make_feed", DeviceFeed))
            always = mock.Mock(side_effect=lambda update, _device: can_be_replayed(update, CUDA))
            stack.enter_context(mock.patch.object(training, "can_be_replayed", always))
            recorded = stack.enter_context(mock.patch.object(updates, "cuda_graph", side_effect=on_device))
        with contextlib.suppress(Stop):
            history = train(network, digits.train_images[:110], digits.train_labels[:110], spec, checkpoint, progress)
    if device and not stop and len(history) == spec.epochs:
        assert recorded.call_count in (0, 2, 4), "one for each size of batch, and of the teacher"
    return digest(network) + str([{name: row[name] for name in row if name != "seconds"} for row in history])


@pytest.mark.parametrize("name", OPTIONS)
def test_a_replayed_training_has_the_bits_of_another(name: str, digits: Dataset, tmp_path: Path) -> None:
    """Trial updates leave nothing behind, in a run from the start and in one that resumes from a checkpoint."""
    spec = replace(SPEC, **OPTIONS[name])  # batches of 28 and 27 images
    whole = run(digits, spec, False)
    assert run(digits, spec, True) == whole
    run(digits, spec, True, tmp_path / "run.pt", 3)
    assert run(digits, spec, True, tmp_path / "run.pt") == whole


class Watch(TorchDispatchMode):
    """Fails where numbers come from the processor to the "meta" device, which stands for a GPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {t.device.type for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        made = {t.device.type for t in tree_leaves(out) if isinstance(t, Tensor)}
        assert not (given == {"cpu"} and "meta" in made), f"{func} copies from the processor"
        return out


class NoLiterals(TorchFunctionMode):
    """Fails where a tensor is made of python's numbers on another device than the processor, which is a copy too."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in ("tensor", "as_tensor") and not isinstance(args[0], Tensor):
            assert str(kwargs.get("device") or "cpu") == "cpu", name
        assert not (name == "new_tensor" and args[0].device.type != "cpu"), name
        return func(*args, **kwargs)


@pytest.mark.parametrize(
    ("name", "loss"),
    [*((name, "cross-entropy") for name in SHAPES), *(("cnn", loss) for loss in LOSSES if loss != "cross-entropy")],
)
def test_no_step_waits_for_the_device(name: str, loss: Any) -> None:
    """Reading a number of a "meta" tensor raises: there is none. So would an `if` on it."""
    network = dry_run(SHAPES[name], loss)
    assert all(weight.grad is not None for weight in network.parameters())


def test_a_wait_would_be_seen() -> None:
    with pytest.raises(AssertionError, match="copies from the processor"):
        dry_run(replace(CNN, weight_scale="tensor"), "mcel")


def dry_run(shape: NetworkSpec, loss: Any) -> Network:
    """A network behind forward and backward of an update with a teacher, watched."""
    network, teacher = Network(shape).to("meta"), Network(shape, 1).to("meta").eval()
    still = cast(Optimizers, SimpleNamespace(zero_grad=lambda: None, step=lambda: None))
    update = Update(network, still, replace(SPEC, distill=0.5, loss=loss, accumulate=2), teacher)
    assert can_be_replayed(update, CUDA) == (shape.weight_scale == "none") and not can_be_replayed(update, CPU)
    images = torch.empty((8, *shape.input_shape), dtype=torch.uint8, device="meta")
    labels = torch.empty(8, dtype=torch.int64, device="meta")
    no_autocast = mock.patch("torch.autocast", return_value=contextlib.nullcontext())  # there is none for "meta"
    with quick_signs(teacher), no_autocast, Watch(), NoLiterals():
        moved(images, torch.empty((8, 3), dtype=torch.int64, device="meta"))
        assert update(images, labels).device.type == "meta"
    return network


def test_what_cannot_be_recorded_is_not() -> None:
    optimizers = cast(Optimizers, None)
    for shape in (
        replace(CNN, weight_scale="tensor"),
        replace(CNN, weight_scale="channel"),
        replace(CNN, stochastic=True),
    ):
        assert not can_be_replayed(Update(Network(shape), optimizers, SPEC), CUDA)
    plain = Network(CNN)
    assert not can_be_replayed(Update(plain, optimizers, replace(SPEC, weight_sign="stochastic")), CUDA)
    for extras in (Extras(within=lambda _: contextlib.nullcontext()), Extras(penalty=lambda _: torch.zeros(()))):
        assert not can_be_replayed(Update(plain, optimizers, SPEC, extras=extras), CUDA)
    assert not can_be_replayed(Update(plain, optimizers, SPEC, torch.nn.Linear(1, 1)), CUDA)
    spec = OwnSpec("tests.models.training.test_device_training:Own", {}, (1, 8, 8), 10)
    assert not can_be_replayed(Update(OwnNetwork(spec), optimizers, SPEC), CUDA)
    with mock.patch.object(updates.parallel, "active", return_value=True):
        assert not can_be_replayed(Update(plain, optimizers, SPEC), CUDA)


class Own(torch.nn.Sequential):
    def __init__(self) -> None:
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(64, 10))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_quick_binary_weights_are_those_of_brevitas(precision: Any, digits: Dataset) -> None:
    made = []
    for forward in (QuickBinaryQuant.forward, ClampedBinaryQuant.forward):
        with mock.patch.object(QuickBinaryQuant, "forward", forward):
            made.append(run(digits, replace(SPEC, precision=precision, learning_rate=0.1), False))
    assert made[0] == made[1]


def test_a_state_of_a_gpu_goes_on_on_a_processor() -> None:
    network = Network(CNN)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizers = Optimizers(network, SPEC)
    optimizers.step()
    state = optimizers.state_dict()
    gpu = {"fused": True, "capturable": True, "lr": torch.tensor(0.5)}
    state["main"]["param_groups"] = [{**group, **gpu} for group in state["main"]["param_groups"]]
    again = Optimizers(network, SPEC)
    again.load_state_dict(state)
    (group,) = again.main.param_groups
    assert not group["fused"] and not group["capturable"] and group["lr"] == SPEC.learning_rate
    for one, other in zip(again.tensors(), optimizers.tensors(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("name", OPTIONS)
def test_a_gpu_gives_the_same_bits_every_time(name: str, digits: Dataset, tmp_path: Path) -> None:
    spec = replace(SPEC, device="cuda", **OPTIONS[name])
    whole = run(digits, spec, False)
    assert run(digits, spec, False) == whole
    run(digits, spec, False, tmp_path / "run.pt", 2)
    assert run(digits, spec, False, tmp_path / "run.pt") == whole
