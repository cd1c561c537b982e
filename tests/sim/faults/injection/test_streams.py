"""Faults of streams, FIFOs, accumulators and products, judged by the reference interpreter."""

from __future__ import annotations

import numpy as np
import pytest

from bnnflow import Problem
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.faults import Campaign, FaultModel, Grid, Plan, Point, Rates, Subject
from bnnflow.sim.faults.injection.cells import CLEAR, FLIP, SET, Cells
from bnnflow.sim.faults.injection.streams import KINDS, changed, faulty_walk, split, streams
from bnnflow.sim.reference import apply, run
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import Mvau
from bnnflow.transforms.ir.tensor import TensorType, bipolar
from tests.sim.faults.fault_graphs import cnn, mlp, pixels


def test_split_computes_the_same() -> None:
    graph = cnn()
    x = pixels(0, graph, 10)
    apart = split(graph, ["conv0", "conv2", "fc"])
    assert [n.name for n in apart.nodes if n.name.endswith("__sums")] == ["conv0__sums", "conv2__sums"]
    assert np.array_equal(run(apart, x)["fc"], run(graph, x)["fc"])


@pytest.mark.parametrize(
    "kind",
    [
        TensorType((4,), 0, 1),
        bipolar((4,)),
        TensorType((4,), 0, 5),
        TensorType((4,), -7, 6),
        TensorType((4,), -900, 90),
    ],
)
def test_bits_of_values_by_hand(kind: TensorType) -> None:
    """Each bit of each value alone: cleared, set, turned; compared with two's complement in Python."""
    low, high = kind.range
    values = np.array([low, high, low, high])
    width = kind.bits
    for value in range(4):
        for bit in range(width):
            for effect in (CLEAR, SET, FLIP):
                made = changed(values[None], Cells(np.array([value * width + bit]), np.array([effect])), kind)[0]
                raw = int(values[value] > 0) if kind.is_bipolar else int(values[value]) & ((1 << width) - 1)
                raw = raw ^ (1 << bit) if effect == FLIP else (raw | 1 << bit if effect else raw & ~(1 << bit))
                signed = low < 0 and raw >= 1 << (width - 1)
                wanted = 2 * raw - 1 if kind.is_bipolar else raw - (1 << width) * signed
                assert made[value] == wanted
                assert np.array_equal(np.delete(made, value), np.delete(values, value))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_walks_equal_the_reference(kind: str, seed: int) -> None:
    """The reference runs node by node with the same changes; values leave their types' ranges on the way."""
    graph = cnn(seed)
    places = streams(graph, kind)
    assert places
    x = pixels(seed, graph, 7)
    walk = faulty_walk(graph, places, FaultModel(), Rates.of(0.05), 3, seed, 5)
    made = {graph.input: x.astype(np.int64)}
    for node in walk.graph.nodes:
        values = apply(node.op, *(made[name] for name in node.inputs))
        change = walk.changes.get(node.name)
        made[node.name] = values if change is None else change(values, 0).astype(np.int64)
    assert np.array_equal(walk.scores(x), made["fc"])
    assert not np.array_equal(walk.scores(x), Simulator.of(graph).scores(x))
    calm = faulty_walk(graph, places, FaultModel(), Rates.of(0.0), 3, seed, 5)
    assert np.array_equal(calm.scores(x), Simulator.of(graph).scores(x))


