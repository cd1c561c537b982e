"""The stages of `flow build`: one function each, with the verb's name.

A stage reads what earlier stages left in the run folder and leaves files and facts of its own; it is
skipped when none of its inputs changed. `models`, `sim` and `build` meet only here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bnnflow import Problem

from ..transforms.compile import LEVEL_NAMES, stages
from ..transforms.graph import Graph
from ..transforms.read import read
from .context import (
    FLIPS,
    FOLDED,
    LEVEL_FILES,
    QONNX,
    WEIGHTS,
    Build,
    Facts,
    Progress,
    network_spec,
    set_threads,
    trained_file,
    write_graph,
)
from .figures import cost_facts, network_operations
from .inputs import feed
from .oracles import onnxruntime_scores, qonnx_scores
from .pruning import recovery_settings
from .recipe import Recipe
from .summary import summarize
from .training import fit, sample, source_digest, taken_over

if TYPE_CHECKING:
    from ..sim.faults import Grid, Plan, Workers

QONNX_IMAGES = 16


def data(build: Build) -> Facts:
    """Find and check the images."""
    images, recipe = build.dataset, build.recipe

    def work() -> Facts:
        return {
            "train": len(images.train_images),
            "test": len(images.test_images),
            "shape": list(images.train_images.shape[1:]),
            "classes": len(images.classes),
            "source": images.source,
            "files": images.files,
        }

    limits = {"train_images": recipe.data.train_images, "test_images": recipe.data.test_images}
    return build.stage("data", {"name": recipe.data.name, "files": images.files, **limits}, work)


def train(build: Build) -> Facts:
    """Train the network, then measure its batch-norm statistics anew; an ONNX file, or trained weights without
    epochs, are left as they are."""
    recipe = build.recipe
    if not build.trains:
        return build.skip("train")
    spec = network_spec(recipe, build.dataset)

    def work() -> Facts:
        from ..models.batchnorm import reestimate
        from ..models.flips import FlipCounts
        from ..models.saved import save_network
        from ..models.ternary import zero_shares
        from ..models.train import accuracy, device_of
        from .speed import device_name

        images, window = build.dataset, recipe.train.flip_window
        flips = FlipCounts(window) if window else None
        network, history = fit(recipe, images, build.run.path("work/train.pt"), build.progress("train"), flips)
        if flips is not None:
            with build.run.temporary(f"base/{FLIPS}") as path:
                flips.save(path)
        device = device_of(recipe.train.device)
        network.to(device)
        before = after = accuracy(network, images.test_images, images.test_labels)
        if history:
            reestimate(network, sample(images.train_images, recipe.train.norm_images, recipe.seed))
            after = accuracy(network, images.test_images, images.test_labels)
        with build.run.temporary(f"base/{WEIGHTS}") as path:
            save_network(network.to("cpu"), path)
        zeros = {"zeros": zero_shares(network)} if getattr(spec, "weight_bits", 1) > 1 else {}
        facts = {"history": history, "accuracy_before_reestimation": before, "accuracy": after}
        return {**facts, **zeros, "device": device_name(device.type)}

    inputs = {
        "model": spec.to_dict(),
        "source": source_digest(spec),
        "train": recipe.train.model_dump(mode="json", exclude={"threads"}),
        "ensemble": recipe.ensemble.model_dump(mode="json"),
        "seed": recipe.seed,
        "data": build.facts["data"],
        **({"start": trained_file(recipe)} if recipe.model.kind == "trained" else {}),
    }
    return build.stage("train", inputs, work)


def prune(build: Build) -> Facts:
    """Remove the least relevant filters and neurons, and let the network recover."""
    recipe = build.recipe
    if not build.prunes:
        return build.skip("prune")
    counted = build.file("base", FLIPS) if recipe.train.flip_window else None

    def work() -> Facts:
        from ..models.prune import groups
        from ..models.saved import save_network
        from ..models.train import accuracy
        from .pruning import pruned

        result = pruned(build, counted)
        images = build.dataset
        with build.run.temporary(f"pruned/{WEIGHTS}") as path:
            save_network(result.network, path)
        return {
            "criterion": recipe.prune.criterion,
            "allocation": recipe.prune.allocation,
            "steps": result.steps,
            "held_out_accuracy": result.accuracy,
            "stop": result.stop,
            "kept": {group.name: group.width for group in groups(result.network.spec)},
            "accuracy": accuracy(result.network, images.test_images, images.test_labels),
        }

    inputs = {
        "base": build.file("base", WEIGHTS),
        "flips": [counted] if counted is not None else [],
        "prune": recipe.prune.model_dump(mode="json", exclude={"jobs"}),
        "train": recovery_settings(recipe),
        "target": recipe.target.model_dump(mode="json") if recipe.prune.allocation == "sensitivity" else {},
        "seed": recipe.seed,
        "data": build.facts["data"],
    }
    return build.stage("prune", inputs, work)


def export(build: Build) -> Facts:
    """Write each network as QONNX; an ONNX file is taken over as it is."""
    onnx = build.recipe.model.onnx

    def work() -> Facts:
        if onnx is not None:
            build.run.write(f"base/{QONNX}", taken_over(build, onnx))
            return {}
        from ..models.export import export_qonnx

        for network in build.networks:
            loaded = build.load(network)
            with build.run.temporary(f"{network}/{QONNX}") as path:
                export_qonnx(loaded, path, loaded.spec.input_shape)
        return {}

    return build.stage("export", {"networks": build.files(WEIGHTS) if onnx is None else [onnx]}, work)


def streamline(build: Build) -> Facts:
    """Make integer thresholds of scales, biases and batch norms, then XNOR and popcount of binary layers."""

    def work() -> Facts:
        notes: dict[str, list[str]] = {}
        for network in build.networks:
            made = stages(read(build.file(network, QONNX)))
            notes[network] = [note for stage in made for note in stage.notes]
            for stage in made:
                if stage.level in ("integer", "xnor"):
                    write_graph(build.run, f"{network}/{LEVEL_FILES[stage.level]}", stage.graph)
        return {"notes": notes}

    return build.stage("streamline", {"networks": build.files(QONNX)}, work)


def lower(build: Build) -> Facts:
    """Turn the XNOR graph into FINN's dataflow units."""

    def work() -> Facts:
        for network in build.networks:
            made = stages(read(build.file(network, LEVEL_FILES["xnor"])))
            write_graph(build.run, f"{network}/{LEVEL_FILES['dataflow']}", made[-1].graph)
        return {}

    return build.stage("lower", {"graphs": build.files(LEVEL_FILES["xnor"])}, work)


