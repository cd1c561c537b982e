"""FPGA families that yosys maps to: its command, and what of a netlist's cells counts as what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bnnflow import Problem

from ..parts import BLOCK_BITS, Part
from .logic_cells import LOGIC_CELL

# What is counted, in the order of tables.
RESOURCES = ("lut", "lut_ram", "ff", "carry", "block_ram", "dsp")


@dataclass(frozen=True, slots=True)
class Family:
    """A family.

    Attributes:
        name: as users name it.
        about: devices.
        command: of yosys, without the top module.
        library: file of all cells that the command makes, where the command would read others first, which takes
            seconds; empty: the command reads its own.
        block: what `block_ram` counts.
        cells: resource, pattern of cells' names, and how many of it a cell is; a cell may be of several.
        memory_luts: whether look-up tables can be memories.
        block_bits: of such a block.
        lut_inputs: of its look-up tables.
        packed: cell of a part that is counted in place of what is packed into it (`logic_cells`); empty: none.
    """

    name: str
    about: str
    command: str
    block: str
    cells: tuple[tuple[str, str, int], ...]
    memory_luts: bool = True
    library: str = ""
    packed: str = ""
    block_bits: int = BLOCK_BITS
    lut_inputs: int = 4

    @property
    def key(self) -> str:
        """A text that is the same for the same mapping and count alone."""
        return self.command + self.library + (f"{self.packed} of all modules" if self.packed else "")

    def script(self, top: str) -> list[str]:
        """Commands of yosys that map a module, with what it instantiates, to the family's cells."""
        if not self.library:
            return [f"{self.command} -top {top}"]
        read = f"read_verilog -lib -specify {self.library}"
        return [read, f"hierarchy -check -top {top}", f"{self.command} -top {top} -run prepare:"]

    def resources(self, cells: Mapping[str, int]) -> dict[str, int]:
        """What the cells of a netlist, by their type, take of each of RESOURCES; buffers and multiplexers take nothing.

        Raises:
            Problem: a memory or a multiplier that is not among the cells that are counted.
        """
        made = dict.fromkeys(RESOURCES, 0)
        for cell, count in cells.items():
            found = [(what, each) for what, pattern, each in self.cells if re.fullmatch(pattern, cell)]
            for what, each in found:
                made[what] += each * count
            if not found and re.search("RAM|DSP|MULT|MAC", cell):
                raise Problem(f"{cell} of {self.name} is not counted", "yosys", "this is a bug: please report it")
        return made


# LUTs that a memory of LUTs takes: Xilinx UG474, table 2-2.
_XILINX = (
    ("lut", r"LUT[1-6]|LUT6_2|INV", 1),
    ("lut_ram", r"RAM32M|RAM64M|RAM128X1D|RAM256X1S", 4),
    ("lut_ram", r"RAM32M16|RAM64M8|RAM64X8SW|RAM32X16DR8|RAM256X1D|RAM512X1S", 8),
    ("lut_ram", r"RAM32X1D|RAM64X1D|RAM128X1S", 2),
    ("lut_ram", r"SRL16E|SRLC16E|SRLC32E|RAM32X1S|RAM64X1S", 1),
    ("ff", r"FD[CPRS]E(_1)?", 1),
    ("carry", r"CARRY4|CARRY8", 1),
    ("block_ram", r"RAMB18E[12]", 1),
    ("block_ram", r"RAMB36E[12]", 2),
    ("dsp", r"DSP48E[12]", 1),
)
FAMILIES = {
    family.name: family
    for family in (
        Family(
            "xc7",
            "AMD 7 series: Artix-7, Kintex-7, Virtex-7, Zynq-7000",
            "synth_xilinx -family xc7 -flatten -noiopad",
            "block RAMs of 18 kbit",
            _XILINX,
            library="+/xilinx/cells_sim.v",
            lut_inputs=6,
        ),
        Family(
            "xcup",
            "AMD UltraScale+: Zynq UltraScale+, Kria, Alveo",
            "synth_xilinx -family xcup -flatten -noiopad",
            "block RAMs of 18 kbit",
            _XILINX,
            lut_inputs=6,
        ),
        Family(
            "ecp5",
            "Lattice ECP5",
            "synth_ecp5",
            "EBR of 18 kbit",
            (
                ("lut", r"LUT4", 1),
                # A carry cell is two look-up tables of a slice; a memory four, and two through which it is written.
                ("lut", r"CCU2C", 2),
                ("lut_ram", r"TRELLIS_DPR16X4", 6),
                ("ff", r"TRELLIS_FF", 1),
                ("carry", r"CCU2C", 1),
                ("block_ram", r"DP16KD|PDPW16KD", 1),
                ("dsp", r"MULT18X18D", 1),
            ),
        ),
        Family(
            "ice40",
            "Lattice iCE40",
            "synth_ice40 -device u",
            "EBR of 4 kbit",
            (
                ("lut", LOGIC_CELL, 1),
                ("ff", r"SB_DFF\w*", 1),
                ("carry", r"SB_CARRY", 1),
                ("block_ram", r"SB_RAM40_4K\w*", 1),
                ("dsp", r"SB_MAC16", 1),
            ),
            memory_luts=False,
            packed=LOGIC_CELL,
            block_bits=4096,
        ),
        Family(
            "gowin",
            "Gowin LittleBee (GW1N) and Arora (GW2A)",
            "synth_gowin -family gw2a -noiopads",
            "BSRAM of 18 kbit",
            (
                # A bit of a carry chain is made by a look-up table.
                ("lut", r"LUT[1-4]|INV|ALU", 1),
                # Four look-up tables, and two through which they are written (YosysHQ/apicula, pull request 80).
                ("lut_ram", r"RAM16SDP[124]", 6),
                ("ff", r"DFF\w*", 1),
                ("carry", r"ALU", 1),
                ("block_ram", r"(SP|SDP|DP|pROM)(B|X9|X9B)?", 1),
                ("dsp", r"MULT9X9|MULT18X18", 1),
                ("dsp", r"MULT36X36", 4),
            ),
        ),
    )
}


def family(name: str) -> Family:
    """A family by its name.

    Raises:
        Problem: there is none.
    """
    if name not in FAMILIES:
        raise Problem(f"there is no FPGA family {name!r}", "family", f"families are: {', '.join(FAMILIES)}")
    return FAMILIES[name]


def family_of(part: Part) -> Family:
    """The family of a part.

    Raises:
        Problem: it is of none that yosys maps to here.
    """
    if part.family:
        return family(part.family)
    raise Problem(
        f"{part.name} is of no family that yosys maps to", "part", f"name one of {', '.join(FAMILIES)} as family"
    )
