"""The work behind `flow prune NET.onnx`: channels removed from anyone's network, which may be trained again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np

from bnnflow import CHECK_FAILED, Problem

from ...models.prune.widths import highest, width_left
from ...models.relevance.criteria import OF_TRAINING, Criterion
from ...transforms.channels import ChannelGroup, channel_groups, cut, staying
from ...transforms.ir.graph import Graph
from ...transforms.ir.ops import Best, Conv, Dense
from ...transforms.passes.accept import AcceptInput
from ...transforms.passes.compile import is_mixed, level_of
from ...transforms.passes.raised import Raise
from ...transforms.passes.streamline import Streamline
from ..graphs.inputs import input_held
from ..recipe.methods.filters import AUTO
from ..results.pruned_file import Answers, PrunedFile, Tuning
from ..results.rankings import CaptumComparison
from ..run.files import write_whole
from ..run.typed_json import extended
from .simulation import Images, labelled

CHOOSING = 512
"""Images that choose channels where nothing is said. The sums of a layer are known well from some hundred."""
_COMPARED = 64


@dataclass(frozen=True, slots=True)
class FilePruning:
    """How a file is pruned.

    Attributes:
        amount: share of each group's channels to remove, above 0 up to 0.9.
        unit: what is left of a group is a multiple of it.
        min_width: channels that every group keeps; each layer of a group keeps one in any case.
        criterion: as `models.relevance.criteria` reads it; "auto" is "reconstruction", however long is trained: on
            files nothing was better (docs/results/pruning.md).
        images: that choose.
        calibration: that norms or thresholds are re-estimated on.
        seed: of all that is drawn.
        epochs, batch, learning_rate, distill: of fine-tuning; see `pruning.fine_tune.FineTuning`. 0 epochs: none.

    Raises:
        Problem: an unknown criterion, one that needs what training leaves, or an amount that removes nothing.
    """

    amount: float
    unit: int
    min_width: int
    criterion: str
    images: int
    calibration: int
    seed: int
    epochs: int = 0
    batch: int = 100
    learning_rate: float = 0.001
    distill: float = 0.0

    def __post_init__(self) -> None:
        check_criterion(Criterion.parse(self.ranking))
        if self.amount == 0:
            raise Problem("an amount of 0 removes nothing", "--amount", "give a share such as 0.25")

    @property
    def ranking(self) -> str:
        """The criterion, that which "auto" stands for included."""
        return "reconstruction" if self.criterion == AUTO else self.criterion


def check_criterion(wanted: Criterion) -> None:
    """Refuse criteria that a file cannot serve.

    Raises:
        Problem: says which needs what.
    """
    for part in wanted.parts or (wanted,):
        for need in sorted(part.needs & OF_TRAINING):
            what = f"{part} ranks by {need}, which training leaves and no file holds"
            raise Problem(what, "--criterion", "give another of `flow rank --list`, or a run")


Progress = Callable[[int, int, dict[str, float]], None]


def prune_file(
    opened: Graph, path: Path, output: Path, given: Images, how: FilePruning, progress: Progress | None = None
) -> PrunedFile:
    """Cut channels out of a graph, re-estimate its norms and thresholds, train it if asked to, and write it.

    Args:
        opened: of any level. A network whose norms stand in it stays one, and gets a norm in front of each quantizer
            that sees changed sums through none; any other is written on integers.
        path: its file.
        output: file to write.
        given: a data set, whose training images choose and whose test images judge, or images, of which one half does.
        how: what goes.
        progress: of fine-tuning; called with steps done, the total, and figures.

    Raises:
        Problem: the graph cannot be compiled, no channels can be cut, too few images, it cannot be trained, or
            (status 1) the cut network is not the whole one without these channels, or training diverged.
    """
    from ...sim.inputs import graph_inputs, image_inputs
    from ...sim.norms import reestimate_graph, with_norms, without_norms
    from ...sim.refit import refit
    from ...transforms.reading.read import read
    from ...transforms.writing.network import write_network
    from ...transforms.writing.write import write

    graph, has_norms = opened_for_pruning(opened)
    groups = {group.name: group for group in channel_groups(graph) if not group.reason and group.columns}
    if not groups:
        raise Problem("no layer can be made narrower", str(path), "its hidden layers would have to be read by others")
    images, labels, judges, truth = chosen_and_judging(given, how.seed)
    check_classes(graph, labels, truth)
    if how.epochs and labels is None and how.distill < 1.0:
        hint = "give them, or --distill 1: then the answers of the whole network are what is learned"
        raise Problem("fine-tuning needs labels", "--labels", hint)
    take = graph_inputs if given.images is not None else image_inputs
    order = np.random.default_rng([how.seed, 43]).permutation(len(images))
    chosen, calibrating = (take(graph, images[order[:count]]) for count in (how.images, how.calibration))
    if not len(chosen):
        raise Problem("there are no images to choose by", "--input", "give some hundred")
    began = time.perf_counter()
    ranked = _ranked(graph, groups, lambda rows: take(graph, images[rows]), labels, order, how)
    scores = ranked.scores
    widths = {
        name: width_left(group.width, 1.0 - how.amount, how.unit, how.min_width) for name, group in groups.items()
    }
    keep = {name: highest(scores[name], widths[name], group.rows.values()) for name, group in groups.items()}
    keep = {name: kept for name, kept in keep.items() if len(kept) < groups[name].width}
    if not keep:
        kept = f", and --min-width {how.min_width} stay" if how.min_width > 1 else ""
        what = f"nothing would go: a share of {how.amount:g} is less than one unit of {how.unit} of every group{kept}"
        less = ", or a smaller --min-width" if kept else ""
        raise Problem(what, "--amount", f"give a larger share, or a smaller --unit{less}")
    stays, smaller = staying(graph, keep), cut(graph, keep)
    compared = check_cut(graph, keep, chosen[:_COMPARED], path)
    changed = {layer for name in keep for layer in groups[name].readers}
    added: tuple[str, ...] = ()
    if has_norms:
        added = without_norms(graph, changed)
        smaller = reestimate_graph(cut(with_norms(graph, added, calibrating), keep), calibrating, changed)
    else:
        smaller = refit(graph, smaller, stays, calibrating, changed)
    seconds = time.perf_counter() - began
    inputs = take(graph, judges)
    before, tuning = simulated_classes(graph, inputs), None
    if how.epochs:
        untrained = answers_of(simulated_classes(smaller, inputs), before, truth)
        smaller, tuning = _tuned(graph, smaller, take(graph, images), labels, calibrating, how, progress)
        tuning = replace(tuning, untrained=untrained)
    made = write_network(smaller) if has_norms and graph.channels_first else write(smaller)
    write_whole(output, made.SerializeToString())
    # What stands in the file is judged: it holds norms in float32.
    smaller = AcceptInput()(read(output)).graph
    after = simulated_classes(smaller, inputs)
    counts, left = _counts(graph), _counts(smaller)
    return PrunedFile(
        network=str(path),
        output=str(output),
        level="network" if has_norms else "integer",
        norms_added=len(added),
        criterion=ranked.criterion,
        check=ranked.check,
        captum=ranked.captum,
        seed=how.seed,
        images=len(chosen),
        calibration=len(calibrating),
        judged=len(inputs),
        widths={name: group.width for name, group in groups.items()},
        kept={name: len(keep[name]) if name in keep else group.width for name, group in groups.items()},
        compared=compared,
        different=0,
        before=answers_of(before, before, truth),
        after=answers_of(after, before, truth),
        operations=counts[0],
        operations_after=left[0],
        weights=counts[1],
        weights_after=left[1],
        seconds=round(seconds, 3),
        tuning=tuning,
        input=input_held(smaller),
    )


def opened_for_pruning(opened: Graph) -> tuple[Graph, bool]:
    """A graph of any level as channels are cut out of it: a network with norms, or on integers; and which it is.

    Raises:
        Problem: it cannot be compiled.
    """
    from ...sim.norms import can_have_norms
    from ...sim.reconstruction import on_integers

    graph = AcceptInput()(opened).graph
    if is_mixed(graph) or level_of(graph) not in ("network", "integer"):
        graph = Raise()(graph).graph
    if level_of(graph) == "network" and can_have_norms(graph):
        return graph, True
    return on_integers(graph)[0], False


def chosen_and_judging(given: Images, seed: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray | None]:
    """Images and labels to choose by, and others to judge by: training and test set, or halves of what is given."""
    if (given.data and given.images is not None) or (given.labels is not None and given.images is None):
        raise Problem("labels without images, or images beside a data set's own", "images", "give images, or data")
    if given.images is None:
        from ...models.data.load import load_dataset
        from ..run.places import cache_folder, data_places

        if not given.data:
            hint = "give --data digits, or --input X.npy, with --labels L.npy where there are any"
            raise Problem("images are needed", "--data, --input", hint)
        found = load_dataset(given.data, given.data_dir, data_places(), cache_folder())
        return found.train_images, found.train_labels, found.test_images, found.test_labels
    images, labels = labelled(given)
    if len(images) < 2:
        raise Problem(f"{len(images)} images", "--input", "half of them choose, half of them judge: give some hundred")
    order = np.random.default_rng([seed, 47]).permutation(len(images))
    one, other = np.sort(order[: len(images) // 2]), np.sort(order[len(images) // 2 :])
    if labels is None:
        return images[one], None, images[other], None
    return images[one], labels[one], images[other], labels[other]


def check_classes(graph: Graph, *several: np.ndarray | None) -> None:
    """Refuse networks without classes, and labels of other classes than theirs.

    Raises:
        Problem: says which.
    """
    from ...sim.engine.simulator import class_count

    if isinstance(graph.maker(graph.output), Best):
        scores = graph.types[graph.node(graph.output).input]
        classes = scores.shape[-1]
    else:
        classes = class_count(graph)
    if classes < 2:
        raise Problem("this network has one output, so it has no classes to judge by", graph.name)
    for labels in several:
        if labels is not None and len(labels) and not 0 <= labels.min() <= labels.max() < classes:
            what = f"labels from {labels.min()} to {labels.max()} for {classes} classes"
            raise Problem(what, "--labels", f"give classes from 0 to {classes - 1}")


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Scores of the channels, by group, and what `PrunedFile` says of them."""

    scores: dict[str, np.ndarray]
    criterion: str
    check: float | None = None
    captum: CaptumComparison | None = None