def verify(build: Build) -> Facts:
    """Prove on test images that every file of every level computes the same integers."""
    recipe = build.recipe
    limit = recipe.verify.images

    def work() -> Facts:
        images = build.dataset.test_images[:limit]
        report = build.progress("verify")
        total = len(images) * len(build.networks)
        facts: Facts = {}
        for index, network in enumerate(build.networks):
            count = partial(_count, report, index * len(images), total)
            facts[network] = verify_network(build, network, images, count)
        return facts

    files = build.files(*([WEIGHTS] if build.trains else []), *LEVEL_FILES.values())
    return build.stage("verify", {"files": files, "images": limit, "data": build.facts["data"]}, work)


def _count(report: Progress, before: int, total: int, done: int) -> None:
    report(before + done, total, {})


def verify_network(build: Build, network: str, images: np.ndarray, progress: Callable[[int], None]) -> Facts:
    """Hold all levels of one network, as they lie on disk, against each other and against other programs.

    Raises:
        Problem: status 1; names the level, tensor, image and channel that differ first.
    """
    from ..sim.engine import Simulator
    from ..sim.verify import Level, images_in_doubt, verify_scores
    from ..sim.verify import verify as compare

    compiled = stages(read(build.file(network, QONNX)))
    stored, images = images, feed(compiled[0].graph, images)
    levels = [Level(compiled[0].level, compiled[0].graph)]
    for stage in compiled[1:]:
        graph = read(build.file(network, LEVEL_FILES[stage.level]))
        levels.append(Level(stage.level, graph, stage.matches, stage.doubts))
    last = levels[-1].graph
    doubts = [doubt for stage in compiled for doubt in stage.doubts]
    in_doubt = images_in_doubt(levels[0].graph, doubts, images)
    set_threads(build.recipe.train.threads)
    judge = partial(verify_scores, graph=last, images=images, in_doubt=in_doubt)
    results = []
    if build.trains:
        from ..models.train import predict

        results.append(judge("torch (Brevitas)", scores=predict(build.load(network), stored)))
    results.append(judge("onnxruntime on QONNX", scores=onnxruntime_scores(build.file(network, QONNX), images)))
    few = images[:QONNX_IMAGES]
    for level in LEVEL_NAMES[:-1]:
        made = qonnx_scores(build.file(network, LEVEL_FILES[level]), few)
        judged = in_doubt[: len(few)] if level == "network" else None
        results.append(judge(f"qonnx on {level}", images=few, scores=made, in_doubt=judged))
    results += compare(levels, images, progress=progress)
    everything = build.dataset
    right = Simulator.of(last).classes(feed(compiled[0].graph, everything.test_images)) == everything.test_labels
    rows = [{"stage": r.name, "images": r.images, "values": r.values, "differences": r.differences} for r in results]
    return {"images": len(images), "stages": rows, "accuracy": float(right.mean())}


