"""Hardware simulated by Icarus Verilog, a second opinion: four states, so that no X reaches an output, and no macros.

Verilator simulates popcounts by `$countones`; here they are the trees, or primitives, that are synthesized.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bnnflow.build.rtl.design import MODELS
from bnnflow.build.rtl.words import from_words, to_words, word_bytes
from bnnflow.flow.graphs.hardware import Hardware, hardware_of
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.transforms.ir.tensor import Array

from ...hardware_graphs import GRAPHS

IMAGES = 3
BENCH = Path(__file__).parent / "icarus.v"


def simulated(made: Hardware, values: Array, stalls: tuple[int, int], folder: Path) -> tuple[Array, tuple[int, ...]]:
    """Outputs, and the cycles in which images end."""
    entry, leave = made.design.entry, made.design.leave
    for path, text in made.design.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    words = to_words(values, entry).reshape(-1, word_bytes(entry))
    (folder / "in.hex").write_text("\n".join(f"{int.from_bytes(word.tobytes(), 'little'):x}" for word in words))
    sizes = {
        "WORDS_IN": len(words),
        "BITS_IN": 8 * word_bytes(entry),
        "WORDS_OUT": len(values) * leave.words,
        "BITS_OUT": 8 * word_bytes(leave),
        "STALL_IN": stalls[0],
        "STALL_OUT": stalls[1],
    }
    given = [f"-Pbench.{key}={value}" for key, value in sizes.items()]
    command = ["iverilog", "-g2012", "-Wall", f"-DTOP={made.design.name}", *given, "-s", "bench", "-o", "bench.vvp"]
    models = [path for path in made.design.files if path.startswith(MODELS)]
    done = subprocess.run(
        [*command, "-f", "files.f", *models, str(BENCH)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    said = subprocess.run(["vvp", "-N", "bench.vvp"], cwd=folder, capture_output=True, text=True, check=True).stdout
    # A digit that is X or Z is none of a number.
    told = re.findall(r"^word ([0-9a-f]+) ([01])$", said, re.MULTILINE)
    assert len(told) == said.count("word ") == len(values) * leave.words
    assert [int(last) for _, last in told] == ([0] * (leave.words - 1) + [1]) * len(values)
    stored = b"".join(int(word, 16).to_bytes(word_bytes(leave), "little") for word, _ in told)
    outputs = from_words(np.frombuffer(stored, np.uint8).reshape(len(values), leave.words, -1), leave)
    return outputs, tuple(int(each) for each in re.findall(r"^finished (\d+)$", said, re.MULTILINE))


RUNS = [
    *((name, stalls, "generic") for name in GRAPHS for stalls in ((0, 0), (30, 40))),
    ("convolutions", (0, 0), "xc7"),
]


@pytest.mark.parametrize(("name", "stalls", "primitives"), RUNS)
def test_another_simulator_says_the_same(name: str, stalls: tuple[int, int], primitives: str, tmp_path: Path) -> None:
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")
    made = hardware_of(GRAPHS[name](), 2, {}, 100.0, primitives)
    kind = made.graph.input_type
    images = np.random.default_rng(3).integers(kind.range[0], kind.range[1] + 1, (IMAGES, *kind.shape))
    found, finished = simulated(made, images, stalls, tmp_path)
    source = made.design.leave.source
    assert np.array_equal(found, dict(Simulator.of(made.graph).tensors(images, [source]))[source].reshape(IMAGES, -1))
    if stalls == (0, 0):
        assert finished == made.timing.finished
    else:
        assert all(late > early for late, early in zip(finished, made.timing.finished, strict=True))
