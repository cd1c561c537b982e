"""The commands about what hardware costs. Imports nothing heavy: every command loads what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from .commands import examples
from .declare import Key, Own
from .graphs import Calibration, KeepShape, TopK
from .hardware import families
from .options import ClockOf, Contract, HardwareOf, Json, PartOf


@examples(
    "flow explore net.onnx --part Pynq-Z2  # The whole front.",
    "flow explore net.onnx --fps 10000 -o folded.onnx  # The cheapest design of that rate.",
    "flow explore runs/digits --pick 12 -o folded --csv designs.csv --plot designs.svg",
    "flow explore net.onnx --fps 10000 --widths",
)
def explore(
    graph: HardwareOf,
    part: PartOf = None,
    clock_mhz: ClockOf = None,
    fps: Annotated[
        float | None,
        Key(
            "target.fps",
            help="Images per second at least; the cheapest design of them is the wanted one.",
            default="any, and none is wanted",
        ),
    ] = None,
    latency_us: Annotated[
        float | None, Own("Microseconds that the first image may take; simulated.", above=0, default="any")
    ] = None,
    lut: Annotated[int | None, Own("LUTs that a design may take.", least=1, default="the part's")] = None,
    bram18: Annotated[
        int | None, Own("Block RAMs of 18 kbit that a design may take.", least=0, default="the part's")
    ] = None,
    points: Annotated[int, Own("Designs that are shown.", least=1)] = 20,
    pick: Annotated[
        int | None,
        Own(
            "Number of the design that is wanted.",
            least=1,
            default="the cheapest, where a rate, a latency or -o is given",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        Own(
            "Write the wanted design: a name ending in .onnx, or a folder; with FINN's folding file.",
            ("-o", "--output"),
        ),
    ] = None,
    csv: Annotated[Path | None, Own("Write all designs, with their foldings.")] = None,
    plot: Annotated[Path | None, Own("Draw the front (.svg, .pdf or .png).")] = None,
    widths: Annotated[
        bool, Own("Name layers whose widths divide badly for the rate, and what others would cost.", ("--widths",))
    ] = False,
    calibration: Calibration = None,
    input: Contract = None,
    top_k: TopK = 0,
    keep_shape: KeepShape = False,
    json: Json = False,
) -> None:
    """Find the foldings and memories of a network's graph that are worth building.

    No other design is as fast with as few LUTs and block RAMs: on chains that is proved, on networks with branches it
    is a search. Costs are estimates of our own hardware; the wanted design's rate and FIFOs are simulated.
    """
    from ..api.hardware import explore as work
    from ..show import exploration as screen_exploration
    from ..show import terminal as screen

    screen_exploration.check_plot(plot)
    found = work(
        graph,
        fps,
        latency_us=latency_us,
        lut=lut,
        bram18=bram18,
        points=points,
        pick=pick,
        output=output,
        csv=csv,
        widths=widths,
        calibration=calibration,
        part=part,
        clock_mhz=clock_mhz,
        input=input,
        top_k=top_k,
        keep_shape=keep_shape,
    )
    if plot is not None:
        screen_exploration.plot(found, plot)
    if json:
        screen.print_json(found)
    else:
        screen_exploration.print_exploration(found)
        for path in (csv, plot):
            if path is not None:
                print(f"wrote {path}")


@examples("flow calibrate xc7", "flow calibrate ecp5 --jobs 2 --place lfe5u-85f -o ecp5.json")
def calibrate(
    family: Annotated[str, Own("FPGA family.", argument=True, choices=families)] = "xc7",
    output: Annotated[Path | None, Own("Write the table, with every unit (.json).", ("-o", "--output"))] = None,
    jobs: Annotated[int | None, Own("Units at a time.", least=1, default="one a processor, at most 4")] = None,
    timeout: Annotated[float | None, Own("Seconds that a unit may take.", above=0, default="no limit")] = None,
    place: Annotated[
        str | None,
        Own("Also place and route units on this part of the family, to predict clocks.", default="predict none"),
    ] = None,
    json: Json = False,
) -> None:
    """Fit the cost model of our hardware to synthesis, and test it.

    Some 320 units are mapped by yosys and fitted, 107 others judge the fit. What was mapped before is taken from the
    cache; the first time takes half an hour to an hour, and --place, for ECP5 and iCE40, as long again. What -o writes
    is for --calibration. Exit status 3 if a tool is missing.
    """
    from ..api.hardware import calibrate as work
    from ..show import exploration as screen_exploration
    from ..show import terminal as screen

    with screen.Bar("calibration", quiet=json) as bar:
        found = work(family, output, jobs=jobs, seconds=timeout, place=place, progress=bar.update)
    screen.print_json(found) if json else screen_exploration.print_calibration(found)
    if output is not None and not json:
        print(f"wrote {output}")
