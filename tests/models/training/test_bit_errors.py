"""Training with bit errors: who gets how many, which bits are wrong, and what the gradient knows of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bnnflow import Problem
from bnnflow.models.data.load import Dataset
from bnnflow.models.networks.network import Network, NetworkSpec
from bnnflow.models.networks.twin import binary_weights
from bnnflow.models.relevance.guide import guide, with_guide
from bnnflow.models.training.bit_errors import Assignment, BitErrors, ErrorRates
from bnnflow.models.training.evaluate import AnyNetwork, digest, predict
from bnnflow.models.training.injection import CLEAR, FLIP, SET, Injection, Memories, Thresholds, WrongBits, injected
from bnnflow.models.training.train import train
from bnnflow.models.training.train_spec import TrainSpec
from tests.models.conftest import CNN, MLP, RESIDUAL, lively
from tests.models.training.test_training_options import SPEC, run

ASSIGNMENTS: tuple[Assignment, ...] = ("linear", "rank", "protect", "softmax")
TERNARY = replace(MLP, weight_bits=2, weight_kind="ternary")


def even(rate: float, **options: object) -> BitErrors:
    return BitErrors(weights=ErrorRates(rate, rate), **options)  # type: ignore[arg-type]


def read_weights(network: Network, made: Injection) -> dict[str, torch.Tensor]:
    """The weights that one forward pass in training mode computes with."""
    found = {}
    hooks = [
        module.weight_quant.register_forward_hook(  # type: ignore[union-attr,operator]
            lambda _m, _in, out, name=name: found.__setitem__(name, out.value.detach().clone())
        )
        for name, module in network.weight_layers()
    ]
    made.begin(0)
    network.train()
    network(torch.full((2, *network.spec.input_shape), 100.0))
    network.eval()
    for hook in hooks:
        hook.remove()
    return found


scores = arrays(np.float64, st.integers(1, 40), elements=st.integers(-5, 5).map(float))


@given(scores, st.sampled_from(ASSIGNMENTS), st.floats(0, 0.5), st.floats(0, 0.9))
def test_guided_rates_have_the_mean_and_no_one_has_more_than_a_less_important_one(
    given_scores: np.ndarray, assignment: Assignment, rate: float, protected: float
) -> None:
    spec = even(0.01, guide="deeplift", assignment=assignment, protected=protected)
    shares = spec.shares(given_scores)
    if rate * len(shares) > 0.5 * np.count_nonzero(shares) * (1 + 1e-9):
        with pytest.raises(Problem, match="is the most"):
            spec.rates(shares, rate)
        return
    rates = spec.rates(shares, rate)
    assert rates.sum() == pytest.approx(rate * len(rates), abs=1e-9)
    assert rates.min() >= 0 and rates.max() <= 0.5
    order = np.argsort(-given_scores, kind="stable")
    assert (np.diff(rates[order]) >= -1e-12).all()
    if assignment != "protect":
        for score in np.unique(given_scores):
            assert np.ptp(rates[given_scores == score]) < 1e-12


def test_shares_are_what_the_formulas_say() -> None:
    values = np.array([3.0, 1.0, 2.0, 2.0, 5.0])
    spec = even(0.1, guide="deeplift", protected=0.4, temperature=0.5)
    shares = {name: replace(spec, assignment=name).shares(values).tolist() for name in ASSIGNMENTS}
    assert shares["linear"] == [0.5, 1.0, 0.75, 0.75, 0.0]
    assert shares["rank"] == [0.25, 1.0, 0.625, 0.625, 0.0]
    assert shares["protect"] == [0.0, 1.0, 1.0, 1.0, 0.0]
    assert shares["softmax"] == pytest.approx(np.exp([-1.0, 0.0, -0.5, -0.5, -2.0]).tolist())
    few = replace(spec, assignment="protect", protected=0.1)
    assert few.shares(values).tolist() == [1.0, 1.0, 1.0, 1.0, 0.0], "somebody is spared"
    assert replace(few, protected=0.0).shares(values).tolist() == [1.0] * 5
    with pytest.raises(Problem, match="no numbers"):
        spec.shares(np.array([1.0, np.nan]))


@pytest.mark.parametrize(
    "spec",
    [CNN, MLP, replace(CNN, weight_scale="channel"), TERNARY, replace(MLP, weight_bits=4), *RESIDUAL.values()],
    ids=str,
)
def test_as_many_bits_are_wrong_as_the_rate_says(spec: NetworkSpec) -> None:
    network = Network(replace(spec, hidden=(200,)) if spec.arch == "mlp" else spec, 3).eval()
    with injected(network, even(0.25), seed=2) as made:
        found = read_weights(network, made)
        again = read_weights(network, made)
    for name, module in network.weight_layers():
        right = binary_weights(module)
        wrong = found[name] != right
        assert torch.equal(found[name], again[name])
        # a weight of b bits is right where all are: 0.75^b; five standard deviations of a binomial
        bits = int(module.weight_quant.bit_width())  # type: ignore[union-attr,operator]
        share = 1 - 0.75**bits
        assert abs(wrong.sum() - share * wrong.numel()) <= 5 * (share * (1 - share) * wrong.numel()) ** 0.5 + 1
        if bits == 1:
            assert torch.equal(found[name][wrong], -right[wrong])


def test_fresh_errors_change_frozen_ones_stay_and_grow() -> None:
    network = Network(MLP, 3)
    kept = {}
    for draw in ("fresh", "frozen"):
        with injected(network, even(0.2, draw=draw, ramp_epochs=1)) as made:
            rounds = []
            for epoch in (0, 0, 1):
                made.begin(epoch)
                begin, made.begin = made.begin, lambda _epoch: None  # type: ignore[method-assign]
                rounds.append([read_weights(network, made)["dense0"] for _ in range(2)])
                made.begin = begin  # type: ignore[method-assign]
        kept[draw] = rounds
    right = binary_weights(network.weight_layers()[0][1])
    (first, second), repeated, (third, _) = kept["fresh"]
    assert not torch.equal(first, second) and torch.equal(first, repeated[0])
    low, same = kept["frozen"][0]
    high = kept["frozen"][2][0]
    assert torch.equal(low, same)
    assert 0 < (low != right).sum() < (high != right).sum() and not ((low != right) & (high == right)).any()
    assert not torch.equal(third, high)


def test_only_training_is_wrong_and_the_input_never_is() -> None:
    network = lively(CNN, np.zeros((4, 1, 8, 8), np.uint8))
    images = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)
    clean = predict(network, images)
    bits = []
    with injected(network, BitErrors(activations=1.0)) as made:
        made.begin(0)
        assert np.array_equal(predict(network, images), clean)
        first = network.layers["conv0"]
        first.register_forward_pre_hook(lambda _m, x: bits.append(x[0].clone()))
        made.always = True
        wrong = predict(network, images)
    assert not np.array_equal(wrong, clean)
    predict(network, images)
    assert torch.equal(bits[0], bits[1])
    assert np.array_equal(predict(network, images), clean)


def test_the_gradient_passes_a_wrong_bit_as_a_right_one() -> None:
    network = Network(MLP, 1).train()
    x = torch.randint(0, 256, (4, 1, 8, 8)).float()
    with injected(network, even(1.0)) as made:
        made.begin(0)
        network.train()
        layer = network.weight_layers()[0][1]
        read: list[torch.Tensor] = []

        def keep(_module: torch.nn.Module, _inputs: object, out: object) -> None:
            value: torch.Tensor = out.value  # type: ignore[attr-defined]
            value.retain_grad()
            read.append(value)

        layer.weight_quant.register_forward_hook(keep)  # type: ignore[union-attr,operator]
        network(x).square().sum().backward()
    assert torch.equal(read[0].detach(), -binary_weights(layer))
    inside = layer.weight.detach().abs() <= 1
    assert layer.weight.grad is not None and read[0].grad is not None
    assert torch.equal(layer.weight.grad, read[0].grad * inside)


@pytest.mark.parametrize("spec", [MLP, TERNARY])
def test_bits_of_a_device_are_those_that_memories_hold(spec: NetworkSpec) -> None:
    network = Network(spec, 4).eval()
    name, layer = network.weight_layers()[1]
    right = binary_weights(layer)
    bits = int(layer.weight_quant.bit_width())  # type: ignore[union-attr,operator]
    signs = {one: np.where(np.random.default_rng(2).random(m.weight.shape) < 0.5, -1, 1).astype(np.int8)
             for one, m in network.weight_layers()}  # fmt: skip
    rng = np.random.default_rng(1)
    index = np.sort(rng.permutation(right.numel() * bits)[:60])
    effect = rng.choice([CLEAR, SET, FLIP], 60).astype(np.uint8)
    memories = Memories(lambda _network: signs, wrong={name: WrongBits(index, effect)})
    with injected(network, BitErrors(), memories=memories) as made:
        found = read_weights(network, made)
    # plain integers, one bit after another
    wanted = right.flatten().tolist()
    stored = (right * torch.from_numpy(signs[name])).flatten().int().tolist()
    for at, what in zip(index.tolist(), effect.tolist(), strict=True):
        weight, bit = divmod(at, bits)
        code = int(stored[weight] > 0) if bits == 1 else stored[weight] & 3
        code = code & ~(1 << bit) if what == CLEAR else code | 1 << bit if what == SET else code ^ 1 << bit
        stored[weight] = 2 * code - 1 if bits == 1 else code - 4 * (code >> 1)
        wanted[weight] = stored[weight] * signs[name].flatten()[weight]
    assert found[name].flatten().tolist() == wanted
    others = {one: module for one, module in network.weight_layers() if one != name}
    assert all(torch.equal(found[one], binary_weights(module)) for one, module in others.items())


def test_directions_are_those_of_stored_bits() -> None:
    network = Network(MLP, 4).eval()
    signs = {name: np.full(module.weight.shape, -1, np.int8) for name, module in network.weight_layers()}
    with injected(network, BitErrors(weights=ErrorRates(1.0, 0.0)), memories=Memories(lambda _n: signs)) as made:
        found = read_weights(network, made)
    assert all((weights == -1).all() for weights in found.values())  # all stored bits are 1: negatives of -1


def test_wrong_thresholds_move_what_signs_compare_with() -> None:
    network = lively(MLP, np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), dtype=np.uint8))
    norm = network.layers["norm0"]
    assert isinstance(norm, torch.nn.BatchNorm1d) and norm.running_var is not None
    values, slopes = np.arange(16) - 8, np.linspace(-2, 2, 16).astype(np.float32)
    held = np.where(values > 6, 6, values)  # one that no sum reaches
    known = Thresholds(values, held, 4, signed=True, slopes=slopes)
    wrong = WrongBits(np.array([0, 4 * 5 + 3, 4 * 15 + 2]), np.array([FLIP, CLEAR, FLIP], np.uint8))
    memories = Memories(lambda _n: {}, thresholds=lambda _n: {"layers.norm0": known}, wrong={"layers.norm0": wrong})
    x = torch.randn(5, 16)
    with injected(network, BitErrors(), memories=memories) as made:
        made.begin(0)
        right = norm(x)
        made.always = True
        found = norm(x)
    # -8 = 1000 becomes 1001 = -7; -3 = 1101 becomes 0101 = 5; 7, held as 6 = 0110, becomes 0010 = 2
    further = np.zeros(16)
    further[[0, 5, 15]] = 1, 8, 2 - 7
    moved = torch.from_numpy(further * slopes) * norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    assert torch.allclose(found, (right.double() - moved).float(), atol=1e-6)
    assert torch.equal(found[:, further == 0], right[:, further == 0])
    with injected(network, BitErrors(thresholds=0.5), memories=replace(memories, wrong=None)) as made:
        made.begin(0)
        network.train()
        first, second = norm(x), norm(x)
        assert not torch.equal(first, second)
    with pytest.raises(Problem, match="is not known"), injected(network, BitErrors(thresholds=0.5)):
        pass


def test_guided_training_spares_what_is_important(digits: Dataset) -> None:
    network = Network(MLP, 4)
    important = {name: np.arange(len(module.weight)) < 2 for name, module in network.weight_layers()[:-1]}

    def scored(_network: AnyNetwork) -> Mapping[str, np.ndarray]:
        return {name: spared.astype(float) for name, spared in important.items()}

    with injected(network, even(0.3, guide="latent"), importance=scored) as made:
        found = read_weights(network, made)
    for name, module in network.weight_layers():
        wrong = (found[name] != binary_weights(module)).float().mean(1).numpy()
        spared = important.get(name, np.zeros(len(wrong), bool))
        assert (wrong[spared] == 0).all() and (wrong[~spared] > 0).all()
    with pytest.raises(Problem, match="need scores"), injected(network, even(0.3, guide="latent")):
        pass
    images, labels = digits.train_images[:64], digits.train_labels[:64]
    for criterion in ("deeplift", "random"):
        made_by = guide(even(0.1, guide=criterion), 0, images, labels)
        assert made_by is not None
        assert {name: len(one) for name, one in made_by(network.eval()).items()} == {"dense0": 16, "dense1": 12}
    for criterion in ("flips", "reconstruction"):
        with pytest.raises(Problem, match="in training"):
            guide(even(0.1, guide=criterion), 0, images, labels)


KINDS = {
    "fresh": even(0.1, ramp_epochs=1),
    "frozen": even(0.1, draw="frozen"),
    "activations": BitErrors(activations=0.05),
    "guided": even(0.1, guide="gradient-activation", guide_epochs=2, guide_images=8),
}


@pytest.mark.parametrize("kind", KINDS)
def test_training_resumes_to_the_same_bits(
    kind: str, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.models.training import test_training_options as options

    def guided(network: Network, images: np.ndarray, labels: np.ndarray, spec: TrainSpec, *others: object) -> object:
        return train(network, images, labels, spec, *others, extras=with_guide(None, spec, images, labels))  # type: ignore[arg-type]

    monkeypatch.setattr(options, "train", guided)
    spec = replace(SPEC, bit_errors=KINDS[kind])
    whole = digest(run(digits, spec))
    assert whole != digest(run(digits, SPEC))
    for stop in ((2, 2), (3, 1)):
        checkpoint = tmp_path / f"{stop[0]}.pt"
        run(digits, spec, checkpoint, stop)
        assert digest(run(digits, spec, checkpoint)) == whole


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"weights": ErrorRates(-0.1, 0.0)}, "weights"),
        ({"weights": ErrorRates(0.1, 1.5)}, "weights"),
        ({"activations": float("nan")}, "activations"),
        ({"draw": "often"}, "draw"),
        ({"assignment": "best"}, "assignment"),
        ({"ramp_epochs": -1}, "ramp_epochs"),
        ({"guide_images": 1}, "guide_images"),
        ({"protected": 1.0}, "protected"),
        ({"temperature": 0.0}, "temperature"),
        ({"guide": "deeplift"}, "guide"),
        ({"guide": "deeplift", "weights": ErrorRates(0.6, 0.6)}, "weights"),
    ],
)
def test_wrong_settings_are_refused(options: dict[str, object], key: str) -> None:
    with pytest.raises(Problem) as caught:
        BitErrors(**options)  # type: ignore[arg-type]
    assert caught.value.key == key


def test_what_has_no_bits_or_no_memories_is_refused() -> None:
    network = Network(MLP, quantized=False)
    with pytest.raises(Problem, match="no bits"), injected(network, even(0.1)):
        pass
    with pytest.raises(Problem, match="not known"), injected(Network(MLP), BitErrors(weights=ErrorRates(0.1, 0.2))):
        pass
