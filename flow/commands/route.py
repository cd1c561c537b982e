"""The work behind `flow route`: the clock that hardware runs at on a part, by open placing and routing."""

from __future__ import annotations

from collections.abc import Mapping

from ...build.synth.families import FAMILIES
from ...transforms.ir.graph import Graph
from ..graphs.control import HardwareChoices
from ..graphs.folding import Wanted
from ..graphs.routing import Progress, RouteOptions, program_of, routed_hardware
from ..graphs.synthesis import refuse_foreign
from ..results.routing import RoutingResult
from .graphs import Fifos
from .hardware import hardware_for


def route(
    graphs: Mapping[str, Graph],
    wanted: Wanted,
    fifos: Fifos,
    how: RouteOptions,
    asked: HardwareChoices,
    progress: Progress,
) -> RoutingResult:
    """Place and route networks.

    Args:
        graphs: of any level, by name.
        wanted, fifos, asked: as for `rtl`.
        how: what is run.
        progress: is told runs done and in all.

    Raises:
        Problem: as for `rtl`; nothing places on the part, or it has no such grade or unit; a tool fails, or is missing
            (status 3); status 1: it does not fit the part, or takes too long.
    """
    from ..run.tools import routing_tool, synthesis_tool

    program = program_of(how.part, how.grade)
    refuse_foreign(asked.primitives, FAMILIES[how.part.family])
    tools = synthesis_tool(), routing_tool(program)
    made = {name: hardware_for(graph, wanted, fifos, asked) for name, graph in graphs.items()}
    return routed_hardware(made, how, tools, progress)
