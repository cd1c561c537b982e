"""Folding a graph: for the target of a recipe, for a rate, or by FINN's folding file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnflow import CHECK_FAILED, Problem

from ...transforms.ir.graph import Graph
from ...transforms.passes.compile import Stage, stages
from ...transforms.passes.ranked import left_to_host, ranked
from .inputs import load_json

if TYPE_CHECKING:
    from ...build.calibrated.table import Table
    from ...build.parts import Part
    from ...build.rate_folding import RateFolding
    from ..recipe.schema import Recipe

FPS = 10_000.0


def fold_for(recipe: Recipe, graph: Graph, finn_plus: bool = False) -> RateFolding:
    """A dataflow graph folded for the recipe's target, by its cost model; units of finn-plus by FINN's formulas.

    Raises:
        Problem: at its place in the recipe; an unknown part, or a rate that cannot be met (status 1).
    """
    from ...build.rate_folding import FINNS, fold_for_rate
    from ..recipe.parts import target_part
    from .fitting import too_much

    target, chip = recipe.target, target_part(recipe)
    by = FINNS if finn_plus else target.cost_model
    with recipe.at("target.fps"):
        return fold_for_rate(graph, target.fps, target.clock_mhz, chip, by, too_much=too_much)


def decides(recipe: Recipe) -> dict[str, Any]:
    """What a folding for the recipe's target, and its cost, follow from beside the graph, for keys of stages.

    That is the target with its part's content, and the calibrations of its family and of that of pruning's budget.
    """
    from ...build.calibrated.table import calibrated, table
    from ..recipe.parts import part_at, part_content, target_part

    target, budget = recipe.target, recipe.prune.budget
    parts = [target_part(recipe)]
    parts += [part_at(recipe, "prune.budget", str(budget["part"]))] if "part" in budget else []
    families = {part.family for part in parts} & set(calibrated() if target.cost_model == "bnnflow" else ())
    said: dict[str, Any] = part_content({"target": target.model_dump(mode="json")})
    return said | {"calibration": {family: dict(table(family).terms) for family in sorted(families)}}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a graph is folded for.

    Attributes:
        part, clock_mhz: of the hardware.
        fps: images per second; None for `FPS`, or for what a folding file gives.
        folding: FINN's folding file; with a rate beside it, that is for what the file leaves out.
        finn_plus: compile to finn-plus' units.
        top_k: add the choice of the top-k classes where the network has none; 0 for none.
        keep_shape: keep neurons that are constant, repeated or never read.
        folded: the graph is folded, even if each of its units takes one value a cycle.
        cost_model: name of the one that chooses the folding of a rate; of finn-plus' units FINN's formulas do.
        own: calibration of our own hardware; None: the one that comes with the package.
    """

    part: Part
    clock_mhz: float
    fps: float | None = None
    folding: Path | None = None
    finn_plus: bool = False
    top_k: int = 0
    keep_shape: bool = False
    folded: bool = False
    cost_model: str = "bnnflow"
    own: Table | None = None

    def for_rate(self, graph: Graph, fps: float) -> RateFolding:
        """A dataflow graph folded for so many images per second.

        Raises:
            Problem: status 1; no folding reaches the rate, or none that does fits the part.
        """
        from ...build.rate_folding import FINNS, fold_for_rate
        from .fitting import too_much

        by = FINNS if self.finn_plus else self.cost_model
        return fold_for_rate(graph, fps, self.clock_mhz, self.part, by, self.own, too_much)


@dataclass(frozen=True, slots=True)
class Folded:
    """A graph of every level, and what the last is folded.

    Attributes:
        levels: graph by level.
        graph: folded.
        notes: of reading, compiling and folding, for people.
        fifos: what the folding file says of FIFOs, as `fifo_depths` reads it.
        chosen_by: name of the cost model that chose the folding; None where it was given.
    """

    levels: Mapping[str, Graph]
    graph: Graph
    notes: tuple[str, ...]
    fifos: Mapping[str, Any] = field(default_factory=dict)
    chosen_by: str | None = None


def compile_and_fold(graph: Graph, wanted: Wanted) -> Folded:
    """Compile a graph of any level, and fold it for a rate or by FINN's folding file.

    Without either, a graph that is folded keeps its folding, and the rate of others is `FPS` images per second.

    Raises:
        Problem: it does not compile; no folding reaches the rate; or the folding file names no unit or does not fit.
    """
    from ...build.schedule import is_folded

    made = compiled(graph, wanted)
    levels = {stage.level: stage.graph for stage in made}
    notes = (
        *(note for stage in made for note in stage.notes),
        *left_to_host(made[-1].graph, wanted.top_k),
    )
    units = levels["dataflow"]
    if wanted.folding is None and wanted.fps is None and (wanted.folded or is_folded(units)):
        return Folded(levels, units, (*notes, "the graph is folded already and stays so; --fps refolds it"))
    if wanted.folding is None:
        fps = FPS if wanted.fps is None else wanted.fps
        chosen = wanted.for_rate(units, fps)
        return Folded(levels, chosen.graph, (*notes, *placed_anew(units), said_of(chosen, fps)), chosen_by=chosen.by)
    config = load_json(wanted.folding, "folding file")
    if not config:
        raise Problem(
            "the folding file names no unit", str(wanted.folding), 'write {"MVAU_hls_0": {"PE": 2, "SIMD": 4}}'
        )
    return _by_file(graph, wanted, config, Folded(levels, units, notes))


