"""The commands that plan against faults. Imports nothing heavy: every command loads what it needs when it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .commands import examples
from .declare import KEY, Key, Own
from .faults import Folding, PeSimd, Rate, Several, check_folding_options, rate_list
from .options import DataDir, DataOfRun, GraphFile, ImagesOrContract, Json, Labels, check_images, together, useless

if TYPE_CHECKING:
    from ..commands.faults import FaultedGraph
    from ..commands.simulation import Images
    from ..graphs.fault_folding import Folding as HowFolded

_Count = Annotated[int, Own("Test images: every second one chooses, the others judge.", least=4)]
Maps = Annotated[int, Key("faults.maps", help="Fault maps of each measurement.")]
Target = Annotated[str, Own("Memories that are hit.", choices=("weights", "thresholds", "weights+thresholds"))]
Loss = Annotated[float, Own("Points of accuracy that may be lost, on the images that choose.", least=0, most=100)]
Results = Annotated[Path | None, Own("SQLite file that results are added to; an interrupted search goes on.")]


@dataclass(frozen=True, slots=True)
class Folded:
    """How the graph is folded, with `part`, which some commands need for more."""

    fps: Rate = None
    folding: Folding = None
    pe_simd: PeSimd = ""
    clock_mhz: Annotated[float, Key("target.clock_mhz", more="For --fps.")] = KEY

    def on(self, part: str) -> HowFolded:
        """On a part."""
        from ..graphs.fault_folding import Folding as HowFolded

        return HowFolded(self.fps, self.folding, self.pe_simd, part, self.clock_mhz)


@dataclass(frozen=True, slots=True)
class Judged:
    """Images that choose and judge."""

    data: DataOfRun = ""
    data_dir: DataDir = None
    input: ImagesOrContract = None
    labels: Labels = None
    images: _Count = 2000

    def of(self, context: typer.Context, graph: Path, folding: HowFolded | None = None) -> tuple[FaultedGraph, Images]:
        """The graph, folded so, and its images; what contradicts each other is refused."""
        from ..commands.faults import FaultedGraph
        from ..commands.simulation import Images
        from ..graphs import inputs

        pictures, contract = inputs.images_and_contract(self.input)
        check_images(context, self.data, self.data_dir, pictures, self.labels)
        source = FaultedGraph(graph, contract) if folding is None else FaultedGraph(graph, contract, folding)
        return source, Images(pictures, self.labels, self.data, self.data_dir, self.images)


_FOLDED, _JUDGED = Folded(), Judged()


@examples(
    "flow tolerance net.onnx --data digits --loss 1",
    "flow tolerance net.onnx --data digits --grid 1e-4,1e-3,1e-2,1e-1 -o rates.csv  # flow faults --table reads it.",
)
def tolerance(
    context: typer.Context,
    graph: GraphFile,
    judged: Judged = _JUDGED,
    grid: Annotated[
        str, Own("Bit error rates that a memory may have, ascending, comma separated.")
    ] = "1e-4,3e-4,1e-3,3e-3,1e-2,2e-2,3e-2,5e-2,1e-1,2e-1",
    loss: Loss = 1.0,
    target: Target = "weights",
    maps: Maps = KEY,
    seed: Annotated[int, Key("seed", help="Seed of the maps that choose; those that judge have the next.")] = KEY,
    store: Results = None,
    jobs: Annotated[int, Key("faults.jobs")] = KEY,
    output: Annotated[Path | None, Own("Write the rates as .csv.", ("-o", "--output"))] = None,
    json: Json = False,
) -> None:
    """How high a bit error rate each memory stands.

    Memories that lose little for their bits may be much worse than one rate for all: at lower voltage, or without a
    code (bit error rate assignment, Yayla et al., 2022).
    """
    from ..commands import fault_planning as work
    from ..show import planning as screen_planning
    from ..show import terminal as screen

    source, given = judged.of(context, graph)
    how = work.Measuring(target, maps, seed, store, jobs)
    with screen.Bar("tolerance", quiet=json) as bar:
        found = work.tolerance(source, given, rate_list(grid), loss / 100, how, output, bar.update)
    screen.print_json(found) if json else screen_planning.print_tolerance(found)


@examples(
    "flow protect net.onnx --data digits --pe-simd 1,1 --rate 1e-3",
    "flow protect net.onnx --data digits --fps 10000 --rate 1e-3 -o plan.json  # flow rtl net.onnx --protect plan.json",
)
def protect(
    context: typer.Context,
    graph: GraphFile,
    rate: Annotated[float, Own("Bit error rate of all memories.", above=0, most=1)],
    judged: Judged = _JUDGED,
    code: Annotated[
        Several, Own("Code that a memory may have, as flow faults --list says. May be given several times.")
    ] = ["secded-72-64", "tmr"],  # noqa: B006
    loss: Annotated[
        float, Own("Points of accuracy that the written plan may lose, on the images that judge.", least=0, most=100)
    ] = 0.2,
    target: Target = "weights",
    maps: Maps = KEY,
    seed: Annotated[int, Key("seed", help="Seed of the maps that choose; those that judge have the next.")] = KEY,
    part: Annotated[str, Key("target.part", more="For --fps.")] = KEY,
    folded: Folded = _FOLDED,
    store: Results = None,
    jobs: Annotated[int, Key("faults.jobs")] = KEY,
    output: Annotated[
        Path | None, Own("Write the cheapest plan that loses no more than --loss, as .json.", ("-o", "--output"))
    ] = None,
    json: Json = False,
) -> None:
    """Which memories to protect, and by which code.

    The front of accuracy against LUTs and block RAMs: by what each memory loses alone, one after another, until nothing
    more is won.
    """
    from ..commands import fault_planning as work
    from ..show import planning as screen_planning
    from ..show import terminal as screen

    check_folding_options(context)
    source, given = judged.of(context, graph, folded.on(part))
    how = work.Measuring(target, maps, seed, store, jobs)
    with screen.Bar("protect", quiet=json) as bar:
        found = work.protect(source, given, rate, code, loss / 100, how, output, bar.update)
    screen.print_json(found) if json else screen_planning.print_protection(found)


@examples(
    "flow permute net.onnx --data digits --fps 10000  # Every PE of every unit, stuck at 0 and at 1.",
    "flow permute net.onnx --data digits --fps 10000 --unit conv2 --pe 3 --stuck 0 -o permuted.onnx",
)
def permute(
    context: typer.Context,
    graph: GraphFile,
    judged: Judged = _JUDGED,
    unit: Annotated[
        Several | None, Own("Unit whose PE is bad. May be given several times.", metavar="NAME", default="every one")
    ] = None,
    pe: Annotated[int | None, Own("Index of the bad PE, from 0; with one --unit.", least=0, default="each")] = None,
    stuck: Annotated[
        int | None, Own("What all bits of its results are, 0 or 1.", least=0, most=1, default="both")
    ] = None,
    by: Annotated[
        str, Own("What channels are chosen by, each stuck and measured.", choices=("accuracy", "changed"))
    ] = "accuracy",
    alone: Annotated[
        bool, Own("Measure each channel by itself, which is quicker, and not with those taken before it.")
    ] = False,
    part: Annotated[str, Key("target.part", more="For --fps.")] = KEY,
    folded: Folded = _FOLDED,
    output: Annotated[
        Path | None,
        Own("Write the graph with the channels that cost least on the bad PE, as .onnx.", ("-o", "--output")),
    ] = None,
    json: Json = False,
) -> None:
    """What a stuck PE costs, and a graph that spares it.

    A PE that is stuck computes some channels of its unit; in another order, those that matter least (fault-aware
    scheduling, Gambardella et al., 2019). The permuted graph computes nothing else, at the same cost.
    """
    from ..commands import stuck_pes as work
    from ..show import stuck_pes as screen_stuck
    from ..show import terminal as screen

    check_folding_options(context)
    source, given = judged.of(context, graph, folded.on(part))
    with screen.Bar("permute", quiet=json) as bar:
        bad = work.BadPe(unit or (), pe, stuck)
        found = work.permute(source, given, bad, by, not alone, output, bar.update)
    screen.print_json(found) if json else screen_stuck.print_stuck(found)


@examples(
    "flow replicate net.onnx --data digits --fps 10000 --unit conv2  # A front of accuracy against cost.",
    "flow replicate net.onnx --data digits --fps 10000 --unit conv2 --channels 16 -o voted.onnx",
)
def replicate(
    context: typer.Context,
    graph: GraphFile,
    unit: Annotated[str, Own("MVAU with one threshold a channel and three PEs or more.", metavar="NAME")],
    judged: Judged = _JUDGED,
    channels: Annotated[
        list[int] | None,
        Own(
            "How many channels are computed three times. May be given several times.",
            default="about 1/8, 1/4, 1/2 and all of them",
        ),
    ] = None,
    stuck: Annotated[
        int | None, Own("What all bits of a stuck PE's results are, 0 or 1.", least=0, most=1, default="the worse one")
    ] = None,
    by: Annotated[
        str, Own("What channels are chosen by, each stuck and measured.", choices=("accuracy", "changed"))
    ] = "accuracy",
    part: Annotated[str, Key("target.part", more="For --fps and costs.")] = KEY,
    folded: Folded = _FOLDED,
    output: Annotated[
        Path | None, Own("Write the graph of one number of --channels, as .onnx.", ("-o", "--output"))
    ] = None,
    json: Json = False,
) -> None:
    """Channels computed three times, so that a stuck PE is outvoted.

    The channels that cost most when they are stuck get three rows each, on three PEs, and a voter behind the unit
    (selective channel replication, Gambardella et al., 2019). Accuracy under any one stuck PE against LUTs and cycles.
    """
    from ..commands import replicas as work
    from ..show import stuck_pes as screen_stuck
    from ..show import terminal as screen

    together(context, ["fps", "folding", "pe_simd"], "give one of them")
    if folded.fps is None:
        useless(context, ["clock_mhz"], "without --fps", "give the rate to fold for")
    source, given = judged.of(context, graph, folded.on(part))
    with screen.Bar("replicate", quiet=json) as bar:
        wanted = work.Replication(unit, channels or (), stuck, by)
        found = work.replicate(source, given, wanted, output, bar.update)
    screen.print_json(found) if json else screen_stuck.print_replication(found)
