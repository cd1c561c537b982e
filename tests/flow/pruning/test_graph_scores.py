"""Graphs scored by the criteria of networks: held against Captum, against our own networks' copies, and cut exactly."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from bnnflow import CHECK_FAILED, Problem
from bnnflow.flow.pruning import plain_graph as plain
from bnnflow.flow.pruning.graph_scores import Scored, group_scores
from bnnflow.flow.pruning.plain_graph import PlainGraph, plain_graph
from bnnflow.flow.pruning.trainable_layers.quantizers import Signs
from bnnflow.models.data.load import load_dataset
from bnnflow.models.networks.network import Network
from bnnflow.models.prune.widths import highest
from bnnflow.models.relevance.criteria import CRITERIA, OF_TRAINING
from bnnflow.models.relevance.deep_lift import deeplift
from bnnflow.models.relevance.sample import Sample
from bnnflow.models.relevance.scores import attributions, score
from bnnflow.models.relevance.taps import Probe
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.inputs import image_inputs
from bnnflow.transforms.channels import ChannelGroup, channel_groups, cut
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import Affine, Conv, Dense, Flatten, MaxPool, Sign
from bnnflow.transforms.ir.tensor import TensorType
from bnnflow.transforms.passes.accept import AcceptInput
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read
from tests.drawn_networks import Drawn, networks
from tests.sim.test_norms import CNN, NETWORKS, exported, lively
from tests.transforms.passes.test_exact import SLOW, few_or_many, pixels

DIGITS = load_dataset("digits")
SPECS = {"cnn": CNN, **{name: row[0] for name, row in NETWORKS.items()}}
IMAGES, LABELS, OTHERS = DIGITS.test_images[:24], DIGITS.test_labels[:24], DIGITS.train_images[:17]
SERVED = [name for name, row in CRITERIA.items() if row.needs not in OF_TRAINING]


@cache
def both(name: str) -> tuple[Network, Graph]:
    """A network of random weights, and its file as it is read."""
    network = lively(SPECS[name], DIGITS.train_images[:200])
    with TemporaryDirectory() as folder:
        return network, AcceptInput()(exported(network, Path(folder))).graph


def sample_of(graph: Graph) -> Sample:
    return Sample(image_inputs(graph, IMAGES), LABELS, image_inputs(graph, OTHERS))


def prunable(graph: Graph) -> list[ChannelGroup]:
    return [group for group in channel_groups(graph) if not group.reason and group.columns]


def masked(network: PlainGraph, groups: list[ChannelGroup], keep: dict[str, np.ndarray]) -> PlainGraph:
    """A copy whose readers have weights of 0 for all but the channels that stay."""
    made = Probe.of(network, sums=False).model
    assert isinstance(made, PlainGraph)
    layers = dict(made.weight_layers())
    for group in groups:
        for name, columns in group.columns.items():
            with torch.no_grad():
                layers[name].weight[:, (columns >= 0) & ~np.isin(columns, keep[group.name])] = 0.0
    return made


@few_or_many(6, 400)
def test_drawn_networks_add_up_agree_with_captum_and_are_cut_exactly(examples: int) -> None:
    """At both levels; masked, in torch, equals small, in torch, but for the order in which float64 is added up."""
    seen: Counter[str] = Counter()

    @settings(max_examples=examples, deadline=None, suppress_health_check=SLOW)
    @given(networks())
    def judge(net: Drawn) -> None:
        for stage in stages(read(net.model))[:2]:
            graph, images = stage.graph, pixels(stage.graph, 4)
            groups = prunable(graph)
            scored = Scored(graph, images, None, np.arange(4), 2)
            found = scored.by("deeplift", 0)
            assert found.check is not None and found.check <= 1e-9
            assert found.captum is not None
            # Captum follows no windows that overlap and no changes below 1e-10, and says so.
            assert bool(found.captum.reason) == (found.captum.images == 0) == (found.captum.completeness is None)
            assert (found.captum.completeness or 0.0) <= 1e-9 and (found.captum.difference or 0.0) <= 1e-9
            scores = group_scores(groups, found.scores)
            keep = {
                group.name: highest(scores[group.name], -(-group.width // 2), group.rows.values()) for group in groups
            }
            x = torch.from_numpy(images.astype(np.float64))
            small = plain_graph(cut(graph, keep), images).double()
            whole = masked(scored.network, groups, keep)
            with torch.no_grad():
                whole.body.unit = small.body.unit = 1.0
                wanted, made = whole(x), small(x)
                # Sums of whole numbers are equal; of others a product of fewer columns adds in another order.
                assert (made - wanted).abs().max() <= 4e-15 * max(1.0, float(wanted.abs().max()))
            seen.update(
                {
                    "captum": found.captum.images,
                    "groups": len(groups),
                    "cuts": len(Probe.of(scored.network).cuts),
                    stage.level: 1,
                }
            )

    judge()
    assert seen["captum"] > 0 and seen["groups"] > 0 and seen["cuts"] > 0 and seen["network"] == seen["integer"] > 0


def alike(one: dict[str, np.ndarray], other: dict[str, np.ndarray], what: str) -> None:
    assert list(one) == list(other)
    for layer in one:
        np.testing.assert_allclose(other[layer], one[layer], atol=1e-6, err_msg=f"{what} {layer}")


@pytest.mark.parametrize(
    ("name", "criteria"),
    [
        ("cnn", [name for name in SERVED if name not in ("reconstruction", "random")]),
        ("joins", ["deeplift", "lrp", "taylor-activation", "taylor-weight"]),
        # LRP's stabiliser is of what a layer reads, which is the border, too, where the file says so by itself.
        ("zero padding", ["deeplift", "entropy", "gradient-activation"]),
    ],
)
def test_a_network_and_its_file_score_alike(name: str, criteria: list[str]) -> None:
    """Where signs have one stand-in gradient, every criterion says the same of both, filter by filter."""
    network, graph = both(name)
    of_file = plain_graph(graph, image_inputs(graph, IMAGES))
    for module in of_file.modules():
        if isinstance(module, Signs):
            module.width = 1.0
    for criterion in criteria:
        theirs = score(network, criterion, Sample(IMAGES, LABELS, OTHERS), by_captum=False)
        ours = score(of_file, criterion, sample_of(graph), by_captum=False)
        assert list(ours.scores) == [layer for layer, _ in network.weight_layers()][:-1]
        alike(theirs.scores, ours.scores, criterion)


def test_thresholds_say_what_norms_and_signs_do() -> None:
    """A filter of a file without norms is read at its bits, too. Attributions further in front differ by right: where a
    gain is negative, the layer has the other sign, and LRP's stabiliser is positive where a sum is 0."""
    network, graph = both("mlp")
    whole = stages(graph)[1].graph
    of_file = plain_graph(whole, image_inputs(whole, IMAGES))
    for criterion, layers in (("entropy", ("dense0", "dense1")), ("lrp", ("dense1",)), ("deeplift", ("dense1",))):
        theirs = score(network, criterion, Sample(IMAGES, LABELS, OTHERS)).scores
        ours = score(of_file, criterion, sample_of(whole)).scores
        alike({name: theirs[name] for name in layers}, {name: ours[name] for name in layers}, criterion)


