"""The work behind `flow sensitivity`, as plain values."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bnnflow import Problem

from ...models.relevance.criteria import Criterion
from ...transforms.ir.contract import InputContract
from ...transforms.passes.accept import AcceptInput
from ..graphs.inputs import input_held, load_json, open_graph
from ..pruning import sensitivity as work
from ..recipe.fields import default
from ..recipe.schema import Recipe
from ..results.costs import InputHeld
from ..results.rankings import SensitivityTable
from ..run.files import write_whole
from .prune_file import check_criterion
from .simulation import Images, labelled
from .trained_runs import opened, trained

if TYPE_CHECKING:
    from ...models.prune.allocation.sensitivity import SensitivityCurve
    from ...transforms.ir.graph import Graph


@dataclass(frozen=True, slots=True)
class SensitivityOptions:
    """How a sensitivity table is made; what is empty or None is the recipe's."""

    criterion: str = ""
    scores: Path | None = None
    levels: tuple[float, ...] = ()
    unit: int | None = None
    validation: int | None = None
    calibration: int | None = None
    seed: int | None = None
    jobs: int = 1
    store: Path | None = None


def sensitivity(
    source: Path,
    folder: Path | None,
    overrides: Sequence[str],
    wishes: SensitivityOptions,
    given: Images,
    contract: InputContract | None,
    progress: Callable[[int, int], None],
) -> SensitivityTable:
    """The sensitivity table of a trained run, a recipe's run, or a QONNX file.

    Args:
        source, folder: the run, or the recipe with its run's folder, or the file.
        overrides: of the recipe.
        wishes: how it is made.
        given: a file's images.
        contract: what the file's input holds, where it does not say so.
        progress: called with accuracies measured and in all.

    Raises:
        Problem: the source is none of these or not trained yet, or what `sensitivity.measured_curves` finds.
    """
    if source.suffix == ".onnx":
        return _of_file(source, wishes, given, contract, progress)
    if given != Images() or contract is not None:
        raise Problem("a run has images of its own", "--data, --input", "leave them out, or give a QONNX file")
    return _of_run(source, folder, overrides, wishes, progress)


def _of_file(
    path: Path,
    wishes: SensitivityOptions,
    given: Images,
    contract: InputContract | None,
    progress: Callable[[int, int], None],
) -> SensitivityTable:
    graph = AcceptInput()(open_graph(path, contract)).graph
    criterion = Criterion.parse(wishes.criterion or "random")
    check_criterion(criterion)
    images, labels = _images(graph, given)
    seed = wishes.seed or default("seed")
    scored: Callable[[], dict[str, np.ndarray]] | None = None
    if criterion.method != "random" and not wishes.scores:
        scored, left = _scoring(graph, images, labels, criterion, seed)
        images, labels = images[left], labels[left]
    half = len(images) // 2
    validation = wishes.validation or min(default("prune.validation"), half)
    calibration = wishes.calibration or min(default("prune.calibration"), half)
    judged, truth, measured_on = work.subsets(images, labels, validation, calibration, seed)
    candidates = work.Candidates.of(graph, measured_on, judged, truth)
    if wishes.scores:
        scores = _scores_file(wishes.scores)
    else:
        scores = work.random_group_scores(candidates.groups, seed) if scored is None else scored()
    settings = (wishes.unit or default("prune.unit"), 1, wishes.levels or default("prune.levels"))
    curves = work.measured_curves(candidates, scores, *settings, wishes.store, wishes.jobs, progress)
    name = wishes.scores.name if wishes.scores else str(criterion)
    return _sensitivity_table(str(path), name, seed, validation, calibration, curves, input_held(graph))


