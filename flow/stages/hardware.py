"""The hardware of a build's networks: written, and simulated by Verilator."""

from __future__ import annotations

import numpy as np

from bnnflow import CHECK_FAILED, Problem

from ...build.parts import Part
from ...build.rtl.design import design
from ...build.synth.families import FAMILIES, Family, family, family_of
from ...transforms.ir.graph import Graph
from ...transforms.reading.read import read
from ..graphs.control import choices_of, control_of, writable
from ..graphs.cosimulation import Checks, cosimulated
from ..graphs.hardware import Hardware, hardware_of, refuse_too_large, told
from ..graphs.of_runs import named
from ..graphs.rates import affordable, timing_of
from ..graphs.routing import RouteOptions, program_of, routed_hardware
from ..graphs.synthesis import SynthOptions, mapped, refuse_foreign
from ..recipe.parts import part_at, target_part
from ..recipe.schema import Recipe
from ..results.hardware import CosimResult, NotWritten, Rtl, RtlResult
from ..results.routing import RoutingResult
from ..results.synthesis import SynthesisResult
from ..run.names import FOLDED, HARDWARE
from ..run.tools import (
    compiler_place,
    nextpnr_command,
    routing_tool,
    simulation_tools,
    synthesis_tool,
    verilator_place,
    yosys_command,
)
from .build import Build

# Words of an image beyond which a build does not size FIFOs: about a minute.
_MOST_WORDS = 2_000_000
_TOO_LONG = "an image is too many words for FIFOs to be sized beside a build; `flow rtl` takes the time"


def write_rtl(build: Build) -> RtlResult:
    """Write `rtl/` of every network; what has no hardware is said and does not end the build."""
    return RtlResult(networks={network: _write(build, network) for network in build.networks})


def _write(build: Build, network: str) -> Rtl | NotWritten:
    clock, settings = build.recipe.target.clock_mhz, build.recipe.rtl
    graph = _folded(build, network)
    try:
        if not affordable(graph, _MOST_WORDS):
            return NotWritten(reason=_TOO_LONG)
        made = hardware_of(graph, settings.fifo, {}, clock, choices_of(build.recipe.rtl))
        refuse_too_large(made, target_part(build.recipe))
    except Problem as problem:
        return NotWritten(reason=problem.in_place)
    for path, text in made.design.files.items():
        build.run.write(f"{network}/{HARDWARE}/{path}", text)
    return told(made, clock, (), f"{network}/{HARDWARE}")


def _again(build: Build, network: str, written: Rtl) -> Hardware:
    """The hardware that `write_rtl` wrote."""
    recipe, depths = build.recipe, written.fifo_depths
    asked = choices_of(recipe.rtl)
    graph = writable(_folded(build, network), asked)
    control = control_of(graph, asked)
    made = design(graph, recipe.rtl.fifo, depths, written.clock_mhz, control, primitives=asked.primitives)
    return Hardware(graph, made, depths, timing_of(graph, 3, recipe.rtl.fifo, depths, control), control, asked)


def synth_wanted(recipe: Recipe) -> bool:
    """Whether a recipe has the hardware synthesized, here.

    Raises:
        Problem: status 3; it has to be, and yosys is missing.
    """
    asked = recipe.synth.when
    if not recipe.rtl.enabled or asked == "never":
        return False
    if asked == "auto":
        return yosys_command() is not None
    synthesis_tool()
    return True


def family_wanted(recipe: Recipe) -> Family:
    """The FPGA family that a recipe has its hardware mapped to.

    Raises:
        Problem: the part is of none, or the primitives are of another one.
    """
    found = family(recipe.synth.family) if recipe.synth.family else family_of(target_part(recipe))
    refuse_foreign(recipe.rtl.primitives, found)
    return found


def synthesize(build: Build) -> SynthesisResult:
    """Map what `write_rtl` wrote.

    Raises:
        Problem: yosys fails.
    """
    recipe = build.recipe
    how = SynthOptions(family_wanted(recipe), (), recipe.synth.whole, recipe.synth.jobs)
    written = build.result(RtlResult).networks.items()
    made = {network: (_again(build, network, rtl), ()) for network, rtl in written if isinstance(rtl, Rtl)}
    progress = build.progress("synth")
    return mapped(made, how, synthesis_tool(), lambda done, total: progress(done, total, {}))


def route_part(recipe: Recipe) -> Part:
    """The part that a recipe's hardware is placed on.

    Raises:
        Problem: as of `part_at`.
    """
    return part_at(recipe, "route.part", recipe.route.part) if recipe.route.part else target_part(recipe)


def route_wanted(recipe: Recipe) -> bool:
    """Whether a recipe has the hardware placed and routed, here.

    Raises:
        Problem: it has to be, and no tool places on the part, or (status 3) a tool is missing; with any `when` but
            never, there is no such speed grade.
    """
    asked = recipe.route.when
    if not recipe.rtl.enabled or asked == "never":
        return False
    chip = route_part(recipe)
    if asked == "auto" and not recipe.route.part and not chip.nextpnr:
        return False
    program = program_of(chip, recipe.route.grade)
    refuse_foreign(recipe.rtl.primitives, FAMILIES[chip.family])
    if asked == "auto":
        return yosys_command() is not None and nextpnr_command(program) is not None
    synthesis_tool(), routing_tool(program)
    return True


def route_hardware(build: Build) -> RoutingResult:
    """Place and route what `write_rtl` wrote.

    Raises:
        Problem: a tool fails; status 1: a network does not fit the part.
    """
    recipe, chip = build.recipe, route_part(build.recipe)
    asked, clock = recipe.route, recipe.target.clock_mhz
    how = RouteOptions(chip, asked.grade, clock, asked.seeds, (), asked.jobs)
    written = build.result(RtlResult).networks.items()
    made = {network: (_again(build, network, rtl), ()) for network, rtl in written if isinstance(rtl, Rtl)}
    progress = build.progress("route")
    tools = synthesis_tool(), routing_tool(program_of(chip))
    return routed_hardware(made, how, tools, lambda done, total: progress(done, total, {}))


def _folded(build: Build, network: str) -> Graph:
    return named(read(build.file(network, FOLDED)), build.recipe, network)


def cosim_wanted(recipe: Recipe) -> bool:
    """Whether a recipe has the hardware simulated, here.

    Raises:
        Problem: status 3; it has to be, and Verilator or a C++ compiler is missing.
    """
    asked = recipe.cosim.when
    if not recipe.rtl.enabled or asked == "never":
        return False
    if asked == "auto":
        return verilator_place() is not None and compiler_place() is not None
    simulation_tools()
    return True


def simulate_rtl(build: Build) -> CosimResult:
    """Simulate what `write_rtl` wrote, on test images.

    Raises:
        Problem: status 1; anything differs.
    """
    from ...sim.inputs import image_inputs

    recipe, tools = build.recipe, simulation_tools()
    checks = Checks(recipe.cosim.stalls, recipe.seed)
    images = build.dataset.test_images[: recipe.cosim.images]
    found = {}
    for network, written in build.result(RtlResult).networks.items():
        if isinstance(written, NotWritten):
            continue
        hardware = _again(build, network, written)
        inputs = np.asarray(image_inputs(hardware.graph, images))
        found[network] = cosimulated(hardware, inputs, checks, build.file(network, HARDWARE), tools)
        if not found[network].equal:
            what = f"the hardware differs from the simulators: {found[network].unexpected[0]}"
            raise Problem(what, f"{network} of {build.run.folder}", "this is a bug: please report it", CHECK_FAILED)
    return CosimResult(networks=found)
