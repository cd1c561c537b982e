"""The work behind `flow prune NET.onnx`: channels removed from anyone's network, which may be trained again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np

from bnnflow import CHECK_FAILED, Problem

from ...transforms.channels import ChannelGroup, channel_groups, cut, staying
from ...transforms.ir.graph import Graph
from ...transforms.ir.ops import Best, Conv, Dense
from ...transforms.passes.accept import AcceptInput
from ...transforms.passes.compile import is_mixed, level_of
from ...transforms.passes.raised import Raise
from ...transforms.passes.streamline import Streamline
from ..graphs.inputs import input_held, load_array, open_graph
from ..results.pruned_file import Answers, PrunedFile, Tuning
from ..run.files import write_whole
from .pruning import LabelledInput

CRITERIA = ("reconstruction", "random")
_COMPARED = 64


@dataclass(frozen=True, slots=True)
class FilePruning:
    """How a file is pruned.

    Attributes:
        amount: share of each group's channels to remove, above 0 up to 0.9.
        unit: what is left of a group is a multiple of it.
        min_width: channels that every group keeps.
        criterion: one of `CRITERIA`.
        images: that choose.
        calibration: that norms or thresholds are re-estimated on.
        seed: of all that is drawn.
        epochs, batch, learning_rate, distill: of fine-tuning; see `pruning.fine_tune.FineTuning`. 0 epochs: none.
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


Progress = Callable[[int, int, dict[str, float]], None]


def prune_file(
    path: Path, output: Path, given: LabelledInput, how: FilePruning, progress: Progress | None = None
) -> PrunedFile:
    """Cut channels out of a QONNX file, re-estimate its norms or thresholds, train it if asked to, and write it.

    Args:
        path: of any level; a network whose norms stand in it stays one, any other is written on integers.
        output: file to write.
        given: images and what the input holds.
        how: what goes.
        progress: of fine-tuning; called with steps done, the total, and figures.

    Raises:
        Problem: the file cannot be read or compiled, no channels can be cut, too few images, it cannot be trained, or
            (status 1) the cut network is not the whole one without these channels, or training diverged.
    """
    from ...sim.inputs import graph_inputs, image_inputs
    from ...sim.norms import graph_norms
    from ...sim.reconstruction import on_integers
    from ...transforms.writing.network import write_network
    from ...transforms.writing.write import write

    graph = AcceptInput()(open_graph(path, given.contract)).graph
    if is_mixed(graph) or level_of(graph) not in ("network", "integer"):
        graph = Raise()(graph).graph
    has_norms = level_of(graph) == "network" and bool(graph_norms(graph))
    if not has_norms:
        graph, _ = on_integers(graph)
    groups = {group.name: group for group in channel_groups(graph) if not group.reason and group.columns}
    if not groups:
        raise Problem("no layer can be made narrower", str(path), "its hidden layers would have to be read by others")
    images, labels, judges, truth = _images(given, how.seed)
    _check_classes(graph, labels, truth)
    take = graph_inputs if given.images is not None else image_inputs
    order = np.random.default_rng([how.seed, 43]).permutation(len(images))
    chosen, calibrating = (take(graph, images[order[:count]]) for count in (how.images, how.calibration))
    if not len(chosen):
        raise Problem("there are no images to choose by", "--input", "give some hundred")
    began = time.perf_counter()
    scores = _scores(graph, groups, chosen, None if labels is None else labels[order[: how.images]], how)
    keep = {name: _highest(scores[name], _width(group.width, how)) for name, group in groups.items()}
    keep = {name: kept for name, kept in keep.items() if len(kept) < groups[name].width}
    if not keep:
        what = f"a share of {how.amount:g} is less than one unit of {how.unit} of every group"
        raise Problem(what, "--amount", "give a larger share, or a smaller --unit")
    smaller = cut(graph, keep)
    compared, different = _compare(graph, smaller, keep, groups, chosen[:_COMPARED])
    if different:
        what = f"{different:,} of {compared:,} integers differ between the cut network and the whole one without them"
        raise Problem(what, str(path), "this is a bug: please report it", CHECK_FAILED)
    smaller = _reestimated(graph, smaller, keep, groups, calibrating, has_norms)
    seconds = time.perf_counter() - began
    inputs = take(graph, judges)
    before, after = _classes(graph, inputs), _classes(smaller, inputs)
    tuning = None
    if how.epochs:
        smaller, tuning = _tuned(graph, smaller, take(graph, images), labels, calibrating, how, progress)
        tuning = replace(tuning, untrained=_answers(after, before, truth))
        after = _classes(smaller, inputs)
    made = write_network(smaller) if has_norms and graph.channels_first else write(smaller)
    write_whole(output, made.SerializeToString())
    counts, left = _counts(graph), _counts(smaller)
    return PrunedFile(
        network=str(path),
        output=str(output),
        level="network" if has_norms else "integer",
        criterion=how.criterion,
        seed=how.seed,
        images=len(chosen),
        calibration=len(calibrating),
        judged=len(inputs),
        widths={name: group.width for name, group in groups.items()},
        kept={name: len(keep[name]) if name in keep else group.width for name, group in groups.items()},
        compared=compared,
        different=different,
        before=_answers(before, before, truth),
        after=_answers(after, before, truth),
        operations=counts[0],
        operations_after=left[0],
        weights=counts[1],
        weights_after=left[1],
        seconds=round(seconds, 3),
        tuning=tuning,
        input=input_held(smaller),
    )


