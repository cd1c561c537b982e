"""Memories as the hardware lays them out, and what fault maps do to them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnflow import Problem
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.faults import (
    SHAPES,
    CellRate,
    FaultMap,
    FaultModel,
    Grid,
    Memory,
    Rates,
    contents,
    draw_map,
    flips,
    from_memory,
    inject,
    memories,
    memory,
    read_rates,
    upset_rate,
)
from bnnflow.sim.faults.injection.draws import stream, uniforms
from bnnflow.sim.faults.injection.layout import KINDS
from bnnflow.sim.faults.injection.maps import replaced, source
from bnnflow.sim.faults.shapes.base import Coins, Shape
from bnnflow.sim.reference import run
from bnnflow.transforms.ir.ops import NO_BOUNDS, Mvau
from bnnflow.transforms.memories import slices
from tests.sim.faults.fault_graphs import bits, cnn, mlp, pixels


def unit(rows: int, columns: int, pe: int, simd: int) -> Mvau:
    return Mvau(bits(rows * columns, rows, columns), NO_BOUNDS, True, pe=pe, simd=simd)


@given(st.sampled_from([1, 2, 3, 6]), st.sampled_from([1, 2, 4, 8]))
def test_words_follow_finns_packing(pe: int, simd: int) -> None:
    """Word nf * SF + sf, bit p * SIMD + s is row nf * PE + p, column sf * SIMD + s; nothing is lost."""
    op = unit(6, 8, pe, simd)
    words = memory(op)
    assert words.shape == (48 // (pe * simd), pe * simd)
    for nf in range(6 // pe):
        for sf in range(8 // simd):
            for p in range(pe):
                for s in range(simd):
                    value = op.weight[nf * pe + p, sf * simd + s]
                    assert words[nf * (8 // simd) + sf, p * simd + s] == value
    assert from_memory(op, words) == op


def test_four_words_by_hand() -> None:
    """A 4x4 matrix at PE 2, SIMD 2: each word holds a 2x2 block, row by row."""
    weight = np.array([[1, 0, 0, 1], [1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 1, 0]], np.uint8)
    words = memory(Mvau(weight, NO_BOUNDS, True, pe=2, simd=2))
    assert words.tolist() == [[1, 0, 1, 1], [0, 1, 0, 0], [0, 1, 0, 0], [1, 1, 1, 0]]


@pytest.mark.parametrize(
    ("low", "high", "bits_"), [(-1, 1, 2), (-2, 1, 2), (-7, 7, 4), (-128, 127, 8), (0, 3, 3), (0, 1, 2)]
)
def test_weights_of_several_bits_lie_bit_by_bit(low: int, high: int, bits_: int) -> None:
    """A weight's bits stand side by side, least significant first, in two's complement; a flip is one bit of one.

    Hardware keeps a sign of weights that have none, and one bit for -1 and +1 alone.
    """
    weight = np.resize(np.arange(low, high + 1), (4, 6)).astype(np.int8)
    weight[0, 0], weight[0, 1] = low, high
    op = Mvau(weight, NO_BOUNDS, False, 0, 2, 3)
    words = memory(op)
    assert words.shape == (24 // 6, 6 * bits_)
    places = 2 ** np.arange(bits_)
    assert np.array_equal(words[0].reshape(2, 3, bits_) @ places, weight[:2, :3].astype(np.int64) % 2**bits_)
    assert from_memory(op, words) == op
    assert op.stored_bits == bits_ == op.weight_bits + (low >= 0)
    words[0, 0] ^= 1
    changed = from_memory(op, words).weight.astype(int) - weight
    assert np.count_nonzero(changed) == 1 and abs(changed[0, 0]) == 1


def test_weights_of_minus_and_plus_one_take_one_bit() -> None:
    weight = np.array([[1, -1], [-1, -1]], np.int8)
    op = Mvau(weight, NO_BOUNDS, False, 0, 1, 2)
    assert memory(op).tolist() == [[1, 0], [0, 0]]
    assert from_memory(op, 1 - memory(op)).weight.tolist() == (-weight).tolist()
    for value in (1, -1):
        every = Mvau(np.full((2, 2), value, np.int8), NO_BOUNDS, False, 0, 1, 2)
        assert np.unique(from_memory(every, 1 - memory(every)).weight).tolist() == [-value]


@pytest.mark.parametrize("seed", range(4))
def test_every_memory_is_read_back_as_it_was(seed: int) -> None:
    """Weights of 1 and 3 bits, thresholds of one and three levels; logical numbers are a permutation."""
    graph = cnn(seed)
    found = memories(graph, KINDS)
    assert [m.name for m in found] == [
        "conv0.weights", "conv0.thresholds", "conv1.weights", "conv1.thresholds", "other.thresholds",
        "bit.thresholds", "conv2.weights", "conv2.thresholds", "fc.weights",
    ]  # fmt: skip
    for one in found:
        op = graph.node(one.layer).op
        words = one.words(op)
        assert words.shape == (one.depth, one.width)
        again = one.holding(op, words)
        assert np.array_equal(getattr(again, "weight", 0), getattr(op, "weight", 0))
        assert np.array_equal(one.words(again), words)
        assert np.array_equal(np.sort(one.logical()), np.arange(one.size))
        assert np.array_equal(one.logical()[one.physical()], np.arange(one.size))
    assert memories(graph)[1].bits == 3


def test_thresholds_lie_pe_by_pe_level_by_level() -> None:
    """conv0: 4 channels, PE 2, 3 levels, sums in -1020..1020: 2 words of 2 * 3 bounds of 11 bits."""
    graph = cnn()
    one = memories(graph, ("thresholds",))[0]
    op = graph.node("conv0").op
    assert isinstance(op, Mvau)
    assert (one.depth, one.width, one.bank, one.bits) == (2, 66, 11, 11)
    words = one.words(op)
    value = int((words[1, (1 * 3 + 2) * 11 :][:11] * (1 << np.arange(11))).sum())
    assert (value - 2048 if value >= 1024 else value) == op.bounds[1 * 2 + 1, 2]


def test_words_are_those_of_the_files_for_finn() -> None:
    """The same words as `memblock.dat` and `thresh.h` hold, which are written independently."""
    from bnnflow.build.memories import threshold_table, weight_words

    graph = cnn()
    for one in memories(graph, KINDS):
        op = graph.node(one.layer).op
        words = one.words(op).astype(np.int64)
        if one.kind == "weights":
            assert isinstance(op, Mvau)
            values = words.reshape(one.depth, op.pe, op.simd, one.bits)
            wanted = weight_words(op.weight.astype(np.int64), op.pe, op.simd)
            wanted = (wanted > 0).astype(np.int64) if one.bits == 1 else wanted % 2**one.bits
        else:
            bounds = np.clip(op.bounds, one.least, one.most)  # type: ignore[union-attr]
            values = words.reshape(one.depth, one.lanes, -1, one.bits)
            wanted = threshold_table(bounds, one.lanes).transpose(1, 0, 2) % 2**one.bits
        assert np.array_equal((values << np.arange(one.bits)).sum(axis=-1), wanted)


@pytest.mark.parametrize("value", [-(10**9), 10**9])
def test_bounds_out_of_reach_act_as_the_ends(value: int) -> None:
    graph = mlp()
    node = graph.nodes[0]
    assert isinstance(node.op, Mvau)
    far = replaced(graph, {"d0": replace(node.op, bounds=np.full_like(node.op.bounds, value))})
    one = memories(far, ("thresholds",))[0]
    stored = one.holding(far.nodes[0].op, one.words(far.nodes[0].op))
    x = pixels(0, graph, 20)
    assert np.array_equal(run(far, x)["d0"], run(replaced(far, {"d0": stored}), x)["d0"])


@pytest.mark.parametrize(
    ("width", "depth", "expected"),
    [
        (1, 20000, (16384, 1, 2, 1)),
        (2, 8192, (8192, 2, 1, 1)),
        (3, 5000, (4096, 4, 2, 1)),
        (8, 4096, (2048, 9, 2, 1)),
        (18, 512, (1024, 18, 1, 1)),
        (36, 512, (512, 36, 1, 1)),
        (36, 513, (1024, 18, 1, 2)),
    ],
)
def test_slicing_by_finns_table(width: int, depth: int, expected: tuple[int, ...]) -> None:
    cut = slices(width, depth)
    assert (cut.rows, cut.columns, cut.down, cut.across) == expected
    assert slices(width, depth, "distributed").count == -(-depth // 64) * width


def test_maps_are_nested_shared_and_replayable() -> None:
    low, high = flips(3, 1, 0, 5000, 0.01), flips(3, 1, 0, 5000, 0.1)
    assert np.all(high[low]), "what flips at a low rate flips at a high one"
    assert np.array_equal(flips(3, 1, 0, 800, 0.1), high[:800]), "a smaller memory suffers the same map"
    assert not np.array_equal(flips(3, 2, 0, 5000, 0.1), high)
    assert not np.array_equal(flips(3, 1, 1, 5000, 0.1), high)
    assert not flips(3, 1, 0, 5000, 0.0).any()
    assert flips(3, 1, 0, 5000, 1.0).all()


def test_uniforms_are_uniform_and_independent_of_the_rates_asked_for() -> None:
    """Below every band's edge lies its share, within five deviations; asking for less gives a subset."""
    source, count = stream(1, 2, 3), 10**6
    units, values = uniforms(source, count, 1.0)
    assert len(units) == count
    for rate in (0.7, 1 / 16, 0.03, 1 / 256, 1e-3, 1e-4):
        share = (values < rate).mean()
        assert abs(share - rate) < 5 * (rate * (1 - rate) / count) ** 0.5
        fewer, below = uniforms(source, count, rate)
        assert np.array_equal(fewer, units[values < rate])
        assert np.array_equal(below, values[values < rate])
    gaps = np.diff(units[values < 0.01])
    assert abs(gaps.mean() - 100) < 5 * 100 / len(gaps) ** 0.5
    assert abs(gaps.std() - 99.5) < 3


