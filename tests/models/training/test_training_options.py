"""Every optimizer, loss and option trains, resumes to the same bits, and does what its formula says."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from brevitas.nn import QuantIdentity
from torch.nn import functional

from bnnflow import Problem
from bnnflow.models.data.load import Dataset
from bnnflow.models.networks.layers import Kit
from bnnflow.models.networks.network import Network, NetworkSpec
from bnnflow.models.networks.signs import BinarySign, SurrogateSign, quick_signs
from bnnflow.models.training.augment import augment
from bnnflow.models.training.batchnorm import pixels, reestimate
from bnnflow.models.training.bop import Bop
from bnnflow.models.training.evaluate import accuracy, digest, predict
from bnnflow.models.training.float_format import FloatFormat, Trial, cheapest
from bnnflow.models.training.losses import BOUND, distillation, make_loss
from bnnflow.models.training.optimizers import drawn_weights
from bnnflow.models.training.train import Extras, train
from bnnflow.models.training.train_spec import Precision, TrainSpec
from tests.models.conftest import CNN, MLP

SPEC = TrainSpec(epochs=3, batch=32, learning_rate=0.01, seed=5)
OPTIONS: dict[str, dict[str, Any]] = {
    "adam": {"warmup_epochs": 1, "weight_decay": 1e-4},
    "sgd": {"optimizer": "sgd", "schedule": "step", "step_epochs": 1, "augment": "crop-flip"},
    "bop": {"optimizer": "bop", "bop_rate": 1e-2, "momentum_format": "e5m2"},
    "drawn weights": {"weight_sign": "stochastic", "loss": "squared-hinge"},
    "parts": {"accumulate": 3, "loss": "mcel", "margin": 0.5},
    "early stop": {"validation": 0.2, "patience": 1, "schedule": "constant", "loss": "mhl"},
    "teacher": {"distill": 0.5, "teacher_epochs": 1},
    "bfloat16": {"precision": "bfloat16", "augment": "crop"},
    "bfloat16 with bop": {"precision": "bfloat16", "optimizer": "bop", "bop_rate": 1e-2, "momentum_format": "e5m7"},
}


class Stop(Exception):
    pass


def run(digits: Dataset, spec: TrainSpec, checkpoint: Path | None = None, stop: tuple[int, int] = (0, 0)) -> Network:
    """A small network trained on 120 images; `stop` interrupts at a call of progress in that epoch."""
    shape = replace(MLP, stochastic=spec.weight_sign == "stochastic", estimator="polynomial")
    network, calls = Network(shape, 1), 0

    def progress(_step: int, _total: int, metrics: dict[str, float]) -> None:
        nonlocal calls
        calls += metrics["epoch"] == stop[0]
        if calls and calls == stop[1]:
            raise Stop

    with contextlib.suppress(Stop):
        train(network, digits.train_images[:120], digits.train_labels[:120], spec, checkpoint, progress)
    return network


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_resumes_to_the_same_bits(name: str, digits: Dataset, tmp_path: Path) -> None:
    spec = replace(SPEC, **OPTIONS[name])
    whole = digest(run(digits, spec))
    for stop in ((1, 1), (2, 2), (3, 1)):
        checkpoint = tmp_path / f"{stop[0]}.pt"
        run(digits, spec, checkpoint, stop)
        assert digest(run(digits, spec, checkpoint)) == whole


def test_bop_learns_without_latent_weights(digits: Dataset) -> None:
    network = Network(MLP, 1)
    spec = replace(SPEC, epochs=10, optimizer="bop", bop_rate=1e-2, bop_threshold=1e-6)
    history = train(network, digits.train_images, digits.train_labels, spec)
    for _, module in network.weight_layers():
        assert set(module.weight.unique().tolist()) == {-1.0, 1.0}
    assert history[0]["flips"] > 0 and history[0]["lost_updates"] < 0.01
    assert accuracy(network, digits.test_images, digits.test_labels) > 0.6
    coarse = replace(spec, epochs=1, momentum_format="e5m0")
    assert train(Network(MLP, 1), digits.train_images, digits.train_labels, coarse)[0]["lost_updates"] > 0.5


def test_bop_follows_its_formula() -> None:
    weight = torch.tensor([1.0, 1.0, -1.0, -1.0])
    optimizer = Bop([weight.requires_grad_()], rate=0.5, threshold=0.1)
    weight.grad = torch.tensor([1.0, -1.0, 0.1, -1.0])
    optimizer.step()
    assert weight.tolist() == [-1.0, 1.0, -1.0, 1.0]
    weight.grad = torch.tensor([-2.0, 0.0, 0.0, 0.0])
    optimizer.step()  # momenta 0.5 -> -0.75, -0.25, 0.025, -0.25: the first flips again, the last does not
    assert weight.tolist() == [1.0, 1.0, -1.0, 1.0]
    assert optimizer.take_counts() == {"lost_updates": 0.0, "flips": 3.0}


@pytest.mark.parametrize(("form", "kind"), [("e5m10", np.float16), ("e5m2", None), ("e4m3", None), ("e3m0", None)])
def test_small_floats_round_to_the_nearest_even_number(form: str, kind: Any) -> None:
    made = FloatFormat.parse(form)
    x = torch.tensor(np.random.default_rng(0).normal(size=2000) * 2.0 ** np.random.default_rng(1).uniform(-30, 0, 2000))
    found = made.round(x)
    assert torch.equal(made.round(found), found)
    if kind is not None:  # half precision has the same steps, 15 binades higher
        inside = (x.abs() < 0.999) & (x.abs() > 2.0**-30)
        shifted = torch.from_numpy((x.clamp(-0.999, 0.999).numpy() * 2.0**16).astype(kind).astype(np.float64)) / 2.0**16
        assert torch.equal(found[inside], shifted[inside])
    else:  # against every number of the format
        exponents = range(made.top - 2**made.exponent + 2, made.top + 1)
        normal = [(1 + f / 2**made.mantissa) * 2.0 ** (k - 1) for k in exponents for f in range(2**made.mantissa)]
        least = 2.0 ** (exponents[0] - 1 - made.mantissa)
        all_of_them = np.array([0.0, *(least * f for f in range(2**made.mantissa)), *normal])
        distance = np.abs(np.abs(x.numpy())[:, None] - all_of_them[None])
        np.testing.assert_array_equal(np.abs(np.abs(x.numpy()) - np.abs(found.numpy())), distance.min(1))


def test_the_search_takes_the_cheapest_format_that_is_good_enough() -> None:
    def trial(form: FloatFormat | None) -> Trial:
        good = form is None or (form.exponent >= 4 and form.mantissa >= 2)
        return Trial(form, 0.9 if good else 0.5, 0.0 if form is None else 2.0**-form.mantissa)

    form, tried = cheapest(trial)
    assert str(form) == "e4m2"
    names = [str(one.form) for one in tried]
    assert names[0] == "None" and "e4m1" in names and "e4m0" not in names
    assert str(cheapest(trial, greatest_loss=0.2)[0]) == "e4m3"
    assert str(cheapest(trial, 1.0, (3, 4), (3, 2))[0]) == "e3m2"
    assert str(cheapest(trial, 1.0, (3, 4), (1, 2), 0.3)[0]) == "e3m2", "fewest bits"
    assert cheapest(lambda form: Trial(form, 1.0 if form is None else 0.0))[0] is None
    with pytest.raises(Problem, match="no number format e9"):
        cheapest(lambda form: pytest.fail("bits are checked before any training"), exponents=(4, 9))


def test_losses_follow_their_formulas() -> None:
    z = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -4.0]])
    y = torch.tensor([0, 2])
    t = torch.tensor([[1.0, -1.0, -1.0], [-1.0, -1.0, 1.0]])
    spec = NetworkSpec("mlp", (1, 4, 4), 3, (64,), scores="none")
    assert make_loss("cross-entropy", None, None)(z, y) == functional.cross_entropy(z, y, reduction="sum")
    torch.testing.assert_close(make_loss("cross-entropy", None, spec)(z, y), functional.cross_entropy(z / 8, y) * 2)
    hinge = ((1 - t * z).clamp(min=0) ** 2).mean(1).sum()
    torch.testing.assert_close(make_loss("squared-hinge", None, None)(z, y), hinge)
    torch.testing.assert_close(make_loss("mhl", None, spec)(z, y), ((4 - t * z).clamp(min=0) / 4).mean(1).sum())
    bounded = BOUND * torch.tanh(z / BOUND)
    bounded[0, 0] -= 0.5
    bounded[1, 2] -= 0.5
    wanted = functional.cross_entropy(bounded, y, reduction="sum")
    torch.testing.assert_close(make_loss("mcel", 0.5, None)(z, y), wanted)
    assert distillation(z, z, 3.0).abs() < 1e-6 < distillation(z, z.flip(1), 3.0)


def test_images_are_moved_and_mirrored_as_a_whole() -> None:
    images = np.arange(1, 65, dtype=np.uint8).reshape(1, 1, 8, 8).repeat(200, 0)
    rng = np.random.default_rng(3)
    flipped = augment(images, "flip", rng)
    kinds = {image.tobytes() for image in flipped}
    assert kinds == {images[0].tobytes(), np.ascontiguousarray(images[0, :, :, ::-1]).tobytes()}
    moved = augment(images, "crop", rng)
    seen = {image.tobytes() for image in moved}
    padded = np.pad(images[0], ((0, 0), (1, 1), (1, 1)))
    assert seen == {padded[:, r : r + 8, c : c + 8].tobytes() for r in range(3) for c in range(3)}
    assert augment(images, "none", rng) is images


@pytest.mark.parametrize("estimator", ["clip", "polynomial", "swish", "identity"])
def test_gradients_of_the_sign_are_those_of_the_surrogate(estimator: str) -> None:
    x = torch.linspace(-2, 2, 41, dtype=torch.float64).requires_grad_()
    sign = SurrogateSign(torch.nn.Hardtanh(), estimator, False)
    sign(x).sum().backward()
    assert x.grad is not None
    at = x.detach()
    s = torch.sigmoid(5 * at)
    wanted = {
        "clip": (at.abs() <= 1).double(),
        "polynomial": (2 - 2 * at.abs()).clamp(min=0),
        "swish": 2 * 5 * s * (1 - s) * (2 + 5 * at * (1 - 2 * s)),
        "identity": torch.ones_like(at),
    }[estimator]
    torch.testing.assert_close(x.grad, wanted)
    assert torch.equal(sign.eval()(at), torch.nn.functional.hardtanh(at))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_quick_signs_are_those_of_brevitas(dtype: torch.dtype) -> None:
    """Of the short formats all numbers, of float32 those with the same 16 high bits and the neighbours of 0 and 1."""
    patterns = torch.arange(-(2**15), 2**15, dtype=torch.int16)
    if dtype == torch.float32:
        around = [value + offset for value in (0x3F800000, -0x40800000, 0, -(2**31)) for offset in (0, 1, 2)]
        around += [value - 1 for value in (0x3F800000, -0x40800000)]
        patterns = torch.cat([patterns.int() << 16, torch.tensor(around, dtype=torch.int32)])
    x = patterns.view(dtype)
    x = x[~x.isnan()]
    quick = Kit(CNN).exact_sign()
    assert isinstance(quick, BinarySign)
    grad = torch.linspace(-3, 3, len(x)).to(dtype)
    made = []
    for forward in (quick.train(), super(BinarySign, quick).forward):
        point = x.clone().requires_grad_()
        values = forward(point)
        values.backward(grad)
        made.append((values.detach(), point.grad))
    (values, slopes), (their_values, their_slopes) = made
    assert values.dtype == their_values.dtype == dtype
    assert torch.equal(values, their_values) and torch.equal(slopes, their_slopes)


def modes(network: Network) -> dict[str, bool]:
    """Without the module that Brevitas shares among all networks."""
    named = network.named_modules()
    return {name: module.training for name, module in named if not name.endswith("tensor_clamp_impl")}


def test_quick_signs_are_the_same_and_end_with_their_block(digits: Dataset) -> None:
    network = Network(CNN).eval()
    before, batch = modes(network), pixels(network, digits.test_images[:32])
    exact = network(batch)

    def fail() -> None:
        with quick_signs(network):
            assert torch.equal(network(batch), exact)
            assert modes(network) != before
            raise Stop

    with pytest.raises(Stop):
        fail()
    assert modes(network) == before


def test_modes_are_put_back_even_where_something_fails(digits: Dataset) -> None:
    images, labels = digits.test_images[:64], digits.test_labels[:64]
    network, teacher = Network(CNN).train(), Network(CNN, 1).eval()
    in_training, in_eval = modes(network), modes(Network(CNN).eval())
    assert predict(network, images, quick=True).shape == (64, 10)
    assert modes(network) == in_training
    with pytest.raises(RuntimeError):
        predict(network, images[:, :, :3], quick=True)
    assert modes(network) == in_training
    with pytest.raises(RuntimeError):
        reestimate(network, images[:, :, :3])
    assert modes(network) == in_eval

    def stop(_done: int, _total: int, _metrics: dict[str, float]) -> None:
        raise Stop

    before = modes(teacher)
    spec = TrainSpec(1, 32, 0.01, 0, distill=0.5, precision="bfloat16")
    with pytest.raises(Stop):
        train(network, images, labels, spec, progress=stop, extras=Extras(teacher=teacher))
    assert modes(teacher) == before
    weights = dict(teacher.weight_layers())["conv1"].weight
    assert weights.is_contiguous() and weights.device.type == "cpu"


def test_norms_are_measured_on_a_draw_of_the_images(digits: Dataset) -> None:
    images = digits.train_images[:300]

    def measured(given: np.ndarray, **options: Any) -> str:
        network = Network(CNN)
        reestimate(network, given, **options)
        return digest(network)

    drawn = {seed: measured(images, seed=seed, most=40) for seed in (0, 0, 1)}
    assert drawn[0] != drawn[1] and drawn[0] != measured(images)
    assert measured(images, most=300) == measured(images, most=301) == measured(images)
    order = np.random.default_rng([1, 6]).permutation(300)[:40]
    assert drawn[1] == measured(images[np.sort(order)], seed=1)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_with_quick_signs_is_that_with_brevitas(precision: Precision, digits: Dataset) -> None:
    """Bit for bit; in bfloat16 the gradient comes in another layout than the sign's input, as in FashCNN."""
    made = []
    for forward in (BinarySign.forward, QuantIdentity.forward):
        network = Network(replace(CNN, channels=(16, 16)))
        with mock.patch.object(BinarySign, "forward", forward):
            spec = TrainSpec(2, 50, 0.01, 0, precision=precision)
            train(network, digits.train_images[:200], digits.train_labels[:200], spec)
        made.append(digest(network))
    assert made[0] == made[1]


