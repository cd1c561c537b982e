"""Hardware in Python: what methods of graphs and `synth` take of a run, and cells of an FPGA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from .arguments import Count, Jobs, Natural, PathLike, Positive, checked_arguments
from .common import checked_key, given_or_default, path_of

if TYPE_CHECKING:
    from ...build.calibrated.table import Table
    from ..graphs.control import HardwareChoices
    from ..graphs.folding import Wanted
    from ..recipe.schema import Recipe
    from ..results.exploration import Exploration
    from ..results.routing import RoutingResult
    from ..results.synthesis import SynthesisResult

__all__ = ["calibrate", "explore", "route", "synth"]

T = TypeVar("T")


@checked_arguments()
def synth(
    path: PathLike,
    fps: float | None = None,
    *,
    units: Sequence[str] = (),
    family: str = "",
    whole: bool = False,
    jobs: Jobs | None = None,
    seconds: Positive | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    part: str | None = None,
    clock_mhz: float | None = None,
    folding: PathLike | None = None,
    fifo: Natural | None = None,
    fifo_depths: PathLike | None = None,
    control: bool | None = None,
    sets: int | None = None,
    protect: str | None = None,
    scrub: bool | None = None,
    primitives: str | None = None,
    input: str | None = None,
    top_k: Natural = 0,
    keep_shape: bool = False,
) -> SynthesisResult:
    """Map hardware to an FPGA's cells by yosys, unit by unit; what was mapped before is taken from the cache.

    Args:
        path: of a run, both of whose networks are mapped, of one of its networks, or of an ONNX file.
        units: names; empty: all.
        family: "xc7", "xcup", "ecp5", "ice40" or "gowin"; empty: that of the part.
        whole: also map each network as one netlist.
        jobs: netlists at a time; None: one a processor, at most 4.
        seconds: that a netlist may take; None: as long as it takes.
        progress: is told netlists done and in all.
        fps, part, clock_mhz, folding, fifo, fifo_depths, control, sets, protect, scrub, primitives, top_k, keep_shape:
            as for `LoadedGraph.rtl`.
        input: as for `load`.

    Returns:
        `networks`: by "base" and "pruned", or by the graph's name, cells of units and their sum.

    Raises:
        Problem: as for `rtl`; no such unit or family; yosys fails, is missing (status 3) or takes too long (1).

    >>> bf.synth("net.onnx", fps=1000, units=["dense1"], family="ice40").networks["net"].total.lut > 0
    True
    """
    from ...build.synth.families import family as family_named
    from ...build.synth.families import family_of
    from ..commands import graphs
    from ..commands import synth as work
    from ..graphs.inputs import contract_of
    from ..graphs.of_runs import networks
    from ..graphs.synthesis import SynthOptions

    found = networks(Path(path), contract_of(input))
    wanted = wanted_of(part, clock_mhz, fps, folding, False, top_k, keep_shape, found.recipe)
    family = of_run(family or None, "synth.family", found.recipe)
    mapped = family_named(family) if family else family_of(wanted.part)
    how = SynthOptions(mapped, units, whole, jobs or usual_jobs(), seconds)
    fifos = graphs.Fifos(of_run(fifo, "rtl.fifo", found.recipe), path_of(fifo_depths))
    asked = choices_of(control, sets, protect, scrub, primitives, found.recipe)
    return work.synth(found.graphs, wanted, fifos, how, asked, progress)


@checked_arguments()
def route(
    path: PathLike,
    fps: float | None = None,
    *,
    units: Sequence[str] = (),
    grade: str | None = None,
    seeds: int | None = None,
    jobs: Jobs | None = None,
    seconds: Positive | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    part: str | None = None,
    clock_mhz: float | None = None,
    folding: PathLike | None = None,
    fifo: Natural | None = None,
    fifo_depths: PathLike | None = None,
    control: bool | None = None,
    sets: int | None = None,
    protect: str | None = None,
    scrub: bool | None = None,
    primitives: str | None = None,
    input: str | None = None,
    top_k: Natural = 0,
    keep_shape: bool = False,
) -> RoutingResult:
    """Place and route hardware on a part by nextpnr; what was done before is taken from the cache.

    Args:
        path: of a run, both of whose networks are routed, of one of its networks, or of an ONNX file.
        units: names, each placed by itself; empty: all of them together.
        grade: speed grade; None: the run's; else, and where it is empty, the slowest.
        seeds: of the placer, 1 or more, of which the fastest counts; None: the run's, else 1.
        jobs: runs at a time; None: one a processor, at most 4.
        seconds: that yosys and nextpnr may take each; None: as long as they take.
        progress: is told runs done and in all.
        part: of Lattice ECP5 or iCE40; None: the run's, which must be one of these.
        fps, clock_mhz, folding, fifo, fifo_depths, control, sets, protect, scrub, primitives, top_k, keep_shape:
            as for `LoadedGraph.rtl`.
        input: as for `load`.

    Returns:
        `networks`: by "base" and "pruned", or by the graph's name, clock, slowest path and cells.

    Raises:
        Problem: as for `rtl`; no open tool places on the part, or it has no such grade or unit; a tool fails, or is
            missing (status 3); status 1: it does not fit the part, or takes too long.

    >>> bf.route("net.onnx", fps=1000, units=["dense1"], part="ice40hx8k").networks["net"].units[0].fmax_mhz > 0
    True
    """
    from ..commands import graphs
    from ..commands import route as work
    from ..graphs.inputs import contract_of
    from ..graphs.of_runs import networks
    from ..graphs.routing import RouteOptions
    from ..recipe.parts import part_of

    found = networks(Path(path), contract_of(input))
    wanted = wanted_of(part, clock_mhz, fps, folding, False, top_k, keep_shape, found.recipe)
    named = of_run(part, "route.part", found.recipe)
    chip, speed = part_of(named) if named else wanted.part, of_run(grade, "route.grade", found.recipe)
    tries = of_run(seeds, "route.seeds", found.recipe)
    how = RouteOptions(chip, speed, wanted.clock_mhz, tries, units, jobs or usual_jobs(), seconds)
    fifos = graphs.Fifos(of_run(fifo, "rtl.fifo", found.recipe), path_of(fifo_depths))
    asked = choices_of(control, sets, protect, scrub, primitives, found.recipe)
    return work.route(found.graphs, wanted, fifos, how, asked, progress)


@checked_arguments()
def explore(
    path: PathLike,
    fps: float | None = None,
    *,
    latency_us: Positive | None = None,
    lut: Count | None = None,
    bram18: Natural | None = None,
    points: Count = 20,
    pick: Count | None = None,
    output: PathLike | None = None,
    csv: PathLike | None = None,
    widths: bool = False,
    calibration: PathLike | None = None,
    part: str | None = None,
    clock_mhz: float | None = None,
    input: str | None = None,
    top_k: Natural = 0,
    keep_shape: bool = False,
) -> Exploration:
    """Find the designs of a network that are worth building: no other is as fast with as few LUTs and block RAMs.

    Args:
        path: of an ONNX file, or of a run: its pruned network, else its base.
        fps: images per second, at least; None: any.
        latency_us: of the first image, at most, in microseconds; simulated.
        lut, bram18: that a design may take; None: what the part has.
        points: designs that are shown.
        pick: number of the design that is wanted; None: the cheapest, where a rate, a latency or an output is given.
        output: file (.onnx) or folder for the wanted design, with FINN's folding file.
        csv: file for all designs.
        widths: look for layers whose widths divide badly for the rate of the wanted design, and cost others.
        calibration: file of `calibrate`; None: the table that comes with the package.
        part, clock_mhz: None: the run's, or the recipe's default.
        input, top_k, keep_shape: as for `synth`.

    Raises:
        Problem: it does not compile; no calibration for the part; widths without a rate; (status 1) nothing does what
            is asked.

    >>> found = bf.explore("net.onnx", fps=1000, output="explored.onnx")
    >>> found.chosen.fps >= 1000
    True
    """
    from ..commands import explore as work
    from ..graphs.inputs import contract_of
    from ..graphs.of_runs import networks
    from ..run.files import check_file

    found = networks(Path(path), contract_of(input))
    for given, ending in ((output, ".onnx"), (csv, ".csv")):
        if given is not None and (Path(given).suffix or ending == ".csv"):
            check_file(Path(given), (ending,), list(found.files.values()))
    wanted = wanted_of(part, clock_mhz, fps, None, False, top_k, keep_shape, found.recipe)
    own = table_of(calibration)
    asked = work.Asked(own, latency_us, lut, bram18, points, pick, path_of(output), path_of(csv), widths)
    return work.explore(found.graphs[found.first], wanted, asked)


@checked_arguments()
def calibrate(
    family: str,
    output: PathLike | None = None,
    *,
    jobs: Jobs | None = None,
    seconds: Positive | None = None,
    place: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Table:
    """Fit the cost model of our hardware to an FPGA family, by synthesis of some hundred units.

    Args:
        family: that yosys maps to.
        output: file (.json) for the table.
        place: part of the family on which every other unit is also placed and routed, for a table that predicts clocks.
        jobs: units at a time; None: one a processor, at most 4.
        seconds: that a unit may take; None: as long as it takes.
        progress: is told units done and in all.

    Raises:
        Problem: no such family; a part of another one, or that nothing here places on; a tool fails, is missing
            (status 3) or takes too long (1).

    >>> table = bf.calibrate("ecp5", "ecp5.json")  # doctest: +SKIP
    """
    from ...build.synth.families import family as family_named
    from ..commands import calibrate as work
    from ..graphs.synthesis import SynthOptions
    from ..recipe.parts import part_of
    from ..run.files import check_file
    from ..run.tools import routing_tool, synthesis_tool

    how = SynthOptions(family_named(family), jobs=jobs or usual_jobs(), seconds=seconds)
    chip = None if place is None else part_of(place)
    program = None if chip is None else work.placer(chip, family)
    if output is not None:
        check_file(Path(output), (".json",))
    placed = None if chip is None or program is None else (chip, routing_tool(program))
    made = work.calibrate(how, synthesis_tool(), progress, placed)
    if output is not None:
        work.write_table(made, Path(output))
    return made


def usual_jobs() -> int:
    """Netlists at a time where nothing is said: one a processor, at most 4."""
    import os

    return min(4, len(os.sched_getaffinity(0)))


def table_of(calibration: PathLike | None) -> Table | None:
    """A calibration from its file; None for none.

    Raises:
        Problem: it is none.
    """
    from ..commands.calibrate import calibration_of

    return None if calibration is None else calibration_of(Path(calibration))


def of_run(value: T | None, key: str, recipe: Recipe | None) -> T:
    """A value that is given, else the run's of a key "section.name", else the key's default.

    Raises:
        Problem: it is out of the key's range.
    """
    if value is None and recipe is not None:
        section, name = key.split(".")
        found: T = getattr(getattr(recipe, section), name)
        return found
    return given_or_default(value, key)


def choices_of(
    control: bool | None,
    sets: int | None,
    protect: str | None,
    scrub: bool | None,
    primitives: str | None,
    recipe: Recipe | None,
) -> HardwareChoices:
    """What is asked of hardware; None: what `of_run` says."""
    from ..graphs.control import HardwareChoices

    return HardwareChoices(
        of_run(control, "rtl.control", recipe),
        of_run(sets, "rtl.sets", recipe),
        of_run(protect, "rtl.protect", recipe),
        of_run(scrub, "rtl.scrub", recipe),
        of_run(primitives, "rtl.primitives", recipe),
    )


def wanted_of(
    part: str | None,
    clock_mhz: float | None,
    fps: float | None,
    folding: PathLike | None,
    finn_plus: bool,
    top_k: Natural,
    keep_shape: bool,
    recipe: Recipe | None,
) -> Wanted:
    """What a graph is folded for; None of part and clock: what `of_run` says. A run's graph is folded already."""
    from ..graphs.folding import Wanted
    from ..recipe.parts import part_of

    chip, clock = part_of(of_run(part, "target.part", recipe)), of_run(clock_mhz, "target.clock_mhz", recipe)
    rate = checked_key(fps, "target.fps")
    return Wanted(
        chip,
        clock,
        rate,
        path_of(folding),
        finn_plus,
        top_k,
        keep_shape,
        folded=recipe is not None,
        cost_model=of_run(None, "target.cost_model", recipe),
    )
