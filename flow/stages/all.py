"""The stages of `flow build`: one function each, with the verb's name.

A stage reads what earlier stages left in the run folder and leaves files and a result of its own; it is
skipped when none of its inputs changed. `models`, `sim` and `build` meet only here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from bnnflow import Problem

from ...build.cost import beyond, estimate, operations
from ...build.cost_models.bnnflow import Bnnflow
from ...build.schedule import cycles_for
from ...transforms.passes.compile import stages
from ...transforms.reading.read import files_of, read
from ..graphs.comparison import Target, compare_hardware
from ..graphs.control import PLAIN, choices_of
from ..graphs.figures import network_cost
from ..graphs.folding import decides, fold_for
from ..graphs.hardware import NOT_COUNTED, controlled
from ..graphs.inputs import input_held
from ..graphs.rates import FIFO, affordable, rate
from ..graphs.routing import program_of
from ..pruning.prune import recovery_settings
from ..pruning.widths import widths_note
from ..recipe.objects import export_properties, held_out_share, make_network, trained_file
from ..recipe.parts import part_content, shown_part, target_part
from ..results.faults import FaultCampaign
from ..results.hardware import CosimResult, RtlResult
from ..results.routing import RoutingResult
from ..results.speed import LeftOut, NetworkSpeedRow, SpeedResult
from ..results.stages import (
    CostResult,
    DataResult,
    FoldedBy,
    NoResult,
    PruningResult,
    RelevanceMaps,
    ReportResult,
    ScheduleResult,
    StreamlineResult,
    TrainResult,
    VerifyResult,
)
from ..results.summary import Summary
from ..results.synthesis import SynthesisResult
from ..run.names import FLIPS, FOLDED, LEVEL_FILES, QONNX, WEIGHTS
from ..run.tools import routing_tool, synthesis_tool
from ..run.typed_json import extended, to_json
from .build import Build, json_text, write_graph
from .faults import run_campaign
from .handover import hand_over
from .hardware import (
    cosim_wanted,
    family_wanted,
    route_hardware,
    route_part,
    route_wanted,
    simulate_rtl,
    synth_wanted,
    synthesize,
    write_rtl,
)
from .prune import RELEVANCE, prune_base, step_cost_inputs, step_costs
from .summary import summarize
from .train import state_digest, taken_over, train_base
from .verify import verify_networks

# Words of an image up to which FIFOs of compared networks are sized within a build: about a second a network.
_WORDS_BESIDE_COSTS = 30_000


def data(build: Build) -> DataResult:
    """Find and check the images."""
    images, recipe = build.dataset, build.recipe
    order = hashlib.sha256(images.train_labels.tobytes() + images.test_labels.tobytes()).hexdigest()

    def work() -> DataResult:
        return DataResult(
            train=len(images.train_images),
            test=len(images.test_images),
            shape=list(images.train_images.shape[1:]),
            classes=len(images.classes),
            source=images.source,
            files=images.files,
            order=order,
        )

    limits = {"train_images": recipe.data.train_images, "test_images": recipe.data.test_images}
    return build.stage(
        "data", {"name": recipe.data.name, "files": images.files, "order": order, **limits}, work, DataResult
    )


def train(build: Build) -> TrainResult | NoResult:
    """Train the network, then re-estimate its batch norms; an ONNX file, or trained weights without
    epochs, are left as they are."""
    recipe = build.recipe
    if not build.trains:
        return build.skip("train")
    start: dict[str, Any] = {"start": trained_file(recipe)} if recipe.model.kind == "trained" else {}
    if recipe.model.weights is not None:
        start["start"] = recipe.model.weights
    if recipe.model.kind == "own" and not recipe.epochs:
        # A class may read weights of its own where it is made.
        start["taken"] = state_digest(make_network(recipe, build.dataset))
    inputs = {
        "model": build.spec.to_dict(),
        "train": recipe.train.model_dump(mode="json", exclude={"threads"}) | {"validation": held_out_share(recipe)},
        "errors": recipe.fault_training.model_dump(mode="json"),
        "map": [recipe.fault_training.map] if recipe.fault_training.map is not None else [],
        "target": decides(recipe) if recipe.fault_training.map is not None else {},
        "approximation": recipe.approximation.model_dump(mode="json"),
        "ensemble": recipe.ensemble.model_dump(mode="json"),
        "seed": recipe.seed,
        "data": to_json(build.result(DataResult)),
        **build.code,
        **start,
    }
    return build.stage("train", inputs, partial(train_base, build), TrainResult)


def prune(build: Build) -> PruningResult | NoResult:
    """Remove the least important filters and neurons, and let the network recover."""
    recipe = build.recipe
    if not build.prunes:
        return build.skip("prune")
    counted = build.file("base", FLIPS) if recipe.train.flip_window else None
    by_costs = recipe.prune.allocation == "sensitivity"
    inputs = {
        "base": build.file("base", WEIGHTS),
        "flips": [counted] if counted is not None else [],
        "prune": part_content(recipe.prune.model_dump(mode="json", exclude={"jobs"})),
        "train": recovery_settings(recipe) | {"validation": held_out_share(recipe)},
        "errors": recipe.fault_training.model_dump(mode="json"),
        "target": decides(recipe) if by_costs or recipe.fault_training.map is not None else {},
        "seed": recipe.seed,
        "data": to_json(build.result(DataResult)),
        **build.code,
    }
    return build.stage("prune", inputs, partial(prune_base, build, counted), PruningResult)


def export(build: Build) -> NoResult:
    """Write each network as QONNX; an ONNX file is taken over, with what the recipe says of its input."""
    onnx, properties = build.recipe.model.onnx, export_properties(build.recipe)

    def work() -> NoResult:
        if onnx is not None:
            build.run.write(f"base/{QONNX}", taken_over(build.recipe, build.dataset, onnx))
            return NoResult()
        from ..pruning.structure import export_network as write_qonnx

        for network in build.networks:
            with build.run.temporary(f"{network}/{QONNX}") as path:
                write_qonnx(build.load(network), path, properties)
        return NoResult()

    inputs: dict[str, Any] = {"networks": build.files(WEIGHTS), "properties": properties, **build.code}
    if onnx is not None:
        inputs = {"networks": files_of(onnx), "input": build.recipe.model.input}
    return build.stage("export", inputs, work, NoResult)


def streamline(build: Build) -> StreamlineResult:
    """Make integer thresholds of scales, biases and batch norms, then XNOR and popcount of binary layers."""

    def work() -> StreamlineResult:
        notes: dict[str, list[str]] = {}
        holds = {}
        for network in build.networks:
            made = stages(read(build.file(network, QONNX)))
            notes[network] = [note for stage in made for note in stage.notes]
            holds[network] = input_held(made[-1].graph)
            for stage in made:
                if stage.level in ("integer", "xnor"):
                    write_graph(build.run, f"{network}/{LEVEL_FILES[stage.level]}", stage.graph)
        return StreamlineResult(notes=notes, input=holds)

    return build.stage("streamline", {"networks": build.files(QONNX)}, work, StreamlineResult)


def lower(build: Build) -> NoResult:
    """Turn the XNOR graph into FINN's dataflow units."""

    def work() -> NoResult:
        for network in build.networks:
            made = stages(read(build.file(network, LEVEL_FILES["xnor"])))
            write_graph(build.run, f"{network}/{LEVEL_FILES['dataflow']}", made[-1].graph)
        return NoResult()

    return build.stage("lower", {"graphs": build.files(LEVEL_FILES["xnor"])}, work, NoResult)


