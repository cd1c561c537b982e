"""Published figures: every row says where it is from and what it counts, and ours are those of our results."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from bnnflow.build.energy import energy, energy_nj
from bnnflow.build.parts import part
from bnnflow.build.rivals import DESIGNS, LEVELS, READ, Design, of_data
from bnnflow.build.schedule import fold
from bnnflow.flow.pruning.structure import graph_of
from bnnflow.flow.show.rivals import COLUMNS, cells, page, standings
from bnnflow.models.files.pack import unpack_network
from bnnflow.models.files.packed_file import read_about, read_packed
from bnnflow.models.files.trained_names import trained_files
from bnnflow.transforms.passes.compile import stages
from tests.places import ROOT

MARKS = "<!-- rivals -->\n", "<!-- end of rivals -->\n"
FIGURES = ("accuracy", "lut", "ff", "bram36", "mhz", "cycles", "fps", "latency_ns", "energy_uj")
OURS = [one for one in DESIGNS if one.ours]


@pytest.mark.parametrize("one", DESIGNS, ids=lambda one: one.name)
def test_every_row_has_source_and_accounting(one: Design) -> None:
    assert one.name and one.data and one.source and len(one.counts) > 5
    assert one.level in LEVELS and one.read in READ
    assert one.ours == one.name.startswith("bnnflow")
    # Whoever gives no figure at all says so.
    figures = [value for key in FIGURES if (value := getattr(one, key)) is not None]
    assert figures or "no FPGA figures" in one.counts
    assert all(value >= 0 for value in figures)
    assert one.accuracy is None or 50 < one.accuracy <= 100
    assert not any(mark in text for text in cells(one) for mark in "|\n")
    assert len(cells(one)) == len(COLUMNS)


def test_names_are_unique_and_all_who_were_asked_for_are_there() -> None:
    names = [one.name for one in DESIGNS]
    assert len(set(names)) == len(names)
    for word in ["FINN", "BNN-PYNQ", "DWN", "TreeLUT", "PolyLUT-Add", "LUTNet", "FracBNN", "ULEEN", "SpQuant-SNN"]:
        assert any(word in name for name in names), word
    assert any("MLPerf Tiny" in one.source for one in DESIGNS)


def test_no_level_of_ours_is_measured() -> None:
    assert {one.level for one in OURS} <= {"synthesized", "estimated"}
    assert all(one.mhz is one.fps is one.energy_uj is None for one in OURS)


@pytest.mark.parametrize("one", OURS, ids=lambda one: one.name)
def test_ours_are_those_of_our_results(one: Design) -> None:
    network = one.name.removeprefix("bnnflow ")
    path = ROOT / one.source
    _, made = read_about(trained_files()[network])
    assert one.accuracy == round(100 * made.accuracy, 2)
    if one.source.endswith("estimates.md"):
        lines = path.read_text().partition("| ECP5 |")[0].splitlines()
        cycles = f"| {one.cycles:,} / {one.cycles:,} |"
        row = next(line for line in lines if line.startswith(f"| {network}, ") and cycles in line)
        logic, _, _, _, ff, memories, blocks, interval, _ = row.split("|")[2:11]
        found = [int(each.split("/")[1].replace(",", "")) for each in (logic, memories, ff, blocks, interval)]
        assert (one.lut, one.ff, one.bram36, one.cycles) == (found[0] + found[1], found[2], found[3] / 2, found[4])
    else:
        said = re.search(
            r"maps it: ([\d,]+) LUTs of logic .*?, ([\d,]+) LUTs of memories, ([\d,]+) reg", path.read_text()
        )
        assert said is not None
        logic, memories, ff = (int(each.replace(",", "")) for each in said.groups())
        assert (one.lut, one.ff) == (logic + memories, ff)


def test_the_tables_of_the_page_are_the_data(request: pytest.FixtureRequest) -> None:
    """--update-golden writes them."""
    path = ROOT / "docs" / "rivals.md"
    head, rest = path.read_text(encoding="utf-8").split(MARKS[0])
    table, tail = rest.split(MARKS[1])
    if request.config.getoption("--update-golden"):
        path.write_text(f"{head}{MARKS[0]}{page()}{MARKS[1]}{tail}", encoding="utf-8")
        return
    assert table == page()


def test_who_wins_follows_from_the_rows() -> None:
    mine = replace(OURS[0], name="bnnflow x", accuracy=90.0, lut=100, ff=None, bram36=0)
    others = [
        replace(mine, name="worse", ours=False, accuracy=89.0, lut=200),
        replace(mine, name="better", ours=False, accuracy=91.0, lut=50),
        replace(mine, name="else", ours=False, accuracy=95.0, lut=500),
    ]
    lines = standings([mine, *others])
    assert "most accurate: else (95; of 4)" in lines and "fewest LUT: better (50; of 4)" in lines
    said = "beaten in accuracy and LUT by better; beats worse in both: whatever each counts, and at whatever rate"
    assert lines[-1] == f"bnnflow x: {said}"
    assert not any(line.startswith("least energy") for line in lines), "nobody has it"
    assert standings([mine])[-1] == "bnnflow x: no other design with accuracy and LUT is known"
    assert of_data("digits") == []


@pytest.mark.parametrize(("name", "cycles"), [("tfc-mnist", 64), ("kws-cnn-speech-commands", 25_000)])
def test_counted_energies_are_those_of_the_model(name: str, cycles: int) -> None:
    network = unpack_network(read_packed(trained_files()[name])).eval()
    graph = fold(stages(graph_of(network))[-1].graph, cycles, part("xczu9eg"))
    assert graph is not None
    counted = energy_nj(energy(graph))["energy_nj"] / 1000
    lines = (ROOT / "docs/rivals.md").read_text().partition("## Energy")[2].splitlines()
    row = next(line for line in lines if line.startswith(f"| bnnflow {name}, {cycles:,} cycles |"))
    said = row.split("|")[2].strip()
    assert f"{counted:.{len(said.partition('.')[2])}f}" == said
