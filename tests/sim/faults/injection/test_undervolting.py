"""Undervolted block RAMs: the dump's totals, its clustering and nested faults; where memories lie; tables of users."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnflow import Problem
from bnnflow.sim.faults import (
    Chip,
    FaultModel,
    Grid,
    Memory,
    Outcome,
    Point,
    Protection,
    Rates,
    Subject,
    draw_map,
    elsewhere,
    in_block_ram,
    inject,
    kc705b,
    memories,
    read_board,
)
from bnnflow.sim.faults.injection.layout import KINDS
from bnnflow.sim.faults.injection.maps import faulty_ops
from bnnflow.sim.faults.injection.undervolting import Lying
from bnnflow.transforms.ir.ops import Mvau
from tests.places import DATA, ROOT
from tests.sim.faults.fault_graphs import board, deep, mlp, pixels

DUMP = {0.59: 2, 0.58: 8, 0.57: 26, 0.56: 62, 0.55: 252, 0.54: 690, 0.53: 2274}


def memory(depth: int, width: int, layer: str = "m", bank: int = 0) -> Memory:
    return replace(
        memories(mlp())[0],
        layer=layer,
        depth=depth,
        width=width,
        bank=bank or width,
        lanes=1,
        values=(1, depth * width),
    )


def test_the_dump_comes_back_when_all_its_memories_are_drawn() -> None:
    """890 block RAMs of 16,384 cells, all used: each voltage has the faults of the dump, which shows each twice.

    82 % of those at 0.53 V lie in a tenth of the memories, and each voltage holds the faults of all above it.
    """
    whole = memory(890 * 16_384, 1)
    assert whole.block_rams == 890
    lying, held = Lying.of(Chip(), [whole]), np.zeros(0, np.int64)
    for volts, faults in DUMP.items():
        cells = lying.draw(whole, volts, 3, 1)
        assert len(cells.index) == len(set(cells.index.tolist())) == faults and not cells.effect.any()
        assert np.isin(held, cells.index).all()
        held = cells.index
        assert Chip().rates(volts).value == pytest.approx(faults / whole.size, rel=1e-12)
    each = np.sort(np.bincount(held // 16_384, minlength=890))[::-1]
    assert each[:89].sum() / each.sum() == pytest.approx(0.817, abs=5e-4)
    assert sorted(each[each > 0].tolist()) == sorted(2 * n for n in kc705b().counts[-1] if n)
    other = lying.draw(whole, 0.53, 3, 2)
    assert len(other.index) == 2274 and not np.array_equal(other.index, held)


def test_the_shipped_table_is_the_published_one() -> None:
    path = DATA / "undervolting" / "kc705b.json"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    held, mine = json.loads(path.read_text()), kc705b()
    assert (held["memories"], held["bits_per_memory"]) == (mine.memories, mine.bits)
    assert tuple(map(float, held["voltages"])) == mine.voltages
    for volts, row in held["voltages"].items():
        place = mine.place(float(volts))
        assert sorted(row["counts"], reverse=True) == [count for count in mine.counts[place] if count]
        assert mine.rate(float(volts)) == row["rate"] and sum(mine.counts[place]) == row["faults"]


@settings(max_examples=30)
@given(st.integers(9, 3000), st.integers(1, 90), st.integers(1, 3), st.integers(0, 9))
def test_block_rams_cover_a_memory(depth: int, width: int, banks: int, seed: int) -> None:
    """Each cell lies in one of them; faults are cells of the memory, and of block RAMs whose memories have any."""
    one = memory(depth, width * banks, bank=width)
    rams = [one.block_ram(number) for number in range(one.block_rams)]
    owner = np.full((depth, one.width), -1)
    for number, ram in enumerate(rams):
        assert len(ram.words) <= ram.rows and len(ram.bits) <= ram.columns
        spot = np.ix_(ram.words, ram.bits)
        assert (owner[spot] == -1).all()
        owner[spot] = number
        every = ram.cells(np.arange(ram.rows * ram.columns), one.width)
        assert np.array_equal(np.flatnonzero(owner.reshape(-1) == number), every)
    assert (owner >= 0).all()
    lying = Lying.of(Chip(board([0, 3, 0, 9], [0, 5, 0, 64])), [one])
    high, low = (lying.draw(one, volts, seed, 0) for volts in (0.6, 0.5))
    assert set(high.index.tolist()) <= set(low.index.tolist())
    places = lying.physical(seed, 0)
    clean = [number for number in range(len(rams)) if places[number] % 2 == 0]
    assert not np.isin(owner.reshape(-1)[low.index], clean).any()
    # The last memory has every cell faulty.
    worst = np.isin(owner.reshape(-1), np.flatnonzero(places == 3))
    assert np.isin(np.flatnonzero(worst), low.index).all()


def test_memories_are_drawn_without_replacement_while_there_are_any() -> None:
    lying = Lying.of(Chip(), [memory(890 * 16_384, 1)])
    assert sorted(lying.physical(0, 0).tolist()) == list(range(890))
    small = Lying.of(Chip(board([1, 2, 3])), [memory(7 * 16_384, 1)])
    assert sorted(np.bincount(small.physical(5, 2)).tolist()) == [2, 2, 3]


def test_counts_that_fall_lose_cells_and_no_others() -> None:
    """A board whose one memory mends while another worsens: it is believed, and the rest stays nested."""
    one, chip = memory(2 * 16_384, 1), Chip(board([8, 0], [2, 20], bits=16_384))
    lying = Lying.of(chip, [one])
    high, low = (set(lying.draw(one, volts, 0, 0).index.tolist()) for volts in (0.6, 0.5))
    assert (len(high), len(low), len(high & low)) == (8, 22, 2)


def test_the_mean_rate_is_the_board_s_where_words_are_narrow_and_memories_half_empty() -> None:
    """Cells of 3 bits, 5,000 words: 2 block RAMs of which one is used in part; 4 deviations of 400 maps."""
    one, chip = memory(5000, 3), Chip(board([0, 1, 3, 100], bits=8192))
    lying, found = Lying.of(chip, [one]), []
    for trial in range(400):
        found.append(len(lying.draw(one, 0.6, 1, trial).index))
    expected = chip.board.rate(0.6) * one.size
    assert abs(np.mean(found) - expected) < 4 * np.std(found) / 20


def test_only_memories_in_block_ram_are_undervolted() -> None:
    graph = deep("block")
    assert [one.name for one in in_block_ram(graph, ("weights", "thresholds"))] == ["narrow.weights"]
    assert elsewhere(graph, ("weights", "thresholds")) == {"wide.weights": "LUTs", "wide.thresholds": "LUTs"}
    point = Point("weights+thresholds", (), "undervolting:0.53", Chip().rates(0.53))
    assert [one.name for one in point.places(graph)] == ["narrow.weights"]
    for style, where in {"distributed": "LUTs", "ultra": "UltraRAM"}.items():
        assert elsewhere(deep(style), ("weights",))["narrow.weights"] == where
    assert in_block_ram(deep("auto", rows=1024), ("weights",)) and not in_block_ram(deep("auto"), ("weights",))
    few = deep("block", rows=64)
    op = few.node("narrow").op
    assert isinstance(op, Mvau)
    assert memories(few)[1].held_in(replace(op, mem_mode="external")) == "outside"


HARSH = board([0] * 3, [40, 300, 100], bits=8192)


def test_a_map_of_all_memories_leaves_those_in_luts() -> None:
    graph, chip = deep("block"), Chip(HARSH)
    drawn = draw_map(graph, memories(graph, KINDS), FaultModel.parse("undervolting:0.5"), Rates.of(0), 0, 1, chip)
    counts = {name: len(cells.index) for name, cells in drawn.cells.items()}
    assert counts.pop("narrow.weights") > 0 and counts == {"wide.weights": 0, "wide.thresholds": 0}
    whole = inject(graph, 0, 1, 0.0, FaultModel.parse("undervolting:0.53"))
    assert whole.node("wide").op is graph.node("wide").op


def test_faults_read_0_where_a_1_was_and_codes_mend_them() -> None:
    """Of a board with many faults: maps, trials and the words of the unit say the same; SECDED mends single ones."""
    graph, chip = deep("block"), Chip(HARSH)
    (place,) = in_block_ram(graph, ("weights",))
    model, rates = FaultModel.parse("undervolting:0.5"), chip.rates(0.5)
    before, read = place.words(graph.node("narrow").op), []
    for trial in range(4):
        drawn = draw_map(graph, [place], model, rates, 0, trial, chip)
        ops = faulty_ops(graph, [place], model, rates, 0, trial, chip=chip)
        assert drawn.ops(graph) == ops
        after = place.words(ops["narrow"]) if ops else before
        cells = drawn.cells["narrow.weights"].index
        assert not after.reshape(-1)[cells].any() and (after <= before).all()
        assert np.array_equal(np.delete(after.reshape(-1), cells), np.delete(before.reshape(-1), cells))
        read.append(int((before != after).sum()))
    assert max(read) > 0
    subject = Subject(graph, pixels(0, graph, 30), np.zeros(30, np.int64))

    def changed(model: str, voltage: float, code: str = "none") -> int:
        rates = chip.rates(voltage)
        return sum(subject.trial(Point("weights", (), model, rates, code, 0, 32, chip), t).changed for t in range(4))

    assert changed("undervolting:0.6", 0.6) == 0 < changed("undervolting:0.5", 0.5)
    assert changed("undervolting:0.5", 0.5, "secded-72-64") < changed("undervolting:0.5", 0.5)
    for code in ("tmr", "parity", "secded-39-32:x4:zero", "secded-72-64:scrub=3"):
        assert isinstance(subject.trial(Point("weights", (), str(model), rates, code, chip=chip), 0), Outcome)
        assert len(Protection.parse(code).stored(place).name)


def test_grids_sweep_voltages() -> None:
    graph = deep("block")
    grid = Grid([Rates.of(0.1)], voltages=(0.55, 0.53), targets=("weights",))
    points = grid.points(graph)
    assert [point.model for point in points] == ["undervolting:0.55", "undervolting:0.53"]
    assert [point.rates.value for point in points] == [kc705b().rate(volts) for volts in (0.55, 0.53)]
    assert str(points[0].rates).startswith("0.55 V: p01 0 p10 1.72")
    mixed = Grid([Rates.of(0.1), Rates.of(0.2)], models=("undervolting:0.53", "stuck-at-0")).points(graph)
    assert [point.model for point in mixed] == ["undervolting:0.53", "stuck-at-0", "stuck-at-0"]
    each = Grid([Rates.of(0.1)], layers=("each",), voltages=(0.53,)).points(graph)
    assert [point.layers for point in each] == [("narrow",)]
    other = replace(points[1], chip=Chip(board([1, 2], bits=8192)))
    assert other.key() != points[1].key() and "board" not in mixed[1].key()


def csv_of(*rows: str) -> str:
    return "\n".join(["memory,voltage,count,bits", *rows, ""])


def test_tables_of_users_by_both_forms(tmp_path: Path) -> None:
    """Any order of rows; the same figures give the same maps, whatever the file is called."""
    (tmp_path / "one.csv").write_text(
        "# mine\n" + csv_of(*("b,0.5,7,100", "a,0.5,2,100", "a,0.6,0,100", "b,0.6,1,100"))
    )
    held = {"board": "mine", "bits_per_memory": 100, "counts": {"0.6": [1, 0], "0.5": [7, 2]}, "note": "by hand"}
    (tmp_path / "two.json").write_text(json.dumps(held))
    one, two = (read_board(tmp_path / name) for name in ("one.csv", "two.json"))
    assert one.voltages == (0.6, 0.5) and one.counts == two.counts == ((1, 0), (7, 2)) and one.digest == two.digest
    (tmp_path / "three.json").write_text(json.dumps({**held, "faultless": 3}))
    three = read_board(tmp_path / "three.json")
    assert three.memories == 5 and three.rate(0.5) == 9 / 500


JSON = {"board": "b", "bits_per_memory": 100, "counts": {"0.6": [1, 0], "0.5": [7, 2]}}
TABLES: dict[str, tuple[str, str]] = {
    "none": (".json", ""),
    "ending": (".txt", "{}"),
    "text": (".json", "[1"),
    "list": (".json", "[1]"),
    "keys": (".json", json.dumps({**JSON, "colour": 1})),
    "twice": (".json", json.dumps(JSON)[:-1] + ', "board": "c"}'),
    "no_name": (".json", json.dumps({**JSON, "board": " "})),
    "no_voltage": (".json", json.dumps({**JSON, "counts": {"low": [1]}})),
    "infinite": (".json", json.dumps({**JSON, "counts": {"nan": [1]}})),
    "millivolts": (".json", json.dumps({**JSON, "counts": {"540": [1]}})),
    "same_voltage": (".json", json.dumps({**JSON, "counts": {"0.5": [1], "0.50": [2]}})),
    "no_list": (".json", json.dumps({**JSON, "counts": {"0.5": 3}})),
    "hole": (".json", json.dumps({**JSON, "counts": {"0.6": [1, 0], "0.5": [7]}})),
    "fraction": (".json", json.dumps({**JSON, "counts": {"0.5": [1.5]}})),
    "rate": (".json", json.dumps({**JSON, "counts": {"0.5": [True]}})),
    "negative": (".json", json.dumps({**JSON, "counts": {"0.5": [-1]}})),
    "above": (".json", json.dumps({**JSON, "counts": {"0.5": [101]}})),
    "rising": (".json", json.dumps({**JSON, "counts": {"0.6": [7, 2], "0.5": [1, 0]}})),
    "empty": (".json", json.dumps({**JSON, "counts": {"0.6": []}})),
    "bits": (".json", json.dumps({**JSON, "bits_per_memory": "8k"})),
    "no_bits": (".json", json.dumps({**JSON, "bits_per_memory": 0})),
    "faultless": (".json", json.dumps({**JSON, "faultless": -3})),
    "deep": (".json", "[" * 100_000),
    "huge": (".json", json.dumps({**JSON, "bits_per_memory": 10**30})),
    "csv_long": (".csv", csv_of(f"{'a' * 200_000},0.6,0,100")),
    "csv_columns": (".csv", "memory,voltage,count\na,0.5,1\n"),
    "csv_hole": (".csv", csv_of("a,0.6,0,100", "b,0.6,0,100", "a,0.5,1,100")),
    "csv_twice": (".csv", csv_of("a,0.6,0,100", "a,0.6,1,100")),
    "csv_short": (".csv", csv_of("a,0.6,0")),
    "csv_sizes": (".csv", csv_of("a,0.6,0,100", "b,0.6,0,200")),
    "csv_voltage": (".csv", csv_of("a,low,0,100")),
    "csv_millivolts": (".csv", csv_of("a,590,0,100")),
    "csv_count": (".csv", csv_of("a,0.6,few,100")),
    "csv_nameless": (".csv", csv_of(",0.6,1,100")),
}


@pytest.mark.parametrize("name", TABLES)
def test_what_is_no_table(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: object) -> None:
    monkeypatch.chdir(tmp_path)
    ending, text = TABLES[name]
    Path(f"t{ending}").write_text(text)
    with pytest.raises(Problem) as found:
        read_board(Path(f"t{ending}"))
    golden(f"problems/undervolting_table_{name}", str(found.value))  # type: ignore[operator]


def test_what_cannot_be_undervolted(golden: object) -> None:
    refused = {
        "voltage": ("undervolting:0.545", deep("block")),
        "millivolts": ("undervolting:540", deep("block")),
        "no_voltage": ("undervolting", deep("block")),
        "effect": ("undervolting:0.54 flip", deep("block")),
        "luts": ("undervolting:0.54", deep("distributed")),
    }
    for name, (text, graph) in refused.items():
        with pytest.raises(Problem) as found:
            Grid([Rates.of(0.1)], models=(text,)).points(graph)
        golden(f"problems/undervolting_{name}", str(found.value))  # type: ignore[operator]
    with pytest.raises(Problem) as found:
        Point("weights", ("narrow", "wide"), "undervolting:0.54", Rates.of(0.1)).places(deep("block"))
    golden("problems/undervolting_layer", str(found.value))  # type: ignore[operator]
    with pytest.raises(Problem) as found:
        Point("fifos", (), "undervolting:0.54", Rates.of(0.1)).places(deep("block"))
    golden("problems/undervolting_fifos", str(found.value))  # type: ignore[operator]


def test_the_tables_of_the_page_are_tables(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "undervolting.md").read_text(encoding="utf-8")
    found = {}
    for ending, beginning in {".json": "```json\n", ".csv": "```\nmemory,"}.items():
        text = page.split(beginning)[1].split("```")[0]
        path = tmp_path / f"t{ending}"
        path.write_text(beginning.partition("\n")[2] + text)
        found[ending] = read_board(path)
    assert found[".json"].memories == 100 and found[".json"].rate(0.58) == 4 / (100 * 16_384)
    assert found[".csv"].voltages == (0.6, 0.58) and found[".csv"].counts == ((0, 0), (3, 1))
    for volts, counts in zip(kc705b().voltages, kc705b().counts, strict=True):
        assert f"| {volts:g} " in page and f"| {sum(counts):,} " in page and f"| {sum(n > 0 for n in counts)} " in page
