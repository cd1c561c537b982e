"""Criteria say what they claim: held against Captum, against formulas by hand, and against brute force."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import LayerDeepLift
from captum.attr._core.deep_lift import SUPPORTED_NON_LINEAR
from torch.nn import functional

from bnnflow import Problem
from bnnflow.models.data.load import Dataset
from bnnflow.models.networks.layers import SumMap
from bnnflow.models.networks.network import Network, NetworkSpec
from bnnflow.models.networks.residual import ResidualSum
from bnnflow.models.networks.twin import PlainSign, twin
from bnnflow.models.relevance import captum_deeplift, deep_lift, lrp
from bnnflow.models.relevance.criteria import CRITERIA, REDUCTIONS, Criterion, ScoringMethod
from bnnflow.models.relevance.sample import Sample
from bnnflow.models.relevance.scores import _FINISH, _PER_IMAGE, attributions, borda, ranks, score
from bnnflow.models.relevance.taps import Probe, captured
from bnnflow.models.training.flips import FlipCounts
from tests.models.conftest import CNN, MLP, RESIDUAL, lively
from tests.models.networks.test_twin import own

POOLED = replace(CNN, pools=(2, 1))
DRAWN: dict[str, NetworkSpec] = {
    "cnn": POOLED,
    "cnn-binary": replace(POOLED, input="binary"),
    "pool-after-sign": replace(POOLED, pool_order="after-sign"),
    "mlp": MLP,
    "border": replace(CNN, padding=-1, scores="class"),
    "planes": replace(CNN, input="planes", planes=3),
    "unit": replace(CNN, activation="unit", act_bits=2, weight_bits=3),
    "scales": replace(CNN, weight_scale="channel"),
    "map": replace(CNN, head="map", hidden=(), pools=()),
    **RESIDUAL,
}
# Both joins and both shortcuts in two networks; in all their four pairs when slow tests run.
PAIRS = ("integer-conv", "thresholded-pool")
KINDS = [pytest.param(name, marks=[pytest.mark.slow] if name in PAIRS else []) for name in DRAWN]


def drawn(name: str, digits: Dataset) -> Network:
    return lively(DRAWN[name], digits.train_images[:200])


def sample(digits: Dataset, count: int = 40) -> Sample:
    return Sample(digits.test_images[:count], digits.test_labels[:count], digits.train_images[: count - 7])


def tensors(some: Sample) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rows = np.arange(len(some.images)) % len(some.baselines)
    x, base = (torch.tensor(images, dtype=torch.float64) for images in (some.images, some.baselines[rows]))
    return x, base, torch.tensor(some.labels)


def attributed(network: Network, method: str, some: Sample) -> dict[str, torch.Tensor]:
    return next(attributions(network, method, some, len(some.images)))[0]


@pytest.mark.parametrize("name", KINDS)
def test_deeplift_is_complete_at_pixels_and_every_cut(name: str, digits: Dataset) -> None:
    network = drawn(name, digits)
    found = score(network, "deeplift", sample(digits), batch=16)
    assert found.check is not None and found.check <= 1e-9
    assert found.images == 40 and found.criterion == "deeplift:absmean"
    for layer in network.spec.layers()[:-1]:
        assert found.scores[layer.name].shape == (layer.outputs,)
        assert found.scores[layer.name].max() > 0
    _, misses, _ = next(attributions(network, "deeplift", sample(digits)))
    blocks = {"integer": {"block0", "block1", "block2"}, "thresholded": {"block0", "block1"}}
    cuts = {layer.name for layer in network.spec.layers()[:-1]} if network.spec.is_chain else blocks[network.spec.join]
    assert cuts | {"pixels"} <= set(misses)


def test_deeplift_of_a_network_of_the_users_own(tmp_path: Path, digits: Dataset) -> None:
    """One activation module is used twice there, which Captum cannot follow."""
    found = score(own(tmp_path), "deeplift", sample(digits))
    assert found.captum is not None and found.captum.images == 0
    assert found.captum.reason == "body.act: this module runs 2 times, and Captum follows one call of it"
    with pytest.raises(Problem, match="runs 2 times"):
        score(own(tmp_path), "deeplift-captum", sample(digits))
    assert found.check is not None and found.check <= 1e-9
    assert {name: len(values) for name, values in found.scores.items()} == {"first": 4, "second": 4}


def test_an_activation_outside_modules_is_found_out(tmp_path: Path, digits: Dataset) -> None:
    with pytest.raises(Problem, match="attributions add up to"):
        score(own(tmp_path, functional=True), "deeplift", sample(digits))


@pytest.mark.parametrize("name", KINDS)
def test_captums_deeplift_adds_up_and_agrees_behind_the_last_pool(name: str, digits: Dataset) -> None:
    network, some = drawn(name, digits), sample(digits, 12)
    check = score(network, "deeplift", some).captum
    assert check is not None and check.images == 4 and not check.reason
    assert check.completeness is not None and check.completeness <= 1e-9
    assert check.difference is None or check.difference <= 1e-9
    found = score(network, "deeplift-captum", some)
    assert found.check is not None and found.check <= 1e-9 and found.captum is None
    ours, theirs = (attributed(network, method, some) for method in ("deeplift", "deeplift-captum"))
    for layer in ours:
        same = bool(torch.allclose(ours[layer], theirs[layer], rtol=0.0, atol=1e-9))
        assert same or layer not in check.layers, layer
    if network.spec.is_chain and network.spec.pools in ((), (1, 1)):
        assert check.layers == tuple(ours)


def test_captums_deeplift_is_captums(digits: Dataset) -> None:
    """A network without pools, and Captum called as its users call it."""
    network, some = lively(MLP, digits.train_images[:200]), sample(digits, 12)
    probe = Probe.of(network)
    x, base, target = tensors(some)
    found = attributed(network, "deeplift-captum", some)
    for layer, tap in probe.taps.items():
        method = LayerDeepLift(probe.model, probe.model.get_submodule(tap.path))
        wanted = method.attribute(x.requires_grad_(), base, target=target).detach()
        assert torch.equal(found[layer], wanted)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        # the gradient of the straight-through estimator, as without a rule for signs
        (lambda module, inputs, outputs, grad_input, grad_output, eps: grad_input, "miss the change of the logit"),
        (lambda module, inputs, outputs, grad_input, grad_output, eps: grad_input * torch.nan, "miss the change"),
    ],
)
def test_captums_deeplift_without_the_rule_is_found_out(
    rule: Any, said: str, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SUPPORTED_NON_LINEAR, PlainSign, rule)
    with pytest.raises(Problem, match=said) as caught:
        score(drawn("cnn", digits), "deeplift", sample(digits))
    assert caught.value.status == 1
    with pytest.raises(Problem, match="attributions add up to"):
        score(drawn("cnn", digits), "deeplift-captum", sample(digits))


def test_attributions_that_differ_from_captums_are_found_out(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both add up, but ours go to the filters in another order."""

    def turned(*given: Any) -> Any:
        parts, misses, change = deep_lift.deeplift(*given)
        return {name: part.flip(1) for name, part in parts.items()}, misses, change

    monkeypatch.setattr(captum_deeplift, "deeplift", turned)
    with pytest.raises(Problem, match="differ from those in one pass") as caught:
        score(drawn("mlp", digits), "deeplift", sample(digits))
    assert caught.value.where == "dense0"


