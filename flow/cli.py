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

from bnnflow import CHECK_FAILED, TOOL_MISSING, Problem, __version__

from . import cli_faults, cli_finer, cli_models, cli_prune, cli_rank

app = typer.Typer(
    name="flow",
    help="From a trained binary neural network to verified FPGA dataflow hardware.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

OUR_BUG = 70
INTERRUPTED = 130

GraphFile = Annotated[Path, typer.Argument(help="ONNX file: QONNX, streamlined or dataflow.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Overrides = Annotated[
    list[str] | None, typer.Option("-s", "--set", metavar="KEY=VALUE", help="Change a key of the recipe.")
]
Rate = Annotated[
    float | None,
    typer.Option(min=0.001, max=1e9, help="Rate to fold for, images a second; default: 10,000.", show_default=False),
]
DataDir = Annotated[Path | None, typer.Option(help="Folder of the data set's files.", show_default=False)]
DataName = Annotated[str, typer.Option("--data", help="Data set to test on, as `flow data` lists them.")]


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
    from .recipe import new_recipe
    from .run_files import write_whole

    text = new_recipe(arch)
    if path.exists() and not force:
        raise Problem("the file exists already", str(path), "give another name, or --force to overwrite it")
    write_whole(path, text.encode())
    print(f"wrote {path}; build it with: flow build {path}")


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="Recipe (.yaml) or ONNX file.", show_default=False)],
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Say what becomes of every operator, before any training; exit status 2 if it does not compile."""
    from . import graphs, screen

    is_recipe = path.suffix in (".yaml", ".yml")
    checked = graphs.check_recipe(path, list(overrides or [])) if is_recipe else graphs.check_graph(path)
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
            {"compiles": checked.problem is None, "operators": rows, "notes": list(checked.notes)}
            | ({"problem": str(checked.problem)} if checked.problem else {})
        )
    else:
        screen.print_check(checked)
    if checked.problem is not None:
        raise typer.Exit(checked.problem.status) if json else checked.problem


@app.command("compile")
def compile_command(
    graph: GraphFile,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the files; default: <name>_compiled.")
    ] = None,
    to: Annotated[str, typer.Option(metavar="LEVEL", help="Last level: integer, xnor or dataflow.")] = "dataflow",
    check: Annotated[
        bool, typer.Option("--check", help="Stop at the pass that changes a bit on probe images.")
    ] = False,
    dump: Annotated[bool, typer.Option("--dump", help="Leave the graph behind every pass in <output>/passes.")] = False,
    time: Annotated[bool, typer.Option("--time", help="Print the CPU time of reading and of every pass.")] = False,
    finn_base: Annotated[
        bool, typer.Option("--finn-base", help="Write the integer and xnor levels as finn-base 0.0.3 loads them.")
    ] = False,
    finn_plus: Annotated[bool, typer.Option("--finn-plus", help="Use the units and names of finn-plus 1.6.")] = False,
    json: Json = False,
) -> None:
    """Compile an ONNX file to integers, to popcounts and to FINN's dataflow units; one ONNX and text file a level."""
    from . import screen
    from .compile import compile_file

    folder = output or Path(f"{graph.stem}_compiled")
    found = compile_file(graph, folder, to, check, dump, finn_base, finn_plus)
    screen.print_json(found) if json else screen.print_compiled(found, time)


@app.command()
def ops(json: Json = False) -> None:
    """List the operators that can be read, and the passes that compile them."""
    from ..transforms.compile import STAGES
    from ..transforms.read import operator_help
    from . import screen

    operators = operator_help()
    passes = [
        {"level": level, "name": step.name, "does": " ".join((type(step).__doc__ or "").split("\n\n")[0].split())}
        for level, steps in STAGES
        for step in steps
    ]
    screen.print_json({"operators": operators, "passes": passes}) if json else screen.print_ops(operators, passes)


app.command()(cli_models.models)
app.command()(cli_models.pack)
app.command()(cli_models.formats)


