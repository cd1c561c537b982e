"""The work behind `flow sensitivity` and `flow prune`, as plain values."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bnnflow import Problem

from ...models.relevance.criteria import Criterion
from ...transforms.ir.contract import InputContract
from ...transforms.passes.accept import AcceptInput
from ..graphs.inputs import input_held, load_json, open_graph
from ..pruning import sensitivity as work
from ..recipe.fields import default
from ..recipe.file import load_recipe
from ..recipe.methods.method import Measured, MethodInput
from ..recipe.objects import held_out_share
from ..recipe.pruning_checks import check_kind, check_pruning
from ..recipe.schema import Recipe
from ..results.costs import InputHeld
from ..results.rankings import SensitivityTable
from ..results.stages import PrunedRun, PruningResult, Unpruned
from ..run.files import write_whole
from ..run.folder import Run
from ..run.typed_json import extended
from ..stages.build import Build
from ..stages.plan import check_costs, check_plan
from .prune_file import check_criterion
from .simulation import Images, labelled

if TYPE_CHECKING:
    from ...models.prune.allocation.sensitivity import SensitivityCurve
    from ...models.training.train import Progress
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

    recipe, run = opened(source, folder, overrides, _recipe_changes(wishes))
    build = _build(run, recipe)
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


def opened(
    source: Path, folder: Path | None, overrides: Sequence[str], wishes: Sequence[str] = ()
) -> tuple[Recipe, Run]:
    """The recipe and the run folder of a run folder or a recipe file, for a network that is trained already.

    Raises:
        Problem: neither, a recipe without a run yet, or one that holds out other images than its training did.
    """
    if source.is_dir():
        run = Run.find(source)
        if run is None:
            raise Problem("this is not a run folder", str(source), "give a folder that `flow build` made")
        return _unchanged(_as_trained(run.path("model.yaml"), run, overrides, wishes), run), run
    recipe = load_recipe(source, overrides, wishes)
    place = folder or Path("runs") / recipe.name
    run = Run.find(place)
    if run is None:
        raise Problem("this recipe is not trained yet", str(place), f"flow build {source} --to train")
    return _unchanged(_as_trained(source, run, overrides, wishes), run), run


def _as_trained(path: Path, run: Run, overrides: Sequence[str], wishes: Sequence[str] = ()) -> Recipe:
    """A recipe with changes for a trained run: what training held out is what the run says, whatever pruning asks."""
    recipe, share = load_recipe(path, overrides, wishes), held_out_share(load_recipe(run.path("model.yaml")))
    if held_out_share(recipe) == share or recipe.train.validation is not None:
        return recipe
    return load_recipe(path, [*overrides, f"train.validation={share:g}"], wishes)


def _unchanged(recipe: Recipe, run: Run) -> Recipe:
    """The recipe, where what it says of images that training holds out is what training did."""
    share = held_out_share(load_recipe(run.path("model.yaml")))
    if held_out_share(recipe) != share:
        what = f"the network is trained, and a share of {share:g} of its images was held out"
        raise recipe.problem("train.validation", what, "leave it out, or `flow build` the recipe anew")
    return recipe


def _build(run: Run, recipe: Recipe) -> Build:
    """A run with changes to its recipe that came after its training."""
    trained_by = load_recipe(run.path("model.yaml"))
    return Build(run, recipe, lambda name: lambda done, total, figures: None, trained_by=trained_by)


def trained(build: Build, which: str = "base") -> Any:
    """A trained network of the run: base or pruned.

    Raises:
        Problem: there is none, or its file was changed.
    """
    from ..run.folder import verify_recorded
    from ..run.names import WEIGHTS

    path = build.file(which, WEIGHTS)
    if which not in ("base", "pruned") or not path.is_file():
        if which == "base":
            hint = "flow build its recipe --to train"
            raise Problem("this run has no trained network", str(build.run.folder), hint)
        raise Problem(f"this run has no network {which!r}", "--network", "base or, where `flow build` made it, pruned")
    verify_recorded(path)
    return build.load(which)


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


def prune(source: Path, folder: Path | None, overrides: Sequence[str], quiet: bool) -> PrunedRun:
    """Run the stage `prune`, and those before it that are not up to date.

    Raises:
        Problem: as for `flow build`.
    """
    from .build import built

    if source.is_dir():
        recipe, found = opened(source, folder, ["prune.enabled=true", *overrides])
        _check_trained_so(recipe, found)
        place = found.folder
    else:
        recipe = load_recipe(source, ["prune.enabled=true", *overrides])
        place = folder or Path("runs") / recipe.name
        there = Run.find(place) if place.is_dir() else None
        if there is not None:
            recipe = _as_trained(source, there, ["prune.enabled=true", *overrides])
    if recipe.model.onnx is not None:
        what = "an ONNX file has no weights that could recover"
        raise recipe.problem("model.onnx", what, "flow sensitivity takes QONNX files; pruning needs a trained network")
    # Overrides of a run are of this command alone.
    made: PrunedRun = built(recipe, place, "prune", quiet=quiet, keep_recipe=source.is_dir(), then=_with_costs)
    return made


def _check_trained_so(recipe: Recipe, run: Run) -> None:
    """Refuse changes with which the network of a run would be trained anew: the run's recipe would not say so."""
    own = load_recipe(run.path("model.yaml"))
    sections = ("seed", "data", "model", "train", "fault_training", "approximation", "ensemble")
    now, then = (one.model_dump(mode="json", include=set(sections)) for one in (recipe, own))
    now["train"]["validation"] = then["train"]["validation"] = held_out_share(own)
    for section in sections:
        of = now[section] if isinstance(now[section], dict) else {"": now[section]}
        was = then[section] if isinstance(then[section], dict) else {"": then[section]}
        for name in (name for name in of if of[name] != was[name] and (section, name) != ("train", "threads")):
            key = f"{section}.{name}".rstrip(".")
            what = f"the network of this run was trained with another {key}, and would be trained anew"
            hint = "give -o FOLDER to prune the network that is there, or `flow build` a recipe of its own"
            raise recipe.problem(key, what, hint)