def test_drawing_costs_what_is_hit() -> None:
    """590,000 bits at 1e-3: a few thousand numbers, not 590,000."""
    units, _ = uniforms(stream(0, 0, 0), 590_000, 1e-3)
    assert 400 < len(units) < 800
    assert len(uniforms(stream(0, 0, 0), 10**12, 1e-10)[0]) < 200


def test_folding_changes_the_damage_and_logical_addresses_do_not() -> None:
    graph = mlp()
    op = graph.nodes[0].op
    assert isinstance(op, Mvau)
    refolded = replaced(graph, {"d0": replace(op, pe=8, simd=2)})

    def hit(where: object, model: FaultModel) -> object:
        assert isinstance(where, type(graph))
        made = inject(where, 0, 0, 0.2, model).nodes[0].op
        assert isinstance(made, Mvau)
        return made.weight.tolist()

    assert hit(graph, FaultModel()) != hit(refolded, FaultModel())
    assert hit(graph, FaultModel.parse("logical flip")) == hit(refolded, FaultModel.parse("logical flip"))
    assert inject(graph, 0, 0, 0.0) == graph


def damage(model: str, rate: float, graph_seed: int = 0, up: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Words of conv2's weights (PE 3, SIMD 8: 4 words of 24 bits) before and after."""
    graph = cnn(graph_seed)
    one = next(m for m in memories(graph) if m.layer == "conv2")
    before = one.words(graph.node("conv2").op)
    cells = FaultModel.parse(model).draw(one, CellRate(rate if up is None else up, rate), stream(5, 0, 1))
    assert np.all(np.diff(cells.index) > 0)
    return before, cells.on(before)


def test_stuck_lines_words_and_pes() -> None:
    before, after = damage("bit-line stuck-at-1", 0.2)
    columns = (before != after).any(axis=0)
    assert columns.any() and after[:, columns].all()
    before, after = damage("word-line stuck-at-0", 0.5)
    rows = (before != after).any(axis=1)
    assert rows.any() and not rows.all() and not after[rows].any()
    before, after = damage("pe flip", 0.6)
    lanes = (before != after).reshape(4, 3, 8).transpose(1, 0, 2).reshape(3, -1)
    assert set(lanes.all(axis=1)) == {True, False}
    assert np.array_equal(lanes.all(axis=1), lanes.any(axis=1))
    assert damage("stuck-at-1", 1.0)[1].all()
    half = damage("stuck", 1.0)[1].mean()
    assert 0.25 < half < 0.75


def test_asymmetric_errors_follow_the_stored_bit() -> None:
    before, after = damage("asymmetric", 0.0, up=1.0)
    assert after.all(), "all zeros become one, no one becomes zero"
    before, after = damage("asymmetric", 0.3, up=0.0)
    changed = before != after
    assert changed.any() and before[changed].all()
    before, after = damage("asymmetric", 1.0, up=1.0)
    assert np.array_equal(after, 1 - before)


def test_bursts_and_clusters_are_neighbours() -> None:
    for seed in range(5):
        before, after = damage("burst:4 flip", 0.02, seed)
        rows = [np.flatnonzero(row) for row in before != after]
        assert all(len(np.unique(row)) == len(row) for row in rows)
    one = memories(cnn())[2]
    assert cells_of(FaultModel.parse("cluster:2x3 stuck-at-1").shape, one, 1 * 24 + 22) == area(1, 3, 22, 24)
    every = CellRate.of(1.0), stream(0, 0, 0)
    twice = FaultModel.parse("burst:3 flip").hit(one, np.array([0, 1]), np.zeros(2), *every)
    assert twice.index.tolist() == [0, 3], "two flips of one cell cancel"
    stuck = FaultModel.parse("burst:3 stuck").hit(one, np.array([0, 1]), np.array([2.0**-52, 0.0]), *every)
    assert stuck.effect.tolist() == [1, 0, 0, 0], "of two stuck ones the last counts"


def cells_of(shape: Shape, place: Memory, unit: int) -> set[tuple[int, int]]:
    """Words and bits of a unit's cells."""
    cells = shape.cells(place, unit, Coins(stream(0, 0, 0), unit)).tolist()
    found = {divmod(cell, place.width) for cell in cells}
    assert len(found) == len(cells)
    return found


def area(top: int, bottom: int, left: int, right: int) -> set[tuple[int, int]]:
    return {(word, bit) for word in range(top, bottom) for bit in range(left, right)}


def test_rows_and_columns_of_block_rams() -> None:
    """Words of 40 bits, 600 deep: RAMs of 1024 x 18, three across; each bound's place is a RAM of its own."""
    one = replace(memories(cnn())[2], depth=600, width=40, bank=40)
    row, column = SHAPES["bram-row"](), SHAPES["bram-column"]()
    assert (row.units(one), column.units(one)) == (600 * 3, 40)
    assert cells_of(row, one, 3 * 7 + 2) == area(7, 8, 36, 40)
    assert cells_of(column, one, 39) == area(0, 600, 39, 40)
    deep = replace(one, depth=2000)
    assert column.units(deep) == 80
    assert cells_of(column, deep, 41) == area(1024, 2000, 1, 2)
    banks = memories(cnn(), ("thresholds",))[0]
    assert row.units(banks) == banks.depth * 6
    assert cells_of(row, banks, 1 * 6 + 2) == area(1, 2, 2 * 11, 3 * 11)
    small = FaultModel.parse("bram-column:distributed flip")
    assert small.shape.units(one) == 40 * 10 and cells_of(small.shape, one, 41) == area(64, 128, 1, 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_faulty_graphs_run_the_same_in_engine_and_reference(kind: str, seed: int) -> None:
    from bnnflow.sim.faults.injection.maps import faulty_ops

    graph = cnn(seed)
    made = replaced(graph, faulty_ops(graph, memories(graph, (kind,)), FaultModel(), Rates.of(0.1), 1, seed))
    x = pixels(seed, graph, 12)
    assert np.array_equal(Simulator.of(made).scores(x), run(made, x)["fc"])
    assert not np.array_equal(run(made, x)["fc"], run(graph, x)["fc"])


@pytest.mark.parametrize("suffix", ["npz", "csv"])
def test_map_files_replay_exactly_and_refuse_other_foldings(suffix: str, tmp_path: Path, golden: object) -> None:
    graph = cnn()
    drawn = draw_map(graph, memories(graph, KINDS), FaultModel.parse("asymmetric"), Rates(CellRate(0.1, 0.2)), 3, 4)
    path = tmp_path / f"map.{suffix}"
    path.write_bytes(drawn.content(path.suffix, graph))
    again = FaultMap.load(path, graph)
    assert replaced(graph, again.ops(graph)) == replaced(graph, drawn.ops(graph))
    op = graph.node("conv2").op
    assert isinstance(op, Mvau)
    with pytest.raises(Problem) as found:
        FaultMap.load(path, replaced(graph, {"conv2": replace(op, pe=1)}))
    golden(f"problems/faults_other_folding_{suffix}", str(found.value))  # type: ignore[operator]


def test_maps_by_hand_name_channels_and_bits(tmp_path: Path, golden: object) -> None:
    graph = cnn()
    path = tmp_path / "map.csv"
    path.write_text("memory,channel,value,bit,effect\nconv1.weights,2,1,0,flip\nconv1.weights,0,3,2,1\n")
    op, hit = graph.node("conv1").op, FaultMap.load(path, graph).ops(graph)["conv1"]
    assert isinstance(op, Mvau) and isinstance(hit, Mvau)
    wanted = op.weight.copy()
    wanted[2, 1] ^= 1
    wanted[0, 3] |= -4
    assert np.array_equal(hit.weight, wanted)
    for name, text in {
        "unknown_memory": "memory,channel,value,bit,effect\nconv9.weights,0,0,0,flip\n",
        "no_such_cell": "memory,word,bit,effect\nconv1.weights,0,99,flip\n",
        "columns": "memory,cell\nconv1.weights,0\n",
        "no_number": "memory,word,bit,effect\nconv1.weights,0x1,0,flip\n",
        "effect": "memory,word,bit,effect\nconv1.weights,0,0,2\n",
        "cell_twice": "memory,word,bit,effect\nconv1.weights,0,0,flip\nconv1.weights,00,0,flip\n",
        "short_row": "memory,word,bit,effect\nconv1.weights,0,0\n",
    }.items():
        path.write_text(text)
        with pytest.raises(Problem) as found:
            FaultMap.load(path, graph)
        golden(f"problems/faults_map_{name}", str(found.value))  # type: ignore[operator]


def test_maps_of_spreadsheets(tmp_path: Path) -> None:
    """Which begin with a mark, end lines in two characters, order columns and put spaces as they like."""
    graph, path = cnn(), tmp_path / "map.csv"
    path.write_text("memory,word,bit,effect\nconv1.weights,1,2,flip\nconv1.weights,0,3,1\n")
    wanted = FaultMap.load(path, graph)
    path.write_bytes(b"\xef\xbb\xbfeffect,bit, memory,word\r\n1,3,conv1.weights,0\r\nflip, 2,conv1.weights, 1\r\n")
    found = FaultMap.load(path, graph)
    assert found.cells["conv1.weights"].index.tolist() == wanted.cells["conv1.weights"].index.tolist()
    assert found.cells["conv1.weights"].effect.tolist() == wanted.cells["conv1.weights"].effect.tolist()


def test_rate_tables(tmp_path: Path, golden: object) -> None:
    path = tmp_path / "rates.csv"
    path.write_text("  # FeFET\ntemperature,memory,p01,p10\n25,,1e-4,2e-4\n85,,1e-3,4e-3\n85,conv2.weights,0.5,0\n")
    cold, hot = read_rates(path)
    assert str(cold) == "temperature 25: p01 0.0001 p10 0.0002"
    assert str(hot) == "temperature 85: p01 0.001 p10 0.004, conv2.weights p01 0.5 p10 0"
    assert cold.rest == CellRate(1e-4, 2e-4, "temperature 25") and cold.directed
    assert (hot.at("conv2", "weights").up, hot.at("conv2", "thresholds").up) == (0.5, 1e-3)
    for name, text in {
        "rate_above_one": "voltage,rate\n0.6,1.5\n",
        "columns": "volt,rate\n0.6,0.1\n",
        "no_number": "voltage,rate\n0.6,often\n",
        "twice": "voltage,rate\n0.6,0.1\n0.6,0.2\n",
        "twice_otherwise_written": "voltage,rate\n0.6,0.1\n0.60,0.2\n",
        "empty": "voltage,rate\n",
        "column_twice": "voltage,rate,rate\n0.6,0.1,0.5\n",
        "rate_and_p10": "voltage,rate,p10\n0.6,0.1,0.5\n",
        "half_a_pair": "voltage,p01\n0.6,0.1\n",
        "no_voltage": "voltage,rate\nlow,0.1\n",
        "no_condition": "condition,rate\n,0.1\n",
        "two_conditions": "voltage,temperature,rate\n0.6,25,0.1\n",
        "not_a_number": "voltage,rate\n0.6,nan\n",
        "short_row": "voltage,rate\n0.6\n",
        "fit_without_share": "condition,fit,hours\nsea,50,24\n",
        "fit_and_rate": "condition,fit,share,hours,rate\nsea,50,1,24,0.1\n",
        "fit_no_number": "condition,fit,share,hours\nsea,50,most,24\n",
        "fit_negative": "condition,fit,share,hours\nsea,-50,1,24\n",
        "fit_share_in_percent": "condition,fit,share,hours\nsea,50,20,24\n",
        "fit_no_bits": "condition,fit,share,hours,bits\nsea,50,1,24,0\n",
        "fit_not_a_number": "condition,fit,share,hours\nsea,nan,1,24\n",
    }.items():
        path.write_text(text)
        with pytest.raises(Problem) as found:
            read_rates(path)
        golden(f"problems/faults_table_{name}", str(found.value))  # type: ignore[operator]


def test_upsets_are_rates_by_their_time(tmp_path: Path) -> None:
    """FIT/Mbit of 10^6 bits in 10^9 hours, by hand; a memory of its own; the share and the bits of a unit count."""
    path = tmp_path / "fit.csv"
    path.write_text(
        "condition,memory,fit,share,hours,bits\norbit,,2e6,1,100,1\norbit,fc.weights,2e6,0.25,100,40\nsea,,50,1,24,1\n"
    )
    orbit, sea = read_rates(path)
    assert not orbit.directed and str(sea).startswith("condition sea: ")
    assert orbit.at("conv1", "weights").up == orbit.at("conv1", "weights").down
    assert orbit.at("conv1", "weights").up == pytest.approx(-math.expm1(-2e-7), rel=1e-12)
    assert orbit.at("fc", "weights").up == pytest.approx(-math.expm1(-2e-6), rel=1e-12)
    assert sea.value == pytest.approx(50 * 24 / 1e15, rel=1e-12)
    assert upset_rate(1e30, 1.0, 1.0) == 1.0 and upset_rate(5.0, 0.0, 1.0) == 0.0 == upset_rate(5.0, 1.0, 0.0)
    # A memory of n bits without upsets: (1 - rate)^n is what Poisson says of all bits at once.
    assert (1 - upset_rate(3e12, 1, 1)) ** 500 == pytest.approx(1 - upset_rate(3e12, 1, 1, 500), rel=1e-9)


TABLES = st.tuples(st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.0]), st.sampled_from([0.0, 0.05, 0.3, 1.0]), st.booleans())