def verify(build: Build) -> VerifyResult:
    """Prove on test images that every file of every level computes the same integers."""
    limit = build.recipe.verify.images
    files = build.files(*([WEIGHTS] if build.trains else []), *LEVEL_FILES.values())
    inputs = {"files": files, "images": limit, "data": to_json(build.result(DataResult)), **build.code}
    return build.stage("verify", inputs, partial(verify_networks, build), VerifyResult)


def schedule(build: Build) -> ScheduleResult:
    """Fold every network for the target rate on the target part, and write what FINN takes of it."""

    def work() -> ScheduleResult:
        from ...build.cost import blocks_of
        from ...build.finn_reports import folding

        handed, folded_by = {}, {}
        for network in build.networks:
            found = fold_for(build.recipe, read(build.file(network, LEVEL_FILES["dataflow"])))
            write_graph(build.run, f"{network}/{FOLDED}", found.graph)
            build.run.write(f"{network}/auto_folding_config.json", json_text(folding(found.graph)))
            folded_by[network] = FoldedBy(cost_model=found.by, why=found.why, lut_error=found.lut_error)
            handed[network] = hand_over(build, network)
        chip = target_part(build.recipe)
        rams = blocks_of(chip, build.recipe.target.cost_model)
        return ScheduleResult(part=chip.name, lut=chip.lut, bram18=rams, folded_by=folded_by, finn=handed)

    inputs = {"graphs": build.files(LEVEL_FILES["dataflow"], QONNX), **decides(build.recipe)}
    return build.stage("schedule", inputs, work, ScheduleResult)


