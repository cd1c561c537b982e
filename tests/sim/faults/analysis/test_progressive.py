"""The progressive attack against one that is written out, its maps against replays, and bounds on real digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from bnnflow import Problem
from bnnflow.flow.pruning.weight_gradients import WeightGradients
from bnnflow.models.data.load import load_dataset
from bnnflow.models.files.export import export_qonnx
from bnnflow.models.networks.network import Network
from bnnflow.models.networks.spec import NetworkSpec
from bnnflow.models.training.batchnorm import reestimate
from bnnflow.models.training.train import train
from bnnflow.models.training.train_spec import TrainSpec
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.faults import FaultMap, Subject, memories
from bnnflow.sim.faults.analysis.bounds import flip_bounds
from bnnflow.sim.faults.analysis.margins import NEVER
from bnnflow.sim.faults.analysis.progressive import Attack, Goal, attacked, random_flips, with_scores
from bnnflow.sim.faults.injection.cells import Cells
from bnnflow.sim.faults.injection.maps import replaced
from bnnflow.sim.inputs import image_inputs
from bnnflow.sim.reference import run
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import LabelSelect, Mvau
from bnnflow.transforms.ir.tensor import Array
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read
from tests.sim.faults.fault_graphs import cnn, mlp, pixels

Golden = Callable[[str, str], None]


def made_up(seed: int) -> Callable[[Graph], Mapping[str, Array]]:
    """Gradients that say nothing: the search has to be right whatever they are."""

    def gradients(graph: Graph) -> Mapping[str, Array]:
        rng = np.random.default_rng(seed)
        weighs = {node.name: node.op.weight for node in graph.nodes if isinstance(node.op, Mvau)}
        return {name: rng.normal(size=weight.shape) for name, weight in weighs.items()}

    return gradients


def attack_on(graph: Graph, seed: int = 0, candidates: int = 4, targeted: bool = False, images: int = 24) -> Attack:
    x = pixels(seed, graph, images)
    scores = Simulator.of(graph).scores(x)
    wanted = np.full(images, 1) if targeted else scores.argmax(axis=1)
    return Attack(Simulator.of(graph), x, Goal.of(scores, wanted, targeted), made_up(seed), attacked(graph), candidates)


def loss_by_reference(graph: Graph, attack: Attack, cells: Mapping[str, set[int]]) -> float:
    """Of the graph with some cells flipped, by the reference simulator and the definition of cross entropy."""
    ops = {}
    for memory in memories(graph):
        words = memory.words(graph.node(memory.layer).op).reshape(-1).copy()
        words[sorted(cells[memory.layer])] ^= 1
        ops[memory.layer] = memory.holding(graph.node(memory.layer).op, words)
    scores = run(replaced(graph, ops), attack.images)[graph.output].astype(np.float64) / attack.goal.unit
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    mean = float(-np.log(chances[np.arange(len(scores)), attack.goal.classes]).mean())
    return -mean if attack.goal.targeted else mean


def written_out(graph: Graph, attack: Attack, steps: int) -> list[tuple[str, set[int], float]]:
    """The attack as its paper says it, bit by bit: the layer, the cells and the loss of each step."""
    held: dict[str, set[int]] = {memory.layer: set() for memory in memories(graph)}
    found = []
    loss = loss_by_reference(graph, attack, held)
    for _ in range(steps):
        ranked = {}
        for memory in memories(graph):
            op = graph.node(memory.layer).op
            words = memory.words(op).reshape(-1).copy()
            words[sorted(held[memory.layer])] ^= 1
            now = memory.holding(op, words)
            assert isinstance(now, Mvau)
            slopes, gains = attack.gradients(graph)[memory.layer], []
            for cell, number in enumerate(memory.logical().tolist()):
                value = number // memory.bits
                row, column = divmod(value, memory.values[1])
                other = words.copy()
                other[cell] ^= 1
                changed = memory.holding(op, other)
                assert isinstance(changed, Mvau)
                gain = slopes[row, column] * (int(changed.weight[row, column]) - int(now.weight[row, column]))
                if gain > 0 and cell not in held[memory.layer]:
                    gains.append((-gain, cell))
            ranked[memory.layer] = [cell for _, cell in sorted(gains)][: attack.candidates]
        tried = [[(layer, set(cells[:count])) for layer, cells in ranked.items() if len(cells) >= count]
                 for count in range(1, attack.candidates + 1)]  # fmt: skip
        tried.append([(layer, {cell}) for layer, cells in ranked.items() for cell in cells[1:]])
        for sets in tried:
            losses = [loss_by_reference(graph, attack, {**held, layer: held[layer] | more}) for layer, more in sets]
            if losses and max(losses) > loss + 1e-12:
                layer, more = sets[int(np.argmax(losses))]
                held[layer] |= more
                loss = max(losses)
                found.append((layer, more, loss))
                break
        else:
            break
    return found


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_every_step_is_that_of_the_attack_written_out(name: str, targeted: bool) -> None:
    """Random gradients; dense and convolutional units, of one bit and of three in two's complement."""
    graph = mlp() if name == "mlp" else cnn(2)
    attack = attack_on(graph, targeted=targeted, images=8)
    steps = [next(walk) for walk in [attack.steps(100)] for _ in range(4)]
    wanted = written_out(graph, attack, 4)
    assert [(step.layer, set(step.cells.tolist())) for step in steps] == [(layer, more) for layer, more, _ in wanted]
    assert [step.loss for step in steps] == pytest.approx([loss for *_, loss in wanted])


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_the_map_replays_to_the_same_scores(suffix: str, tmp_path: Path) -> None:
    """On a graph that ends in a ranking, too; no more cells than were asked for, and each once."""
    plain = mlp(3)
    graph = Graph("n", "x", plain.input_type, (*plain.nodes, Node("top", LabelSelect(), ("d2",))), "top")
    attack = attack_on(with_scores(graph), seed=3)
    steps = list(attack.steps(7))
    assert attack.flips == sum(len(step.cells) for step in steps) <= 7
    path = tmp_path / f"map{suffix}"
    path.write_bytes(attack.map().content(suffix, graph))
    ops = FaultMap.load(path, graph).ops(graph)
    assert np.array_equal(
        Simulator.of(replaced(graph, ops)).classes(attack.images), steps[-1].simulator.classes(attack.images)
    )
    losses = [step.loss for step in steps]
    assert losses == sorted(losses)