def _scoring(
    graph: Graph, images: np.ndarray, labels: np.ndarray, criterion: Criterion, seed: int
) -> tuple[Callable[[], dict[str, np.ndarray]], np.ndarray]:
    """What scores each group's channels when it is called, and which images have no part in it; at most half have."""
    count = min(default("prune.images"), len(images) // 4)
    order = np.random.default_rng([seed, 43]).permutation(len(images))
    seen, left = order[: 2 * count], np.sort(order[2 * count :])

    def scores() -> dict[str, np.ndarray]:
        from ...transforms.channels import channel_groups
        from ..pruning.graph_scores import Scored, group_scores

        found = Scored(graph, images[seen], labels[seen], np.arange(len(seen)), count).by(criterion, seed)
        groups = [group for group in channel_groups(graph) if not group.reason and group.columns]
        return group_scores(groups, found.scores)

    return scores, left


def _images(graph: Graph, given: Images) -> tuple[np.ndarray, np.ndarray]:
    if given.images is not None:
        from ...sim.inputs import graph_inputs

        images, labels = labelled(given)
        if labels is None:
            raise Problem("the images have no labels", "--input", "give --labels L.npy, one label per image")
        return graph_inputs(graph, images), labels
    if not given.data:
        raise Problem("images are needed", "flow sensitivity", "give --data digits, or --input X.npy --labels L.npy")
    from ...models.data.load import load_dataset as load_data
    from ...sim.inputs import image_inputs
    from ..run.places import cache_folder, data_places

    found = load_data(given.data, given.data_dir, data_places(), cache_folder())
    return image_inputs(graph, found.train_images), found.train_labels


def _scores_file(path: Path) -> dict[str, np.ndarray]:
    found = load_json(path, "scores file")
    try:
        return {name: np.array(values, np.float64).reshape(len(values)) for name, values in found.items()}
    except (ValueError, TypeError):
        raise Problem("scores are lists of numbers", str(path), 'write {"conv0": [0.1, 0.7]}') from None


def _of_run(
    source: Path,
    folder: Path | None,
    overrides: Sequence[str],
    wishes: SensitivityOptions,
    progress: Callable[[int, int], None],
) -> SensitivityTable:
    from ...models.prune.schedule import step_scores
    from ...models.training.augment import augment
    from ...models.training.ensemble import joined
    from ...models.training.flips import FlipCounts
    from ..pruning.sets import set_scores
    from ..pruning.structure import graph_and_structure, layer_graph
    from ..recipe.objects import export_properties
    from ..run.names import FLIPS

    found_run = opened(source, folder, overrides, _recipe_changes(wishes))
    recipe, run, build = found_run.recipe, found_run.run, found_run.build
    network = joined(trained(build))
    settings, data, out = recipe.prune, build.dataset, build.held_out.images
    most = len(out) or len(data.train_images) // 2
    # The recipe's number is a most; a number of the command is meant.
    validation = min(settings.validation, most) if wishes.validation is None else wishes.validation
    left = len(data.train_images) - validation
    calibration = settings.calibration if _said(recipe, wishes, "calibration") else min(settings.calibration, left)
    chosen, others = work.chosen_images(data.train_labels, validation, calibration, recipe.seed, out)
    measured_on = augment(data.train_images[others], recipe.train.augment, np.random.default_rng([recipe.seed, 6]))
    if wishes.scores:
        graph, scores = layer_graph(network, export_properties(recipe)), _scores_file(wishes.scores)
    else:
        counted = run.path(f"base/{FLIPS}")
        flips = FlipCounts.load(counted) if recipe.train.flip_window else None
        draw = (settings.images, recipe.seed, 0)
        sets = partial(set_scores, properties=export_properties(recipe))
        # Images that score do not judge.
        scored = np.setdiff1d(np.arange(len(data.train_images)), np.union1d(out, chosen))
        arrays = data.train_images[scored], data.train_labels[scored]
        found = step_scores(network, *arrays, settings.ranking, *draw, flips, sets)
        graph, structure = graph_and_structure(network, export_properties(recipe))
        scores = structure.scores(network, found.scores)
    candidates = work.Candidates.of(graph, measured_on, data.train_images[chosen], data.train_labels[chosen])
    store = wishes.store or run.path("work/sensitivity")
    how = (settings.unit, settings.min_width, settings.levels)
    curves = work.measured_curves(candidates, scores, *how, store, wishes.jobs, progress)
    name = wishes.scores.name if wishes.scores else settings.ranking
    return _sensitivity_table(str(run.folder), name, recipe.seed, validation, calibration, curves)


def _said(recipe: Recipe, wishes: SensitivityOptions, key: str) -> bool:
    """Whether a number of images was asked for; defaults are as many as there are at most."""
    default = type(recipe.prune).model_fields[key].default
    return getattr(wishes, key) is not None or getattr(recipe.prune, key) != default


def _recipe_changes(wishes: SensitivityOptions) -> list[str]:
    """Overrides of a recipe that say what was wished."""
    wanted = {
        "prune.criterion": wishes.criterion or None,
        "prune.levels": list(wishes.levels) or None,
        "prune.unit": wishes.unit,
        "prune.validation": wishes.validation,
        "prune.calibration": wishes.calibration,
        "seed": wishes.seed,
    }
    return [f"{key}={value}" for key, value in wanted.items() if value is not None]


def _sensitivity_table(
    network: str,
    criterion: str,
    seed: int,
    validation: int,
    calibration: int,
    curves: Mapping[str, SensitivityCurve],
    held: InputHeld | None = None,
) -> SensitivityTable:
    rows = work.sensitivity_rows(curves)
    return SensitivityTable(
        network=network,
        criterion=criterion,
        seed=seed,
        validation=validation,
        calibration=calibration,
        accuracy=rows[0].accuracy[0] if rows else None,
        groups=rows,
        input=held,
    )


def write_sensitivity_csv(path: Path, found: SensitivityTable) -> None:
    """Write a table as CSV: group, width, removed, accuracy, loss; one row a cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["group", "width", "removed", "accuracy", "loss"])
    for row in found.groups:
        for cell in zip(row.removed, row.accuracy, row.loss, strict=True):
            writer.writerow([row.group, row.width, *cell])
    write_whole(path, text.getvalue().encode())


def write_plot(path: Path, found: SensitivityTable) -> None:
    """Draw a table's curves; the format follows from the name's ending, one of `drawing.PICTURES`.

    Raises:
        Problem: the file cannot be written.
    """
    from ..show.pruning_plots import save_sensitivity

    write_whole(path, save_sensitivity(found.groups, path.suffix[1:]))