def _images(given: LabelledInput, seed: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray | None]:
    """Images and labels to choose by, and others to judge by: training and test set, or halves of what is given."""
    if given.images is None:
        from ...models.data.load import load_dataset
        from ..run.places import cache_folder, data_places

        if not given.data:
            hint = "give --data digits, or --input X.npy, with --labels L.npy where there are any"
            raise Problem("images are needed", "flow prune", hint)
        found = load_dataset(given.data, given.folder, data_places(), cache_folder())
        return found.train_images, found.train_labels, found.test_images, found.test_labels
    images = load_array(given.images, "input")
    if len(images) < 2:
        raise Problem(f"{len(images)} images", "--input", "half of them choose, half of them judge: give some hundred")
    order = np.random.default_rng([seed, 47]).permutation(len(images))
    one, other = np.sort(order[: len(images) // 2]), np.sort(order[len(images) // 2 :])
    if given.labels is None:
        return images[one], None, images[other], None
    labels = load_array(given.labels, "labels")
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise Problem(f"{labels.shape} labels for {len(images)} images", "--labels", "give one label per image")
    return images[one], labels[one], images[other], labels[other]


def _check_classes(graph: Graph, *several: np.ndarray | None) -> None:
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


def _scores(
    graph: Graph, groups: Mapping[str, ChannelGroup], images: np.ndarray, labels: np.ndarray | None, how: FilePruning
) -> dict[str, np.ndarray]:
    from ...sim.reconstruction import removal_order
    from ..pruning.sensitivity import random_group_scores

    if how.criterion == "random":
        return random_group_scores(groups, how.seed)
    return removal_order(graph, images, labels, how.seed)


def _width(width: int, how: FilePruning) -> int:
    """Channels left of `width`: whole units, as pruning with training rounds them."""
    left = max(how.unit, how.min_width, int(width * (1.0 - how.amount) / how.unit + 0.5) * how.unit)
    return min(width, left)


def _highest(scores: np.ndarray, count: int) -> np.ndarray:
    return np.sort(np.argsort(-scores, kind="stable")[:count])


def _compare(
    graph: Graph, smaller: Graph, keep: Mapping[str, np.ndarray], groups: Mapping[str, ChannelGroup], images: np.ndarray
) -> tuple[int, int]:
    """Sums of every layer of the cut graph against the whole one's whose weights of removed channels are 0."""
    from ...sim.engine.simulator import Simulator

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
    stays = staying(graph, keep)
    layers = [node.name for node in graph.nodes if isinstance(node.op, Conv | Dense)]
    sums = []
    for one in (graph.with_nodes(tuple(nodes)), smaller):
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
        raise Problem("no layer's sums can be compared before and after the cut", graph.name, status=CHECK_FAILED)
    return compared, sum(int((old[name][..., stays[name]] != new[name]).sum()) for name in known)


def _reestimated(
    graph: Graph,
    smaller: Graph,
    keep: Mapping[str, np.ndarray],
    groups: Mapping[str, ChannelGroup],
    images: np.ndarray,
    has_norms: bool,
) -> Graph:
    from ...sim.norms import reestimate_graph
    from ...sim.refit import refit

    changed = {layer for name in keep for layer in groups[name].readers}
    if not has_norms:
        return refit(graph, smaller, staying(graph, keep), images, changed)
    return reestimate_graph(smaller, images, changed)


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


def _classes(graph: Graph, inputs: np.ndarray) -> np.ndarray:
    from ...sim.engine.simulator import Simulator
    from ...transforms.passes.compile import stages

    lowered = next(stage.graph for stage in stages(graph) if stage.level == "xnor")
    return Simulator.of(lowered).classes(inputs)


def _answers(classes: np.ndarray, unpruned: np.ndarray, truth: np.ndarray | None) -> Answers:
    right = None if truth is None else float(np.mean(classes == truth))
    return Answers(accuracy=right, same=float(np.mean(classes == unpruned)))


def _counts(graph: Graph) -> tuple[int, int]:
    """Products of an image, and weights."""
    layers = [(node.name, node.op) for node in graph.nodes if isinstance(node.op, Conv | Dense)]
    products = sum(prod(graph.types[name].shape) * op.weight[0].size for name, op in layers)
    return products, sum(op.weight.size for _, op in layers)
