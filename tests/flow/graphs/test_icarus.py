"""Hardware simulated by Icarus Verilog, a second opinion: four states, so that no X reaches an output, and no macros.

Verilator simulates popcounts by `$countones`; here they are the trees, or primitives, that are synthesized.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bnnflow.flow.graphs.control import HardwareChoices
from bnnflow.flow.graphs.hardware import hardware_of

from ...hardware_graphs import GRAPHS


def simulated(folder: Path, stalls: tuple[int, int]) -> tuple[str, tuple[int, ...]]:
    """The last line of the test bench in a folder, and the cycles in which images end; no value may be unknown."""
    models = sorted(str(path.relative_to(folder)) for path in folder.glob("simulation/*.sv"))
    given = [f"-Pbench.STALL_{end}={share}" for end, share in zip(("IN", "OUT"), stalls, strict=True)]
    given = [*given, "-DBNNFLOW_UNKNOWN", "-s", "bench", "-o", "bench.vvp"]
    command = ["iverilog", "-g2012", "-Wall", "-Wno-timescale", *given]
    done = subprocess.run(
        [*command, "-f", "files.f", *models, "bench.v"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    said = subprocess.run(["vvp", "-N", "bench.vvp"], cwd=folder, capture_output=True, text=True, check=True).stdout
    unknown = re.findall(r"unknown \w+$", said, re.MULTILINE)
    if unknown:
        return unknown[0], ()
    return said.splitlines()[-1], tuple(int(each) for each in re.findall(r"^finished (\d+)$", said, re.MULTILINE))


# Beside memories in codes constants that are read as late as these, and none that a scrubber walks through, or some.
CODED = {
    "integers": HardwareChoices(sets=2, protect="secded-39-32", scrub=False),
    "residual": HardwareChoices(protect="t3.weights=tmr,t8.bounds=secded-39-32"),
}
RUNS = [
    *((name, stalls, "generic") for name in GRAPHS for stalls in ((0, 0), (30, 40))),
    ("convolutions", (0, 0), "xc7"),
]


@pytest.mark.parametrize(("name", "stalls", "primitives"), RUNS)
def test_another_simulator_says_the_same(name: str, stalls: tuple[int, int], primitives: str, tmp_path: Path) -> None:
    """The bench that lies beside the hardware: a digit that is X or Z is none of a number."""
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")
    asked = replace(CODED.get(name, HardwareChoices()), primitives=primitives)
    made = hardware_of(GRAPHS[name](), 2, {}, 100.0, asked)
    made.design.write(tmp_path)
    last, finished = simulated(tmp_path, stalls)
    assert last == "equal"
    if stalls == (0, 0):
        assert finished == made.timing.finished
    else:
        assert all(late > early for late, early in zip(finished, made.timing.finished, strict=True))
        return
    expected = tmp_path / "vectors" / "out.hex"
    lines = expected.read_text().split()
    expected.write_text("\n".join([*lines[:-1], f"{int(lines[-1], 16) ^ 1:x}"]) + "\n")
    assert simulated(tmp_path, stalls)[0] == f"1 of {len(lines)} words differ, 0 are missing"


@pytest.mark.parametrize(
    ("module", "text", "instead", "said"),
    [
        ("fifo", "head <= '0;", "", "unknown data"),
        ("vector", "reads <= 1'b1;", "", "unknown handshake"),
        ("row", "first ? start : total", "is_first & ONCE ? start : total", "unknown data"),
    ],
)
def test_unknown_values_are_found(module: str, text: str, instead: str, said: str, tmp_path: Path) -> None:
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")
    hardware_of(GRAPHS["convolutions"](), 2, {}, 100.0).design.write(tmp_path)
    path = tmp_path / "library" / f"bnnflow_{module}.sv"
    source = path.read_text()
    assert text in source
    path.write_text(source.replace(text, instead))
    assert simulated(tmp_path, (0, 0)) == (said, ())
