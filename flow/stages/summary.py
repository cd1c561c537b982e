"""The summary of a run: one JSON object that tables, pages and comparisons are made from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bnnflow import CHECK_FAILED, Problem

from ...build.cost import OWN_SOURCE, SOURCE
from ...build.cost_models.bnnflow import Bnnflow
from ...build.energy import SOURCE as ENERGY_SOURCE
from ...build.unrolled import SOURCE as UNROLLED_SOURCE
from ..graphs.comparison import with_synthesis
from ..graphs.rates import FIFO
from ..recipe.methods.all import METHODS
from ..recipe.parts import shown_part
from ..results.comparison import HardwareComparison
from ..results.faults import FaultCampaign
from ..results.hardware import CosimResult, RtlResult
from ..results.routing import RoutingResult
from ..results.speed import SpeedResult
from ..results.stages import (
    CostResult,
    DataResult,
    PruningResult,
    ScheduleResult,
    StreamlineResult,
    TrainResult,
    VerifyResult,
)
from ..results.summary import (
    VERSION,
    NamedData,
    NetworkSummary,
    PruningSummary,
    RunTarget,
    StageSummary,
    Summary,
    TrainingSummary,
)
from ..results.synthesis import SynthesisResult
from ..run.folder import Run
from ..run.typed_json import Misfit, extended, from_json

if TYPE_CHECKING:
    from .build import Build


def summarize(build: Build) -> Summary:
    """Everything a reader of a run wants to know, from the results of its stages."""
    recipe, manifest = build.recipe, build.run.manifest
    compiled, chip = build.result(StreamlineResult), build.result(ScheduleResult)
    trained = build.result_if_any(TrainResult)
    copied, said = unpruned_copy(build), build.result(CostResult).notes or {}
    return Summary(
        version=VERSION,
        name=recipe.name,
        created=manifest["created"],
        bnnflow=manifest["versions"]["bnnflow"],
        data=extended(NamedData, build.result(DataResult), name=recipe.data.name),
        target=RunTarget(
            part=shown_part(recipe.target.part),
            clock_mhz=recipe.target.clock_mhz,
            fps=recipe.target.fps,
            lut=chip.lut,
            bram18=chip.bram18,
            folded_by=chip.folded_by,
        ),
        networks={name: _network(build, name) for name in build.networks},
        input=compiled.input["base"],
        finn=chip.finn,
        rtl=None if (written := build.result_if_any(RtlResult)) is None else written.networks,
        cosim=None if (simulated := build.result_if_any(CosimResult)) is None else simulated.networks,
        synthesis=None if (cells := build.result_if_any(SynthesisResult)) is None else cells.networks,
        routing=None if (clocks := build.result_if_any(RoutingResult)) is None else clocks.networks,
        comparison=_comparison(build),
        verify=build.result(VerifyResult).networks,
        pruning=_pruning(build, copied),
        faults=build.result_if_any(FaultCampaign),
        speed=build.result_if_any(SpeedResult),
        training=TrainingSummary(
            base=trained.history if trained else [],
            accuracy_before_reestimation=trained.accuracy_before_reestimation if trained else None,
        ),
        notes={
            name: [*([copied] if copied and name == "pruned" else []), *notes, *said.get(name, ())]
            for name, notes in compiled.notes.items()
        },
        stages=[StageSummary(name=one.name, seconds=one.seconds, skipped=one.skipped) for one in build.run.timeline],
        versions=manifest["versions"],
        sources={
            "accuracy": "measured on the test images",
            "accuracy_hw": "simulated bit by bit on the test images",
            "cost": cost_source(chip),
            "energy": ENERGY_SOURCE,
            "unrolled": cost_source(chip, UNROLLED_SOURCE),
            "speed": "measured",
        },
    )


def _comparison(build: Build) -> HardwareComparison | None:
    """The comparison of the stage `cost`, with what the stage `synth` found of the same hardware.

    FIFOs of other depths than those that are counted make other hardware.
    """
    found, cells = build.result(CostResult).comparison, build.result_if_any(SynthesisResult)
    if found is None or cells is None or build.recipe.rtl.fifo != FIFO:
        return found
    return with_synthesis(found, cells.networks)


def cost_source(chip: ScheduleResult, other: str = SOURCE) -> str:
    """Whose formulas the costs are: those that chose the foldings, `other` where our own model did not."""
    models = dict.fromkeys(each.cost_model for each in chip.folded_by.values())
    return "; ".join(OWN_SOURCE if name == Bnnflow.name else other for name in models)


def _pruning(build: Build, copied: str) -> PruningSummary | None:
    """The result of the stage `prune`, with the cost of each step where the stage `cost` knows it."""
    pruned = build.result_if_any(PruningResult)
    if pruned is None:
        return None
    costs = build.result(CostResult)
    known = costs.steps or [{} for _ in pruned.steps]
    steps = [replace(step, cost=cost) for step, cost in zip(pruned.steps, known, strict=True)]
    return extended(PruningSummary, pruned, steps=steps, unpruned=costs.unpruned, unpruned_copy=copied)


def unpruned_copy(build: Build) -> str:
    """One sentence where the pruned network has all that the unpruned one has; "" where something is gone."""
    pruned, costs = build.result_if_any(PruningResult), build.result(CostResult).networks
    if pruned is None:
        return ""
    before, after = ((cost.weights, cost.neurons, cost.synapses) for cost in (costs["base"], costs["pruned"]))
    if before != after:
        return ""
    return f"nothing was removed: {pruned.stop or METHODS[pruned.method].why_nothing}"


def _network(build: Build, name: str) -> NetworkSummary:
    trained = build.result_if_any(TrainResult) if name == "base" else build.result_if_any(PruningResult)
    simulated = build.result(VerifyResult).networks[name].accuracy
    return extended(
        NetworkSummary,
        build.result(CostResult).networks[name],
        accuracy=trained.accuracy if trained else simulated,
        accuracy_hw=simulated,
    )


def read_summary(folder: Path) -> Summary:
    """The summary of a run folder whose files are all as they were written.

    Raises:
        Problem: not a run folder, not finished, (status 1) a file is missing or was changed, or of another version of
            bnnflow.
    """
    run = Run.find(folder)
    if run is None:
        raise Problem("this is not a run folder", str(folder), "give a folder that `flow build` made")
    faults = run.check_files()
    if faults:
        raise Problem("; ".join(faults), str(run.folder), "flow build the recipe again", CHECK_FAILED)
    path = run.path("summary.json")
    if not path.is_file():
        raise Problem("this run is not finished", str(run.folder), "flow build continues with it")
    if changed := run.changed_since("report"):
        what = f"the summary of this run is older than its {', '.join(changed)}"
        raise Problem(what, str(run.folder), "run `flow build` again, with the same -s as then")
    try:
        return replace(from_json(Summary, json.loads(path.read_text())), folder=str(folder))
    except Misfit as misfit:
        what = f"this summary is of another version of bnnflow: {misfit}"
        raise Problem(what, str(path), "flow build the recipe again") from misfit