def _ranked(
    graph: Graph,
    groups: Mapping[str, ChannelGroup],
    take: Callable[[np.ndarray], np.ndarray],
    labels: np.ndarray | None,
    order: np.ndarray,
    how: FilePruning,
) -> _Ranked:
    from ...sim.reconstruction import removal_order
    from ..pruning.sensitivity import random_group_scores

    criterion = Criterion.parse(how.ranking)
    # These two are known without torch, which a file may be pruned without.
    if criterion.method == "random":
        return _Ranked(random_group_scores(groups, how.seed), str(criterion))
    if criterion.method == "reconstruction":
        rows = order[: how.images]
        truth = None if labels is None else labels[rows]
        return _Ranked(removal_order(graph, take(rows), truth, how.seed), str(criterion))
    from ..pruning.graph_scores import Scored, group_scores

    # Each image is compared with another: so many again.
    seen = order[: 2 * how.images]
    truth = None if labels is None else labels[seen]
    found = Scored(graph, take(seen), truth, np.arange(len(seen)), how.images).by(criterion, how.seed)
    captum = None if found.captum is None else extended(CaptumComparison, found.captum)
    return _Ranked(group_scores(list(groups.values()), found.scores), found.criterion, found.check, captum)


def check_cut(graph: Graph, keep: Mapping[str, np.ndarray], images: np.ndarray, path: Path) -> int:
    """Hold a graph without some channels against the whole one with the weights of these at 0, on integers.

    Args:
        graph: whole.
        keep: as for `transforms.channels.cut`.
        images: as the graph takes them.
        path: its file.

    Returns:
        how many sums of layers were compared; all are equal.

    Raises:
        Problem: status 1, one differs, or no layer's sums can be compared.
    """
    groups = {group.name: group for group in channel_groups(graph)}
    return check_sums(_masked(graph, keep, groups), cut(graph, keep), staying(graph, keep), images, path)


