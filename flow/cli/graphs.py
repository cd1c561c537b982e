"""The commands on graphs. Imports nothing heavy: every command loads what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bnnflow import CHECK_FAILED, Problem

from ..run.files import check_file, check_folder
from .options import Contract, DataDir, GraphFile, ImagesOrContract, Json, useless

Rate = Annotated[
    float | None,
    typer.Option(min=0.001, max=1e9, help="Rate to fold for, images a second; default: 10,000.", show_default=False),
]
Folding = Annotated[
    Path | None,
    typer.Option(
        help="FINN's folding file (.json); with --fps, that is for what the file leaves out.", show_default=False
    ),
]
TopK = Annotated[
    int,
    typer.Option(
        "--top-k", min=0, help="Add LabelSelect for the K best classes where the network has none; 0: do not."
    ),
]
KeepShape = Annotated[
    bool,
    typer.Option(
        "--keep-shape", help="Keep neurons that are constant, repeated or never read, so that FINN's foldings fit."
    ),
]
Depth = Annotated[int, typer.Option("--fifo", min=0, help="Depth of every FIFO, in words; 0: unbounded.")]
Depths = Annotated[
    Path | None,
    typer.Option(
        "--fifo-depths",
        help='JSON with depths of single FIFOs: {"conv0 -> conv1": 32}, FINN\'s StreamingFIFO_rtl_0 with depth, '
        "or inFIFODepths and outFIFODepths of units; default: what the folding file says of them.",
        show_default=False,
    ),
]
DataName = Annotated[str, typer.Option("--data", help="Data set to test on, as `flow data` lists them.")]


def compile_command(
    context: typer.Context,
    graph: GraphFile,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the files; default: <name>_compiled.")
    ] = None,
    to: Annotated[str, typer.Option(metavar="LEVEL", help="Last level: integer, xnor or dataflow.")] = "dataflow",
    check: Annotated[
        bool, typer.Option("--check", help="Stop at the pass that changes a bit on probe images.")
    ] = False,
    dump: Annotated[
        bool, typer.Option("--dump", help="Leave every pass's graph in <output>/passes, as text and ONNX.")
    ] = False,
    time: Annotated[bool, typer.Option("--time", help="Print the CPU time of reading and of every pass.")] = False,
    finn_base: Annotated[
        bool, typer.Option("--finn-base", help="Write the integer and xnor levels as finn-base 0.0.3 loads them.")
    ] = False,
    finn_plus: Annotated[bool, typer.Option("--finn-plus", help="Use the units and names of finn-plus 1.6.")] = False,
    input: Contract = None,
    top_k: TopK = 0,
    keep_shape: KeepShape = False,
    json: Json = False,
) -> None:
    """Compile an ONNX file to integers, to popcounts and to FINN's dataflow units; one ONNX and text file a level."""
    from ..commands.compile import compile_file
    from ..graphs import inputs
    from ..show import graphs as screen_graphs
    from ..show import terminal as screen

    if to in ("integer", "xnor"):
        useless(context, ["finn_plus"], "at the integer and xnor levels", "compile to dataflow, or leave it out")
    folder = output or Path(f"{graph.stem}_compiled")
    check_folder(folder)
    found = compile_file(
        graph,
        folder,
        to,
        check,
        dump,
        finn_base,
        finn_plus,
        inputs.contract_of(input),
        top_k=top_k,
        keep_shape=keep_shape,
    )
    screen.print_json(found) if json else screen_graphs.print_compiled(found, time)


def ops(json: Json = False) -> None:
    """List the operators that can be read, and the passes that compile them."""
    from ...transforms.passes.compile import STAGES
    from ...transforms.reading.read import operator_help
    from ..show import graphs as screen_graphs
    from ..show import terminal as screen

    operators = operator_help()
    passes = [
        {"level": level, "name": step.name, "does": " ".join((type(step).__doc__ or "").split("\n\n")[0].split())}
        for level, steps in STAGES
        for step in steps
    ]
    screen.print_json({"operators": operators, "passes": passes}) if json else screen_graphs.print_ops(
        operators, passes
    )


def simulate(
    context: typer.Context,
    graph: GraphFile,
    input: ImagesOrContract = None,
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
    from ...sim.inputs import graph_inputs, image_inputs
    from ..commands import graphs
    from ..graphs import inputs
    from ..show import graphs as screen_graphs
    from ..show import terminal as screen

    if not data:
        useless(context, ["data_dir"], "without --data", "name the data set with --data")
    pictures, contract = inputs.images_and_contract(input)
    for place in graphs.result_files(output, tap or []) if output is not None else []:
        check_file(place, (".npy", ".csv"), [graph, pictures, labels])
    opened = inputs.open_graph(graph, contract)
    truth = None
    if pictures is not None and not data:
        stored = inputs.load_array(pictures, "input")
        truth = None if labels is None else inputs.load_array(labels, "labels")
        if truth is not None and stored.shape[1:] == opened.input_type.shape and len(truth) != len(stored):
            raise Problem(f"{len(truth)} labels for {len(stored)} images", str(labels), "give one label an image")
        pixels, truth = graph_inputs(opened, stored[:images]), None if truth is None else truth[:images]
    elif data and pictures is None and labels is None:
        stored, truth = inputs.test_images(data, data_dir, images)
        pixels = image_inputs(opened, stored)
    else:
        hint = "for example --data digits, or --input X.npy --labels L.npy"
        both = data and (pictures is not None or labels is not None)
        missing = (
            "either --input or --data is needed" if contract is None else "--input says what images hold, not which"
        )
        what = "--data has images and labels of its own" if both else missing
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
        "input": inputs.input_facts(opened),
    }
    screen.print_json(found) if json else screen_graphs.print_simulation(found)