def cost(build: Build) -> CostResult:
    """Estimate cycles, LUTs, block RAMs and energy, and write FINN's report files.

    Where pruning leaves zeros among the weights, unrolled hardware is estimated, too: it alone leaves them out. The
    pruned network's hardware is compared with that of the unpruned one.
    """
    clock, part = build.recipe.target.clock_mhz, target_part(build.recipe)
    zeros = build.prunes and build.recipe.prune.chosen.leaves_zeros
    asked = choices_of(build.recipe.rtl) if build.recipe.rtl.enabled else PLAIN

    def work() -> CostResult:
        from ...build.finn_reports import reports
        from ...build.rate_folding import rate_model

        graphs = {network: read(build.file(network, FOLDED)) for network in build.networks}
        # With the FIFOs that their hardware gets: of all networks, or of none.
        deep = all(affordable(graph, _WORDS_BESIDE_COSTS) for graph in graphs.values())
        costs, said, host = {}, {}, asked
        for network, graph in graphs.items():
            counts = operations(read(build.file(network, LEVEL_FILES["xnor"])))
            kind, _ = rate_model(graph, part, build.recipe.target.cost_model)
            ours, made, control, unasked = isinstance(kind, Bnnflow), graph, None, ""
            try:
                made, control, _ = controlled(graph, asked)
            except Problem as problem:
                # Nor is its hardware written, which is no reason to end a build.
                unasked = f"registers, sets and codes are not counted: {problem.in_place}"
            depths = rate(made, FIFO, {}, control=control).restoring if deep and ours else {}
            estimated = estimate(made, kind, depths=depths, control=control)
            costs[network] = network_cost(made, estimated, counts, clock, kind, zeros)
            over = beyond(estimated, part, kind)
            notes = [
                widths_note(graph, cycles_for(build.recipe.target.fps, clock)),
                NOT_COUNTED if control is not None and not ours else unasked,
                f"more than {part.name} has: {over}" if over else "",
            ]
            said[network] = [note for note in notes if note]
            host = PLAIN if unasked else host
            for name, text in reports(graph, asdict(counts), clock).items():
                build.run.write(f"{network}/{name}", text)
        target = Target(
            part,
            clock,
            cycles_for(build.recipe.target.fps, clock),
            build.recipe.target.cost_model,
            words=_WORDS_BESIDE_COSTS,
            host=host,
        )
        compared = compare_hardware(build.recipe.name, graphs, target) if build.prunes else None
        said = {network: notes for network, notes in said.items() if notes}
        return CostResult(networks=costs, comparison=compared, notes=said or None, **step_costs(build))

    inputs = {"graphs": build.files(FOLDED, LEVEL_FILES["xnor"]), "zeros": zeros, **decides(build.recipe)}
    inputs |= {"name": build.recipe.name} if build.prunes else {}
    inputs |= {} if asked == PLAIN else {"rtl": asdict(asked)}
    return build.stage("cost", inputs | step_cost_inputs(build), work, CostResult)


def rtl(build: Build) -> RtlResult | NoResult:
    """Write every network's hardware as SystemVerilog."""
    settings = build.recipe.rtl
    if not settings.enabled:
        return build.skip("rtl")
    clock = build.recipe.target.clock_mhz
    inputs = {"graphs": build.files(FOLDED), "clock_mhz": clock, "rtl": settings.model_dump(mode="json")}
    # The design bears the run's name. What its memories do not fit is not written.
    inputs |= {"name": build.recipe.name} | part_content({"part": build.recipe.target.part})
    return build.stage("rtl", inputs, partial(write_rtl, build), RtlResult)


def cosim(build: Build) -> CosimResult | NoResult:
    """Simulate the hardware by Verilator, and compare it with the simulators."""
    if not cosim_wanted(build.recipe):
        return build.skip("cosim")
    inputs = {
        "rtl": to_json(build.result(RtlResult)),
        "cosim": build.recipe.cosim.model_dump(mode="json", exclude={"when"}),
        "seed": build.recipe.seed,
        "data": to_json(build.result(DataResult)),
    }
    return build.stage("cosim", inputs, partial(simulate_rtl, build), CosimResult)


def synth(build: Build) -> SynthesisResult | NoResult:
    """Map the hardware to an FPGA's cells by yosys."""
    if not synth_wanted(build.recipe):
        return build.skip("synth")
    inputs = {
        "rtl": to_json(build.result(RtlResult)),
        "synth": build.recipe.synth.model_dump(mode="json", exclude={"when", "jobs"}),
        "family": family_wanted(build.recipe).name,
        "tool": synthesis_tool().version,
    }
    return build.stage("synth", inputs, partial(synthesize, build), SynthesisResult)


