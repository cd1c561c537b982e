"""The commands on graphs. Imports nothing heavy: every command loads what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bnnflow import CHECK_FAILED, Problem

from .commands import examples
from .declare import KEY, Key, Own
from .options import (
    OF_RUN,
    Clock,
    ClockOf,
    Contract,
    DataDir,
    DataName,
    Device,
    GraphFile,
    HardwareOf,
    ImagesOrContract,
    Json,
    Part,
    PartOf,
    useless,
)

Rate = Annotated[
    float | None,
    Key(
        "target.fps",
        help="Rate to fold for, images per second.",
        default="{field}, or as the graph or --folding is folded",
    ),
]
Folding = Annotated[Path | None, Own("FINN's folding file (.json); with --fps, that is for what the file leaves out.")]
Calibration = Annotated[
    Path | None,
    Own(
        "What `flow calibrate -o` wrote, by which our hardware is counted.", default="the table that comes with bnnflow"
    ),
]
TopK = Annotated[
    int, Own("Add LabelSelect for the K best classes where the network has none; 0: do not.", ("--top-k",), least=0)
]
KeepShape = Annotated[
    bool,
    Own("Keep neurons that are constant, repeated or never read, so that FINN's foldings fit.", ("--keep-shape",)),
]
# What a host is to ask of hardware.
Control = Annotated[bool | None, Key("rtl.control", default=OF_RUN)]
Sets = Annotated[int | None, Key("rtl.sets", default=OF_RUN)]
Protect = Annotated[str | None, Key("rtl.protect", metavar="CODES", default=OF_RUN)]
Scrub = Annotated[bool | None, Key("rtl.scrub", default=OF_RUN)]
Depth = Annotated[
    int | None,
    Own("Depth of every FIFO, in words; 0: unbounded.", ("--fifo",), least=0, default="2, or the run's rtl.fifo"),
]
Depths = Annotated[
    Path | None,
    Own(
        'JSON with depths of single FIFOs: {"conv0 -> conv1": 32}, FINN\'s StreamingFIFO_rtl_0 with depth, or '
        "inFIFODepths and outFIFODepths of units.",
        ("--fifo-depths",),
        default="what the folding file says of them",
    ),
]
FinnPlus = Annotated[bool, Own("Use the units and names of finn-plus 1.6.", ("--finn-plus",))]


@examples(
    "flow compile net.onnx",
    "flow compile net.onnx --input uint8 --check -o compiled  # Simulate before and after each pass.",
)
def compile_command(
    context: typer.Context,
    graph: GraphFile,
    output: Annotated[Path | None, Own("Folder for the files.", ("-o", "--output"), default="<name>_compiled")] = None,
    to: Annotated[str, Own("Last level.", choices=("integer", "xnor", "dataflow"))] = "dataflow",
    check: Annotated[bool, Own("Stop at the pass that changes a bit on probe images.", ("--check",))] = False,
    dump: Annotated[bool, Own("Leave every pass's graph in <output>/passes, as text and ONNX.", ("--dump",))] = False,
    time: Annotated[bool, Own("Print the CPU time of reading and of every pass.", ("--time",))] = False,
    finn_base: Annotated[
        bool, Own("Write the integer and xnor levels as finn-base 0.0.3 loads them.", ("--finn-base",))
    ] = False,
    finn_plus: FinnPlus = False,
    input: Contract = None,
    top_k: TopK = 0,
    keep_shape: KeepShape = False,
    json: Json = False,
) -> None:
    """Compile an ONNX file to integers, popcounts and FINN's units.

    One ONNX and one text file a level.
    """
    from ..api.graphs import compile_file
    from ..show import graphs as screen_graphs
    from ..show import terminal as screen

    if to in ("integer", "xnor"):
        useless(context, ["finn_plus"], "at the integer and xnor levels", "compile to dataflow, or leave it out")
    found = compile_file(
        graph,
        output,
        to=to,
        check=check,
        dump=dump,
        finn_base=finn_base,
        finn_plus=finn_plus,
        input=input,
        top_k=top_k,
        keep_shape=keep_shape,
    )
    screen.print_json(found) if json else screen_graphs.print_compiled(found, time)


def ops(json: Json = False) -> None:
    """List the operators that can be read, and the passes."""
    from ...transforms.passes.compile import STAGES
    from ...transforms.reading.read import operator_help
    from ..results.graphs import Operators, PassDoc
    from ..show import graphs as screen_graphs
    from ..show import terminal as screen

    passes = [
        PassDoc(level=level, name=step.name, does=" ".join((type(step).__doc__ or "").split("\n\n")[0].split()))
        for level, steps in STAGES
        for step in steps
    ]
    found = Operators(operators=operator_help(), passes=passes)
    screen.print_json(found) if json else screen_graphs.print_ops(found)


@examples(
    "flow simulate net.onnx --data digits",
    "flow simulate net.onnx --input uint8 --input x.npy --labels y.npy",
    "flow simulate net.onnx --input x.npy --output scores.npy --tap conv0  # Scores, and a tensor beside them.",
)
def simulate(
    context: typer.Context,
    graph: GraphFile,
    input: ImagesOrContract = None,
    output: Annotated[Path | None, Own("Write class scores as .npy or .csv, a row per image.")] = None,
    labels: Annotated[Path | None, Own("Labels as .npy, for the accuracy.")] = None,
    data: DataName = "",
    data_dir: DataDir = None,
    images: Annotated[int | None, Own("Use only the first so many.", least=1, default="all")] = None,
    batch: Annotated[int | None, Own("Images at a time.", least=1, default="what suits the network")] = None,
    threads: Annotated[int, Key("speed.threads", more="The bits do not depend on it.")] = KEY,
    device: Device = "cpu",
    tap: Annotated[list[str] | None, Own("Write this tensor too, beside --output. May be given several times.")] = None,
    json: Json = False,
) -> None:
    """Run a graph bit for bit on images of a file or a data set.

    Accuracy and confusion where labels are known.
    """
    from ..api.graphs import LoadedGraph
    from ..graphs import inputs
    from ..show import graphs as screen_graphs
    from ..show import terminal as screen

    if not data:
        useless(context, ["data_dir"], "without --data", "name the data set with --data")
    pictures, contract = inputs.images_and_contract(input)
    opened = LoadedGraph(inputs.open_graph(graph, contract), graph)
    if pictures is None and contract is not None and not data:
        hint = "for example --data digits, or --input X.npy --labels L.npy"
        raise Problem("--input says what images hold, not which", "flow simulate", hint)
    found = opened.simulate(
        pictures,
        labels,
        data=data,
        data_dir=data_dir,
        count=images,
        batch=batch,
        threads=threads,
        device=device,
        taps=tap or (),
        output=output,
    )
    screen.print_json(found) if json else screen_graphs.print_simulation(found)


@examples("flow speed runs/model/base/network.onnx --images 100")
def speed(
    graph: GraphFile,
    images: Annotated[int, Key("speed.images")] = KEY,
    threads: Annotated[int, Key("speed.threads")] = KEY,
    part: Part = KEY,
    clock_mhz: Clock = KEY,
    fps: Annotated[float, Key("target.fps", help="Rate to fold the accelerator for, images per second.")] = KEY,
    input: Contract = None,
    json: Json = False,
) -> None:
    """Images a second and latency, here and in the accelerator.

    In torch (where weights.pt lies beside the file), onnxruntime, OpenVINO and our simulator.
    """
    from ..commands import graphs
    from ..graphs import inputs
    from ..show import graphs as screen_graphs
    from ..show import terminal as screen

    found = graphs.speed(graph, images, threads, part, clock_mhz, fps, inputs.contract_of(input))
    screen.print_json(found) if json else screen_graphs.print_speed(found)


def _list(json: bool) -> None:
    from ..show.entries import cost_entries, print_entries

    print_entries(cost_entries(), json)


def _cost_models() -> tuple[str, ...]:
    from ...build.cost_models import COST_MODELS

    return tuple(COST_MODELS)


@examples(
    "flow estimate net.onnx --fps 10000",
    "flow estimate net.onnx --part xczu3eg-sbva484-1-e --clock-mhz 200 --fps 50000 -o folded.onnx",
    "flow estimate net.onnx --folding folding.json --cost-model finn  # FINN's figures, digit for digit.",
)
def estimate(
    graph: HardwareOf,
    part: PartOf = None,
    clock_mhz: ClockOf = None,
    fps: Rate = None,
    cost_model: Annotated[
        str | None,
        Own(
            "Folds and counts. bnnflow: our own hardware; exact, finn: FINN's; --list says all.",
            choices=_cost_models,
            default="bnnflow, or exact for parts and units that it does not know",
        ),
    ] = None,
    calibration: Calibration = None,
    folding: Folding = None,
    fifo: Depth = None,
    fifo_depths: Depths = None,
    finn_plus: FinnPlus = False,
    top_k: TopK = 0,
    keep_shape: KeepShape = False,
    output: Annotated[
        Path | None, Own("Write the folded graph: a name ending in .onnx, or a folder.", ("-o", "--output"))
    ] = None,
    unrolled: Annotated[
        bool, Own("Also count every layer with its weights built in (PE = MH, SIMD = MW).", ("--unrolled",))
    ] = False,
    control: Control = None,
    sets: Sets = None,
    protect: Protect = None,
    scrub: Scrub = None,
    input: Contract = None,
    listed: Annotated[bool, Own("List cost models and parts, and end.", ("--list",), instead=_list)] = False,
    json: Json = False,
) -> None:
    """Fold a graph for a rate; cycles, LUTs, RAMs of every unit."""
    from ..api.graphs import load
    from ..show import graphs as screen_graphs
    from ..show import terminal as screen

    found = load(graph, input).estimate(
        fps,
        part=part,
        clock_mhz=clock_mhz,
        folding=folding,
        cost_model=cost_model,
        calibration=calibration,
        fifo=fifo,
        fifo_depths=fifo_depths,
        finn_plus=finn_plus,
        top_k=top_k,
        keep_shape=keep_shape,
        output=output,
        unrolled=unrolled,
        control=control,
        sets=sets,
        protect=protect,
        scrub=scrub,
    )
    screen.print_json(found) if json else screen_graphs.print_estimate(found)


@examples("flow cycles net.onnx --fps 10000", "flow cycles net.onnx --fps 10000 --fifo 16 --fifo-depths depths.json")
def cycles(
    context: typer.Context,
    graph: HardwareOf,
    part: PartOf = None,
    clock_mhz: ClockOf = None,
    fps: Rate = None,
    folding: Folding = None,
    images: Annotated[int, Own("Images to send, one behind the other.", least=2)] = 3,
    fifo: Depth = None,
    fifo_depths: Depths = None,
    finn_plus: FinnPlus = False,
    input: Contract = None,
    top_k: TopK = 0,
    keep_shape: KeepShape = False,
    json: Json = False,
) -> None:
    """Fold a graph for a rate and simulate when every word moves.

    Exit status 1 if the FIFOs deadlock.
    """
    from ..api.graphs import load
    from ..show import graphs as screen_graphs
    from ..show import terminal as screen

    if folding is not None and fps is None:
        useless(context, ["part"], "beside a folding file", "leave it out, or give --fps for what the file leaves out")
    found = load(graph, input).cycles(
        fps,
        part=part,
        clock_mhz=clock_mhz,
        folding=folding,
        count=images,
        fifo=fifo,
        fifo_depths=fifo_depths,
        finn_plus=finn_plus,
        top_k=top_k,
        keep_shape=keep_shape,
    )
    screen.print_json(found) if json else screen_graphs.print_cycles(found)
    if found.deadlock is not None:
        raise typer.Exit(CHECK_FAILED)