def test_drawn_signs_have_their_probability_and_leave_the_latent_weights() -> None:
    sign = SurrogateSign(torch.nn.Identity(), "clip", True)
    sign.generator = torch.Generator().manual_seed(0)
    drawn = sign(torch.full((20_000,), 0.5))
    assert set(drawn.unique().tolist()) == {-1.0, 1.0}
    assert abs(drawn.mean().item() - 0.5) < 0.02
    network = Network(CNN)
    before = digest(network)
    with drawn_weights(network, torch.Generator().manual_seed(0)):
        assert set(network.layers["conv1"].weight.unique().tolist()) == {-1.0, 1.0}
    assert digest(network) == before


@pytest.mark.parametrize("optimizer", ["adam", "bop"])
def test_bfloat16_learns_and_leaves_float32(optimizer: str, digits: Dataset) -> None:
    options: dict[str, Any] = {"precision": "bfloat16", "optimizer": optimizer, "bop_rate": 1e-2}
    spec = replace(SPEC, epochs=6, **options)
    images, labels = digits.train_images[:600], digits.train_labels[:600]
    trained = []
    for _ in range(2):
        network = Network(CNN, 1)
        history = train(network, images, labels, spec)
        trained.append(digest(network))
    assert trained[0] == trained[1]
    assert history[-1]["loss"] < history[0]["loss"] and accuracy(network, images, labels) > 0.5
    exact = Network(CNN, 1)
    train(exact, images, labels, replace(spec, precision="float32"))
    assert digest(exact) != trained[0], "short products were rounded"
    for tensor in network.state_dict().values():
        assert tensor.dtype in (torch.float32, torch.int64) and tensor.is_contiguous()