def test_captums_deeplift_is_asked_at_every_cut() -> None:
    """The joins of a residual network and every sign of a chain are cuts, as in our own networks."""
    for name in ("cnn", "joins"):
        network, graph = both(name)
        ours = Probe.of(plain_graph(graph, image_inputs(graph, IMAGES)))
        theirs = Probe.of(network)
        assert list(ours.taps) == list(theirs.taps) and len(ours.cuts) >= len(theirs.cuts) > 0
        misses = next(attributions(ours.model, "deeplift-captum", sample_of(graph)))[1]
        assert set(misses) == {"pixels", *ours.cuts} and max(np.abs(miss).max() for miss in misses.values()) <= 1e-9


def test_filters_that_are_scored_in_another_order_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both add up; Captum says which filter."""

    def turned(*given: Probe) -> object:
        parts, misses, change = deeplift(*given)  # type: ignore[arg-type]
        return {name: part.flip(1) for name, part in parts.items()}, misses, change

    monkeypatch.setattr("bnnflow.models.relevance.captum_deeplift.deeplift", turned)
    _, graph = both("mlp")
    with pytest.raises(Problem, match="differ from those in one pass") as raised:
        Scored(graph, image_inputs(graph, IMAGES), LABELS, np.arange(24), 12).by("deeplift", 0)
    assert raised.value.status == CHECK_FAILED


def test_a_module_that_answers_otherwise_than_its_graph_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    _, graph = both("mlp")
    monkeypatch.setattr(plain.Trainable, "classes", lambda module, inputs: np.full(len(inputs), 10))
    with pytest.raises(Problem, match="answers") as raised:
        plain_graph(graph, image_inputs(graph, IMAGES))
    assert raised.value.status == CHECK_FAILED


@pytest.mark.parametrize(
    ("gain", "stride", "said"), [(1.0, 1, "windows of this pool overlap"), (1e-30, 2, "changes of")]
)
def test_what_captum_does_not_follow_is_said_and_attributed(gain: float, stride: int, said: str) -> None:
    """Overlapping windows, and a gain by which bits change where Captum sees no change."""
    rng = np.random.default_rng(1)
    shift = np.full(4, -500.0)
    nodes = (
        Node("conv", Conv(rng.choice([-1, 1], (4, 3, 3, 1)).astype(np.int8)), ("x",)),
        Node("scaled", Affine(np.full(4, gain), gain * shift), ("conv",)),
        Node("bits", Sign(), ("scaled",)),
        Node("pool", MaxPool((2, 2), (stride, stride)), ("bits",)),
        Node("flat", Flatten(), ("pool",)),
        Node("scores", Dense(rng.choice([-1, 1], (3, 100 if stride == 1 else 36)).astype(np.int8)), ("flat",)),
    )
    graph = Graph("drawn", "x", TensorType((8, 8, 1), 0, 255), nodes, "scores")
    found = Scored(graph, rng.integers(0, 256, (12, 8, 8, 1)), None, np.arange(12), 6).by("deeplift", 0)
    assert found.check is not None and found.check <= 1e-9 and found.scores["conv"].max() > 0
    assert found.captum is not None and found.captum.images == 0
    assert found.captum.reason.startswith("pool: " if stride == 1 else "bits: ") and said in found.captum.reason
    with pytest.raises(Problem, match=said):
        Scored(graph, rng.integers(0, 256, (12, 8, 8, 1)), None, np.arange(12), 6).by("deeplift-captum", 0)


def test_labels_of_its_own_and_images_to_compare_with() -> None:
    _, graph = both("mlp")
    images = image_inputs(graph, IMAGES)
    scored = Scored(graph, images, None, np.arange(24)[::-1], 10)
    assert np.array_equal(scored.sample.images, images[::-1][:10])
    assert np.array_equal(scored.sample.baselines, images[::-1][10:20])
    simulated = Simulator.of(next(s.graph for s in stages(graph) if s.level == "xnor")).classes(images[::-1][:10])
    assert np.array_equal(scored.sample.labels, simulated)
    with pytest.raises(Problem, match="compared with another"):
        Scored(graph, images, None, np.arange(1), 10)
    places = scored.by("reconstruction", 0).scores
    assert all(sorted(each) == list(range(len(each))) for each in places.values())