def placed_anew(units: Graph) -> tuple[str, ...]:
    """What a new folding does to places of memories that a folded graph states."""
    from ...build.schedule import refolded

    if refolded(units) == units:
        return ()
    return ("the folded graph says which memories are block RAMs or LUTs: chosen anew; a folding file keeps its own",)


def said_of(chosen: RateFolding, fps: float) -> str:
    """A sentence: by which cost a folding was chosen, and why not by another."""
    said = f"folded for {fps:,.0f} images/s at the least cost by {chosen.by}"
    return f"{said} ({chosen.why})" if chosen.why else said


def compiled(graph: Graph, wanted: Wanted) -> tuple[Stage, ...]:
    """A graph of any level compiled as it is wanted, and not folded.

    Raises:
        Problem: it does not compile.
    """
    return _compiled(graph, wanted, wanted.keep_shape)


def _compiled(graph: Graph, wanted: Wanted, keep_shape: bool) -> tuple[Stage, ...]:
    return stages(ranked(graph, wanted.top_k), finn_plus=wanted.finn_plus, keep_shape=keep_shape)


def _by_file(graph: Graph, wanted: Wanted, config: Mapping[str, Any], made: Folded) -> Folded:
    from ...build.cost import estimate
    from ...build.finn_reports import unit_names
    from ...build.folding_file import MISFIT, read_folding
    from ...build.schedule import cycles_for, schedule

    rest = None
    if wanted.fps is not None:
        # What stands beside a file of FINN's is folded as FINN folds: memories that it leaves out are FINN's defaults.
        rest = schedule(made.graph, wanted.fps, wanted.clock_mhz, wanted.part)
    try:
        applied = read_folding(made.graph, config, wanted.finn_plus, rest)
    except Problem as problem:
        smaller = problem.key == MISFIT and _why_smaller(graph, wanted, config, made.graph)
        contract = made.graph.contract
        if contract is not None and contract.host and any("Threshold" in name for name in config):
            smaller = (
                "the first quantizer runs on the host here; --input, such as pixels/255, brings it into the hardware"
            )
        hint = smaller or problem.hint
        raise Problem(problem.what, str(wanted.folding), hint, problem.status) from problem
    slowest = estimate(applied.graph).bottleneck
    if wanted.fps is not None and slowest.cycles > cycles_for(wanted.fps, wanted.clock_mhz):
        name = unit_names(applied.graph, wanted.finn_plus)[slowest.name]
        raise Problem(
            f"{name} takes {slowest.cycles:,} cycles per image as the folding file folds it, "
            f"{wanted.fps:g} images/s at {wanted.clock_mhz:g} MHz leave {cycles_for(wanted.fps, wanted.clock_mhz):,}",
            f"--folding {wanted.folding}, --fps",
            "give it a wider PE or SIMD, or a lower rate",
            CHECK_FAILED,
        )
    idle = f"{', '.join(applied.idle)} of the folding file: for FINN, without a part in any figure here"
    ones = (
        f"the folding file leaves out {', '.join(applied.at_one)}, and its Defaults are empty: folded by FINN's own 1; "
        "--fps beside --folding folds them for a rate"
    )
    stated = applied.fifos
    if any(not name.startswith("StreamingFIFO") for name in stated):
        # FINN writes the same depths on units and on the FIFOs that it puts between them.
        stated = {name: depths for name, depths in stated.items() if not name.startswith("StreamingFIFO")}
    notes = (
        *made.notes,
        *([idle] if applied.idle else []),
        *([ones] if applied.at_one else []),
        *_not_on(wanted.part, applied.graph),
    )
    return Folded(made.levels, applied.graph, notes, stated)


def _not_on(chip: Part, graph: Graph) -> tuple[str, ...]:
    """Remarks on what a part has not at all."""
    from ...build.cost import estimate

    cost = estimate(graph)
    return (
        (f"{chip.name} has no UltraRAM, ram_style ultra asks for {cost.uram}",) if cost.uram and not chip.uram else ()
    )


def _why_smaller(graph: Graph, wanted: Wanted, config: Mapping[str, Any], units: Graph) -> str:
    """Which layers are smaller than the network has them, and why; empty for none."""
    from ...build.finn_reports import unit_names
    from ...build.folding_file import read_folding
    from ...build.schedule import whole
    from ...transforms.ir.ops import Mvau

    if wanted.keep_shape:
        return ""
    whole_shape, fits = _compiled(graph, wanted, keep_shape=True)[-1].graph, ", and the file fits"
    try:
        read_folding(whole_shape, config, wanted.finn_plus, None if wanted.fps is None else whole_shape)
    except Problem:
        fits = ""
    names, before = unit_names(units, wanted.finn_plus), {node.name: node for node in whole_shape.nodes}
    changed = []
    for node in units.nodes:
        if isinstance(node.op, Mvau) and node.name in before:
            for key, side in (("PE", "MH"), ("SIMD", "MW")):
                was, now = whole(whole_shape, before[node.name], key), whole(units, node, key)
                if was != now:
                    changed.append(f"{side} of {names[node.name]} {was} became {now}")
    reasons = [note for stage in _compiled(graph, wanted, False) for note in stage.notes if note.endswith("left out")]
    listed = ", ".join(changed[:4]) + (", ..." if len(changed) > 4 else "")
    return f"{listed}: {', '.join(reasons)}; --keep-shape keeps them{fits}" if changed else ""