@pytest.mark.parametrize("method", ["deeplift", "integrated-gradients", "conductance"])
def test_methods_are_exact_where_the_tail_is_linear(method: str, digits: Dataset) -> None:
    """At the last sign the sum is linear: the attribution is weight times change, whatever lies before."""
    network = drawn("mlp", digits)
    some = sample(digits, 20)
    probe = Probe.of(network)
    x, base, target = tensors(some)
    with captured(probe.model, probe.taps) as after:
        probe.model(x)
    with captured(probe.model, probe.taps) as before:
        probe.model(base)
    weights = dict(probe.model.weight_layers())["dense2"].weight[target]
    wanted = weights * (after["dense1"] - before["dense1"])
    found = attributed(network, method, some)["dense1"]
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    scores = score(network, f"{method}:absmean", some).scores["dense1"]
    np.testing.assert_allclose(scores, wanted.mean(0).abs(), atol=1e-9)


def test_a_filter_that_nothing_listens_to_scores_zero(digits: Dataset) -> None:
    """Filter 2's gain is 0, so that its sign is constant."""
    network = drawn("cnn", digits)
    with torch.no_grad():
        network.layers["norm0"].weight[2] = 0.0
    for criterion in ("deeplift", "conductance", "integrated-gradients", "entropy", "ablation", "norm-gain"):
        scores = score(network, criterion, sample(digits)).scores
        assert scores["conv0"][2] == pytest.approx(0.0, abs=1e-9), criterion
        assert (np.abs(scores["conv0"]) > 1e-6).sum() >= 5, criterion


