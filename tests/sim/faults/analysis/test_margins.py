"""Margins, certificates and probabilities against every set of flips of small layers."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnflow import Problem
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.faults import FaultModel, Rates, memories
from bnnflow.sim.faults.analysis.attack import Search, attack, flipped, weakest_flips
from bnnflow.sim.faults.analysis.criticality import criticality
from bnnflow.sim.faults.analysis.margins import NEVER, certify, flip_probability, flips_needed, layer_of, layers
from bnnflow.sim.faults.injection.maps import faulty_ops, replaced
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import NO_BOUNDS, Affine, LabelSelect, Mvau
from bnnflow.transforms.ir.tensor import TensorType
from tests.sim.faults.fault_graphs import bits, cnn, mlp, pixels


def bipolar_mlp(seed: int, low: int = 0, high: int = 3) -> Graph:
    """Weights of -1 and +1 on integers: 5 inputs, 4 neurons with two bounds, 3 classes with float scales."""
    rng = np.random.default_rng(seed)
    first = Mvau(2 * bits(seed, 4, 5).astype(np.int8) - 1, np.sort(rng.integers(-4, 8, (4, 2)), axis=1), False)
    last = Mvau(2 * bits(seed + 1, 3, 4).astype(np.int8) - 1, NO_BOUNDS, False)
    scale = Affine(np.array([1.5, -0.25, 0.75]), np.array([0.1, 0.2, 0.1]))
    nodes = (Node("a", first, ("x",)), Node("b", last, ("a",)), Node("scores", scale, ("b",)))
    return Graph("bipolar", "x", TensorType((5,), low, high), nodes, "scores")


def fewest_by_trial(graph: Graph, image: np.ndarray, layer: str) -> np.ndarray:
    """Fewest flips of its own weights that change each neuron; every set of flips is tried in all rows at once."""
    rows, columns = graph.node(layer).op.weight.shape  # type: ignore[union-attr]
    clean = Simulator.of(graph).tensors(image[None])[layer]
    fewest = np.full(clean.shape, NEVER)
    for count in range(columns, 0, -1):
        for hit in combinations(range(columns), count):
            made = flipped(graph, layer, [(row, column, 0) for row in range(rows) for column in hit])
            fewest[Simulator.of(made).tensors(image[None])[layer] != clean] = count
    return fewest


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["xnor", "bipolar"])
def test_margins_of_neurons_are_the_fewest_flips(kind: str, seed: int) -> None:
    graph = mlp(seed, (5, 3, 2)) if kind == "xnor" else bipolar_mlp(seed)
    name = "d0" if kind == "xnor" else "a"
    for image in pixels(seed, graph, 3):
        layer = layer_of(graph, name, Simulator.of(graph).tensors(image[None]))
        assert np.array_equal(flips_needed(layer), fewest_by_trial(graph, image, name))


def class_by_trial(graph: Graph, image: np.ndarray, layer: str, most: int) -> int:
    rows, columns = graph.node(layer).op.weight.shape  # type: ignore[union-attr]
    places = [(r, c, 0) for r in range(rows) for c in range(columns)]
    clean = Simulator.of(graph).classes(image[None])[0]
    for count in range(1, most + 1):
        for flips in combinations(places, count):
            if Simulator.of(flipped(graph, layer, flips)).classes(image[None])[0] != clean:
                return count
    return most + 1


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["xnor", "bipolar", "labels"])
def test_no_fewer_flips_of_the_last_layer_change_the_class_and_one_more_does(kind: str, seed: int) -> None:
    """Every set of flips of 9 or 12 weights is tried; different scales, negative gains and ties are among them."""
    graph = bipolar_mlp(seed) if kind == "bipolar" else mlp(seed, (6, 4, 3))
    if kind == "labels":
        graph = Graph("n", "x", graph.input_type, (*graph.nodes, Node("top", LabelSelect(), ("d1",))), "top")
    images = pixels(seed, graph, 5)
    certificate = certify(graph, images)
    for image, safe in zip(images, certificate.weights.tolist(), strict=True):
        assert class_by_trial(graph, image, certificate.last, 4) == min(safe + 1, 5)


@pytest.mark.parametrize("seed", range(5))
def test_no_fewer_flips_of_input_bits_change_the_class(seed: int) -> None:
    """All sets of flips of the last layer's 6 input bits."""
    graph = mlp(seed, (8, 6, 3))
    images = pixels(seed, graph, 6)
    certificate = certify(graph, images)
    assert certificate.inputs is not None
    hidden = Simulator.of(graph).tensors(images)["d0"]
    last = Graph("last", "h", TensorType((6,), 0, 1), (Node("d1", graph.nodes[1].op, ("h",)),), "d1")
    for bits_, safe in zip(hidden, certificate.inputs.tolist(), strict=True):
        clean = Simulator.of(last).classes(bits_[None])[0]
        changing = [
            sum(mask)
            for mask in product((0, 1), repeat=6)
            if Simulator.of(last).classes((bits_ ^ np.array(mask, np.uint8))[None])[0] != clean
        ]
        assert min(changing, default=NEVER) == (safe + 1 if safe != NEVER else NEVER)