@settings(max_examples=12)
@given(TABLES)
def test_what_a_table_says_is_injected(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[float, float, bool]
) -> None:
    """The share of cells that turn from 0 to 1 and from 1 to 0, over 20 maps, is what the series prints."""
    up, down, directed = drawn
    path = tmp_path_factory.mktemp("tables") / "t.csv"
    path.write_text(f"voltage,{'p01,p10' if directed else 'rate'}\n0.6,{f'{up},{down}' if directed else up}\n")
    graph = cnn()
    (point,) = Grid(read_rates(path)).points(graph)
    assert point.model == ("asymmetric" if directed else "flip")
    injected = point.rates.facts()
    turned, there = np.zeros(2), np.zeros(2)
    for trial in range(20):
        drawn_map = draw_map(graph, memories(graph), FaultModel.parse(point.model), point.rates, 0, trial)
        for place in memories(graph):
            before = place.words(graph.node(place.layer).op)
            after = drawn_map.cells[place.name].on(before)
            for value in (0, 1):
                there[value] += (before == value).sum()
                turned[value] += (after[before == value] != value).sum()
    for value, rate in enumerate((injected["p01"], injected["p10"])):
        spread = np.sqrt(rate * (1 - rate) / there[value])
        assert abs(turned[value] / there[value] - rate) <= 5 * spread


