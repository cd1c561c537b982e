"""The work behind `flow synth`: what hardware takes of an FPGA's family, unit by unit, by open synthesis."""

from __future__ import annotations

from collections.abc import Mapping

from ...transforms.ir.graph import Graph
from ..graphs.control import HardwareChoices
from ..graphs.folding import Wanted
from ..graphs.synthesis import Progress, SynthOptions, mapped, refuse_foreign
from ..results.synthesis import SynthesisResult
from .graphs import Fifos
from .hardware import hardware_for


def synth(
    graphs: Mapping[str, Graph],
    wanted: Wanted,
    fifos: Fifos,
    how: SynthOptions,
    asked: HardwareChoices,
    progress: Progress,
) -> SynthesisResult:
    """Synthesize networks unit by unit.

    Args:
        graphs: of any level, by name.
        wanted, fifos, asked: as for `rtl`.
        how: what is run.
        progress: is told netlists done and in all.

    Raises:
        Problem: as for `rtl`; there is no such unit; yosys fails, is missing (status 3) or takes too long (1).
    """
    from ..run.tools import synthesis_tool

    tool = synthesis_tool()
    refuse_foreign(asked.primitives, how.family)
    made = {name: hardware_for(graph, wanted, fifos, asked) for name, graph in graphs.items()}
    return mapped(made, how, tool, progress)
