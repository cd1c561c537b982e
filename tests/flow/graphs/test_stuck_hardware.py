"""Hardware with a stuck PE, simulated by Icarus Verilog, gives the scores that the simulator says.

The results of one PE of one unit are tied in the library's text; nothing of ours says which channels that are.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bnnflow.build.rtl.words import to_words
from bnnflow.flow.graphs.control import HardwareChoices
from bnnflow.flow.graphs.hardware import drawn, hardware_of
from bnnflow.sim.faults import FaultModel, Rates
from bnnflow.sim.faults.injection.streams import faulty_walk, streams
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.ops import Mvau
from bnnflow.transforms.passes.permute import PermuteChannels
from bnnflow.transforms.passes.replicate import ReplicateChannels
from bnnflow.transforms.streams import streams_of

from ...sim.faults.fault_graphs import cnn, mlp
from .test_icarus import simulated

UNIT = "bnnflow_mvau.sv"
TIED = """  logic [PE*OBITS-1:0] computed;
  always_comb begin
    results = computed;
    if (MH == {rows} && MW == {columns}) results[{pe}*OBITS+:OBITS] = {{OBITS{{1'b{bit}}}}};
  end
  bnnflow_rows #("""


def permuted() -> Graph:
    return PermuteChannels({"conv2": [5, 1, 3, 2, 0, 4], "conv0": [2, 3, 1, 0]})(cnn()).graph


def replicated() -> Graph:
    return ReplicateChannels("d0", [1, 2, 4, 7])(mlp()).graph


CASES = [
    *((cnn, unit, pe, bit) for unit, pes in (("conv0", 2), ("conv2", 3)) for pe in range(pes) for bit in (0, 1)),
    *((cnn, "fc", 0, bit) for bit in (0, 1)),
    *((permuted, "conv2", pe, 1) for pe in range(3)),
    *((make, "d0", pe, bit) for make in (mlp, replicated) for pe in range(4) for bit in (0, 1)),
    *((replicated, "d0_vote", 0, bit) for bit in (0, 1)),
]


@pytest.mark.parametrize(("make", "unit", "pe", "bit"), CASES)
def test_a_stuck_pe_of_the_hardware(make: Callable[[], Graph], unit: str, pe: int, bit: int, tmp_path: Path) -> None:
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")
    graph = make()
    op = graph.node(unit).op
    assert isinstance(op, Mvau) and pe < op.pe
    made = hardware_of(graph, 2, {}, 100.0, HardwareChoices())
    made.design.write(tmp_path)
    (library,) = tmp_path.rglob(UNIT)
    rows, columns = op.weight.shape
    text, tied = library.read_text(), TIED.format(rows=rows, columns=columns, pe=pe, bit=bit)
    assert text.count("  bnnflow_rows #(") == text.count(".results(results)") == 1
    library.write_text(text.replace("  bnnflow_rows #(", tied).replace(".results(results)", ".results(computed)"))
    leave = streams_of(graph).leave
    images = drawn(graph, 3, seed=0)
    place = [one for one in streams(graph, "streams") if one.layer == unit]
    walk = faulty_walk(graph, place, FaultModel.parse(f"pe:{pe} stuck-at-{bit}"), Rates.of(1.0), 0, 0)
    scores = walk.scores(images).astype(np.int64)
    low = leave.type.range[0]
    assert low <= scores.min() and scores.max() < low + (1 << leave.type.bits), "the hardware's words hold them"
    words = to_words(scores, leave).reshape(-1, to_words(scores, leave).shape[-1])
    expected = tmp_path / "vectors/out.hex"
    assert len(words) == len(expected.read_text().split()), "the bench sends these images"
    expected.write_text("\n".join(word[::-1].tobytes().hex() for word in words) + "\n")
    assert simulated(tmp_path, (0, 0))[0] == "equal"