def tensor(
    kind: str, layer: str, model: str, rate: float, count: int = 6, depth: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    graph = cnn()
    place = [one for one in streams(graph, kind) if one.layer == layer]
    values = run(graph, pixels(0, graph, count))[layer]
    walk = faulty_walk(graph, place, FaultModel.parse(model), Rates.of(rate), 0, 0, depth)
    return values, walk.changes[place[0].tensor](values, 0)


def test_a_stuck_wire_is_a_channel_of_the_pe() -> None:
    """conv2 has 6 channels on 3 PEs: a wire carries channels p and p + 3, of all positions and images."""
    before, after = tensor("streams", "conv2", "bit-line stuck-at-1", 0.7)
    wires = after.reshape(-1, 2, 3).all(axis=(0, 1))
    assert wires.any() and not wires.all()
    assert np.array_equal(before.reshape(-1, 2, 3)[:, :, ~wires], after.reshape(-1, 2, 3)[:, :, ~wires])


def test_upsets_differ_from_image_to_image_and_defects_do_not() -> None:
    before, after = tensor("streams", "bit", "flip", 0.1)
    masks = before != after
    assert len({mask.tobytes() for mask in masks}) == len(masks)
    before, after = tensor("streams", "bit", "stuck-at-1", 0.2)
    stuck = after.all(axis=0)
    assert stuck.any() and np.array_equal(after[:, ~stuck], before[:, ~stuck])


def test_a_fifos_cell_meets_every_fifth_word() -> None:
    """Stream `bit`: 25 words per image; through 5 words a slot meets words s, s + 5, ..., of every image."""
    before, after = tensor("fifos", "bit", "stuck-at-1", 0.1)
    words_before, words_after = before.reshape(-1, 1), after.reshape(-1, 1)
    slots = np.arange(len(words_before)) % 5
    for slot in range(5):
        mine = slots == slot
        if not np.array_equal(words_before[mine], words_after[mine]):
            assert words_after[mine].all()
    assert not np.array_equal(before, after)


def test_products_flip_as_often_as_they_should() -> None:
    """Mean shift of a popcount s of K: rate * (K - 2 s), within five deviations."""
    graph = mlp(0, (200, 100, 4))
    place = [one for one in streams(graph, "products") if one.layer == "d0"]
    x = pixels(0, graph, 200)
    sums = run(split(graph, ["d0"]), x)["d0__sums"]
    made = faulty_walk(graph, place, FaultModel(), Rates.of(0.1), 0, 0).changes["d0__sums"](sums, 0)
    off = (made - sums) - 0.1 * (200 - 2 * sums)
    assert abs(off.mean()) < 5 * (200 * 0.09 / off.size) ** 0.5
    assert abs(off.var() - 200 * 0.09) < 0.5


@pytest.mark.parametrize(
    ("name", "target", "model", "layers"),
    [
        ("products", "products", "stuck-at-1", ()),
        ("bram", "streams", "bram-row flip", ()),
        ("target", "wieghts", "flip", ()),
        ("layer", "weights", "flip", ("conv3",)),
        ("joined", "weights+streams", "flip", ()),
    ],
)
def test_what_goes_not_together(name: str, target: str, model: str, layers: tuple[str, ...], golden: object) -> None:
    graph = cnn()
    subject = Subject(graph, pixels(0, graph, 2), np.zeros(2, np.int64))
    with pytest.raises(Problem) as found:
        subject.trial(Point(target, layers, model, Rates.of(0.1)), 0)
    golden(f"problems/faults_point_{name}", str(found.value))  # type: ignore[operator]


@pytest.mark.parametrize("layer", ["conv0", "other", "conv2", "join"])
@pytest.mark.parametrize("bit", [0, 1])
def test_a_stuck_pe_is_its_channels_in_all_images(layer: str, bit: int) -> None:
    """Every PE of a unit in turn: channels p, p + PE, ... of every pixel hold 0 or the bits' greatest value."""
    kind = next(one for one in streams(cnn(), "streams") if one.layer == layer)
    stuck = bit * ((1 << kind.type.bits) - 1)
    for pe in range(kind.pe):
        values, made = tensor("streams", layer, f"pe:{pe} stuck-at-{bit}", 1.0)
        wanted = values.copy()
        wanted[..., pe :: kind.pe] = stuck
        assert np.array_equal(made, wanted)
    assert kind.pe == {"conv0": 2, "other": 2, "conv2": 3, "join": 1}[layer]


def test_a_named_pe_is_sure_and_one_map() -> None:
    """No map differs from another, so that there is one, whatever was asked for; `stuck` and lower rates draw."""
    graph = cnn()
    x = pixels(0, graph, 30)
    labels = np.random.default_rng(1).integers(0, 3, 30)
    models = ["pe:1 stuck-at-0", "pe:1 stuck"]
    grid = Grid([Rates.of(1.0), Rates.of(0.5), Rates.of(0.0)], ["streams"], ["conv2"], models)
    for wanted in (None, 0.2):
        found = Campaign(Subject(graph, x, labels), grid.points(graph), Plan(3, wanted, 6)).run()
        counts = {(one.point.model, one.point.rates.value): len(one.outcomes) for one in found}
        assert counts[models[0], 1.0] == 1 and min(count for key, count in counts.items() if key[1]) == 1
        assert all(count >= 3 for key, count in counts.items() if key != (models[0], 1.0))
        facts = found[0].facts()
        assert facts["half_width"] == facts["worse_share"] == 0.0 and facts["low"] < facts["mean"] < facts["high"]
        assert facts["changed_low"] <= facts["changed"] < facts["changed_high"]
    for target, layers, pe in (("streams", "conv2", 3), ("streams", "all", 2), ("weights", "each", 3)):
        with pytest.raises(Problem, match=f"no PE {pe}: "):
            Grid([Rates.of(1.0)], [target], [layers], [f"pe:{pe} stuck-at-0"]).points(graph)


def test_a_target_that_is_not_there_is_answered_by_those_that_are() -> None:
    weight = Mvau(np.array([[1, 2], [-1, 3]], np.int8), np.zeros((2, 0), np.int64), xnor=False)
    graph = Graph("sums", "x", TensorType((2,), 0, 255), (Node("fc", weight, ("x",)),), "fc")
    with pytest.raises(Problem) as caught:
        Point("products", (), "flip", Rates.of(1e-3)).places(graph)
    assert (
        "has no products" in caught.value.what and caught.value.hint == "it has weights, streams, fifos, accumulators"
    )
