"""What arrays and units become, against what yosys made of them."""

from __future__ import annotations

import pytest

from bnnflow import Problem
from bnnflow.build.calibrated.fit import counted_subject
from bnnflow.build.calibrated.memory import Mapped, pointed, read_only, ring
from bnnflow.build.calibrated.subject import Subject
from bnnflow.build.calibrated.subjects import held_out, subjects
from bnnflow.build.calibrated.table import calibrated, read_table, table
from bnnflow.build.rtl.design import design
from bnnflow.build.synth.families import FAMILIES
from bnnflow.build.synth.units import unit_sources
from bnnflow.build.synth.yosys import Yosys, synthesized
from bnnflow.flow.run.tools import yosys_command
from bnnflow.transforms.ir.ops import Mvau

BY_NAME = {each.name: each for each in (*subjects(), *held_out())}


def is_whole_matrix_of_numbers(subject: Subject) -> bool:
    op = subject.graph.nodes[0].op
    bits = subject.graph.input_type.is_binary and abs(op.weight).max() == 1 if isinstance(op, Mvau) else True
    return isinstance(op, Mvau) and op.weight.shape == (op.pe, op.simd) and not bits


# Cells that yosys 0.70 made of bnnflow_fifo, bnnflow_rom and the ring of bnnflow_sliding_window.
@pytest.mark.parametrize(
    ("mapped", "takes", "amount"),
    [
        (pointed("xc7", 2, 8), "ff", 16),
        (pointed("xc7", 16, 8), "lut_ram", 8),
        (pointed("xc7", 16, 49), "lut_ram", 36),
        (pointed("xc7", 64, 24), "lut_ram", 32),
        (pointed("xc7", 128, 16), "lut_ram", 48),
        (pointed("xc7", 500, 8), "block_ram", 1),
        (pointed("xc7", 1000, 1), "lut_ram", 64),
        (pointed("ecp5", 2, 8), "ff", 16),
        (pointed("ecp5", 32, 64), "lut_ram", 192),
        (pointed("ecp5", 64, 24), "block_ram", 1),
        (pointed("ecp5", 200, 3), "lut_ram", 78),
        (pointed("ice40", 16, 8), "block_ram", 1),
        (read_only("xc7", 144, 256, "block"), "block_ram", 8),
        (read_only("xc7", 512, 128, "distributed"), "lut", 512 * 128),
        (ring("xc7", 64, 64, "distributed"), "lut_ram", 88),
        (ring("ecp5", 64, 64, "distributed"), "lut_ram", 384),
        (ring("ice40", 64, 64, "distributed"), "block_ram", 4),
    ],
)
def test_arrays_become_what_yosys_makes_of_them(mapped: Mapped, takes: str, amount: int) -> None:
    assert (mapped.takes, mapped.amount) == (takes, amount)


def test_subjects_are_the_same_every_time_and_none_is_held_out() -> None:
    fitted, others = [each.name for each in subjects()], [each.name for each in held_out()]
    assert len(set(fitted)) == len(fitted) > 200 and len(set(others)) == len(others) >= 60
    assert not set(fitted) & set(others)
    one, two = (str(next(iter(subjects())).graph) for _ in range(2))
    assert one == two


@pytest.mark.parametrize("family", calibrated())
def test_a_table_is_what_its_file_says_and_what_modules_are_counted_as(family: str) -> None:
    """A table that was fitted to other counts is stale."""
    made = table(family)
    assert read_table(made.text(), "") == made
    rows = [*made.fitted, *made.held_out]
    assert {each.name for each in rows} == set(BY_NAME)
    for each in rows:
        parts = counted_subject(BY_NAME[each.name], family)
        assert made.lut(parts.terms) == each.estimated, each.name
        for key, (counted, _) in each.exact.items():
            assert parts.exact[key] == counted, each.name
    # But for whole matrices of constants of several bits: registers in a line become look-up tables, and some products
    # with 3, 5, 6 and 7 become sums.
    others = [each for each in rows if not is_whole_matrix_of_numbers(BY_NAME[each.name])]
    assert not [each.name for each in others if {"lut_ram", "dsp"} & each.exact.keys()]
    assert not [each.name for each in rows if "block_ram" in each.exact]


# Quickly synthesized ones of several kinds.
@pytest.mark.parametrize(
    "name",
    [
        "mvau 24x72 3x9 of 0..1, levels 1, top 0, auto, 2 deep",
        "thresholding -512..511 64 3 8",
        "8 to 16 of 0..1, 2 deep",
        "input of 24, 33 deep",
        "thresholding 0..255 16 3 4, parity, 1 sets",
        "registers of 1 units, 0 of 16 by 1 are written, 1 sets, no code",
    ],
)
def test_units_are_what_yosys_makes_of_them(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The library, yosys and the counts are those that the table was fitted to."""
    found = yosys_command()
    if found is None:
        pytest.skip("yosys is not installed")
    subject = BY_NAME[name]
    sources = dict(unit_sources(design(subject.graph, subject.depth, {}, 100.0, subject.control)))[subject.part]
    family = FAMILIES["ecp5"]
    yosys = Yosys(*found, tmp_path_factory.getbasetemp() / "synth")
    taken = family.resources(synthesized(sources, family, yosys).cells)
    made, parts = table("ecp5"), counted_subject(subject, "ecp5")
    (row,) = (each for each in (*made.fitted, *made.held_out) if each.name == name)
    assert (row.lut, row.estimated) == (taken["lut"], made.lut(parts.terms))
    same = {"ff", "lut_ram", "block_ram", "dsp"} - row.exact.keys()
    assert {key: parts.exact[key] for key in same} == {key: taken[key] for key in same}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_subject_can_be_counted_for_every_family(family: str) -> None:
    for subject in subjects():
        parts = counted_subject(subject, family)
        assert parts.exact["ff"] > 0 and all(amount >= 0 for amount in parts.terms.values())


def test_a_table_of_other_hardware_is_refused() -> None:
    with pytest.raises(Problem, match="of another version's hardware"):
        read_table(table("xc7").text().replace("calibration 2", "calibration 1"), "old.json")