def test_missed_completeness_is_reported(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep_lift, "_rescaled", lambda x, y, x0, y0: y)
    with pytest.raises(Problem, match="attributions add up to"):
        score(drawn("cnn", digits), "deeplift", sample(digits))


@pytest.mark.parametrize("name", ["cnn", "pool-after-sign", "mlp", "integer-conv", "thresholded-pool"])
def test_lrp_stays_stable_where_sums_are_0(name: str, digits: Dataset) -> None:
    for method in ("lrp", "lrp-gamma"):
        stable = score(drawn(name, digits), method, sample(digits))
        assert stable.check is not None and 0 < stable.check < 2.0
        assert max(values.max() for values in stable.scores.values()) < 1e3


@pytest.mark.parametrize("gamma", [0.0, 0.25])
def test_lrp_rules_hand_on_all_but_the_stabilisers_share(gamma: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(3, 4, 5, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    conv = torch.nn.Conv2d(4, 6, 3, padding=1, bias=False, dtype=torch.float64)
    dense = torch.nn.Linear(5, 7, bias=False, dtype=torch.float64)
    for module, inputs in (
        (conv, [x]),
        (dense, [x]),
        (SumMap(), [x]),
        (ResidualSum(), [x, y]),
        (torch.nn.AvgPool2d(5), [x]),
    ):
        z = module(*inputs).detach()
        if gamma and isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            flat = {"weight": module.weight.detach()}
            for sign in (1.0, -1.0):
                part = {"weight": (sign * flat["weight"]).clamp(min=0.0)}
                z = z + gamma * torch.func.functional_call(module, part, (sign * inputs[0]).clamp(min=0.0))
        weight = float(module.weight.detach().abs().mean()) if hasattr(module, "weight") else 1.0
        squares = torch.stack([one.square().flatten(1).mean(1) for one in inputs]).mean(0)
        unit = (weight * squares.sqrt()).reshape(-1, *[1] * (z.dim() - 1))
        relevance = torch.randn(z.shape, generator=generator, dtype=torch.float64)
        parts, of_weight = lrp._shares(module, gamma, [one.clone() for one in inputs], relevance)
        handed = (relevance * z / (z + torch.where(z >= 0, unit, -unit))).flatten(1).sum(1)
        if hasattr(module, "weight"):  # the same relevance lies on the weights
            assert of_weight is not None
            np.testing.assert_allclose(float((module.weight * of_weight).sum().detach()), float(handed.sum()))
        assert [part.shape for part in parts] == [one.shape for one in inputs]
        np.testing.assert_allclose(sum(part.flatten(1).sum(1) for part in parts).detach(), handed, atol=1e-9)


@pytest.mark.parametrize("name", ["cnn", "pool-after-sign", "mlp"])
def test_lrp_conserves_relevance_without_stabiliser(
    name: str, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the gamma rule, whose sums are seldom 0."""
    network = drawn(name, digits)
    monkeypatch.setattr("bnnflow.models.relevance.lrp.EPSILON", 1e-9)
    _, misses, whole = next(attributions(network, "lrp-gamma", sample(digits)))
    for miss in misses.values():
        assert np.median(np.abs(miss) / np.maximum(1.0, np.abs(whole))) <= 1e-3


def test_lrp_of_a_layer_by_hand(digits: Dataset) -> None:
    """At the last sign of a network: each bit's product, by their sum and one stabilising unit, of the sum."""
    network = drawn("mlp", digits)
    some = sample(digits, 15)
    probe = Probe.of(network)
    x, _, target = tensors(some)
    with captured(probe.model, probe.taps) as outputs:
        sums = probe.model(x)
    bits, weight = outputs["dense1"], dict(probe.model.weight_layers())["dense2"].weight
    z = sums.gather(1, target[:, None])
    products = bits * weight[target]
    wanted = products / (z + torch.where(z >= 0, 1.0, -1.0)) * z
    np.testing.assert_allclose(attributed(network, "lrp", some)["dense1"], wanted, atol=1e-9)
    raised = products + 0.25 * products.clamp(min=0)
    total = raised.sum(1, keepdim=True)
    wanted = raised / (total + torch.where(total >= 0, 1.0, -1.0)) * z
    np.testing.assert_allclose(attributed(network, "lrp-gamma", some)["dense1"], wanted, atol=1e-9)


@pytest.mark.parametrize("name", ["cnn", "mlp", "integer-pool", "thresholded-conv"])
def test_ablation_equals_brute_force(name: str, digits: Dataset) -> None:
    network = drawn(name, digits)
    some = sample(digits, 24)
    found = score(network, "ablation", some).scores
    probe = Probe.of(network, sums=False)
    x, _, target = tensors(some)
    with captured(probe.model, probe.taps) as outputs:
        clean = functional.cross_entropy(probe.model(x), target)
    assert list(found) == [layer.name for layer in network.spec.layers()[:-1]]
    for layer, tap in probe.taps.items():
        for index in range(len(found[layer])):
            held = outputs[layer].clone()
            held[:, index] = held[:, index].mean()
            hook = probe.model.get_submodule(tap.path).register_forward_hook(lambda _m, _i, _o, held=held: held)
            loss = functional.cross_entropy(probe.model(x), target)
            hook.remove()
            assert found[layer][index] == pytest.approx(float(loss - clean), abs=1e-5)


def test_taylor_scores_are_products_with_the_gradient_of_the_loss(digits: Dataset) -> None:
    network = drawn("mlp", digits)
    some = sample(digits, 30)
    model = twin(network).double()
    x, _, target = tensors(some)
    weight = dict(model.weight_layers())["dense0"].weight.requires_grad_()
    functional.cross_entropy(model(x), target).backward()
    assert weight.grad is not None
    wanted = (weight * weight.grad).abs().sum(1).detach()
    np.testing.assert_allclose(score(network, "taylor-weight", some).scores["dense0"], wanted, rtol=1e-9)
    probe = Probe.of(network, sums=False)
    with captured(probe.model, probe.taps) as outputs:
        loss = functional.cross_entropy(probe.model(x.requires_grad_()), target, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, outputs["dense1"])
    wanted = (outputs["dense1"] * gradient).abs().mean(0).detach()
    np.testing.assert_allclose(score(network, "taylor-activation", some).scores["dense1"], wanted, rtol=1e-9)


def test_figures_of_weights_norms_and_signs(digits: Dataset) -> None:
    network = drawn("cnn", digits)
    some = sample(digits)
    latent = network.layers["conv1"].weight.detach().double().abs().flatten(1).mean(1)
    np.testing.assert_allclose(score(network, "latent", some).scores["conv1"], latent / latent.mean())
    gain = network.layers["norm1"].weight.detach().abs()
    np.testing.assert_allclose(score(network, "norm-gain", some).scores["conv1"], gain)
    with captured(model := twin(network), Probe.of(network).taps) as outputs:
        model(tensors(some)[0].float())
    share = (outputs["conv0"] > 0).double().mean((0, 2, 3))
    np.testing.assert_allclose(score(network, "entropy", some).scores["conv0"], share * (1 - share), atol=1e-9)
    first, again, other = (score(network, "random", some, seed).scores["conv1"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


def test_reductions_by_hand() -> None:
    parts = torch.tensor([[[1.0, -3.0], [0.0, 2.0]], [[2.0, 2.0], [-1.0, -1.0]]])  # two images, filters, cells
    wanted = {
        "meanabs": [2.0, 1.0],
        "absmean": [0.5, 0.0],
        "possum": [1.25, 0.5],
        "imgabs": [3.0, 2.0],
        "maxabs": [2.5, 1.5],
        "l2": [np.sqrt(4.5), np.sqrt(1.5)],
    }
    assert set(wanted) == set(REDUCTIONS)
    for name, values in wanted.items():
        made = _FINISH.get(name, np.asarray)(_PER_IMAGE[name](parts).mean(0).numpy())
        np.testing.assert_allclose(made, values, atol=1e-7, err_msg=name)


def test_borda_by_hand(digits: Dataset) -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 7.0])).tolist() == [1.5, 0.0, 1.5, 3.0]
    made = borda([{"a": np.array([5.0, 1.0, 2.0])}, {"a": np.array([0.1, 0.3, 0.2])}])
    assert made["a"].tolist() == [0.5, 0.5, 0.5]
    network = drawn("mlp", digits)
    joined = score(network, "borda(latent, deeplift:l2)", sample(digits))
    alone = [score(network, criterion, sample(digits)) for criterion in ("latent", "deeplift:l2")]
    np.testing.assert_array_equal(joined.scores["dense0"], borda([each.scores for each in alone])["dense0"])
    assert joined.check == alone[1].check and joined.criterion == "borda(latent,deeplift:l2)"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("deep-lift", "did you mean 'deeplift'"),
        ("deeplift:meanab", "did you mean 'meanabs'"),
        ("deeplift:", "known: meanabs"),
        ("latent:l2", "leave out ':l2'"),
        ("borda(latent)", "borda(deeplift, latent)"),
        ("borda(latent, nothing)", "known: deeplift"),
    ],
)
def test_unknown_criteria_are_refused(text: str, hint: str) -> None:
    with pytest.raises(Problem) as caught:
        Criterion.parse(text)
    assert hint in caught.value.hint


