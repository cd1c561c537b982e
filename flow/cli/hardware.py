"""The commands that make hardware of a graph. Imports nothing heavy: every command loads what it needs when it runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from bnnflow import CHECK_FAILED, Problem

from .commands import examples
from .declare import Key, Own
from .graphs import Control, Depths, Folding, KeepShape, Protect, Rate, Scrub, Sets, TopK
from .options import OF_RUN, ClockOf, Contract, DataDir, DataName, HardwareOf, ImagesOrContract, Json, PartOf, useless


def families() -> tuple[str, ...]:
    """FPGA families that yosys maps to."""
    from ...build.synth.families import FAMILIES

    return tuple(FAMILIES)


@dataclass(frozen=True, slots=True)
class Hardware:
    """Options of every command that makes hardware: what a graph is folded for, and what the hardware is to have."""

    clock_mhz: ClockOf = None
    fps: Rate = None
    folding: Folding = None
    fifo: Annotated[int | None, Key("rtl.fifo", default=OF_RUN)] = None
    fifo_depths: Depths = None
    control: Control = None
    sets: Sets = None
    protect: Protect = None
    scrub: Scrub = None
    primitives: Annotated[str | None, Key("rtl.primitives", default=OF_RUN)] = None
    top_k: TopK = 0
    keep_shape: KeepShape = False

    def given(self) -> dict[str, Any]:
        """As `bnnflow` takes them in Python."""
        return asdict(self)


_UNSAID = Hardware()


@examples(
    "flow rtl net.onnx --fps 10000 -o hardware",
    "flow rtl net.onnx --fps 10000 --protect secded-72-64 --sets 2",
    "flow rtl net.onnx --fps 10000 --protect conv0.weights=tmr,dense3=parity",
    "flow rtl runs/digits -o hardware  # As that run folded it.",
)
def rtl(
    graph: HardwareOf,
    output: Annotated[Path | None, Own("Folder for the files.", ("-o", "--output"), default="<name>_rtl")] = None,
    part: PartOf = None,
    hardware: Hardware = _UNSAID,
    input: Contract = None,
    json: Json = False,
) -> None:
    """Fold a graph for a rate and write it as SystemVerilog.

    Library, top, memories, list of files, constraints.
    """
    from ..api.graphs import load
    from ..show import hardware as screen_hardware
    from ..show import terminal as screen

    opened = load(graph, input)
    found = opened.rtl(
        output or Path(f"{graph.stem if opened.recipe is None else opened.graph.name}_rtl"),
        part=part,
        **hardware.given(),
    )
    screen.print_json(found) if json else screen_hardware.print_rtl(found)


@examples(
    "flow cosim net.onnx --fps 10000",
    "flow cosim runs/digits --data digits --images 360 --stalls 3",
    "flow cosim net.onnx --input x.npy -o hardware  # Leaves the hardware's files.",
    "flow cosim runs/digits --map device.npz  # With the wrong cells of one device.",
)
def cosim(
    context: typer.Context,
    graph: HardwareOf,
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
    fault_map: Annotated[
        Path | None,
        Own("Wrong cells of the folded graph's memories (.npz, .csv), as `flow faults --save-map` writes.", ("--map",)),
    ] = None,
    part: PartOf = None,
    hardware: Hardware = _UNSAID,
    json: Json = False,
) -> None:
    """Simulate a graph's hardware by Verilator, and compare.

    Every value, cycle and FIFO is held against the simulators. Exit status 1 if anything differs or takes longer than
    --timeout, 3 if Verilator or a C++ compiler is missing.
    """
    from ..api.graphs import LoadedGraph
    from ..graphs import inputs, of_runs
    from ..show import hardware as screen_hardware
    from ..show import terminal as screen

    if not data:
        useless(context, ["data_dir"], "without --data", "name the data set with --data")
    pictures, contract = inputs.images_and_contract(input)
    source = of_runs.networks(graph, contract)
    found = LoadedGraph(source.graphs[source.first], source.files[source.first], source.recipe).cosim(
        pictures,
        data=data,
        data_dir=data_dir,
        count=images,
        stalls=stalls,
        seed=seed,
        seconds=timeout,
        structural=structural,
        folder=output,
        fault_map=fault_map,
        part=part,
        **hardware.given(),
    )
    screen.print_json(found) if json else screen_hardware.print_cosim(found)
    if not found.equal:
        raise typer.Exit(CHECK_FAILED)


@examples(
    "flow activity runs/digits --data digits  # Both networks of the run.",
    "flow activity net.onnx --fps 10000 --data digits --images 50 -o net.saif",
)
def activity(
    context: typer.Context,
    graph: HardwareOf,
    input: ImagesOrContract = None,
    data: DataName = "",
    data_dir: DataDir = None,
    images: Annotated[
        int, Own("Images: the first so many, or drawn ones where none are given; the first is not counted.", least=2)
    ] = 20,
    seed: Annotated[int, Own("Of drawn images.", least=0)] = 0,
    timeout: Annotated[
        float | None, Own("Seconds that a build or a run may take.", above=0, default="no limit")
    ] = None,
    output: Annotated[
        Path | None,
        Own("Write every bit to this file (.saif), for a vendor's power tool; of one network.", ("-o", "--output")),
    ] = None,
    part: PartOf = None,
    hardware: Hardware = _UNSAID,
    json: Json = False,
) -> None:
    """Count how often bits of a graph's hardware change with an image, unit by unit, by Verilator.

    A relative figure of power, beside the energy that is counted; of a run both networks. What a bit's change takes is
    not in it. Exit status 1 if it takes longer than --timeout, 3 if Verilator or a C++ compiler is missing.
    """
    from ..api.graphs import LoadedGraph
    from ..graphs import inputs, of_runs
    from ..show import hardware as screen_hardware
    from ..show import terminal as screen

    if not data:
        useless(context, ["data_dir"], "without --data", "name the data set with --data")
    pictures, contract = inputs.images_and_contract(input)
    source = of_runs.networks(graph, contract)
    if output is not None and len(source.graphs) > 1:
        what, hint = "one file is not for two networks", f"give one of them: {graph}/{source.first}"
        raise Problem(what, "--output", hint)
    found = {
        name: LoadedGraph(one, source.files[name], source.recipe).activity(
            pictures,
            data=data,
            data_dir=data_dir,
            count=images,
            seed=seed,
            seconds=timeout,
            saif=output,
            part=part,
            **hardware.given(),
        )
        for name, one in source.graphs.items()
    }
    screen.print_json(found) if json else screen_hardware.print_activity(found)


@examples(
    "flow synth runs/digits  # Both networks, as that run folded them.",
    "flow synth net.onnx --fps 10000 --whole",
    "flow synth net.onnx --fps 10000 --unit conv1 --family ecp5",
)
def synth(
    graph: HardwareOf,
    unit: Annotated[
        list[str] | None, Own("Only this unit; may be given several times.", ("--unit",), default="all of them")
    ] = None,
    family: Annotated[str, Own("FPGA family to map to.", choices=families, default="that of --part")] = "",
    whole: Annotated[bool, Own("Also map all of it as one netlist: minutes for large networks.")] = False,
    jobs: Annotated[int | None, Own("Netlists at a time.", least=1, default="one a processor, at most 4")] = None,
    timeout: Annotated[float | None, Own("Seconds that a netlist may take.", above=0, default="no limit")] = None,
    part: PartOf = None,
    hardware: Hardware = _UNSAID,
    input: Contract = None,
    json: Json = False,
) -> None:
    """Map a graph's hardware to an FPGA's cells by yosys, unit by unit.

    Of a run both networks. Results are kept by content, so that no unit is mapped twice. Cells before placing; beside
    them what was estimated. Exit status 3 if yosys is missing.
    """
    from ..api.hardware import synth as work
    from ..show import hardware as screen_hardware
    from ..show import terminal as screen

    with screen.Bar("synthesis", quiet=json) as bar:
        found = work(
            graph,
            units=unit or (),
            family=family,
            whole=whole,
            jobs=jobs,
            seconds=timeout,
            progress=bar.update,
            part=part,
            input=input,
            **hardware.given(),
        )
    screen.print_json(found) if json else screen_hardware.print_synthesis(found)


@examples(
    "flow route net.onnx --fps 10000 --part lfe5u-85f",
    "flow route net.onnx --part ice40up5k --clock-mhz 24 --seeds 4",
    "flow route runs/digits --part ULX3S --unit conv1  # One unit by itself.",
)
def route(
    graph: HardwareOf,
    unit: Annotated[
        list[str] | None,
        Own("Place this unit by itself; may be given several times.", ("--unit",), default="all of them, together"),
    ] = None,
    part: Annotated[str | None, Key("route.part", default="the run's route.part, or its target.part")] = None,
    grade: Annotated[str | None, Key("route.grade", default=OF_RUN)] = None,
    seeds: Annotated[int | None, Key("route.seeds", default=OF_RUN)] = None,
    jobs: Annotated[int | None, Own("Runs at a time.", least=1, default="one a processor, at most 4")] = None,
    timeout: Annotated[
        float | None, Own("Seconds that yosys and nextpnr may take each.", above=0, default="no limit")
    ] = None,
    hardware: Hardware = _UNSAID,
    input: Contract = None,
    json: Json = False,
) -> None:
    """Place and route a graph's hardware by nextpnr: the clock that it runs at on a part.

    Of a run both networks. For Lattice ECP5 and iCE40, which open tools place. Results are kept by content. Exit status
    1 if the clock that was asked for is not reached or the hardware does not fit, 3 if yosys or nextpnr is missing.
    """
    from ..api.hardware import route as work
    from ..show import hardware as screen_hardware
    from ..show import terminal as screen

    with screen.Bar("placing and routing", quiet=json) as bar:
        found = work(
            graph,
            units=unit or (),
            grade=grade,
            seeds=seeds,
            jobs=jobs,
            seconds=timeout,
            progress=bar.update,
            part=part,
            input=input,
            **hardware.given(),
        )
    screen.print_json(found) if json else screen_hardware.print_routing(found)
    if any(one.reached is False for one in found.networks.values()):
        raise typer.Exit(CHECK_FAILED)


@examples(
    "flow parts",
    "flow parts ecp5",
    "flow parts Pynq-Z2  # All that is known of one part, named by its number or a board.",
)
def parts(
    name: Annotated[
        list[str] | None,
        Own(
            "A part number, a board or a .yaml file of a part: what it holds. Else words that are to stand in a row.",
            argument=True,
            metavar="NAME",
            default="all parts",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List FPGA parts: what they hold, and boards that carry them.

    A part is named in the same ways by `target.part` of a recipe and by --part. A part of yours is a YAML file.
    """
    from ..commands.parts import facts, is_one, listed
    from ..show import parts as screen_parts
    from ..show import terminal as screen

    words = name or []
    if len(words) == 1 and is_one(words[0]):
        one = facts(words[0])
        screen.print_json(one) if json else screen_parts.print_part(one)
        return
    found = listed(words)
    screen.print_json(found) if json else screen_parts.print_parts(found)
