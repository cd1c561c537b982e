"""The work behind `flow synth`: what hardware takes of an FPGA's family, unit by unit, by open synthesis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...transforms.ir.graph import Graph
from ..graphs.control import HardwareChoices
from ..graphs.folding import Wanted
from ..graphs.hardware import Hardware, hardware_of, refuse_deadlock
from ..graphs.synthesis import Progress, SynthOptions, mapped, refuse_foreign
from ..results.synthesis import SynthesisResult
from .graphs import Fifos, compile_and_fold


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
    made = {name: _made(graph, wanted, fifos, asked) for name, graph in graphs.items()}
    return mapped(made, how, tool, progress)


def _made(graph: Graph, wanted: Wanted, fifos: Fifos, asked: HardwareChoices) -> tuple[Hardware, Sequence[str]]:
    folded = compile_and_fold(graph, wanted)
    made = hardware_of(folded.graph, fifos.depth, fifos.own(folded, wanted.finn_plus), wanted.clock_mhz, asked)
    refuse_deadlock(made)
    return made, folded.notes
