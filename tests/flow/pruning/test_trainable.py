"""Graphs as torch modules: before training they compute what the reference computes, afterwards their graph does."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from bnnflow import CHECK_FAILED, Problem
from bnnflow.flow.pruning.fine_tune import FineTuned, FineTuning, check_answers, fine_tune, narrow
from bnnflow.flow.pruning.trainable import Trainable, as_stored
from bnnflow.flow.pruning.trainable_layers.quantizers import Steps
from bnnflow.flow.pruning.trainable_layers.scaling import Norm, NormStep, TrainedAffine
from bnnflow.flow.pruning.trainable_layers.weights import TrainedConv, TrainedDense
from bnnflow.models.data.load import load_dataset
from bnnflow.models.networks.network import NetworkSpec
from bnnflow.models.training.batchnorm import reestimate
from bnnflow.sim import reference
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.verify import images_with_float_ties
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import Affine, AnyOp, Conv, Dense, Quantize, Stairs, Threshold
from bnnflow.transforms.ir.tensor import TensorType
from bnnflow.transforms.passes.accept import AcceptInput
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.network import write_network
from bnnflow.transforms.writing.write import write
from tests.drawn_networks import Drawn, networks
from tests.random_qonnx import random_network
from tests.sim.test_norms import CNN, NETWORKS, exported, lively
from tests.transforms.passes.test_exact import SLOW, few_or_many, float_ties_of, pixels

DIGITS = load_dataset("digits")
IMAGES = DIGITS.train_images[:200]
EASY = NetworkSpec("mlp", (1, 8, 8), 4, hidden=(32,))


def maps(module: Trainable, name: str, value: torch.Tensor) -> np.ndarray:
    """A tensor of a module in the graph's order of axes."""
    made: np.ndarray = value.detach().numpy()
    return np.moveaxis(made, 1, -1) if made.ndim == 4 and name not in module.as_given else made


def same(one: AnyOp, other: AnyOp, kind: TensorType) -> bool:
    """Equal in effect: a row of bounds for all channels, what is beyond a range, or both signs of a quotient."""
    if isinstance(one, Threshold) and isinstance(other, Threshold):
        low, high = kind.range
        bounds = [np.clip(np.broadcast_to(op.bounds, one.bounds.shape), low, high + 1) for op in (one, other)]
        return np.array_equal(*bounds) and (one.out_bias, one.out_scale) == (other.out_bias, other.out_scale)
    if isinstance(one, Stairs) and isinstance(other, Stairs):
        return np.array_equal(one.bounds, np.broadcast_to(other.bounds, one.bounds.shape))
    if isinstance(one, Affine) and isinstance(other, Affine):
        turned = np.where(one.divisor * other.divisor < 0, -1.0, 1.0)
        pairs = ((one.scale * turned, other.scale), (one.shift, other.shift), (one.divisor * turned, other.divisor))
        return all(bool(np.all(a == b)) for a, b in pairs)
    return one == other


def assert_exact(graph: Graph, images: np.ndarray) -> Counter[str]:
    """The module of a graph against the reference, tensor by tensor; which modules it has."""
    module = Trainable(graph)
    module.begin(images)
    module.double().eval()
    assert module.first == as_stored(graph)
    for node, before in zip(module.graph().nodes, module.first.nodes, strict=True):
        assert same(node.op, before.op, graph.types[node.input]), node.name
    made = stages(module.first)
    sure = ~images_with_float_ties(module.first, float_ties_of(tuple(made)), images)
    names = [name for name, _, _ in module.plan]
    found = module.tensors(torch.from_numpy(images.astype(np.int64)), names)
    wanted = reference.run(module.first, images)
    for name in names:
        ours, theirs = maps(module, name, found[name])[sure], wanted[name][sure].astype(np.float64)
        if graph.types[name].is_float:
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-9, err_msg=name)
        else:
            assert np.array_equal(ours, theirs), name
    simulated = Simulator.of(made[-1].graph).classes(images)
    assert np.array_equal(module.classes(images)[sure], simulated[sure])
    return Counter(type(part).__name__ for part in module.parts.values())


