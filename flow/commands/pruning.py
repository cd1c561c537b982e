"""The work behind `flow prune` of a run or a recipe, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..recipe.file import load_recipe
from ..recipe.methods.method import Measured, MethodInput
from ..recipe.pruning_checks import check_kind, check_pruning
from ..recipe.schema import Recipe
from ..results.stages import PrunedRun, PruningResult, Unpruned
from ..run.folder import Run
from ..run.typed_json import extended
from ..stages.build import Build
from ..stages.plan import check_costs, check_plan
from .trained_runs import changed, opened, trained

if TYPE_CHECKING:
    from ...models.training.train import Progress


def prune(source: Path, folder: Path | None, overrides: Sequence[str], quiet: bool) -> PrunedRun:
    """Run the stage `prune`; of a recipe, those before it that are not up to date, too.

    Raises:
        Problem: as for `flow build`; changes with which the network of a run would be trained anew.
    """
    from .build import built

    if source.is_dir():
        found = opened(source, folder, ["prune.enabled=true", *overrides])
        recipe, place = found.recipe, found.run.folder
    else:
        recipe = load_recipe(source, ["prune.enabled=true", *overrides])
        place = folder or Path("runs") / recipe.name
        there = Run.find(place) if place.is_dir() else None
        if there is not None:
            recipe = changed(there, source, ["prune.enabled=true", *overrides]).recipe
    if recipe.model.onnx is not None:
        what = "an ONNX file has no weights that could recover"
        raise recipe.problem("model.onnx", what, "flow sensitivity takes QONNX files; pruning needs a trained network")
    # Overrides of a run are of this command alone.
    made: PrunedRun = built(recipe, place, "prune", quiet=quiet, keep_recipe=source.is_dir(), then=_with_costs)
    return made


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

    found = opened(source, folder, overrides)
    recipe, build = found.recipe, found.build
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