def check_sums(masked: Graph, smaller: Graph, stays: Mapping[str, np.ndarray], images: np.ndarray, path: Path) -> int:
    """Hold the sums of a smaller graph's layers against those of a whole one whose weights of what went are 0.

    Args:
        masked, smaller: with the same names.
        stays: by layer, which of the whole one's channels the smaller one has, bool.
        images, path: as for `check_cut`.

    Returns:
        how many were compared; all are equal.

    Raises:
        Problem: status 1, one differs, or no layer's sums can be compared.
    """
    compared, different = _compare(masked, smaller, stays, images)
    if different:
        what = (
            f"{different:,} of {compared:,} integers differ between the smaller network and the whole one without them"
        )
        raise Problem(what, str(path), "this is a bug: please report it", CHECK_FAILED)
    return compared


def _masked(graph: Graph, keep: Mapping[str, np.ndarray], groups: Mapping[str, ChannelGroup]) -> Graph:
    """The whole graph with the weights of removed channels at 0."""
    nodes = []
    for node in graph.nodes:
        if isinstance(node.op, Conv | Dense):
            weight = np.array(node.op.weight)
            for name, kept in keep.items():
                columns = groups[name].columns.get(node.name)
                if columns is not None:
                    weight[..., (columns >= 0) & ~np.isin(columns, kept)] = 0
            node = replace(node, op=replace(node.op, weight=weight))
        nodes.append(node)
    return graph.with_nodes(tuple(nodes))