@app.command()
def data(
    action: Annotated[str, typer.Argument(help="`get` fetches a data set.")] = "",
    name: Annotated[str, typer.Argument(help="The data set to get.")] = "",
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Say which data sets are found where, and how to get the others; `flow data get NAME` fetches one."""
    from dataclasses import asdict

    from ..models.data.load import survey
    from . import screen
    from .fetch import fetch
    from .places import data_home, data_places

    if action == "get":
        print(f"{name} is in {fetch(name, data_dir or data_home(), screen.say)}")
        return
    if action:
        raise Problem(f"there is no action {action!r}", "flow data", "`flow data`, or `flow data get NAME`")
    found = [asdict(row) for row in survey(data_dir, data_places())]
    screen.print_json(found) if json else screen.print_data(found)


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
    from . import processes, screen
    from .context import Build
    from .recipe import load
    from .runs import Run
    from .stages import STAGES, run_stages
    from .training import follow

    for name in filter(None, (first, last)):
        if name not in STAGES:
            raise Problem(f"there is no stage {name!r}", "--from, --to", f"stages are: {', '.join(STAGES)}")
    if first and list(STAGES).index(first) > list(STAGES).index(last):
        raise Problem(f"stage {first!r} comes after {last!r}", "--from, --to", f"stages are: {', '.join(STAGES)}")
    if recipe.suffix == ".onnx":
        raise Problem(
            "this is a network, not a recipe", str(recipe), "flow check, simulate and estimate take ONNX files"
        )
    changes = list(overrides or [])
    if data_dir is not None:
        changes.append(f"data.dir={data_dir.absolute()}")
    made = load(recipe, changes)
    folder = run or Path("runs") / made.name
    with processes.joined() as leads:
        if not leads:
            follow(made)
            return
        with Run.open(folder, made.dump(), first) as opened, screen.Stages(opened, quiet=json) as shown:
            facts = run_stages(Build(opened, made, shown.progress), last, shown.announce)
    if json:
        screen.print_json(facts)
    elif last == "report":
        screen.print_summary(facts, folder)
    else:
        again = ["flow", "build", str(recipe), "--run", str(folder), *(word for c in changes for word in ("-s", c))]
        print(f"stopped after {last}; the rest: {shlex.join(again)}")


@app.command()
def simulate(
    graph: GraphFile,
    input: Annotated[Path | None, typer.Option(help="Images as .npy.", show_default=False)] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write class scores as .npy or .csv, a row an image.", show_default=False)
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Labels as .npy, for the accuracy.", show_default=False)] = None,
    data: DataName = "",
    data_dir: DataDir = None,
    images: Annotated[int | None, typer.Option(min=1, help="Use only the first so many.", show_default=False)] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Images at a time; default: what suits the network.", show_default=False)
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads; the bits do not depend on it.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda (a GPU by torch) or cpu-torch; the same bits on all.")] = "cpu",
    tap: Annotated[
        list[str] | None,
        typer.Option(help="Write this tensor too, beside --output; may be repeated.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Run a graph bit for bit on images from a file or a data set; accuracy and confusion where labels are known."""
    from . import graphs, screen

    opened = graphs.open_graph(graph)
    if output is not None and output.is_dir():
        raise Problem("the output is a folder", str(output), "give the name of an .npy file")
    truth = None
    if input is not None and not data:
        pixels = graphs.load_array(input, "input")[:images]
        truth = None if labels is None else graphs.load_array(labels, "labels")[:images]
    elif data and input is None and labels is None:
        stored, truth = graphs.test_images(data, data_dir, images)
        pixels = graphs.feed(opened, stored)
    else:
        hint = "for example --data digits, or --input X.npy --labels L.npy"
        both = data and (input is not None or labels is not None)
        what = "--data has images and labels of its own" if both else "either --input or --data is needed"
        raise Problem(what, "flow simulate", hint)
    if tap and output is None:
        raise Problem("tapped tensors need a place", "--tap", "give --output; tensors are written beside it")
    scores, accuracy, confusion = graphs.simulate(opened, pixels, truth, batch, threads, device)
    files = (
        [] if output is None else graphs.save_results(output, scores, graphs.taps(opened, pixels, tap or [], threads))
    )
    found = {
        "graph": str(graph),
        "images": len(scores),
        "accuracy": accuracy,
        "confusion": confusion,
        "output": output and str(output),
        "files": files,
        "note": graphs.remark(opened) if data else "",
    }
    screen.print_json(found) if json else screen.print_simulation(found)


app.command()(cli_faults.faults)
app.command()(cli_faults.criticality)
app.command()(cli_faults.margins)
app.command()(cli_rank.rank)
app.command()(cli_finer.planes)
app.command()(cli_finer.synapses)
app.command()(cli_finer.ecqx)
app.command()(cli_finer.masks)
app.command()(cli_prune.sensitivity)
app.command()(cli_prune.prune)


@app.command()
def speed(
    graph: GraphFile,
    images: Annotated[int, typer.Option(min=1, help="Images a run.")] = 1000,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 1,
    part: Annotated[str, typer.Option(help="FPGA part of the accelerator.")] = "xc7z020clg400-1",
    clock_mhz: Annotated[float, typer.Option(min=1, max=1000, help="Its clock in MHz.")] = 100,
    fps: Annotated[float, typer.Option(min=0.001, max=1e9, help="Rate to fold it for, images a second.")] = 10_000,
    json: Json = False,
) -> None:
    """Images a second and latency: torch (beside weights.pt), onnxruntime, OpenVINO, our simulator, the accelerator."""
    from . import graphs, screen

    found = graphs.speed(graph, images, threads, part, clock_mhz, fps)
    screen.print_json(found) if json else screen.print_speed(found)


@app.command()
def estimate(
    graph: GraphFile,
    part: Annotated[str, typer.Option(help="FPGA part.")] = "xc7z020clg400-1",
    clock_mhz: Annotated[float, typer.Option(min=1, max=1000, help="Clock in MHz.")] = 100,
    fps: Rate = None,
    cost_model: Annotated[
        str, typer.Option(help="exact: widths that hold every sum; finn: FINN's figures digit for digit.")
    ] = "exact",
    folding: Annotated[
        Path | None, typer.Option(help="FINN's folding file (.json), in place of one for --fps.", show_default=False)
    ] = None,
    finn_plus: Annotated[bool, typer.Option("--finn-plus", help="Compile to the units of finn-plus 1.6.")] = False,
    unrolled: Annotated[
        bool, typer.Option("--unrolled", help="Also count every layer with its weights built in (PE = MH, SIMD = MW).")
    ] = False,
    json: Json = False,
) -> None:
    """Fold a graph for a rate and estimate cycles, LUTs and block RAMs of every unit."""
    from . import graphs, screen

    found = graphs.estimate(graphs.open_graph(graph), part, clock_mhz, fps, cost_model, folding, finn_plus, unrolled)
    screen.print_json(found) if json else screen.print_estimate(found)


@app.command()
def cycles(
    graph: GraphFile,
    part: Annotated[str, typer.Option(help="FPGA part.")] = "xc7z020clg400-1",
    clock_mhz: Annotated[float, typer.Option(min=1, max=1000, help="Clock in MHz.")] = 100,
    fps: Rate = None,
    folding: Annotated[
        Path | None, typer.Option(help="FINN's folding file (.json), in place of one for --fps.", show_default=False)
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Images to send, one behind the other.")] = 3,
    fifo: Annotated[int, typer.Option(min=0, help="Depth of every FIFO, in words; 0: unbounded.")] = 2,
    fifo_depths: Annotated[
        Path | None,
        typer.Option(
            help='JSON with depths of single FIFOs: {"conv0 -> conv1": 32}, FINN\'s StreamingFIFO_rtl_0 with depth, '
            "or inFIFODepths and outFIFODepths of units.",
            show_default=False,
        ),
    ] = None,
    finn_plus: Annotated[bool, typer.Option("--finn-plus", help="Compile to the units of finn-plus 1.6.")] = False,
    json: Json = False,
) -> None:
    """Fold a graph for a rate and simulate when every word moves; exit status 1 if the FIFOs deadlock."""
    from . import graphs, screen

    found = graphs.cycles(graphs.open_graph(graph), part, clock_mhz, fps, images, fifo, folding, finn_plus, fifo_depths)
    screen.print_json(found) if json else screen.print_cycles(found)
    if found["deadlock"] is not None:
        raise typer.Exit(CHECK_FAILED)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.", show_default=False)],
    json: Json = False,
) -> None:
    """Put the headline figures of several runs side by side."""
    from . import screen

    summaries = [screen.read_summary(run) for run in runs]
    screen.print_json(summaries) if json else screen.print_comparison(summaries)


@app.command()
def show(
    run: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    json: Json = False,
) -> None:
    """Print a run's tables again, after checking that its files are as they were written."""
    from . import screen

    summary = screen.read_summary(run)
    screen.print_json(summary) if json else screen.print_summary(summary, run)


@app.command()
def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    from . import screen
    from .recipe import schema as recipe_schema

    screen.print_json(recipe_schema())


@app.command()
def doctor(json: Json = False) -> None:
    """Say what of this computer and its packages is fit for use; exit status 3 if something needed is missing."""
    from dataclasses import asdict

    from . import screen
    from .doctor import examine

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
        return _run(arguments, debug, interrupted)
    finally:
        with suppress(ValueError):
            signal.signal(signal.SIGINT, usual)


def _run(arguments: list[str], debug: bool, interrupted: list[int]) -> int:
    try:
        done = app(arguments, standalone_mode=False)
        if done == INTERRUPTED:  # Typer makes this of Ctrl-C.
            return _interrupted(arguments)
        return done if isinstance(done, int) else 0
    except typer.Exit as stop:
        return int(stop.exit_code)
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
    except BrokenPipeError:
        sys.stderr.close()
        return 0
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