def test_an_attack_goes_on_from_a_map() -> None:
    """The same steps as without a break, whatever the break."""
    graph = cnn(2)
    whole = attack_on(graph)
    steps = list(whole.steps(12))
    for done in (1, 3):
        first = attack_on(graph)
        walk = first.steps(12)
        for _ in range(done):
            next(walk)
        second = Attack(Simulator.of(graph), first.images, first.goal, first.gradients, first.places, 4, first.map())
        rest = list(second.steps(12))
        assert [(s.layer, s.cells.tolist(), s.loss) for s in rest] == [
            (s.layer, s.cells.tolist(), s.loss) for s in steps[done:]
        ]


def test_random_flips_are_nested_and_of_all_memories() -> None:
    graph = cnn(0)
    places = attacked(graph)
    total = sum(place.size for place in places)
    drawn = random_flips(graph, places, 0, 0)
    before: dict[str, set[int]] = {}
    for count in (1, 5, 40, total):
        now = {name: set(cells.index.tolist()) for name, cells in drawn(count).cells.items()}
        assert sum(map(len, now.values())) == count
        assert all(cells <= now[name] for name, cells in before.items())
        before = now
    assert {name: len(cells) for name, cells in before.items()} == {place.name: place.size for place in places}
    assert drawn(40).content(".csv", graph) != random_flips(graph, places, 0, 1)(40).content(".csv", graph)


def test_what_cannot_be_attacked(golden: Golden) -> None:
    graph = mlp()
    places, said = attacked(graph), []
    held = FaultMap("", {"d0.weights": Cells(np.array([1]), np.array([1], np.uint8))})
    score = Graph("n", "x", graph.input_type, graph.nodes[:2], "d1")
    for attempt in (
        lambda: attacked(graph, ["d7"]),
        lambda: attacked(Graph("none", "x", graph.input_type, (), "x")),
        lambda: attack_on(graph, candidates=0),
        lambda: Attack(Simulator.of(graph), pixels(0, graph, 3), Goal(np.array([0, 1, 9])), made_up(0), places),
        lambda: Attack(Simulator.of(graph), pixels(0, graph, 1), Goal(np.array([0])), made_up(0), places, start=held),
        lambda: with_scores(mlp(0, (6, 4, 1))),
    ):
        with pytest.raises(Problem) as caught:
            attempt()
        said.append(str(caught.value))
    golden("refused", "\n".join(said))
    assert with_scores(score) is score


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Graph, Array, Array]:
    """A trained network of 32-32 neurons, and the test images of digits."""
    data = load_dataset("digits")
    shape = (data.train_images.shape[1], data.train_images.shape[2], data.train_images.shape[3])
    network = Network(NetworkSpec(arch="mlp", input_shape=shape, classes=10, hidden=(32, 32)), 0)
    train(network, data.train_images, data.train_labels, TrainSpec(4, 50, 0.01, 0))
    reestimate(network, data.train_images)
    file = tmp_path_factory.mktemp("digits") / "net.onnx"
    export_qonnx(network.eval(), file)
    graph = stages(read(file))[-1].graph
    return graph, image_inputs(graph, data.test_images), data.test_labels


def test_certified_flips_fewer_than_an_attack_needs_no_more_than_chance(digits: tuple[Graph, Array, Array]) -> None:
    """Every layer and image: a violated certificate is a fault of ours; of the last layer the attack is the optimum."""
    graph, images, _ = digits
    gradients = WeightGradients(graph, images[100:]).of
    found = flip_bounds(graph, images[:8], gradients, orders=2)
    assert [one.exact for one in found] == [False, True, True]
    for one in found:
        assert one.certificate_holds.all() and one.attack_holds.all()
        assert (one.attacked != NEVER).all()
    assert np.array_equal(found[-1].attacked, found[-1].certified + 1)


def test_it_finds_far_fewer_flips_than_chance(digits: tuple[Graph, Array, Array]) -> None:
    graph, images, labels = digits
    batch, truth = images[200:300], labels[200:300].astype(np.int64)
    subject = Subject(graph, images[:200], labels[:200])
    clean = np.mean(subject.classes == subject.labels)
    simulator = Simulator.of(graph)
    goal = Goal.of(simulator.scores(batch), truth)
    attack = Attack(simulator, batch, goal, WeightGradients(graph, batch).of(batch, goal), attacked(graph))
    for step in attack.steps(100):
        after = float(np.mean(step.simulator.classes(subject.images) == subject.labels))
    drawn = random_flips(graph, attacked(graph), 0, 0)(attack.flips)
    chance = subject.run(drawn.ops(graph)).right / 200
    assert after < clean - 0.2 < chance
