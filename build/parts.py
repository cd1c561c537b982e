"""FPGA parts, what they hold and the boards that carry them: a row a part, and nothing else is to be done for one."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from math import ceil

from bnnflow import Problem

# Block RAMs as FINN's formulas count them: of 18 kbit, a bit of parity beside every byte.
BLOCK_BITS = 18_432
_ULTRA_BITS, _SPRAM_BITS = 294_912, 262_144
# Price classes and the order of magnitude that each stands for: of one piece, in US dollars; where a chip is sold on
# cards or modules alone, of those. They are estimates for a first choice, and no quotation.
PRICES = {"low": "below 100", "middle": "100 to 1,000", "high": "above 1,000"}


@dataclass(frozen=True, slots=True)
class Part:
    """Resources of an FPGA.

    Attributes:
        name: beginning of full part numbers, in small letters.
        lut: look-up tables of `lut_inputs` inputs.
        block_rams: of `block_bits` bits; one of 36 kbit counts as two of 18.
        uram: UltraRAMs, of 288 kbit.
        dsp: DSP slices; of Lattice and Gowin multipliers of 18 x 18 bits, of iCE40 of 16 x 16.
        about: devices, and where the figures are from.
        ff: flip-flops of the logic.
        family: that yosys maps to, of `synth/families.py`; "": none.
        lut_inputs: inputs of a look-up table. FINN's formulas count tables of 6.
        block_bits: bits of a block RAM.
        spram: single-port RAMs of 256 kbit.
        grades: speed grades of the family, slowest first, where a source names them; not every part has each.
        price: a class of `PRICES`; "": not known.
        boards: names of boards.
        nextpnr: options that name the part, in the largest package, to nextpnr of its family; (): it does not place it.
    """

    name: str
    lut: int
    block_rams: int
    uram: int = 0
    dsp: int = 0
    about: str = ""
    ff: int = 0
    family: str = ""
    lut_inputs: int = 6
    block_bits: int = BLOCK_BITS
    spram: int = 0
    grades: tuple[str, ...] = ()
    price: str = ""
    boards: tuple[str, ...] = ()
    nextpnr: tuple[str, ...] = ()

    @property
    def bram18(self) -> int:
        """Block RAMs of 18 kbit that its blocks make: a larger one is one, smaller ones as many as hold the bits."""
        return self.block_rams // max(1, ceil(BLOCK_BITS / self.block_bits))

    @property
    def memory_bits(self) -> int:
        """Bits that all its memories hold at most: RAMs of every kind, and look-up tables."""
        rams = self.block_bits * self.block_rams + _ULTRA_BITS * self.uram + _SPRAM_BITS * self.spram
        return rams + self.lut * 2**self.lut_inputs


def _amd(
    about: str, family: str, grades: tuple[str, ...], *rows: tuple[str, int, int, int, int, str, tuple[str, ...]]
) -> tuple[Part, ...]:
    """Parts of AMD: name, LUTs, block RAMs of 18 kbit, UltraRAMs, DSP slices, price and boards.

    Two flip-flops a LUT: UG474, UG574 and AM005 say so of every one of these architectures.
    """
    return tuple(
        Part(name, lut, blocks, uram, dsp, about, 2 * lut, family, grades=grades, price=price, boards=boards)
        for name, lut, blocks, uram, dsp, price, boards in rows
    )


_ARTIX_GRADES = ("-1", "-1L", "-2L", "-2", "-3")  # DS181
_ZYNQ_GRADES = ("-1", "-1L", "-2L", "-2", "-3")  # DS191
_LIST = "a public list of Xilinx FPGAs"

_ROWS = (
    *_amd(
        "Artix-7, DS180",
        "xc7",
        _ARTIX_GRADES,
        ("xc7a35t", 20_800, 100, 0, 90, "low", ("Arty A7-35T", "Basys 3", "Cmod A7-35T")),
        ("xc7a100t", 63_400, 270, 0, 240, "middle", ("Arty A7-100T", "Nexys A7-100T")),
    ),
    *_amd(
        f"Artix-7, {_LIST}",
        "xc7",
        _ARTIX_GRADES,
        ("xc7a50t", 32_600, 150, 0, 120, "low", ("Nexys A7-50T",)),
        ("xc7a75t", 47_200, 210, 0, 180, "middle", ()),
        ("xc7a200t", 134_600, 730, 0, 740, "middle", ("Nexys Video",)),
    ),
    *_amd(
        "Zynq-7000, DS190",
        "xc7",
        _ZYNQ_GRADES,
        ("xc7z010", 17_600, 120, 0, 80, "low", ("Zybo Z7-10",)),
        ("xc7z020", 53_200, 280, 0, 220, "middle", ("Pynq-Z1", "Pynq-Z2", "ZedBoard", "Zybo Z7-20", "ZC702")),
        ("xc7z045", 218_600, 1_090, 0, 900, "high", ("ZC706",)),
    ),
    *_amd(
        f"Zynq-7000, {_LIST}",
        "xc7",
        _ZYNQ_GRADES,
        ("xc7z015", 46_200, 190, 0, 160, "middle", ()),
        ("xc7z030", 78_600, 530, 0, 400, "middle", ()),
        ("xc7z035", 171_900, 1_000, 0, 900, "high", ()),
        ("xc7z100", 277_400, 1_510, 0, 2_020, "high", ()),
    ),
    *_amd(
        "Zynq UltraScale+, DS891",
        "xcup",
        (),
        ("xczu3eg", 70_560, 432, 0, 360, "middle", ("Ultra96", "Ultra96-V2", "AUP-ZU3_8GB")),
        ("xczu7ev", 230_400, 624, 96, 1_728, "high", ("ZCU104", "ZCU106")),
        ("xczu9eg", 274_080, 1_824, 0, 2_520, "high", ("ZCU102",)),
    ),
    *_amd(
        f"Zynq UltraScale+, {_LIST}",
        "xcup",
        (),
        ("xczu1eg", 37_440, 216, 0, 216, "", ()),
        ("xczu2eg", 47_232, 300, 0, 240, "middle", ()),
        ("xczu4ev", 87_840, 256, 48, 728, "", ()),
        ("xczu5ev", 117_120, 288, 64, 1_248, "", ()),
        ("xczu6eg", 214_604, 1_428, 0, 1_973, "high", ()),
        ("xczu11eg", 298_560, 1_200, 80, 2_928, "high", ()),
        ("xczu15eg", 341_280, 1_488, 112, 3_528, "high", ()),
        ("xczu17eg", 423_403, 1_592, 102, 1_590, "high", ()),
        ("xczu19eg", 522_720, 1_968, 128, 1_968, "high", ()),
        ("xczu28dr", 425_280, 2_160, 80, 4_272, "high", ("ZCU111", "RFSoC2x2")),
        ("xczu48dr", 425_280, 2_160, 80, 4_272, "high", ("RFSoC4x2",)),
    ),
    *_amd(
        "Kria K26, its data sheet",
        "xcup",
        ("-2LV",),
        ("xck26", 117_120, 288, 64, 1_248, "middle", ("KV260", "KV260_SOM")),
    ),
    *_amd(
        f"Alveo (Virtex UltraScale+), {_LIST}",
        "xcup",
        ("-2L",),
        ("xcu50", 871_680, 2_688, 640, 5_952, "high", ("Alveo U50",)),
        ("xcu55c", 1_303_680, 4_032, 960, 9_024, "high", ("Alveo U55C",)),
        ("xcu250", 1_728_000, 5_376, 1_280, 12_288, "high", ("Alveo U250",)),
        ("xcu280", 1_303_680, 4_032, 960, 9_024, "high", ("Alveo U280",)),
    ),
    *_amd(
        f"Alveo (Virtex UltraScale+), {_LIST}",
        "xcup",
        ("-2",),
        ("xcu200", 1_182_240, 4_320, 960, 6_840, "high", ("Alveo U200",)),
    ),
    # yosys has no Versal.
    *_amd(
        f"Versal, {_LIST}",
        "",
        (),
        ("xcvc1902", 899_840, 1_934, 463, 1_968, "high", ("VCK190",)),
        ("xcve2802", 520_704, 1_200, 264, 1_312, "high", ("VEK280",)),
    ),
    *(
        Part(
            name,
            lut,
            blocks,
            dsp=dsp,
            about="Lattice ECP5, as nextpnr 0.11 counts it",
            ff=lut,
            family="ecp5",
            lut_inputs=4,
            grades=("6", "7", "8"),
            price="low",
            boards=boards,
            nextpnr=(device, "--package", package),
        )
        for name, lut, blocks, dsp, boards, device, package in (
            ("lfe5u-25f", 24_288, 56, 28, ("Colorlight i5",), "--25k", "CABGA381"),
            ("lfe5u-45f", 43_848, 108, 72, (), "--45k", "CABGA554"),
            ("lfe5u-85f", 83_640, 208, 156, ("ULX3S",), "--85k", "CABGA756"),
            ("lfe5um5g-85f", 83_640, 208, 156, ("ECP5 Evaluation Board",), "--um5g-85k", "CABGA756"),
        )
    ),
    *(
        Part(
            name,
            lut,
            blocks,
            dsp=dsp,
            about=f"Lattice iCE40 {about}",
            ff=lut,
            family="ice40",
            lut_inputs=4,
            block_bits=4_096,
            spram=spram,
            price="low",
            boards=boards,
            nextpnr=(f"--{name.removeprefix('ice40')}", "--package", package),
        )
        for name, lut, blocks, dsp, spram, about, package, boards in (
            ("ice40hx1k", 1_280, 16, 0, 0, "HX, as nextpnr counts it", "tq144", ("iCEstick",)),
            (
                *("ice40hx4k", 3_520, 20, 0, 0, "HX, as sold (nextpnr counts the 8K's die)", "tq144"),
                ("Alhambra II", "BlackIce II"),
            ),
            (
                *("ice40hx8k", 7_680, 32, 0, 0, "HX, as nextpnr counts it", "ct256"),
                ("Alchitry Cu", "iCE40-HX8K Breakout"),
            ),
            ("ice40up5k", 5_280, 30, 8, 4, "UltraPlus, as nextpnr counts it", "sg48", ("iCEBreaker", "Fomu")),
        )
    ),
    *(
        Part(name, lut, blocks, 0, dsp, about, ff, "gowin", lut_inputs=4, price="low", boards=boards)
        for name, lut, blocks, dsp, ff, about, boards in (
            ("gw1nr-lv9", 8_640, 26, 20, 6_480, "Gowin GW1NR-9, Sipeed's wiki and nextpnr", ("Tang Nano 9K",)),
            ("gw2ar-lv18", 20_736, 46, 48, 15_552, "Gowin GW2AR-18, Sipeed's wiki", ("Tang Nano 20K",)),
        )
    ),
)
_PARTS = {part.name: part for part in _ROWS}


def part_names() -> tuple[str, ...]:
    """The known parts, by the beginnings of their names."""
    return tuple(_PARTS)


def board_names() -> tuple[str, ...]:
    """The known boards."""
    return tuple(board for one in _PARTS.values() for board in one.boards)


def known_parts() -> tuple[Part, ...]:
    """All parts of the table."""
    return tuple(_PARTS.values())


def lines() -> list[tuple[str, str]]:
    """Name and description of each part."""
    return [
        (one.name, f"{_luts(one)}, {blocks(one)}, {one.uram} UltraRAM, {one.dsp:,} DSP slices ({one.about})")
        for one in _PARTS.values()
    ]


def _luts(part: Part) -> str:
    return f"{part.lut:,} LUT" + (f" of {part.lut_inputs} inputs" if part.lut_inputs != 6 else "")


def blocks(part: Part) -> str:
    """How many block RAMs of which size."""
    if part.block_bits == BLOCK_BITS:
        return f"{part.block_rams:,} BRAM18"
    return f"{part.block_rams:,} block RAMs of {part.block_bits / 1024:g} kbit"


def part(name: str) -> Part:
    """The part of a full name such as xc7z020clg400-1, of its beginning, or of a board such as Pynq-Z2.

    Case does not count; of boards punctuation does not either, nor a leading "Alveo".

    Raises:
        Problem: the part is not known; names the closest.
    """
    known = max((known for known in _PARTS if name.lower().startswith(known)), key=len, default="")
    if known:
        return _PARTS[known]
    boards = {_plain(board): (board, one) for one in _PARTS.values() for board in one.boards}
    if _plain(name) in boards:
        return boards[_plain(name)][1]
    near = get_close_matches(name.lower()[:8], _PARTS, 1, 0.6)
    near += [boards[one][0] for one in get_close_matches(_plain(name), boards, 1, 0.6)]
    hint = f"did you mean {near[0]}? " if near else ""
    hint += "`flow parts` lists all; a .yaml file describes one of yours"
    raise Problem(f"unknown part {name!r}", "part", hint)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum()).removeprefix("alveo")