@pytest.mark.parametrize("seed", range(4))
def test_certified_flips_of_hidden_layers_change_no_class(seed: int) -> None:
    """Every set of as many flips as are certified (up to 3 of 24); the greedy search never beats the certificate."""
    graph = mlp(seed, (6, 4, 3))
    images = pixels(seed, graph, 4)
    certificate = certify(graph, images)
    for image, safe in zip(images, certificate.layers["d0"].tolist(), strict=True):
        assert class_by_trial(graph, image, "d0", min(safe, 3)) == min(safe, 3) + 1
        found = weakest_flips(graph, image, "d0")
        if found is not None:
            clean = Simulator.of(graph).classes(image[None])
            assert Simulator.of(flipped(graph, "d0", found)).classes(image[None]) != clean
            assert len(found) > safe


def test_equal_scores_are_certified_no_flips_and_no_fewer() -> None:
    """Counts of 5 bits, of which some are equal, behind a scale that is no whole number."""
    graph = mlp(0, (6, 5, 3))
    nodes = (*graph.nodes, Node("scores", Affine(np.array([0.3]), np.array([0.1])), ("d1",)))
    tied = Graph("tied", "x", graph.input_type, nodes, "scores")
    images = pixels(0, tied, 20)
    best = np.sort(Simulator.of(graph).scores(images), axis=1)
    assert (best[:, -1] == best[:, -2]).any()
    found = certify(tied, images)
    assert found.inputs is not None
    assert min(found.inputs.min(), found.weights.min(), found.layers["d0"].min()) == 0


@pytest.mark.parametrize("layer", ["conv0", "conv2"])
def test_convolutions_are_bounded_from_both_sides(layer: str) -> None:
    graph = cnn(2)
    images = pixels(3, graph, 6)
    safe = certify(graph, images).layers[layer]
    hits = 0
    for image, least in zip(images, safe.tolist(), strict=True):
        found = weakest_flips(graph, image, layer)
        if found is not None:
            hits += 1
            clean = Simulator.of(graph).classes(image[None])
            assert Simulator.of(flipped(graph, layer, found)).classes(image[None]) != clean
            assert len(found) > least
    assert hits


def test_flip_probabilities_are_exact() -> None:
    """All sets of flips of one neuron, weighted by p^n (1 - p)^(K - n)."""
    for graph, name in ((mlp(1, (6, 3, 2)), "d0"), (bipolar_mlp(2), "a")):
        image = pixels(4, graph, 1)
        layer = layer_of(graph, name, Simulator.of(graph).tensors(image))
        found = flip_probability(layer, 0.2)
        columns = layer.x.shape[1]
        wanted = np.zeros_like(found)
        clean = Simulator.of(graph).tensors(image)[name]
        for mask in product((0, 1), repeat=columns):
            flips = [(r, c, 0) for c in range(columns) if mask[c] for r in range(layer.sums.shape[1])]
            made = Simulator.of(flipped(graph, name, flips)).tensors(image)[name]
            wanted += (made != clean) * 0.2 ** sum(mask) * 0.8 ** (columns - sum(mask))
        assert np.allclose(found, wanted, rtol=0, atol=1e-12)


def test_flip_probabilities_meet_monte_carlo() -> None:
    """Share of changed outputs over 400 maps within five standard deviations."""
    graph = mlp(0, (60, 20, 4))
    images = pixels(0, graph, 10)
    clean = Simulator.of(graph).tensors(images)
    exact = flip_probability(layer_of(graph, "d0", clean), 0.05).mean(axis=0)
    shares = []
    for trial in range(400):
        made = replaced(graph, faulty_ops(graph, memories(graph)[:1], FaultModel(), Rates.of(0.05), 0, trial))
        shares.append((Simulator.of(made).tensors(images)["d0"] != clean["d0"]).mean(axis=0))
    error = np.std(shares, axis=0) / 20
    assert np.all(np.abs(np.mean(shares, axis=0) - exact) <= 5 * error + 1e-9)


def test_the_attack_does_what_it_says_and_more_harm_than_chance() -> None:
    graph = mlp(3, (12, 8, 6, 3))
    images = pixels(0, graph, 60)
    labels = Simulator.of(graph).classes(images)
    found = attack(graph, images, labels, ["d0", "d1", "d2"], 3)
    made = graph
    for flip in found:
        made = flipped(made, flip.layer, [(flip.row, flip.column, flip.bit)])
        assert (Simulator.of(made).classes(images) == labels).sum() == flip.right
    right = [flip.right for flip in found]
    assert right[0] == min(criticality(graph, images, labels, name).right.min() for name in ("d0", "d1", "d2"))
    assert right == sorted(right, reverse=True)


