"""The hardware of a build's networks: written, and simulated by Verilator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bnnflow import CHECK_FAILED, Problem

from ...build.parts import part
from ...build.rtl.design import design
from ...transforms.ir.graph import Graph
from ...transforms.reading.read import read
from ..graphs.control import HardwareChoices, control_of, writable
from ..graphs.hardware import Checks, Hardware, cosimulated, hardware_of, refuse_too_large, told
from ..graphs.rates import affordable, timing_of
from ..recipe.schema import Recipe
from ..results.hardware import CosimResult, NotWritten, Rtl, RtlResult
from ..run.names import FOLDED
from ..run.tools import compiler_place, simulation_tools, verilator_place
from .build import Build

FOLDER = "rtl"
# Words of an image beyond which a build does not size FIFOs: about a minute.
_MOST_WORDS = 2_000_000
_TOO_LONG = "an image is too many words for FIFOs to be sized beside a build; `flow rtl` takes the time"


def write_rtl(build: Build) -> RtlResult:
    """Write `rtl/` of every network; what has no hardware is said and does not end the build."""
    return RtlResult(networks={network: _write(build, network) for network in build.networks})


def _write(build: Build, network: str) -> Rtl | NotWritten:
    clock, settings = build.recipe.target.clock_mhz, build.recipe.rtl
    graph = _named(build, network)
    try:
        if not affordable(graph, _MOST_WORDS):
            return NotWritten(reason=_TOO_LONG)
        made = hardware_of(graph, settings.fifo, {}, clock, _choices(build.recipe))
        refuse_too_large(made, part(build.recipe.target.part))
    except Problem as problem:
        return NotWritten(reason=problem.in_place)
    for path, text in made.design.files.items():
        build.run.write(f"{network}/{FOLDER}/{path}", text)
    return told(made, clock, (), f"{network}/{FOLDER}")


def _choices(recipe: Recipe) -> HardwareChoices:
    rtl = recipe.rtl
    return HardwareChoices(rtl.control, rtl.sets, rtl.protect, rtl.primitives)


def _named(build: Build, network: str) -> Graph:
    """The folded graph, by the run's name and its own, as its hardware is to be called."""
    return replace(read(build.file(network, FOLDED)), name=f"{build.recipe.name}_{network}".strip("_"))


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
        graph, depths = _named(build, network), written.fifo_depths
        asked = _choices(recipe)
        graph = writable(graph, asked)
        control = control_of(graph, asked)
        made = design(graph, recipe.rtl.fifo, depths, written.clock_mhz, control, primitives=asked.primitives)
        timing = timing_of(graph, 3, recipe.rtl.fifo, depths, control)
        hardware = Hardware(graph, made, depths, timing, control)
        inputs = np.asarray(image_inputs(graph, images))
        found[network] = cosimulated(hardware, inputs, checks, build.file(network, FOLDER), tools)
        if not found[network].equal:
            what = f"the hardware differs from the simulators: {found[network].unexpected[0]}"
            raise Problem(what, f"{network} of {build.run.folder}", "this is a bug: please report it", CHECK_FAILED)
    return CosimResult(networks=found)
