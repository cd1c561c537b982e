"""The command line. Imports nothing heavy: every command loads what it needs when it runs."""

from __future__ import annotations

import shlex
import signal
import sys
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from bnnflow import TOOL_MISSING, Problem, __version__

from ..run.files import check_file, explain
from ..show import streams
from . import faults as cli_faults
from . import graphs as cli_graphs
from . import methods as cli_finer
from . import models as cli_models
from . import pruning as cli_prune
from . import rank as cli_rank
from .options import Contract, DataDir, Json, Overrides, changes, useless

app = typer.Typer(
    name="flow",
    help="From a trained binary neural network to verified FPGA dataflow hardware.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

OUR_BUG = 70
SCHEMA = ".bnnflow-schema.json"
INTERRUPTED = 130


@app.callback()
def program(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """From a trained binary neural network to verified FPGA dataflow hardware."""


@app.command()
def new(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("model.yaml"),
    arch: Annotated[str, typer.Option(help="Kind of network: cnn or mlp.")] = "cnn",
    force: Annotated[bool, typer.Option(help="Overwrite an existing file.")] = False,
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


@app.command()
def check(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="Recipe (.yaml) or ONNX file.", show_default=False)],
    overrides: Overrides = None,
    input: Contract = None,
    json: Json = False,
) -> None:
    """Say what becomes of every operator, before any training; exit status 2 if it does not compile."""
    if path.suffix in (".yaml", ".yml"):
        if input is not None:
            raise Problem("a recipe says itself what its input holds", "--input", f"give -s 'model.input={input}'")
        # A misspelt key is answered before anything heavy is imported.
        from ..recipe.file import load

        recipe = load(path, changes(overrides))
        from ..stages.validate import validate

        found = validate(recipe, without_files=True)
        checked, notes, left_out = found.checked, [*found.notes, *found.checked.notes], list(found.left_out)
    else:
        useless(context, ["overrides"], "in a network", "give a recipe, or leave it out")
        from ..graphs import inputs
        from ..graphs.check import check_graph

        checked = check_graph(path, inputs.contract_of(input))
        notes, left_out = list(checked.notes), []
    from ..show import graphs as screen_graphs
    from ..show import terminal as screen

    if json:
        rows = [
            {
                "node": row.node,
                "operator": row.operator,
                "becomes": row.becomes,
                "ends_in": checked.end(row),
                "problem": row.problem and row.problem.what,
            }
            for row in checked.rows
        ]
        screen.print_json(
            {"compiles": checked.problem is None, "operators": rows, "notes": notes, "left_out": left_out}
            | {"input": checked.input}
            | ({"problem": str(checked.problem)} if checked.problem else {})
        )
    else:
        screen_graphs.print_check(checked, notes, left_out)
    if checked.problem is not None:
        raise typer.Exit(checked.problem.status) if json else checked.problem


app.command()(cli_models.models)
app.command()(cli_models.data)


@app.command()
def build(
    recipe: Annotated[Path, typer.Argument(help="Recipe file.")] = Path("model.yaml"),
    run: Annotated[Path | None, typer.Option(help="Run folder; default: runs/<name>.", show_default=False)] = None,
    first: Annotated[str, typer.Option("--from", metavar="STAGE", help="Run again from this stage on.")] = "",
    last: Annotated[str, typer.Option("--to", metavar="STAGE", help="Stop after this stage.")] = "report",
    data_dir: DataDir = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Train, prune, export, compile, verify and cost a network; goes on where an earlier run stopped."""
    from ..recipe.file import load
    from ..run.names import STAGE_NAMES

    for name in filter(None, (first, last)):
        if name not in STAGE_NAMES:
            raise Problem(f"there is no stage {name!r}", "--from, --to", f"stages are: {', '.join(STAGE_NAMES)}")
    if first and STAGE_NAMES.index(first) > STAGE_NAMES.index(last):
        raise Problem(f"stage {first!r} comes after {last!r}", "--from, --to", f"stages are: {', '.join(STAGE_NAMES)}")
    if recipe.suffix == ".onnx":
        raise Problem(
            "this is a network, not a recipe", str(recipe), "flow check, simulate and estimate take ONNX files"
        )
    wanted = changes(overrides, [f"data.dir={data_dir.absolute()}"] if data_dir is not None else [])
    # A misspelt key is answered before anything heavy is imported.
    made = load(recipe, wanted)
    folder = run or Path("runs") / made.name
    from ..commands.build import built
    from ..run import processes
    from ..show import builds as screen_builds
    from ..show import terminal as screen
    from ..stages.train import follow

    with processes.joined() as leads:
        if not leads:
            follow(made)
            return
        facts = built(made, folder, last, first, quiet=json)
    if json:
        screen.print_json(facts)
    elif last == "report":
        screen_builds.print_summary(facts, folder)
    else:
        again = ["flow", "build", str(recipe), "--run", str(folder), *(word for c in wanted for word in ("-s", c))]
        print(f"stopped after {last}; the rest: {shlex.join(again)}")


@app.command()
def show(
    run: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    json: Json = False,
) -> None:
    """Print a run's tables again, after checking that its files are as they were written."""
    from ..show import builds as screen_builds
    from ..show import terminal as screen
    from ..stages.summary import read_summary

    summary = read_summary(run)
    screen.print_json(summary) if json else screen_builds.print_summary(summary, run)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.", show_default=False)],
    json: Json = False,
) -> None:
    """Put the headline figures of several runs side by side."""
    from ..show import builds as screen_builds
    from ..show import terminal as screen
    from ..stages.summary import read_summary

    summaries = [read_summary(run) for run in runs]
    screen.print_json(summaries) if json else screen_builds.print_comparison(summaries)


# `--help` lists commands as they come here: in the order of the work.
app.command()(cli_rank.rank)
app.command()(cli_prune.sensitivity)
app.command()(cli_prune.prune)
app.command()(cli_prune.study)
app.command()(cli_finer.planes)
app.command()(cli_finer.blocks)
app.command()(cli_finer.synapses)
app.command()(cli_finer.ecqx)
app.command()(cli_finer.masks)
app.command()(cli_models.pack)
app.command()(cli_models.formats)
app.command("compile")(cli_graphs.compile_command)
app.command()(cli_graphs.ops)
app.command()(cli_graphs.simulate)
app.command()(cli_faults.faults)
app.command()(cli_faults.criticality)
app.command()(cli_faults.margins)
app.command()(cli_graphs.speed)
app.command()(cli_graphs.estimate)
app.command()(cli_graphs.cycles)


@app.command()
def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    from ..recipe.schema import schema as recipe_schema
    from ..show import terminal as screen

    screen.print_json(recipe_schema())


@app.command()
def doctor(json: Json = False) -> None:
    """Say what of this computer and its packages is fit for use; exit status 3 if something needed is missing."""
    from dataclasses import asdict

    from ..run.doctor import examine
    from ..show import terminal as screen

    findings = examine()
    if json:
        screen.print_json([asdict(finding) for finding in findings])
    else:
        screen.print_findings(findings)
    if any(not finding.ok and finding.needed for finding in findings):
        raise typer.Exit(3)


def main() -> NoReturn:
    """Run the program; the process ends with its exit status."""
    raise SystemExit(run(sys.argv[1:]))


def _interrupted(arguments: list[str]) -> int:
    """Say that Ctrl-C ended the command, and whether it can go on; returns the exit status."""
    goes_on = "build" in arguments or "--store" in arguments
    print("\ninterrupted" + "; the same command goes on where this one stopped" * goes_on, file=sys.stderr)
    return INTERRUPTED


def run(arguments: list[str]) -> int:
    """Run the program with arguments as on the command line.

    Returns:
        0 done, 1 a check or budget failed, 2 the user's input, 3 a tool is missing, 70 our bug, 130
        interrupted.
    """
    debug = "--debug" in arguments
    if "--version" in arguments:
        print(f"bnnflow {__version__}")
        return 0
    if not debug:
        # Libraries warn about their callers' choices, which are not the user's.
        warnings.simplefilter("ignore")
    # Ctrl-C in the middle of a library's import may come back as some other error.
    interrupted: list[int] = []
    usual = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        interrupted.append(number)
        if callable(usual):
            usual(number, frame)

    with suppress(ValueError):  # Not in the main thread: there no signal arrives either.
        signal.signal(signal.SIGINT, note)
    try:
        with streams.shown():
            return _run(arguments, debug, interrupted)
    finally:
        with suppress(ValueError):
            signal.signal(signal.SIGINT, usual)


def _run(arguments: list[str], debug: bool, interrupted: list[int]) -> int:
    try:
        done = app(arguments, standalone_mode=False)
        if done == INTERRUPTED:  # Typer makes this of Ctrl-C.
            return _interrupted(arguments)
        sys.stdout.flush()
        return done if isinstance(done, int) else 0
    except typer.Exit as stop:
        return int(stop.exit_code)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            sys.stderr.close()
            return 0
        if interrupted:
            return _interrupted(arguments)
        if debug:
            raise
        problem = explain(error, Path(str(error.filename or "output")))
        print(f"error: {problem}", file=sys.stderr)
        return problem.status
    except Problem as problem:
        if debug:
            traceback.print_exc()
        print(f"error: {problem}", file=sys.stderr)
        return problem.status
    except ModuleNotFoundError as error:
        if debug or (error.name or "").startswith("bnnflow"):
            raise
        print(f"error: a package is missing: {error}\n  hint: `flow doctor` lists what is needed", file=sys.stderr)
        return TOOL_MISSING
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted(arguments)

    except Exception as error:
        if interrupted:
            return _interrupted(arguments)
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            # A complaint of the command-line parser: it prints the usage itself.
            error.show()
            return 2
        if debug:
            raise
        print(
            f"error: this is a fault in bnnflow: {type(error).__name__}: {error}\n"
            "  hint: please report it with what `flow --debug` and the same arguments print",
            file=sys.stderr,
        )
        return OUR_BUG