def prune_to(
    output: Path,
    source: Path,
    folder: Path | None,
    overrides: Sequence[str],
    which: str,
    progress: Progress,
) -> PrunedRun:
    """Prune a trained network of a run into a folder of its own; the run stays as it is.

    Args:
        output: folder for the weights and the QONNX file.
        source, folder, overrides: as for `prune`.
        which: base or pruned.
        progress: as for `train`.

    Raises:
        Problem: there is no such network, the recipe does not fit it, or the files cannot be written.
    """
    from ...models.files.saved import save_network
    from ..pruning.prune import pruned
    from ..pruning.structure import export_network, graph_and_structure
    from ..recipe.objects import export_properties
    from ..run.files import explain
    from ..run.names import QONNX, WEIGHTS

    recipe, build, network = _opened_network(source, folder, ["prune.enabled=true", *overrides], which)
    check_pruning(recipe, network.spec)
    if recipe.prune.method == "filters":
        graph, structure = graph_and_structure(network, export_properties(recipe))
        check_plan(recipe, structure.widths)
        check_costs(recipe, structure.widths, graph)
    made, found = pruned(recipe, _given(build, network, progress), build.dataset, build.held_out.called)
    files = [output / WEIGHTS, output / QONNX]
    try:
        save_network(made, files[0])
        export_network(made, files[1], export_properties(recipe))
    except OSError as error:
        raise explain(error, output) from error
    return extended(PrunedRun, found, folder=str(output), files=[str(path) for path in files])


def measure(
    source: Path, folder: Path | None, method: str, overrides: Sequence[str], draws: int, progress: Progress
) -> Measured:
    """What each thing that a method could remove of a run's network is worth.

    Args:
        source, folder, overrides: as for `prune`.
        method: of `prune.method`.
        draws: of what is drawn.
        progress: as for `train`.

    Raises:
        Problem: the method does not measure single things, or the network has none of them.
    """
    recipe, build, network = _opened_network(source, folder, [f"prune.method={method}", *overrides], "base")
    check_kind(recipe, network.spec)
    return recipe.prune.chosen.measure(_given(build, network, progress), draws)


def _opened_network(
    source: Path, folder: Path | None, overrides: Sequence[str], which: str
) -> tuple[Recipe, Build, Any]:
    from ...models.training.ensemble import joined
    from ..recipe.objects import set_threads, step_products

    recipe, run = opened(source, folder, overrides)
    build = _build(run, recipe)
    network = joined(trained(build, which))
    set_threads(recipe.train.threads, step_products(network.spec, recipe.train.batch))
    return recipe, build, network


def _given(build: Build, network: Any, progress: Progress) -> MethodInput:
    from ..pruning.prune import given_of
    from ..run.names import FLIPS

    flips = build.file("base", FLIPS) if build.recipe.train.flip_window else None
    return given_of(build.recipe, network, build.dataset, build.held_out, flips, progress)


def _with_costs(build: Build, found: PruningResult) -> PrunedRun:
    """The result of the stage `prune`, with costs of the unpruned network and after each step, from the same model."""
    from ..pruning.allocator import hardware_costs
    from ..pruning.structure import layer_graph
    from ..recipe.objects import export_properties

    folder = str(build.run.folder)
    if build.recipe.prune.method != "filters":
        return extended(PrunedRun, found, folder=folder)
    costs = hardware_costs(build.recipe, layer_graph(build.load("base"), export_properties(build.recipe)))
    steps = [replace(step, cost=costs(step.kept)) for step in found.steps]
    widths = {name: group.width for name, group in costs.prunable.items()}
    return extended(PrunedRun, found, steps=steps, folder=folder, unpruned=Unpruned(kept=widths, cost=costs({})))