def test_criteria_that_need_what_is_not_there(digits: Dataset) -> None:
    network = drawn("mlp", digits)
    some = sample(digits)
    with pytest.raises(Problem, match="not counted"):
        score(network, "flips", some)
    counts = FlipCounts(1)
    counts.begin(Network(replace(MLP, hidden=(8, 12))).weight_layers())
    with pytest.raises(Problem, match="another shape"):
        score(network, "flips-step", some, flips=counts)
    with torch.no_grad():
        network.layers["dense1"].weight.sign_()
    with pytest.raises(Problem, match="no latent values") as caught:
        score(network, "latent", some)
    assert caught.value.where == "dense1"
    with pytest.raises(Problem, match="no batch norm") as caught:
        score(drawn("integer-pool", digits), "norm-gain", some)
    assert caught.value.where == "conv1"


def test_scores_that_are_no_numbers_are_refused(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    network = drawn("mlp", digits)
    scores = {"dense0": np.ones(16), "dense1": np.array([0.0, np.inf, 1.0, np.nan])}
    with monkeypatch.context() as patched:
        patched.setattr("bnnflow.models.relevance.figures.entropy", lambda *_: scores)
        with pytest.raises(Problem, match="filter 1 no number") as caught:
            score(network, "entropy", sample(digits))
        assert caught.value.where == "dense1"
    with torch.no_grad():
        network.layers["norm1"].weight[3] = float("nan")
    for criterion in ("deeplift", "latent", "ablation", "random", "borda(latent,norm-gain)"):
        with pytest.raises(Problem, match="1 of its 12 values are not finite") as caught:
            score(network, criterion, sample(digits))
        assert caught.value.where == "layers.norm1.weight" and caught.value.status == 1


def test_a_sample_has_images_labels_and_baselines() -> None:
    images, labels = np.zeros((3, 1, 8, 8), np.uint8), np.zeros(3, np.int64)
    images += np.arange(3, dtype=np.uint8)[:, None, None, None]
    for count in (1, 2, 3, 9):
        made = Sample.draw(images, labels, count, np.random.default_rng(0))
        rows = np.arange(len(made.images)) % len(made.baselines)
        assert (made.images != made.baselines[rows]).all()
    with pytest.raises(Problem, match="2 labels"):
        Sample(images, labels[:2], images)


def test_every_method_runs_on_every_kind_of_network(digits: Dataset) -> None:
    for name in ("unit", "thresholded-conv", "map"):
        network = drawn(name, digits)
        for method, row in CRITERIA.items():
            if row.needs == "flips" or row.kind == "set" or (method == "norm-gain" and name == "thresholded-conv"):
                continue
            found: Any = score(network, method, sample(digits, 8)).scores
            assert list(found) == [layer.name for layer in network.spec.layers()[:-1]]
            assert all(values.dtype == np.float64 for values in found.values())


def test_every_row_names_its_function() -> None:
    """And says what a reader of the table needs; the table itself loads no torch (tests/test_layers.py)."""
    for name, row in CRITERIA.items():
        assert callable(row.load()), name
        assert row.meaning and row.cost and (row.kind == "attribution" or not (row.complete or row.captum))
    assert {need for row in CRITERIA.values() if (need := row.needs)} == {"flips", "latent weights", "a norm per layer"}


def test_a_criterion_is_one_row(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new row is parsed, scored and reduced like any other."""
    row = ScoringMethod("figure", "one number per filter", "nothing", "figures:latent")
    monkeypatch.setitem(CRITERIA, "twice", row)
    network = drawn("mlp", digits)
    found = score(network, "borda(twice, latent)", sample(digits))
    assert found.criterion == "borda(twice,latent)"
    assert (
        score(network, "twice", sample(digits)).scores["dense0"]
        == score(network, "latent", sample(digits)).scores["dense0"]
    ).all()