def test_training_stops_early_and_takes_the_best_network(digits: Dataset) -> None:
    network = Network(MLP, 1)
    spec = replace(SPEC, epochs=40, validation=0.3, patience=2, schedule="constant")
    images, labels = digits.train_images[:100], digits.train_labels[:100]
    seen = [row["validation"] for row in train(network, images, labels, spec)]
    assert len(seen) < 40
    assert max(seen[-2:]) <= max(seen[:-2])


def test_learning_rates_follow_the_schedule() -> None:
    warm = replace(SPEC, epochs=4, warmup_epochs=1)
    assert [warm.rate(step, 2) for step in (0, 1, 2)] == [0.5, 1.0, 1.0]
    assert warm.rate(7, 2) < 0.1
    steps = replace(SPEC, epochs=5, schedule="step", step_epochs=2, step_factor=0.1)
    assert [steps.rate(epoch * 10, 10) for epoch in range(5)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_a_loss_that_is_no_number_and_options_that_do_not_fit_are_refused(digits: Dataset) -> None:
    images, labels = digits.train_images[:64], digits.train_labels[:64]
    network = Network(MLP)
    with torch.no_grad():
        network.layers["score"].log_gain.fill_(float("nan"))
    with pytest.raises(Problem, match="no longer a number"):
        train(network, images, labels, replace(SPEC, loss="cross-entropy"))
    scaled = Network(replace(MLP, weight_scale="tensor"))
    with pytest.raises(Problem, match="weights have a scale"):
        train(scaled, images, labels, replace(SPEC, optimizer="bop"))
    for bad in ({"optimizer": "adm"}, {"momentum_format": "e5m2"}, {"patience": 2}, {"accumulate": 20}):
        with pytest.raises(Problem):
            replace(SPEC, **bad)