def route(build: Build) -> RoutingResult | NoResult:
    """Place and route the hardware by nextpnr."""
    if not route_wanted(build.recipe):
        return build.skip("route")
    chip = route_part(build.recipe)
    inputs = {
        "rtl": to_json(build.result(RtlResult)),
        "route": build.recipe.route.model_dump(mode="json", exclude={"when", "jobs", "part"}),
        "part": asdict(chip),
        "tools": [synthesis_tool().version, routing_tool(program_of(chip)).version],
    }
    return build.stage("route", inputs, partial(route_hardware, build), RoutingResult)


def faults(build: Build) -> FaultCampaign | NoResult:
    """Measure accuracy under faults: the recipe's grid on every network, with the same maps and images."""
    settings, recipe = build.recipe.faults, build.recipe
    if not settings.enabled:
        return build.skip("faults")

    inputs = {
        "graphs": build.files(FOLDED),
        # 2: maps of the same seed are nested where units overlap, and each network has its own inputs.
        "maps": 2,
        "faults": settings.model_dump(mode="json", exclude={"jobs", "cluster"}),
        "table": [path for path in (settings.table, settings.undervolting, settings.placement) if path is not None],
        "seed": recipe.seed,
        "data": to_json(build.result(DataResult)),
    }
    return build.stage("faults", inputs, partial(run_campaign, build), FaultCampaign)


def speed(build: Build) -> SpeedResult | NoResult:
    """Measure each network in other programs and our simulator here, beside its accelerator's estimate."""
    settings = build.recipe.speed
    if not settings.enabled:
        return build.skip("speed")
    target, costs = build.recipe.target, build.result(CostResult).networks
    part = shown_part(target.part)

    def work() -> SpeedResult:
        from ...sim.inputs import image_inputs
        from ..graphs.speed import Accelerator, network_rows, processor

        images = build.dataset.test_images
        images = np.resize(images, (settings.images, *images.shape[1:]))
        rows: list[NetworkSpeedRow] = []
        missing: list[LeftOut] = []
        for network in build.networks:
            graph = read(build.file(network, LEVEL_FILES["dataflow"]))
            found, missing = network_rows(
                build.file(network, QONNX),
                graph,
                image_inputs(graph, images),
                settings.threads,
                build.load(network) if build.trains else None,
                Accelerator(part, target.clock_mhz, target.fps, costs[network].fps, costs[network].latency_us),
            )
            rows += [extended(NetworkSpeedRow, row, network=network) for row in found]
        return SpeedResult(device=processor(), threads=settings.threads, rows=rows, missing=missing)

    inputs = {
        "networks": build.files(*([WEIGHTS] if build.trains else []), QONNX, LEVEL_FILES["dataflow"]),
        "speed": settings.model_dump(mode="json"),
        "cost": {network: [costs[network].fps, costs[network].latency_us] for network in build.networks},
        "target": {"part": part, "clock_mhz": target.clock_mhz, "fps": target.fps},
        "data": to_json(build.result(DataResult)),
        **build.code,
    }
    return build.stage("speed", inputs, work, SpeedResult)


def report(build: Build) -> Summary:
    """Write summary.json and report.html."""
    from ..show.report import render

    summary = summarize(build)
    pruned = build.result_if_any(PruningResult)
    drawn = pruned is not None and isinstance(pruned.relevance, RelevanceMaps)
    pictures = [build.run.path(RELEVANCE)] if drawn else []

    done = {name: turn for name, turn in build.run.turns().items() if name != "report"}

    def work() -> ReportResult:
        build.run.write("summary.json", json_text(to_json(summary)))
        build.run.write("report.html", render(summary, *(path.read_bytes() for path in pictures)))
        return ReportResult(done=done)

    build.stage("report", {"summary": to_json(summary), "pictures": pictures, "done": done}, work, ReportResult)
    return summary


STAGES: dict[str, Callable[[Build], object]] = {
    stage.__name__: stage
    for stage in (
        data,
        train,
        prune,
        export,
        streamline,
        lower,
        verify,
        schedule,
        cost,
        rtl,
        cosim,
        synth,
        route,
        faults,
        speed,
        report,
    )
}


def run_stages(build: Build, last: str = "report", announce: Callable[[str], None] = lambda name: None) -> object:
    """Run or skip every stage up to `last`; returns the result of `last` (the summary for "report").

    Raises:
        Problem: what a stage finds wrong.
        KeyError: there is no such stage.
    """
    found: object = None
    STAGES[last]
    for name, stage in STAGES.items():
        announce(name)
        found = stage(build)
        if name == last:
            break
    return found