@few_or_many(12, 800)
def test_drawn_networks_at_both_levels(examples: int) -> None:
    kinds: Counter[str] = Counter()

    @settings(max_examples=examples, deadline=None, suppress_health_check=SLOW)
    @given(networks())
    def judge(net: Drawn) -> None:
        made = stages(read(net.model))
        for stage in made[:2]:
            assert stage.level in ("network", "integer")
            kinds.update(assert_exact(stage.graph, pixels(stage.graph, 4)))

    judge()
    assert {"NormStep", "TrainedAffine", "TrainedConv", "TrainedDense", "Steps", "Signs", "Rounding"} <= set(kinds)
    assert {"Plus", "Joined", "Total", "Pieces", "Padding", "FixedBias", "MaxPool2d"} <= set(kinds)


@pytest.mark.parametrize("seed", range(6))
def test_gains_of_either_sign_and_zero_and_means_on_ties(seed: int) -> None:
    forms = {"image": ("bits8", "raw", "binary")[seed % 3], "closing": ("scale", "classes", "none", "divide")[seed % 4]}
    pool = ("none", "before-norm", "after-sign")[seed // 2]
    for stage in stages(read(random_network(seed, seed % 3, 1 + seed % 2, pool, **forms)))[:2]:
        kinds = assert_exact(stage.graph, pixels(stage.graph, 12))
        assert kinds["NormStep" if stage.level == "network" else "Steps"] > 0


def halves(shape: tuple[int, ...], count: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """Images of noise that are brighter in one of four stripes, and which."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 4, count)
    images = rng.integers(0, 100, (count, *shape))
    for image, label in zip(images, labels, strict=True):
        image.reshape(4, -1)[label] += 120
    return images.astype(np.uint8), labels


@cache
def network(spec: NetworkSpec) -> Graph:
    """A network of random weights, as its file is read."""
    images = IMAGES if spec.classes == 10 else halves(spec.input_shape)[0]
    with TemporaryDirectory() as folder:
        return AcceptInput()(exported(lively(spec, images), Path(folder))).graph


def tuned(graph: Graph, images: np.ndarray, labels: np.ndarray | None, **how: float) -> FineTuned:
    wanted = {"epochs": 2, "batch": 40, "learning_rate": 0.01, "distill": 0.0, "seed": 0} | how
    return fine_tune(graph, graph, images, labels, images[:100], FineTuning(**wanted))  # type: ignore[arg-type]


def levels_of(graph: Graph) -> list[tuple[int, int]]:
    layers = [node.op for node in graph.nodes if isinstance(node.op, Conv | Dense)]
    return [(int(op.weight.min()), int(op.weight.max())) for op in layers]


@pytest.mark.parametrize("level", ["network", "integer"])
@pytest.mark.parametrize("name", ["scores a class", "joins"])
def test_what_was_trained_is_what_its_graph_and_its_file_compute(name: str, level: str) -> None:
    graph = network(NETWORKS[name][0])
    if level == "integer":
        graph = stages(graph)[1].graph
    found = tuned(graph, IMAGES, DIGITS.train_labels[:200])
    made = found.graph
    assert len(found.history) == 2 and found.compared == 100
    assert [(node.name, type(node.op), node.inputs) for node in made.nodes] == [
        (node.name, type(node.op), node.inputs) for node in graph.nodes
    ]
    before, after = ([n.op.weight for n in one.nodes if isinstance(n.op, Conv | Dense)] for one in (graph, made))
    assert all(np.any(a != b) for a, b in zip(before, after, strict=True)), "every layer learns"
    assert all(np.all(np.abs(weight) == 1) for weight in after), "and stays binary"
    model = write_network(made) if level == "network" else write(made)
    again = read(type(model).FromString(model.SerializeToString()))
    images = DIGITS.test_images[:100]
    lowered = [next(stage.graph for stage in stages(one) if stage.level == "xnor") for one in (made, again)]
    wanted = Trainable(made).classes(images)
    sure = ~images_with_float_ties(again, float_ties_of(tuple(stages(again))), images)
    for one in lowered:
        assert np.array_equal(Simulator.of(one).classes(images)[sure], wanted[sure])


def several_levels(low: int, high: int) -> Graph:
    """Two layers with weights of some levels, a norm and a quantizer of three levels between them, for `halves`."""
    rng = np.random.default_rng(5)
    first, second = (rng.integers(low, high + 1, shape).astype(np.int8) for shape in ((12, 16), (4, 12)))
    nodes = [
        Node("first", Dense(first), ("x",)),
        Node("centre", Affine(np.ones(1), np.full(12, -640.0 * (low + high))), ("first",)),
        Node("spread", Affine(np.ones(12), np.zeros(12), np.full(12, 300.0)), ("centre",)),
        Node("levels", Quantize(np.array([0.5]), -1, 1), ("spread",)),
        Node("second", Dense(second), ("levels",)),
        Node("scores", Affine(np.array([0.25]), np.zeros(1)), ("second",)),
    ]
    return Graph("several", "x", TensorType((16,), 0, 255), tuple(nodes), "scores")


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (-7, 6)])
def test_weights_of_several_levels_keep_to_them(low: int, high: int) -> None:
    images, labels = halves((16,))
    for graph in (several_levels(low, high), stages(several_levels(low, high))[1].graph):
        found = tuned(graph, images, labels, epochs=12)
        assert found.compared == 100
        for (least, most), (first, last) in zip(levels_of(found.graph), levels_of(graph), strict=True):
            assert first <= least <= most <= last
        assert any(
            not np.array_equal(node.op.weight, before.op.weight)  # type: ignore[union-attr]
            for node, before in zip(found.graph.nodes, graph.nodes, strict=True)
            if isinstance(node.op, Dense)
        )
        assert found.history[-1]["loss"] < found.history[0]["loss"]


@pytest.mark.parametrize("bits", [1, 3])
def test_weights_lie_in_memory_in_the_order_of_their_axes(bits: int) -> None:
    """Torch gives no gradient of others in some convolutions ("grad_weight must be contiguous")."""
    top = 2 ** (bits - 1)
    weight = np.random.default_rng(0).choice([-top, top], (9, 3, 1, 7)).astype(np.int8)
    layer = TrainedConv(Conv(weight))
    for one in (layer.weight, layer.levels(), layer.plain().weight):
        assert one.is_contiguous()
    assert np.array_equal(layer.op().weight, weight)


@pytest.mark.parametrize("level", ["network", "integer"])
def test_an_easy_set_is_learned(level: str) -> None:
    images, labels = halves((1, 8, 8))
    graph = network(EASY)
    if level == "integer":
        graph = stages(graph)[1].graph
    simulated = Simulator.of(stages(graph)[-1].graph).classes(images)
    assert np.mean(simulated == labels) < 0.6
    found = tuned(graph, images[:160], labels[:160], epochs=16)
    assert found.history[-1]["loss"] < 0.5 * found.history[0]["loss"]
    learned = Simulator.of(stages(found.graph)[-1].graph).classes(images[160:])
    assert np.mean(learned == labels[160:]) > 0.8
    again = tuned(graph, images[:160], labels[:160], epochs=1)
    assert again.graph == tuned(graph, images[:160], labels[:160], epochs=1).graph


def test_a_teacher_needs_no_labels() -> None:
    images, _ = halves((1, 8, 8))
    graph = network(EASY)
    with pytest.raises(Problem, match="needs labels"):
        tuned(graph, images, None, distill=0.5)
    other = network(replace(EASY, hidden=(16,)))
    how = FineTuning(8, 40, 0.01, 1.0, 0)
    found = fine_tune(graph, other, images, None, images[:100], how)
    assert found.history[-1]["loss"] < found.history[0]["loss"]
    assert found.history[-1]["accuracy"] > found.history[0]["accuracy"], "of the teacher's answers"


def test_a_loss_that_is_no_number_is_refused() -> None:
    images, labels = halves((1, 8, 8))
    graph = network(EASY)
    with pytest.raises(Problem, match="no longer") as raised:
        tuned(graph, images, labels, learning_rate=1e6)
    assert raised.value.status == CHECK_FAILED


def test_bounds_that_are_never_or_always_reached_stay_so() -> None:
    far = np.array([[1000], [-1000], [0], [3]])
    nodes = (
        Node("sums", Dense(np.sign(np.arange(64).reshape(4, 16) % 3 - 0.5).astype(np.int8)), ("x",)),
        Node("bits", Threshold(far, -1, 2), ("sums",)),
        Node("scores", Dense(np.array([[1, 1, -1, 1], [1, -1, 1, 1]], np.int8)), ("bits",)),
    )
    graph = Graph("far", "x", TensorType((16,), -1, 1, 2), nodes, "scores")
    module = Trainable(graph)
    rng = np.random.default_rng(0)
    images = rng.choice([-1, 1], (60, 16))
    module.begin(images)
    assert module.unit > 1, "whole sums are divided for the loss"
    part = module.parts["n1"]
    assert isinstance(part, Steps) and part.norm is not None
    with torch.no_grad():
        part.shift.fill_(0.7)
        part.power.fill_(-0.3)
    reestimate(module.float(), narrow(images))
    bounds = module.graph().node("bits").op
    assert isinstance(bounds, Threshold)
    assert bounds.bounds[:2].tolist() == [[17], [-16]]
    assert np.all(bounds.bounds[2:] != far[2:]) and np.all(np.abs(bounds.bounds[2:]) < 17)


def test_one_gain_for_all_channels_has_the_gradient_of_as_many_equal_ones() -> None:
    """Of scores that one gain stands behind, as in the files of the QONNX zoo."""
    rng = np.random.default_rng(2)
    centre = Affine(np.ones(1), rng.normal(size=10))
    x, weight = (torch.from_numpy(rng.normal(size=(20, 10))).float() for _ in range(2))
    found = []
    for count in (1, 10):
        norm = Norm(10, centre, Affine(np.full(count, 0.7), np.full(count, 0.1), np.full(count, 3.0))).float().train()
        seen = x.clone().requires_grad_()
        (norm(seen) * weight).sum().backward()
        assert norm.power.grad is not None
        found.append((seen.grad, norm.power.grad.sum()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_what_is_trained() -> None:
    """Norms and scores of a network; thresholds and scores of its integers; no thresholds of pixels."""
    graph = network(CNN)
    kinds = [type(part) for part in Trainable(graph).parts.values() if list(part.parameters())]
    assert kinds == [*(TrainedConv, NormStep) * 2, *(TrainedDense, NormStep), TrainedDense, TrainedAffine]
    whole = stages(graph)[1].graph
    kinds = [type(part) for part in Trainable(whole).parts.values() if list(part.parameters())]
    assert kinds == [*(TrainedConv, Steps) * 2, *(TrainedDense, Steps), TrainedDense, TrainedAffine]
    with pytest.raises(Problem, match="XnorConv is not trained through"):
        Trainable(stages(graph)[2].graph)


def test_an_answer_that_differs_is_found() -> None:
    graph = network(CNN)
    module = Trainable(graph)
    assert check_answers(module, graph, IMAGES[:50]) == 0
    with torch.no_grad():
        module.weight_layers()[-1][1].weight.neg_()
    with pytest.raises(Problem, match="answers of the trained network differ") as raised:
        check_answers(module, graph, IMAGES[:50])
    assert raised.value.status == CHECK_FAILED


def test_the_smallest_type_that_holds_all() -> None:
    for values, kind in (([0, 255], np.uint8), ([-1, 1], np.int8), ([-1, 255], np.int16), ([0, 70000], np.int32)):
        assert narrow(np.array(values)).dtype == kind and narrow(np.array(values)).tolist() == values