def schedule(build: Build) -> Facts:
    """Fold every network for the target rate on the target part."""
    target = build.recipe.target

    def work() -> Facts:
        from ..build.finn_reports import folding
        from ..build.parts import part

        for network in build.networks:
            folded = fold_for(build.recipe, read(build.file(network, LEVEL_FILES["dataflow"])))
            write_graph(build.run, f"{network}/{FOLDED}", folded)
            build.run.write(f"{network}/auto_folding_config.json", _json(folding(folded)))
        chip = part(target.part)
        return {"part": chip.name, "lut": chip.lut, "bram18": chip.bram18}

    inputs = {"graphs": build.files(LEVEL_FILES["dataflow"]), "target": target.model_dump(mode="json")}
    return build.stage("schedule", inputs, work)


def fold_for(recipe: Recipe, graph: Graph) -> Graph:
    """A dataflow graph folded for the recipe's target.

    Raises:
        Problem: at its place in the recipe; an unknown part, or a rate that cannot be met (status 1).
    """
    from ..build.parts import part
    from ..build.schedule import schedule as fold

    target, key = recipe.target, "target.part"
    try:
        chip = part(target.part)
        key = "target.fps"
        return fold(graph, target.fps, target.clock_mhz, chip)
    except Problem as problem:
        raise recipe.problem(key, problem.what, problem.hint, problem.status) from problem


def cost(build: Build) -> Facts:
    """Estimate cycles, LUTs and block RAMs, and write FINN's report files."""
    clock = build.recipe.target.clock_mhz

    def work() -> Facts:
        from ..build.finn_reports import reports

        facts: Facts = {}
        for network in build.networks:
            graph = read(build.file(network, FOLDED))
            counts = network_operations(read(build.file(network, LEVEL_FILES["xnor"])))
            facts[network] = cost_facts(graph, clock) | counts
            for name, text in reports(graph, counts, clock).items():
                build.run.write(f"{network}/{name}", text)
        return facts

    graphs = build.files(FOLDED, LEVEL_FILES["xnor"])
    return build.stage("cost", {"graphs": graphs, "clock_mhz": clock}, work)


def faults(build: Build) -> Facts:
    """Measure accuracy under faults: the recipe's grid on every network, with the same maps and images."""
    settings, recipe = build.recipe.faults, build.recipe
    if not settings.enabled:
        return build.skip("faults")

    def work() -> Facts:
        from .faults import campaign

        grid, plan, workers = fault_settings(recipe)
        store = build.run.path("work/faults.sqlite")
        store.parent.mkdir(exist_ok=True)
        images = build.dataset.test_images[: settings.images]
        labels = build.dataset.test_labels[: settings.images]
        report = build.progress("faults")
        graphs = {network: read(build.file(network, FOLDED)) for network in build.networks}
        fed = feed(next(iter(graphs.values())), images)
        try:
            return campaign(
                graphs, fed, labels, grid, plan, workers, store, lambda done, total: report(done, total, {})
            )
        except Problem as problem:
            raise recipe.problem(
                "faults", f"{problem.where}: {problem.what}", problem.hint, problem.status
            ) from problem

    inputs = {
        "graphs": build.files(FOLDED),
        "faults": settings.model_dump(mode="json", exclude={"jobs", "cluster"}),
        "table": [settings.table] if settings.table else [],
        "seed": recipe.seed,
        "data": build.facts["data"],
    }
    return build.stage("faults", inputs, work)