CONTRADICTIONS = {
    "flip_of_directions": ("voltage,p01,p10\n0.6,0.1,0.2\n", {"models": ("flip",)}),
    "stuck_of_directions": ("voltage,p01,p10\n0.6,0.1,0.1\n", {"models": ("bit-line stuck-at-1",)}),
    "directions_of_one_rate": ("voltage,rate\n0.6,0.1\n", {"models": ("asymmetric",)}),
    "memory_without_rate": ("voltage,memory,rate\n0.6,fc,0.1\n", {}),
    "no_such_memory": ("voltage,memory,rate\n0.6,,0.1\n0.6,pool.weights,0.2\n", {}),
    "products_of_directions": ("voltage,p01,p10\n0.6,0.1,0.2\n", {"targets": ("products",)}),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_tables_and_models_that_contradict_each_other(name: str, tmp_path: Path, golden: object) -> None:
    text, axes = CONTRADICTIONS[name]
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(Problem) as found:
        Grid(read_rates(tmp_path / "t.csv"), **axes).points(cnn())  # type: ignore[arg-type]
    golden(f"problems/faults_table_{name}", str(found.value))  # type: ignore[operator]


def test_a_table_of_some_layers_is_enough_for_these(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("voltage,memory,rate\n0.6,fc,0.1\n")
    (point,) = Grid(read_rates(tmp_path / "t.csv"), layers=("fc",)).points(cnn())
    assert point.rates.value == 0.1 and str(point.rates) == "voltage 0.6: fc 0.1"


def test_models_without_directions_never_draw_one_of_two_rates() -> None:
    place = memories(cnn())[0]
    with pytest.raises(Problem, match="no directions"):
        FaultModel().draw(place, CellRate(0.1, 0.2), source(place, 0, 0))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("effect", "flop"),
        ("shape", "bitline stuck-at-1"),
        ("size", "burst flip"),
        ("words", "a b c"),
        ("no_size", "word-line:4 flip"),
    ],
)
def test_bad_models(name: str, text: str, golden: object) -> None:
    with pytest.raises(Problem) as found:
        FaultModel.parse(text)
    golden(f"problems/faults_model_{name}", str(found.value))  # type: ignore[operator]


