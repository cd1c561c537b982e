"""The table of parts: what it says is whole, and names find what they should."""

from __future__ import annotations

import pytest

from bnnflow import Problem
from bnnflow.build.cost import estimate
from bnnflow.build.parts import BLOCK_BITS, PRICES, Part, board_names, known_parts, part
from bnnflow.build.route import is_placed
from bnnflow.build.schedule import fits, fold
from bnnflow.build.synth.families import FAMILIES

from .test_cost import chain

# Boards and parts of FINN's finn/util/basic.py.
FINN = {
    "Ultra96": "xczu3eg-sbva484-1-e",
    "Ultra96-V2": "xczu3eg-sbva484-1-i",
    "Pynq-Z1": "xc7z020clg400-1",
    "Pynq-Z2": "xc7z020clg400-1",
    "ZCU102": "xczu9eg-ffvb1156-2-e",
    "ZCU104": "xczu7ev-ffvc1156-2-e",
    "ZCU111": "xczu28dr-ffvg1517-2-e",
    "RFSoC2x2": "xczu28dr-ffvg1517-2-e",
    "RFSoC4x2": "xczu48dr-ffvg1517-2-e",
    "KV260_SOM": "xck26-sfvc784-2LV-c",
    "AUP-ZU3_8GB": "xczu3eg-sfvc784-2-e",
    "U50": "xcu50-fsvh2104-2L-e",
    "U200": "xcu200-fsgd2104-2-e",
    "U250": "xcu250-figd2104-2L-e",
    "U55C": "xcu55c-fsvh2892-2L-e",
    "VEK280": "xcve2802-vsvh1760-2MP-e-S",
    "VCK190": "xcvc1902-vsva2197-2MP-e-S",
}


def test_every_row_is_whole() -> None:
    for one in known_parts():
        assert one.name == one.name.lower() and one.about, one
        assert one.lut > 0 and one.block_rams > 0 and one.lut_inputs in (4, 6), one
        # No architecture here has fewer than three flip-flops for four look-up tables, or more than two for one.
        assert 0.75 <= one.ff / one.lut <= 2, one
        assert one.family in ("", *FAMILIES) and one.price in ("", *PRICES), one
    boards = ["".join(filter(str.isalnum, board.lower())) for board in board_names()]
    assert len(boards) == len(set(boards)), "a board has one part"


@pytest.mark.parametrize("board", FINN)
def test_boards_of_finn_have_its_parts(board: str) -> None:
    assert part(board) is part(FINN[board])


@pytest.mark.parametrize("name", ["pynq z2", "PYNQZ2", "XC7Z020-1CLG400C", "Zybo Z7-20"])
def test_boards_in_any_spelling(name: str) -> None:
    assert part(name).name == "xc7z020"


@pytest.mark.parametrize(
    ("wrong", "near"), [("Pynq-Z3", "Pynq-Z"), ("GW1NR-9", "gw1nr-lv9"), ("xc7z021clg400-1", "xc7z020"), ("zx81", "")]
)
def test_a_misspelt_name_says_the_closest(wrong: str, near: str) -> None:
    with pytest.raises(Problem, match="unknown part") as raised:
        part(wrong)
    assert ("did you mean" in raised.value.hint) == bool(near)
    assert near in raised.value.hint and "flow parts" in raised.value.hint


@pytest.mark.parametrize(
    ("blocks", "bits", "made"), [(30, 4_096, 6), (10, 9_216, 5), (10, BLOCK_BITS, 10), (10, 20_480, 10), (4, 4_096, 0)]
)
def test_blocks_of_other_sizes_count_as_those_of_18_kbit(blocks: int, bits: int, made: int) -> None:
    """SB_RAM40_4K is 8 bits wide at 512 words, so a memory of 36 bits and 512 words takes five."""
    assert Part("any", 1, blocks, block_bits=bits).bram18 == made


def test_parts_of_a_family_have_its_blocks_and_tables() -> None:
    """Costs are counted in the family's sizes; files of users are held to the same."""
    for one in known_parts():
        if one.family:
            family = FAMILIES[one.family]
            assert (one.block_bits, one.lut_inputs) == (family.block_bits, family.lut_inputs), one.name


def test_a_part_is_placed_where_its_family_has_a_program() -> None:
    options = ("--45k",)
    assert is_placed(Part("any", 1, 0, family="ecp5", nextpnr=options))
    assert not is_placed(Part("any", 1, 0, family="xc7", nextpnr=options))
    assert not is_placed(Part("any", 1, 0, family="ecp5"))


def test_memory_of_every_kind_counts() -> None:
    ultra_plus = part("iCEBreaker")
    assert ultra_plus.memory_bits == 30 * 4_096 + 4 * 262_144 + 5_280 * 16


def test_a_part_without_block_rams_is_folded_without() -> None:
    bare = Part("bare", 10**6, 0)
    folded = fold(chain(), 10**5, bare)
    assert folded is not None
    cost = estimate(folded)
    assert fits(cost, bare) == (cost.bram18 == 0)