def test_what_cannot_be_certified(golden: object) -> None:
    graph = cnn()
    assert layers(graph) == ["conv0", "conv2", "fc"]
    cut = Graph("cut", "x", graph.input_type, graph.nodes[:-2], "conv2")
    for name, work in {
        "last_layer": lambda: certify(cut, pixels(0, graph, 2)),
        "bits": lambda: layer_of(graph, "conv1", Simulator.of(graph).tensors(pixels(0, graph, 2))),
        "attack": lambda: attack(graph, pixels(0, graph, 2), np.zeros(2, np.int64), ["fc"], 0),
    }.items():
        with pytest.raises(Problem) as found:
            work()
        golden(f"problems/faults_certify_{name}", str(found.value))  # type: ignore[operator]


def direct_net(seed: int, kind: str) -> Graph:
    """3 inputs, 4 neurons of one bit, 3 classes: 12 weights in front of the last layer; all sets can be tried."""
    rng = np.random.default_rng(seed)
    if kind.startswith("xnor"):
        first = Mvau(bits(seed, 4, 3), rng.integers(0, 4, (4, 1)), True)
        last = Mvau(bits(seed + 1, 3, 4), NO_BOUNDS, True)
        low, high = 0, 1
    else:
        first = Mvau(2 * bits(seed, 4, 3).astype(np.int8) - 1, rng.integers(-3, 5, (4, 1)), False)
        last = Mvau(2 * bits(seed + 1, 3, 4).astype(np.int8) - 1, NO_BOUNDS, False)
        low, high = 0, 3
    nodes = [Node("a", first, ("x",)), Node("b", last, ("a",))]
    if kind.endswith("scaled"):
        nodes.append(Node("scores", Affine(rng.choice([-2.0, 1.0, 3.0], 3), rng.integers(-2, 3, 3) * 1.0), ("b",)))
    return Graph("direct", "x", TensorType((3,), low, high), tuple(nodes), nodes[-1].name)


@settings(max_examples=24)
@given(st.integers(0, 10**6), st.sampled_from(["xnor", "xnor scaled", "integer", "integer scaled"]))
def test_a_dense_layer_in_front_of_the_last_is_certified_exactly(seed: int, kind: str) -> None:
    """All 4,096 sets of flips of 12 weights: the least that changes the class is one more than is certified."""
    graph = direct_net(seed, kind)
    images = pixels(seed, graph, 3)
    found = certify(graph, images)
    assert found.exact == {"a"} and found.inputs is not None
    first, last = (node.op for node in graph.nodes[:2])
    assert isinstance(first, Mvau) and isinstance(last, Mvau)
    masks = (np.arange(4096)[:, None] >> np.arange(12)) & 1
    flips = masks.reshape(-1, 4, 3)
    weight = (first.weight ^ flips) if first.xnor else first.weight * (1 - 2 * flips)
    for image, safe in zip(images.astype(np.int64), found.layers["a"].tolist(), strict=True):
        sums = (weight == image).sum(axis=2) if first.xnor else (weight * image).sum(axis=2)
        hidden = (sums >= first.bounds[:, 0]).astype(np.int64)
        if last.xnor:
            scores = (hidden[:, None] == last.weight).sum(axis=2).astype(np.float64)
        else:
            scores = (hidden @ last.weight.T.astype(np.int64)).astype(np.float64)
        if len(graph.nodes) > 2:
            scale = graph.nodes[2].op
            assert isinstance(scale, Affine)
            scores = scores * scale.scale + scale.shift
        classes = scores.argmax(axis=1)
        least = masks.sum(axis=1)[classes != classes[0]].min(initial=NEVER)
        assert least == (NEVER if safe == NEVER else safe + 1)


@pytest.mark.parametrize("seed", range(6))
def test_the_search_is_close_to_the_certificate(seed: int) -> None:
    """In the layer in front of the last, the search finds no fewer flips than it takes, and seldom many more."""
    graph = mlp(seed, (24, 16, 5))
    images = pixels(seed, graph, 12)
    safe, search = certify(graph, images).layers["d0"], Search.of(graph, "d0")
    for image, least in zip(images, safe.tolist(), strict=True):
        found = search.flips(image)
        assert (found is None) == (least == NEVER)
        if found is not None:
            assert len(set(found)) == len(found) and least < len(found) <= 2 * least + 4
            clean = Simulator.of(graph).classes(image[None])
            assert Simulator.of(flipped(graph, "d0", found)).classes(image[None]) != clean


def test_a_layer_without_thresholds_is_not_certified_exactly() -> None:
    """Its sums are bits by chance; one flip of them need not change the class."""
    nodes = (Node("a", Mvau(np.ones((4, 1), np.uint8), NO_BOUNDS, True), ("x",)),)
    nodes += (Node("b", Mvau(bits(1, 3, 4), NO_BOUNDS, True), ("a",)),)
    found = certify(Graph("sums", "x", TensorType((1,), 0, 1), nodes, "b"), np.array([[0], [1]], np.uint8))
    assert found.exact == frozenset() and found.layers["a"].tolist() == [0, 0]
