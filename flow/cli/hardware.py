"""The commands that make hardware of a graph. Imports nothing heavy: every command loads what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bnnflow import CHECK_FAILED

from .commands import examples
from .declare import KEY, Key, Own
from .graphs import Depths, Folding, KeepShape, Rate, TopK
from .options import Clock, Contract, DataDir, DataName, GraphFile, ImagesOrContract, Json, Part, useless

HardwareDepth = Annotated[
    int, Own("Depth of every FIFO, in words; those that would cost rate are made deeper.", ("--fifo",), least=1)
]
Primitives = Annotated[str, Key("rtl.primitives")]


@examples(
    "flow rtl net.onnx --fps 10000 -o hardware",
    "flow rtl net.onnx --fps 10000 --primitives xc7",
    "flow rtl runs/digits/pruned/intermediate_models/4_folded.onnx -o hardware  # As that run folded it.",
)
def rtl(
    context: typer.Context,
    graph: GraphFile,
    output: Annotated[Path | None, Own("Folder for the files.", ("-o", "--output"), default="<name>_rtl")] = None,
    part: Part = KEY,
    clock_mhz: Clock = KEY,
    fps: Rate = None,
    folding: Folding = None,
    fifo: HardwareDepth = 2,
    fifo_depths: Depths = None,
    primitives: Primitives = KEY,
    input: Contract = None,
    top_k: TopK = 0,
    keep_shape: KeepShape = False,
    json: Json = False,
) -> None:
    """Fold a graph for a rate and write it as SystemVerilog.

    Library, top, memories, list of files, constraints.
    """
    from ..api.graphs import load
    from ..show import hardware as screen_hardware
    from ..show import terminal as screen

    _with_folding(context, folding, fps)
    found = load(graph, input).rtl(
        output or Path(f"{graph.stem}_rtl"),
        fps,
        part=part,
        clock_mhz=clock_mhz,
        folding=folding,
        fifo=fifo,
        fifo_depths=fifo_depths,
        primitives=primitives,
        top_k=top_k,
        keep_shape=keep_shape,
    )
    screen.print_json(found) if json else screen_hardware.print_rtl(found)


@examples(
    "flow cosim net.onnx --fps 10000",
    "flow cosim net.onnx --data digits --images 360 --stalls 3",
    "flow cosim net.onnx --input x.npy -o hardware  # Leaves the hardware's files.",
)
def cosim(
    context: typer.Context,
    graph: GraphFile,
    input: ImagesOrContract = None,
    data: DataName = "",
    data_dir: DataDir = None,
    images: Annotated[int, Own("Images: the first so many, or drawn ones where none are given.", least=1)] = 20,
    stalls: Annotated[int, Own("Further runs in which both ends stall at random.", least=0)] = 3,
    seed: Annotated[int, Own("Of drawn images and of stalls.", least=0)] = 0,
    timeout: Annotated[
        float | None, Own("Seconds that a build or a run may take.", above=0, default="no limit")
    ] = None,
    structural: Annotated[bool, Own("Simulate counts and sums as they are built from LUTs: slower.")] = False,
    output: Annotated[
        Path | None,
        Own(
            "Leave the hardware, and the waveform of a difference, in this folder.",
            ("-o", "--output"),
            default="nowhere",
        ),
    ] = None,
    part: Part = KEY,
    clock_mhz: Clock = KEY,
    fps: Rate = None,
    folding: Folding = None,
    fifo: HardwareDepth = 2,
    fifo_depths: Depths = None,
    primitives: Primitives = KEY,
    top_k: TopK = 0,
    keep_shape: KeepShape = False,
    json: Json = False,
) -> None:
    """Simulate a graph's hardware by Verilator, and compare.

    Every value, cycle and FIFO is held against the simulators. Exit status 1 if anything differs or takes longer than
    --timeout, 3 if Verilator or a C++ compiler is missing.
    """
    from ..api.graphs import LoadedGraph
    from ..graphs import inputs
    from ..show import hardware as screen_hardware
    from ..show import terminal as screen

    if not data:
        useless(context, ["data_dir"], "without --data", "name the data set with --data")
    _with_folding(context, folding, fps)
    pictures, contract = inputs.images_and_contract(input)
    found = LoadedGraph(inputs.open_graph(graph, contract), graph).cosim(
        pictures,
        fps,
        data=data,
        data_dir=data_dir,
        count=images,
        stalls=stalls,
        seed=seed,
        seconds=timeout,
        structural=structural,
        folder=output,
        part=part,
        clock_mhz=clock_mhz,
        folding=folding,
        fifo=fifo,
        fifo_depths=fifo_depths,
        primitives=primitives,
        top_k=top_k,
        keep_shape=keep_shape,
    )
    screen.print_json(found) if json else screen_hardware.print_cosim(found)
    if not found.equal:
        raise typer.Exit(CHECK_FAILED)


def _with_folding(context: typer.Context, folding: Path | None, fps: float | None) -> None:
    if folding is not None and fps is None:
        useless(context, ["part"], "beside a folding file", "leave it out, or give --fps for what the file leaves out")
