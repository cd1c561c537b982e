"""Weights of -1, 0 and +1: by a threshold, and by synapses that are gone and stay gone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from brevitas.core.quant.ternary import TernaryQuant
from brevitas.core.scaling import ConstScaling

from bnnflow import Problem
from bnnflow.models.data.load import Dataset
from bnnflow.models.files.pack import pack_network, unpack_network
from bnnflow.models.files.packed_file import Provenance
from bnnflow.models.files.saved import load_network, save_network
from bnnflow.models.networks.network import Network, NetworkSpec
from bnnflow.models.networks.ternary import Masked, Ternary, zero_shares
from bnnflow.models.prune.ecqx import EcqxSpec, ecqx
from bnnflow.models.prune.gradients import weight_relevance
from bnnflow.models.prune.synapses import SynapseSpec, masked, masks, prune_synapses, synapse_scores, synapses
from bnnflow.models.relevance import scores as relevance
from bnnflow.models.relevance.sample import Sample
from bnnflow.models.training.evaluate import accuracy, digest, predict
from bnnflow.models.training.flips import FlipCounts
from bnnflow.models.training.latent import layer_without_latent
from bnnflow.models.training.train import TrainSpec, train
from tests.models.conftest import CNN, MLP, lively

TERNARY = replace(CNN, weight_bits=2, weight_kind="ternary")
NONE = TrainSpec(0, 50, 0.01, 1)


def test_ternary_weights_are_those_of_brevitas_at_the_papers_threshold() -> None:
    latent = torch.randn(500, generator=torch.Generator().manual_seed(0)).requires_grad_()
    values, scale, zero, bits = Ternary(0.7)(latent)
    delta = float(0.7 * latent.detach().abs().mean())
    wanted = TernaryQuant(ConstScaling(1.0), delta)(latent.detach())[0]
    torch.testing.assert_close(values.detach(), wanted, atol=1e-6, rtol=0)
    assert (float(scale), float(zero), float(bits)) == (1.0, 0.0, 2.0)
    values.sum().backward()
    assert latent.grad is not None
    assert torch.equal(latent.grad, torch.ones(500))
    once = Ternary(0.7)(values.detach().round())[0]
    torch.testing.assert_close(once, values.detach().round(), atol=0, rtol=0)


def test_masked_weights_are_signs_and_their_zeros_get_no_gradient() -> None:
    latent = torch.tensor([0.3, 0.0, -1e-30, -0.0, 1.0]).requires_grad_()
    values = Masked()(latent)[0]
    assert values.tolist() == [1.0, 0.0, -1.0, 0.0, 1.0]
    (values * torch.arange(5)).sum().backward()
    assert latent.grad is not None
    assert latent.grad.tolist() == [0.0, 0.0, 2.0, 0.0, 4.0]


def test_a_ternary_network_learns_and_says_its_zeros(digits: Dataset) -> None:
    network = Network(TERNARY, 1)
    train(network, digits.train_images, digits.train_labels, TrainSpec(3, 50, 0.01, 1))
    assert accuracy(network, digits.test_images, digits.test_labels) > 0.5
    for name, module in network.weight_layers():
        values = module.quant_weight().value
        assert set(values.unique().tolist()) == {-1.0, 0.0, 1.0}
        assert zero_shares(network)[name] == float((values == 0).float().mean())
        assert float(module.weight.detach().abs().max()) <= 1.0


@pytest.mark.parametrize(
    "fields",
    [
        {"weight_kind": "ternary"},
        {"weight_kind": "steps"},
        {"weight_kind": "masked", "weight_bits": 2},
        {"weight_kind": "ternary", "weight_bits": 3},
        {"weight_kind": "masked", "weight_scale": "tensor"},
        {"weight_kind": "other"},
    ],
)
def test_kinds_that_do_not_fit_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(Problem):
        NetworkSpec.from_dict({**CNN.to_dict(), **fields})


@pytest.mark.parametrize("criterion", ["latent", "taylor", "random"])
def test_the_lowest_scores_go_and_stay_gone(digits: Dataset, criterion: str) -> None:
    images, labels = digits.train_images[:200], digits.train_labels[:200]
    network = lively(CNN, images)
    before = digest(network)
    spec = SynapseSpec({"conv1": 0.5, "dense0": 0.8}, steps=2, criterion=criterion, images=50)
    made, steps = prune_synapses(network, images, labels, (images, labels), spec, TrainSpec(2, 50, 0.01, 1))
    assert digest(network) == before
    total = {name: count for name, (_, count) in synapses(made).items()}
    assert steps[0].kept["conv1"] == total["conv1"] - round(total["conv1"] * 0.5 * 0.875)
    assert steps[1].kept["conv1"] == total["conv1"] - round(total["conv1"] * 0.5)
    assert steps[1].kept["dense0"] == total["dense0"] - round(total["dense0"] * 0.8)
    assert steps[1].kept["conv0"] == total["conv0"]
    assert zero_shares(made)["dense0"] == pytest.approx(0.8, abs=0.01)
    gone = {name: module.weight == 0 for name, module in made.weight_layers()}
    train(made, images, labels, TrainSpec(2, 50, 0.01, 2, weight_decay=0.01))
    for name, module in made.weight_layers():
        assert torch.equal(module.weight == 0, gone[name])
        assert set(module.quant_weight().value.unique().tolist()) <= {-1.0, 0.0, 1.0}


@pytest.mark.parametrize("criterion", ["flips", "flips-step"])
def test_what_flips_most_goes_first(criterion: str, digits: Dataset) -> None:
    images, labels = digits.train_images[:200], digits.train_labels[:200]
    network, flips = Network(MLP), FlipCounts(2)
    train(network, images, labels, TrainSpec(4, 50, 0.05, 1), flips=flips)
    kind = "step" if criterion == "flips-step" else "epoch"
    counts = {name: counted.numpy() for name, counted in flips.last[kind].items()}
    assert all(each.max() > 0 for each in counts.values())
    spec = SynapseSpec(0.3, criterion=criterion)
    scores = synapse_scores(network, spec, images, labels, flips=flips)
    made, _ = prune_synapses(network, images, labels, (images, labels), spec, NONE, flips)
    for name, module in made.weight_layers():
        gone = (module.weight == 0).numpy()
        assert gone.sum() == round(0.3 * gone.size)
        best = scores[name].reshape(len(gone), -1).max(1)  # of each neuron one stays
        held = scores[name] == best.reshape(-1, *[1] * (gone.ndim - 1))
        assert counts[name][gone].min() >= counts[name][~gone & ~held].max()
        assert np.array_equal(np.ceil(scores[name]) - 1, -counts[name])
    other = synapse_scores(network, replace(spec, seed=1), images, labels, flips=flips)
    assert any((other[name] != scores[name]).any() for name in scores)  # ties are drawn
    with pytest.raises(Problem, match="not counted"):
        synapse_scores(network, spec, images, labels)
    with pytest.raises(Problem, match="another shape"):
        synapse_scores(Network(replace(MLP, hidden=(16, 8))), spec, images, labels, flips=flips)


def test_weights_without_latent_ones_are_not_ranked_by_them(digits: Dataset) -> None:
    """Of bop, whose weights are +1 and -1; of a packed file, which keeps one magnitude; and of both, masked."""
    images, labels = digits.train_images[:60], digits.train_labels[:60]
    network = Network(MLP)
    assert layer_without_latent(network, network.weight_layers()) == ""
    train(network, images, labels, TrainSpec(1, 50, 0.05, 1, optimizer="bop", bop_rate=0.01))
    about = Provenance("", "digits", 0, 1, 0.0, "", 0.0, 1)
    packed = unpack_network(pack_network(Network(MLP), about))
    rng = np.random.default_rng(0)
    keep = {name: rng.random(tuple(m.weight.shape)) < 0.5 for name, m in network.weight_layers()}
    for without in (network, packed, masked(network, keep)):
        assert isinstance(without, Network)
        with pytest.raises(Problem, match="no latent values") as caught:
            synapse_scores(without, SynapseSpec(0.5), images, labels)
        assert caught.value.where == "dense0"
        assert set(synapse_scores(without, SynapseSpec(0.5, criterion="taylor"), images, labels)) == set(keep)
        with pytest.raises(Problem, match="no latent values"):
            ecqx(without, images, labels, EcqxSpec(), NONE)
        with pytest.raises(Problem, match="no latent values"):
            relevance.score(without, "latent", Sample(images, labels, images))
    # Packed with its latent weights.
    scaled = unpack_network(pack_network(Network(replace(MLP, weight_scale="channel")), about))
    assert layer_without_latent(scaled, scaled.weight_layers()) == ""  # type: ignore[arg-type]


def test_masks_keep_the_highest_of_every_neuron() -> None:
    network = Network(MLP)
    scores = {name: np.zeros(tuple(module.weight.shape)) for name, module in network.weight_layers()}
    scores["dense1"] = np.arange(12 * 16, dtype=float).reshape(12, 16)
    keep = masks(network, scores, {"dense1": 0.9})["dense1"]
    assert keep.any(axis=1).all()
    assert keep[:, -1].all()
    assert keep[-1].sum() == 19 - 11
    assert keep.sum() == 192 - round(0.9 * 192)
    made = masked(network, {"dense1": keep})
    again = masks(made, {"dense1": -scores["dense1"]}, {"dense1": 0.9})["dense1"]
    np.testing.assert_array_equal(again, keep)


def test_a_masked_network_computes_with_zeros_and_is_read_back(digits: Dataset, tmp_path: object) -> None:
    images = digits.test_images[:40]
    network = lively(CNN, images)
    dict(network.weight_layers())["conv0"].weight.data[0, 0, 0, 0] = 0.0
    assert np.array_equal(predict(masked(network, {}), images), predict(network, images))
    rng = np.random.default_rng(0)
    keep = {"dense0": rng.random(tuple(dict(network.weight_layers())["dense0"].weight.shape)) < 0.4}
    made = masked(network, keep)
    path = tmp_path / "masked.pt"  # type: ignore[operator]
    save_network(made, path)
    back = load_network(path)
    assert np.array_equal(predict(back, images), predict(made, images))
    assert synapses(back) == synapses(made)  # type: ignore[arg-type]
    plain = dict(network.weight_layers())["dense0"].quant_weight().value * torch.from_numpy(keep["dense0"])
    assert torch.equal(dict(made.weight_layers())["dense0"].quant_weight().value, plain)


def test_taylor_scores_are_the_change_of_the_loss_to_first_order(digits: Dataset) -> None:
    images, labels = digits.train_images[:60], digits.train_labels[:60]
    network = lively(MLP, images)
    scores = weight_relevance(network, images, labels)
    split = weight_relevance(network, images, labels, batch=7)
    weight = dict(network.weight_layers())["dense2"].weight  # no sign behind it: its gradient is exact

    def loss() -> float:
        target = torch.from_numpy(labels.astype(np.int64))
        return float(torch.nn.functional.cross_entropy(torch.from_numpy(predict(network, images)), target))

    gain = network.layers["score"].log_gain
    with torch.no_grad():
        gain -= 5.0  # scores near 0: the loss is nearly linear in a weight
    scores, first = weight_relevance(network, images, labels), loss()
    for row, column in ((0, 0), (3, 5), (9, 11)):
        with torch.no_grad():
            weight[row, column] *= -1
        change = abs(loss() - first) / 2  # from b to -b is twice as far as to 0
        with torch.no_grad():
            weight[row, column] *= -1
        assert scores["dense2"][row, column] == pytest.approx(change, rel=0.1, abs=2e-7)
    for name in split:
        assert split[name].shape == scores[name].shape


def test_what_cannot_be_masked_is_refused() -> None:
    for make in (
        lambda: masked(Network(TERNARY), {}),
        lambda: masked(Network(replace(CNN, weight_scale="channel")), {}),
        lambda: masked(Network(MLP), {"dense1": np.zeros((12, 16), bool)}),
        lambda: SynapseSpec(1.0),
        lambda: SynapseSpec(0.5, criterion="magic"),
        lambda: SynapseSpec({"conv7": 0.5}).shares(Network(CNN), 1),
    ):
        with pytest.raises(Problem):
            make()