def fault_settings(recipe: Recipe) -> tuple[Grid, Plan, Workers]:
    """The recipe's campaign.

    Raises:
        Problem: at its place in the recipe, for what is no model, protection, rate table or cluster.
    """
    from ..sim.faults import Grid, Model, Plan, Protection, Rates, Workers, read_rates

    settings, key = recipe.faults, "faults.table"
    try:
        rates = read_rates(settings.table) if settings.table else [Rates.of(rate) for rate in settings.rates]
        key = "faults.models"
        for text in settings.models:
            if text != "single":
                Model.parse(text)
        key = "faults.protections"
        for text in settings.protections:
            Protection.parse(text)
        key = "faults.cluster"
        workers = Workers(settings.jobs, settings.cluster)
        key = "faults.max_maps"
        plan = Plan(settings.maps, settings.interval, settings.maps, settings.max_maps)
    except Problem as problem:
        raise recipe.problem(key, problem.what, problem.hint) from problem
    seeds = settings.seeds or (recipe.seed,)
    grid = Grid(
        rates, settings.targets, settings.layers, settings.models, settings.protections, seeds, settings.fifo_depth
    )
    return grid, plan, workers


def speed(build: Build) -> Facts:
    """Measure each network in other programs and our simulator here, beside its accelerator's estimate."""
    settings = build.recipe.speed
    if not settings.enabled:
        return build.skip("speed")
    target = {"part": build.recipe.target.part, "clock_mhz": build.recipe.target.clock_mhz}

    def work() -> Facts:
        from .speed import network_rows, processor

        images = build.dataset.test_images
        images = np.resize(images, (settings.images, *images.shape[1:]))
        rows, missing = [], []
        for network in build.networks:
            graph = read(build.file(network, LEVEL_FILES["dataflow"]))
            found = network_rows(
                build.file(network, QONNX),
                graph,
                feed(graph, images),
                settings.threads,
                build.load(network) if build.trains else None,
                cost={**target, **build.facts["cost"][network]},
            )
            rows += [{"network": network, **row} for row in found["rows"]]
            missing = found["missing"]
        return {"device": processor(), "threads": settings.threads, "rows": rows, "missing": missing}

    inputs = {
        "networks": build.files(*([WEIGHTS] if build.trains else []), QONNX, LEVEL_FILES["dataflow"]),
        "speed": settings.model_dump(mode="json"),
        "cost": {network: build.facts["cost"][network]["latency_us"] for network in build.networks},
        "target": target,
        "data": build.facts["data"],
    }
    return build.stage("speed", inputs, work)


def report(build: Build) -> Facts:
    """Write summary.json and report.html."""
    from .report import render

    summary = summarize(build)

    def work() -> Facts:
        build.run.write("summary.json", _json(summary))
        build.run.write("report.html", render(summary))
        return {}

    build.stage("report", {"summary": summary}, work)
    return summary


def _json(value: object) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


STAGES: dict[str, Callable[[Build], Facts]] = {
    stage.__name__: stage
    for stage in (data, train, prune, export, streamline, lower, verify, schedule, cost, faults, speed, report)
}


def run_stages(build: Build, last: str = "report", announce: Callable[[str], None] = lambda name: None) -> Facts:
    """Run or skip every stage up to `last`; returns the facts of `last` (the summary for "report").

    Raises:
        Problem: what a stage finds wrong.
        KeyError: there is no such stage.
    """
    facts: Facts = {}
    STAGES[last]
    if build.recipe.faults.enabled:
        # Before any training: a misspelt fault model is no news for the end of it.
        fault_settings(build.recipe)
    for name, stage in STAGES.items():
        announce(name)
        facts = stage(build)
        if name == last:
            break
    return facts