@pytest.mark.parametrize(
    "text",
    ["flip", "bit-line stuck-at-1", "burst:4 flip", "cluster:2x3 stuck", "logical stuck", "bram-row:distributed flip"],
)
def test_models_print_as_they_are_read(text: str) -> None:
    assert str(FaultModel.parse(text)) == text


@pytest.mark.parametrize("model", ["burst:3 stuck", "cluster:2x2 stuck", "row-hammer:0.3 stuck", "bit-line stuck"])
def test_cells_that_are_stuck_stay_so_at_higher_rates(model: str) -> None:
    """Also where units overlap: what a lower rate holds at 0 or 1 a higher one does, too."""
    graph = mlp(0, (64, 48, 33, 5))
    places = memories(graph, KINDS)
    for trial in range(4):
        before: dict[str, dict[int, int]] = {}
        for rate in (1e-2, 0.07, 0.3, 0.9):
            drawn = draw_map(graph, places, FaultModel.parse(model), Rates.of(rate), 3, trial)
            cells = {
                name: dict(zip(each.index.tolist(), each.effect.tolist(), strict=True))
                for name, each in drawn.cells.items()
            }
            assert all(held.items() <= cells[name].items() for name, held in before.items())
            before = cells


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_maps_know_the_weights_that_they_were_chosen_for(suffix: str, tmp_path: Path) -> None:
    graph = mlp()
    drawn = draw_map(graph, memories(graph), FaultModel(), Rates.of(0.1), 0, 0)
    path = tmp_path / f"map{suffix}"
    for held in ("", contents(graph)):
        made = replace(drawn, contents=held)
        path.write_bytes(made.content(suffix, graph))
        read = FaultMap.load(path, graph)
        assert read.contents == held and read.checksum == made.checksum
        assert {name: each.index.tolist() for name, each in read.cells.items() if len(each.index)} == {
            name: each.index.tolist() for name, each in made.cells.items() if len(each.index)
        }
    assert contents(graph) != contents(mlp(1))
