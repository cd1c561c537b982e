"""The work behind `flow prune NET.onnx --method M`: what a method removes from anyone's network."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from bnnflow import Problem

from ...transforms.ir.graph import Graph
from ...transforms.passes.accept import AcceptInput
from ...transforms.passes.compile import stages
from ...transforms.synapses import products, weights
from ..graphs.inputs import input_held
from ..recipe.methods.all import METHODS
from ..recipe.methods.method import GraphChange, GraphInput, Method, RemovalStep
from ..results.pruned_file import FileStep, ReducedFile
from ..run.files import write_whole
from .prune_file import (
    CHOOSING,
    Progress,
    answers_of,
    check_classes,
    check_cut,
    check_sums,
    chosen_and_judging,
    opened_for_pruning,
    simulated_classes,
)
from .simulation import Images

if TYPE_CHECKING:
    from ...models.prune.masks import MaskSpec

_VERIFIED = 64


@dataclass(frozen=True, slots=True)
class FileReduction:
    """How a file's network is made smaller.

    Attributes:
        method: with its settings, of `file_method`.
        images: that score and decide; None: `CHOOSING`, half of them at most.
        calibration: that norms or thresholds are re-estimated on.
        seed: of all that is drawn.
        max_loss: points that may be lost on the images that decide; None: no limit.
        epochs, batch, learning_rate, distill: of fine-tuning after each step; see `pruning.fine_tune.FineTuning`. What
            a method trains by itself has its batch and teacher, too.

    Raises:
        Problem: a limit of what may be lost, which the method does not heed.
    """

    method: Method
    images: int | None
    calibration: int
    seed: int
    max_loss: float | None
    epochs: int = 0
    batch: int = 100
    learning_rate: float = 0.001
    distill: float = 0.0

    def __post_init__(self) -> None:
        if self.max_loss is not None and not self.method.heeds_loss:
            what = f"what may be lost does not end method {self.method.name()}"
            raise Problem(what, "--max-loss", "leave it out")


def files_take(name: str) -> tuple[str, ...]:
    """The methods that prune files; a Problem where `name` is none of them."""
    able = ("filters", *(each for each, method in METHODS.items() if method.file_defaults is not None))
    if name not in able:
        hint = f"of files one of {', '.join(able)}"
        if name not in METHODS:
            raise Problem(f"there is no method {name!r}", "--method", hint)
        what = f"files are not pruned by {name}: {METHODS[name].why_no_files}"
        raise Problem(what, "--method", f"{hint}; or prune the run that it is of")
    return able


def file_method(name: str, settings: Mapping[str, Any]) -> Method:
    """A method of files with some of its settings; others have their defaults.

    Raises:
        Problem: no such method, one that does not prune files, or a setting that it has not or does not allow.
    """
    from ..recipe.bounds import checked
    from ..recipe.fields import field_facts

    files_take(name)
    chosen = METHODS[name]
    for key, value in settings.items():
        if key not in chosen.model_fields:
            others = " and ".join(one for one, made in METHODS.items() if key in made.model_fields)
            hint = f"it is of {others}" if others else f"its settings are {', '.join(chosen.model_fields)}"
            raise Problem(f"{key} is no setting of method {name}", f"--{key}", f"{hint}: leave it out")
        facts = field_facts(chosen.key(key))
        checked(chosen.key(key), value, [str(word) for word in facts.choices], facts.bounds, facts.kind is int)
    try:
        return chosen(**{**(chosen.file_defaults or {}), **settings})
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        key = ".".join(map(str, wrong["loc"]))
        raise Problem(f"{key}: {wrong['msg']}", key=chosen.key(key), hint=f"it is {wrong['input']!r}") from None


def reduce_file(
    opened: Graph, path: Path, output: Path, given: Images, how: FileReduction, progress: Progress | None = None
) -> ReducedFile:
    """Remove what a method removes from a graph, with recovery after each step, and write what is left.

    Args:
        opened: of any level; what is written is as for `prune_file`.
        path: its file.
        output: file to write.
        given: a data set, whose training images decide and train and whose test images judge, or images, of which one
            half does.
        how: what goes.
        progress: of each fine-tuning; called with steps done, the total, and figures.

    Raises:
        Problem: the graph cannot be compiled, has not what is to go, too few images, it cannot be trained, or
            (status 1) the smaller network is not computed exactly, or training diverged.
    """
    from ...sim.inputs import graph_inputs, image_inputs
    from ...sim.norms import with_norms, without_norms
    from ...sim.verify import Level, verify
    from ...transforms.reading.read import read
    from ...transforms.writing.network import write_network
    from ...transforms.writing.write import write
    from ..pruning.synapse_scores import synapse_scores

    began = time.perf_counter()
    graph, has_norms = opened_for_pruning(opened)
    images, labels, judges, truth = chosen_and_judging(given, how.seed)
    check_classes(graph, labels, truth)
    take = graph_inputs if given.images is not None else image_inputs
    order = np.random.default_rng([how.seed, 53]).permutation(len(images))
    count = min(CHOOSING, len(images) // 2) if how.images is None else how.images
    deciding, rest = np.sort(order[:count]), np.sort(order[count:])
    if not len(deciding) or not len(rest):
        what = f"{len(images)} images, of which {count} decide and others re-estimate"
        raise Problem(what, "--images", "give fewer, or more images")
    inputs, calibrating = take(graph, images[deciding]), take(graph, images[rest[: how.calibration]])
    trains = bool(how.epochs) or how.method.learns
    if trains and labels is None and how.distill < 1.0:
        what = f"method {how.method.name()} trains, which" if how.method.learns else "fine-tuning"
        hint = "give them, or --distill 1: then the answers of the whole network are what is learned"
        raise Problem(f"{what} needs labels", "--labels", hint)
    right = simulated_classes(graph, inputs) if labels is None else labels[deciding]
    train_inputs = take(graph, images[rest]) if trains else inputs[:0]
    train_labels = None if labels is None else labels[rest]

    held = 0

    def change(best: Graph, wanted: GraphChange) -> Graph:
        nonlocal held
        if wanted.masked is not None:
            smaller = wanted.smaller(best)
            stays = {name: np.ones(kind.channels, bool) for name, kind in smaller.types.items()}
            held += check_sums(wanted.masked(best), smaller, stays, inputs[:_VERIFIED], path)
        return _changed(best, wanted, calibrating, has_norms)

    def masks(whole: Graph, spec: MaskSpec, epochs: int, rate: float) -> tuple[Graph, dict[str, np.ndarray]]:
        from ..pruning.fine_tune import FineTuning
        from ..pruning.graph_masks import learn_graph_masks

        nonlocal held
        if has_norms:
            # What is trained behind a norm is trained with it.
            whole = with_norms(whole, without_norms(whole), calibrating)
        plan = FineTuning(epochs, how.batch, rate, how.distill, how.seed)
        trained, keep = learn_graph_masks(whole, train_inputs, train_labels, calibrating, spec, plan, progress)
        held += check_cut(trained, keep, inputs[:_VERIFIED], path)
        return trained, keep

    def tune(smaller: Graph, wanted: GraphChange) -> Graph:
        if not how.epochs:
            return smaller
        from ..pruning.fine_tune import FineTuning, fine_tune

        plan = FineTuning(how.epochs, how.batch, how.learning_rate, how.distill, how.seed)
        return fine_tune(
            graph, smaller, train_inputs, train_labels, calibrating, plan, progress, sparse=wanted.sparse
        ).graph

    made = how.method.prune_graph(
        GraphInput(
            graph,
            how.seed,
            None if how.max_loss is None else how.max_loss / 100,
            change,
            tune,
            lambda one, drawn: synapse_scores(one, inputs, right, drawn),
            masks,
            lambda one: float(np.mean(simulated_classes(one, inputs) == right)),
        )
    )
    file = write_network(made.graph) if has_norms and graph.channels_first else write(made.graph)
    write_whole(output, file.SerializeToString())
    # What stands in the file is judged: it holds norms in float32.
    smaller = AcceptInput()(read(output)).graph
    levels = [Level(stage.level, stage.graph, stage.equivalences, stage.float_ties) for stage in stages(smaller)]
    compared = sum(one.values for one in verify(levels, inputs[:_VERIFIED]))
    judged = take(graph, judges)
    before, after = simulated_classes(graph, judged), simulated_classes(smaller, judged)
    return ReducedFile(
        network=str(path),
        output=str(output),
        level="network" if has_norms else "integer",
        method=how.method.name(),
        counts=how.method.counts,
        criterion=made.criterion,
        settings=how.method.model_dump(mode="json"),
        seed=how.seed,
        images=len(inputs),
        calibration=len(calibrating),
        judged=len(judged),
        decided_by="whole network" if labels is None else "labels",
        epochs=how.epochs,
        trained=len(train_inputs),
        whole=made.whole,
        kept=made.kept,
        steps=[_step(one) for one in made.steps],
        stop=made.stop,
        compared=compared,
        cut_compared=held,
        before=answers_of(before, before, truth),
        after=answers_of(after, before, truth),
        operations=products(graph),
        operations_after=products(smaller),
        weights=weights(graph),
        weights_after=weights(smaller),
        seconds=round(time.perf_counter() - began, 3),
        input=input_held(smaller),
    )


def _step(step: RemovalStep) -> FileStep:
    assert step.before is not None
    dropped = str(step.facts.get("dropped", ""))
    return FileStep(
        kept=step.kept,
        operations=step.macs,
        before=step.before,
        after=step.after,
        undone=step.undone,
        dropped=dropped,
    )


def _changed(best: Graph, wanted: GraphChange, calibrating: np.ndarray, has_norms: bool) -> Graph:
    """The smaller graph, its norms or thresholds measured at and behind what changed."""
    from ...sim.norms import behind, reestimate_graph, with_norms, without_norms
    from ...sim.refit import refit

    if has_norms:
        whole = with_norms(best, without_norms(best, behind(best, wanted.changed)), calibrating)
        smaller = wanted.smaller(whole)
        return reestimate_graph(smaller, calibrating, wanted.changed)
    smaller = wanted.smaller(best)
    stays = {name: np.ones(kind.channels, bool) for name, kind in smaller.types.items()}
    return refit(best, smaller, stays, calibrating, wanted.changed)