def speed(
    graph: GraphFile,
    images: Annotated[int, typer.Option(min=1, help="Images a run.")] = 1000,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 1,
    part: Annotated[str, typer.Option(help="FPGA part of the accelerator.")] = "xc7z020clg400-1",
    clock_mhz: Annotated[float, typer.Option(min=1, max=1000, help="Its clock in MHz.")] = 100,
    fps: Annotated[float, typer.Option(min=0.001, max=1e9, help="Rate to fold it for, images a second.")] = 10_000,
    input: Contract = None,
    json: Json = False,
) -> None:
    """Images a second and latency: torch (beside weights.pt), onnxruntime, OpenVINO, our simulator, the accelerator."""
    from ..commands import graphs
    from ..graphs import inputs
    from ..show import graphs as screen_graphs
    from ..show import terminal as screen

    found = graphs.speed(graph, images, threads, part, clock_mhz, fps, inputs.contract_of(input))
    screen.print_json(found) if json else screen_graphs.print_speed(found)


def estimate(
    graph: GraphFile,
    part: Annotated[str, typer.Option(help="FPGA part.")] = "xc7z020clg400-1",
    clock_mhz: Annotated[float, typer.Option(min=1, max=1000, help="Clock in MHz.")] = 100,
    fps: Rate = None,
    cost_model: Annotated[
        str, typer.Option(help="exact: widths that hold every sum; finn: FINN's figures digit for digit.")
    ] = "exact",
    folding: Folding = None,
    fifo: Depth = 2,
    fifo_depths: Depths = None,
    finn_plus: Annotated[bool, typer.Option("--finn-plus", help="Compile to the units of finn-plus 1.6.")] = False,
    top_k: TopK = 0,
    keep_shape: KeepShape = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Write the folded graph: a name ending in .onnx, or a folder.", show_default=False
        ),
    ] = None,
    unrolled: Annotated[
        bool, typer.Option("--unrolled", help="Also count every layer with its weights built in (PE = MH, SIMD = MW).")
    ] = False,
    input: Contract = None,
    json: Json = False,
) -> None:
    """Fold a graph for a rate and estimate cycles, LUTs and block RAMs of every unit."""
    from ...build.parts import part as part_of
    from ..commands import graphs
    from ..graphs import folding as folds
    from ..graphs import inputs
    from ..show import graphs as screen_graphs
    from ..show import terminal as screen

    if output is not None and output.suffix:
        check_file(output, (".onnx",), [graph, folding])
    wanted = folds.Wanted(part_of(part), clock_mhz, fps, folding, finn_plus, top_k, keep_shape)
    depths = graphs.Fifos(fifo, fifo_depths)
    opened = inputs.open_graph(graph, inputs.contract_of(input))
    found = graphs.estimate(opened, wanted, cost_model, depths, output, unrolled)
    screen.print_json(found) if json else screen_graphs.print_estimate(found)


def cycles(
    context: typer.Context,
    graph: GraphFile,
    part: Annotated[str, typer.Option(help="FPGA part.")] = "xc7z020clg400-1",
    clock_mhz: Annotated[float, typer.Option(min=1, max=1000, help="Clock in MHz.")] = 100,
    fps: Rate = None,
    folding: Folding = None,
    images: Annotated[int, typer.Option(min=1, help="Images to send, one behind the other.")] = 3,
    fifo: Depth = 2,
    fifo_depths: Depths = None,
    finn_plus: Annotated[bool, typer.Option("--finn-plus", help="Compile to the units of finn-plus 1.6.")] = False,
    input: Contract = None,
    top_k: TopK = 0,
    keep_shape: KeepShape = False,
    json: Json = False,
) -> None:
    """Fold a graph for a rate and simulate when every word moves; exit status 1 if the FIFOs deadlock."""
    from ...build.parts import part as part_of
    from ..commands import graphs
    from ..graphs import folding as folds
    from ..graphs import inputs
    from ..show import graphs as screen_graphs
    from ..show import terminal as screen

    if folding is not None and fps is None:
        useless(context, ["part"], "beside a folding file", "leave it out, or give --fps for what the file leaves out")
    wanted = folds.Wanted(part_of(part), clock_mhz, fps, folding, finn_plus, top_k, keep_shape)
    opened = inputs.open_graph(graph, inputs.contract_of(input))
    found = graphs.cycles(opened, wanted, images, graphs.Fifos(fifo, fifo_depths))
    screen.print_json(found) if json else screen_graphs.print_cycles(found)
    if found["deadlock"] is not None:
        raise typer.Exit(CHECK_FAILED)