def _compare(masked: Graph, smaller: Graph, stays: Mapping[str, np.ndarray], images: np.ndarray) -> tuple[int, int]:
    """How many sums of layers of the cut graph are compared with those of `_masked`, and how many differ."""
    from ...sim.engine.simulator import Simulator

    layers = [node.name for node in masked.nodes if isinstance(node.op, Conv | Dense)]
    sums = []
    for one in (masked, smaller):
        if level_of(one) == "integer":
            sums.append(dict(Simulator.of(one).tensors(images, layers)))
            continue
        # Both are brought to integers on their own, so by steps of their own: what is compared is what they stand for.
        lowered = Streamline()(one)
        equal = {each.old: each for each in lowered.equivalences if each.old in layers and each.kept is None}
        found = Simulator.of(lowered.graph).tensors(images, [each.new for each in equal.values()])
        sums.append({name: each.factor * found[each.new] + each.offset for name, each in equal.items()})
    old, new = sums
    known = [name for name in layers if name in old and name in new]
    compared = sum(new[name].size for name in known)
    if not compared:
        raise Problem("no layer's sums can be compared before and after the cut", masked.name, status=CHECK_FAILED)
    return compared, sum(int((old[name][..., stays[name]] != new[name]).sum()) for name in known)


def _tuned(
    graph: Graph,
    smaller: Graph,
    inputs: np.ndarray,
    labels: np.ndarray | None,
    calibrating: np.ndarray,
    how: FilePruning,
    progress: Progress | None,
) -> tuple[Graph, Tuning]:
    """The trained graph, and how it was trained; the untrained one's answers are still to be said."""
    from ..pruning.fine_tune import FineTuning, fine_tune

    wanted = FineTuning(how.epochs, how.batch, how.learning_rate, how.distill, how.seed)
    trained = fine_tune(graph, smaller, inputs, labels, calibrating, wanted, progress)
    history = trained.history
    return trained.graph, Tuning(
        epochs=how.epochs,
        batch=how.batch,
        learning_rate=how.learning_rate,
        distill=how.distill,
        images=len(inputs),
        labels="given" if labels is not None else "whole network",
        loss=[row["loss"] for row in history],
        accuracy=[row["accuracy"] for row in history],
        seconds=round(sum(row["seconds"] for row in history), 3),
        compared=trained.compared,
        float_ties=trained.float_ties,
        untrained=Answers(accuracy=None, same=0.0),
    )


def simulated_classes(graph: Graph, inputs: np.ndarray) -> np.ndarray:
    """The class that a graph gives each image."""
    from ...sim.engine.simulator import Simulator
    from ...transforms.passes.compile import stages

    lowered = next(stage.graph for stage in stages(graph) if stage.level == "xnor")
    return Simulator.of(lowered).classes(inputs)


def answers_of(classes: np.ndarray, unpruned: np.ndarray, truth: np.ndarray | None) -> Answers:
    """How classes compare with those of the unpruned network, and with the truth where it is known."""
    right = None if truth is None else float(np.mean(classes == truth))
    return Answers(accuracy=right, same=float(np.mean(classes == unpruned)))


def _counts(graph: Graph) -> tuple[int, int]:
    """Products of an image, and weights."""
    layers = [(node.name, node.op) for node in graph.nodes if isinstance(node.op, Conv | Dense)]
    products = sum(prod(graph.types[name].shape) * op.weight[0].size for name, op in layers)
    return products, sum(op.weight.size for _, op in layers)
