"""The commands on recipes and runs. Imports nothing heavy: every command loads what it needs when it runs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from bnnflow import Problem

from ..run.files import check_file
from ..run.names import STAGE_NAMES
from .commands import examples
from .declare import Key, Own
from .options import Contract, DataDir, Json, Overrides, changes, useless

SCHEMA = ".bnnflow-schema.json"
Runs = Annotated[list[Path], Own("Run folders.", argument=True)]
Stage = f"STAGE: {', '.join(STAGE_NAMES)}."


@examples("flow new", "flow new tiny.yaml --arch mlp")
def new(
    path: Annotated[Path, Own("File to write.", argument=True)] = Path("model.yaml"),
    arch: Annotated[str, Own("Kind of network.", choices=("cnn", "mlp"))] = "cnn",
    force: Annotated[bool, Own("Overwrite an existing file.", ("--force",))] = False,
) -> None:
    """Write a commented recipe to start from."""
    from json import dumps

    from ..recipe.file import new_recipe
    from ..recipe.schema import schema as recipe_schema
    from ..run.files import write_whole

    check_file(path, (".yaml", ".yml"))
    beside = path.with_name(SCHEMA)
    text = new_recipe(arch, f"# yaml-language-server: $schema={SCHEMA}\n")
    if path.exists() and not force:
        raise Problem("the file exists already", str(path), "give another name, or --force to overwrite it")
    write_whole(path, text.encode())
    # For editors that complete keys and mark what is misspelt.
    write_whole(beside, (dumps(recipe_schema(), indent=1) + "\n").encode())
    print(f"wrote {path}; build it with: flow build {path}")


@examples(
    "flow check model.yaml",
    "flow check model.yaml -s model.arch=mlp -s model.hidden=[64,64]",
    "flow check net.onnx --input pixels/255",
)
def check(
    context: typer.Context,
    path: Annotated[Path, Own("Recipe (.yaml) or ONNX file.", argument=True)],
    overrides: Overrides = None,
    input: Contract = None,
    json: Json = False,
) -> None:
    """Say what becomes of every operator, before any training.

    Exit status 2 if it does not compile.
    """
    if path.suffix not in (".yaml", ".yml"):
        useless(context, ["overrides"], "in a network", "give a recipe, or leave it out")
    from ..api.graphs import check as api

    found = api(path, input, changes(overrides))
    from ..show import graphs as screen_graphs
    from ..show import terminal as screen

    screen.print_json(found) if json else screen_graphs.print_check(found)
    if found.refusal is not None:
        raise typer.Exit(found.refusal.status) if json else found.refusal


@examples(
    "flow build model.yaml",
    "flow build model.yaml -s train.epochs=3 --run runs/short",
    "flow build model.yaml --to train  # Stop before pruning; the same command without --to continues.",
)
def build(
    recipe: Annotated[Path, Own("Recipe file.", argument=True)] = Path("model.yaml"),
    run: Annotated[Path | None, Own("Run folder.", default="runs/<name>")] = None,
    first: Annotated[str, Own(f"Run again from this stage on. {Stage}", ("--from",), metavar="STAGE")] = "",
    last: Annotated[str, Own("Stop after this stage.", ("--to",), metavar="STAGE")] = "report",
    data_dir: DataDir = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Train, prune, export, compile, verify and cost a network.

    Goes on where an earlier run stopped.
    """
    wanted = changes(overrides, [f"data.dir={data_dir.absolute()}"] if data_dir is not None else [])
    # A misspelt key is answered before anything heavy is imported.
    from ..commands.planned import planned

    plan = planned(recipe, run, wanted, first, last)
    from ..show import builds as screen_builds
    from ..show import terminal as screen

    facts = plan.built(quiet=json)
    if facts is None:
        return
    if json:
        screen.print_json(facts)
    elif last == "report":
        screen_builds.print_summary(facts, plan.folder)
    else:
        again = ["flow", "build", str(recipe), "--run", str(plan.folder), *(word for c in wanted for word in ("-s", c))]
        print(f"stopped after {last}; the rest: {shlex.join(again)}")


@examples("flow show runs/model")
def show(
    run: Annotated[Path, Own("Run folder.", argument=True)],
    json: Json = False,
) -> None:
    """Print a run's tables again, after checking its files.

    They must be as they were written.
    """
    from ..api.runs import compare as api
    from ..show import builds as screen_builds
    from ..show import terminal as screen

    (summary,) = api(run)
    screen.print_json(summary) if json else screen_builds.print_summary(summary, run)


@examples(
    "flow compare runs/model runs/short",
    "flow compare runs/model --fps 50000 --loss 0.5",
    "flow compare runs/model --part Pynq-Z2 --synth  # As fast as each is on that part, mapped by yosys.",
)
def compare(
    context: typer.Context,
    runs: Runs,
    fps: Annotated[
        float | None, Key("target.fps", help="Rate that both are folded for, images per second.", default="each run's")
    ] = None,
    part: Annotated[
        str | None,
        Key("target.part", more="Equal resources are all of it.", default="each run's, of it what the unpruned takes"),
    ] = None,
    loss: Annotated[
        float, Own("Points of accuracy that a network of equal accuracy may lose.", least=0, most=100)
    ] = 1.0,
    synth: Annotated[bool, Own("Have yosys map the designs.", ("--synth",))] = False,
    jobs: Annotated[int | None, Own("Netlists at a time.", least=1, default="one a processor, at most 4")] = None,
    json: Json = False,
) -> None:
    """Put runs side by side, and pruned hardware beside unpruned.

    Pruned and unpruned networks are compared at equal rate, at equal resources and at equal accuracy. Without --fps,
    --part and --synth it is what the runs found. Exit status 1 if a rate is not reached, 3 if yosys is missing.
    """
    if not synth:
        useless(context, ["jobs"], "without --synth", "let yosys map the designs with --synth")
    from ..api.runs import compare_hardware as api
    from ..show import builds as screen_builds
    from ..show import terminal as screen

    with screen.Bar("synthesis", quiet=json or not synth) as bar:
        found = api(*runs, fps=fps, part=part, loss=loss / 100, synth=synth, jobs=jobs, progress=bar.update)
    if json:
        screen.print_json(found)
        return
    screen_builds.print_comparison(found)
