"""LUTs of popcounts, rows and MVAUs of the hardware library, or of what `flow rtl` wrote, as yosys maps them.

    .proofs/tools/bin/python benchmarks/luts.py [FOLDER ...]

Needs pyosys, which `make prove` installs there, and nothing of bnnflow. Prints a Markdown row a module or FOLDER:
LUT1 to LUT6 and LUT6_2 (one each) of `synth_xilinx -family xc7 -flatten -noiopad`. Weights are drawn, in block RAM.
Each is mapped in a process of its own: what yosys makes of plain logic depends on what it did before.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path

LIBRARY = Path(__file__).parents[1] / "build" / "rtl" / "library"
VARIANTS = ("generic", "xc7")
POPCOUNTS = (16, 32, 64, 128)
# Rows, columns, PE, SIMD: CNV's conv3, and a layer of 256 x 256 with 512 and with 2048 synapses a cycle.
MVAUS = ((128, 1152, 16, 32), (256, 256, 16, 32), (256, 256, 32, 64))


def luts(top: str, sources: Sequence[Path], parameters: Mapping[str, int | str]) -> dict[str, int]:
    """Cells of a module by type."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_mapped, (top, sources, parameters))


def _mapped(top: str, sources: Sequence[Path], parameters: Mapping[str, int | str]) -> dict[str, int]:
    from pyosys import libyosys

    design = libyosys.Design()
    given = "".join(f" -set {key} {value}" for key, value in parameters.items())
    with tempfile.TemporaryDirectory() as name:
        told = Path(name) / "stat.json"
        for command in (
            f"read_verilog -sv -defer {' '.join(map(str, sources))}",
            *((f"chparam{given} {top}",) if given else ()),
            f"tee -q -o {name}/log synth_xilinx -family xc7 -flatten -noiopad -top {top}",
            f"tee -q -o {told} stat -json",
        ):
            libyosys.run_pass(command, design)
        cells: dict[str, int] = json.loads(told.read_text())["design"]["num_cells_by_type"]
    return cells


def row(what: str, synapses: int, cells: Mapping[str, int]) -> str:
    """A row of the table."""
    count = sum(number for kind, number in cells.items() if re.fullmatch(r"LUT[1-6]|LUT6_2", kind))
    others = ", ".join(f"{number} {kind}" for kind, number in cells.items() if re.match("CARRY4|FD|RAM", kind))
    return f"| {what} | {count:,} | {f'{count / synapses:.2f}' if synapses else ''} | {others} |"


def mvau(rows: int, columns: int, pe: int, simd: int, folder: Path) -> dict[str, int | str]:
    """Parameters of an MVAU with drawn weights and bounds."""
    draw, bits = random.Random(0), columns.bit_length()
    steps, groups = rows * columns // (pe * simd), rows // pe
    weights = [f"{draw.getrandbits(pe * simd):x}" for _ in range(steps)]
    bounds = [f"{sum(draw.randrange(columns + 1) << bits * p for p in range(pe)):x}" for _ in range(groups)]
    for name, lines in (("weights", weights), ("bounds", bounds)):
        (folder / f"{name}.hex").write_text("\n".join(lines) + "\n")
    sizes = {"MH": rows, "MW": columns, "PE": pe, "SIMD": simd, "SBITS": bits + 1, "BBITS": bits, "BSIGNED": "1'b0"}
    files = {"WEIGHTS": f'"{folder}/weights.hex"', "BOUNDS": f'"{folder}/bounds.hex"'}
    return sizes | files | {"WEIGHT_STYLE": '"block"', "BOUND_STYLE": '"distributed"'}


def main(folders: Sequence[str]) -> None:
    """Measure and print."""
    print("| | LUT | a synapse | others |\n|---|---|---|---|")
    for text in folders:
        folder = Path(text)
        os.chdir(folder)
        top = json.loads(Path("manifest.json").read_text())["top"]
        print(row(text, 0, luts(top, [Path(line) for line in Path("files.f").read_text().split()], {})), flush=True)
    for variant in VARIANTS if not folders else ():
        parts = (LIBRARY, LIBRARY / variant) if variant != "generic" else (LIBRARY,)
        sources = list({path.name: path for part in parts for path in sorted(part.glob("*.sv"))}.values())
        for bits in POPCOUNTS:
            print(
                row(f"popcount of {bits}, {variant}", bits, luts("bnnflow_popcount", sources, {"N": bits})), flush=True
            )
            sizes = {"SIMD": bits, "SBITS": 12, "BOUND": "1'b1", "BBITS": 11}
            print(row(f"row of {bits}, {variant}", bits, luts("bnnflow_row", sources, sizes)), flush=True)
        for sizes in MVAUS:
            with tempfile.TemporaryDirectory() as name:
                cells = luts("bnnflow_mvau", sources, mvau(*sizes, Path(name)))
            print(row(f"MVAU {'x'.join(map(str, sizes))}, {variant}", sizes[2] * sizes[3], cells), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
