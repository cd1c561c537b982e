"""Codes judged by counting, and what is left behind them judged by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from bnnflow import Problem
from bnnflow.sim.faults import (
    CellRate,
    FaultModel,
    Memory,
    Point,
    Protection,
    Protections,
    Rates,
    Subject,
    memories,
)
from bnnflow.sim.faults.injection.layout import KINDS
from bnnflow.sim.faults.injection.maps import faulty_ops, interval_rate
from bnnflow.transforms.codes import odd_columns
from tests.sim.faults.fault_graphs import cnn, mlp, pixels


def place(depth: int, width: int) -> Memory:
    return replace(memories(mlp())[0], depth=depth, width=width, bank=width, lanes=1)


def content(memory: Memory, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (memory.depth, memory.width)).astype(np.uint8)


@pytest.mark.parametrize(("checks", "data"), [(8, 64), (7, 32)])
def test_the_check_matrix_is_hsiaos(checks: int, data: int) -> None:
    """Different columns with odd numbers of ones; rows equally full: 27 ones with the check bit at (72,64)."""
    matrix = odd_columns(checks, 64)[:, :data]
    assert len({tuple(column) for column in matrix.T}) == data
    assert set(matrix.sum(axis=0) % 2) == {1} and matrix.sum(axis=0).min() == 3
    if checks == 8:
        assert matrix.sum() == 56 * 3 + 8 * 5
        assert set(matrix.sum(axis=1) + 1) == {27}


@pytest.mark.parametrize(
    "text", ["secded-72-64", "secded-39-32", "secded-72-64:x4", "parity", "tmr", "none", "parity:x2"]
)
@pytest.mark.parametrize(("depth", "width"), [(3, 8), (5, 64), (4, 100), (2, 300), (7, 1)])
def test_without_faults_everything_is_read_back(text: str, depth: int, width: int) -> None:
    memory, safe = place(depth, width), Protection.parse(text)
    words = content(memory)
    stored = safe.encode(memory, words)
    assert stored.shape == (safe.stored(memory).depth, safe.stored(memory).width)
    assert np.array_equal(safe.decode(memory, stored), words)
    assert str(Protection.parse(str(safe))) == str(safe)


@pytest.mark.parametrize("text", ["secded-72-64", "secded-39-32", "tmr"])
def test_every_single_error_is_corrected_and_every_double_one_is_no_worse(text: str) -> None:
    """In check bits too; two errors of a codeword are detected: with `zero` the word is blank, with `keep` as read."""
    memory, safe = place(1, 32), Protection.parse(text)
    words = content(memory)
    stored = safe.encode(memory, words)
    for bit in range(stored.size):
        hit = stored.copy()
        hit[0, bit] ^= 1
        assert np.array_equal(safe.decode(memory, hit), words), bit
    if text == "tmr":
        return
    blank = Protection.parse(f"{text}:zero")
    for pair in combinations(range(stored.size), 2):
        hit = stored.copy()
        hit[0, list(pair)] ^= 1
        assert not blank.decode(memory, hit).any()
        assert int((safe.decode(memory, hit) != words).sum()) == sum(bit < 32 for bit in pair)


def test_interleaving_spreads_bursts() -> None:
    """Any 4 neighbours of a row lie in 4 codewords: bursts of 4 are corrected; without it some are not."""
    memory = place(1, 256)
    words = content(memory)
    wrong = {}
    for text in ("secded-72-64:x4", "secded-72-64"):
        safe = Protection.parse(text)
        stored = safe.encode(memory, words)
        assert stored.shape == (1, 288)
        wrong[text] = 0
        for first in range(288 - 3):
            hit = stored.copy()
            hit[0, first : first + 4] ^= 1
            wrong[text] += not np.array_equal(safe.decode(memory, hit), words)
    assert wrong["secded-72-64:x4"] == 0
    assert wrong["secded-72-64"] > 200


def test_parity_detects_odd_errors() -> None:
    memory = place(4, 8)
    words = content(memory, 3) | np.array([1, 0, 0, 0, 0, 0, 0, 1], np.uint8)
    for answer, wanted in {"zero": 0 * words[1], "last": words[0], "keep": words[1] ^ (np.arange(8) == 2)}.items():
        safe = Protection.parse(f"parity:{answer}")
        hit = safe.encode(memory, words)
        hit[1, 2] ^= 1
        assert np.array_equal(safe.decode(memory, hit)[1], wanted)
        hit[1, 3] ^= 1
        assert np.array_equal(safe.decode(memory, hit)[1], words[1] ^ ((np.arange(8) == 2) | (np.arange(8) == 3)))
    first = Protection.parse("parity:last")
    hit = first.encode(memory, words)
    hit[0, 0] ^= 1
    assert not first.decode(memory, hit)[0].any(), "before the first good word there is none"


def test_costs_by_hand() -> None:
    """512 words of 64 bits: two RAMs of 512 x 36; 72 bits fit them; 39 of every 32: 78 bits, three."""
    memory = place(512, 64)
    wide = Protection.parse("secded-72-64").cost(memory)
    assert (wide.extra_bits, wide.bram18, wide.bram18_plain) == (512 * 8, 2, 2)
    assert wide.lut == 8 * 6 + 64 * (2 + 1), "8 rows of 26 ones: 6 LUTs each; 8 bits of syndrome: 2 LUTs and a turn"
    narrow = Protection.parse("secded-39-32").cost(memory)
    assert (narrow.extra_bits, narrow.bram18) == (512 * 14, 3)
    parity = Protection.parse("parity").cost(memory)
    assert (parity.extra_bits, parity.bram18, parity.lut) == (512, 2, 13 + 64)
    triple = Protection.parse("tmr").cost(memory)
    assert (triple.extra_bits, triple.bram18, triple.lut) == (2 * 512 * 64, 6, 64)
    short = Protection.parse("secded-72-64").cost(place(512, 8))
    assert short.extra_bits == 64 * 8, "eight words of 8 bits share a codeword"
    assert Protection.parse("none").cost(memory).extra_bits == 0


def test_secded_corrects_what_salami_measured() -> None:
    """At 1e-3, at least 90 % of the faulty words of 72 bits are correct again (Salami 2019: more than 90 %)."""
    graph = mlp(0, (64, 64, 64, 4))
    wrong = {"none": 0, "secded-72-64": 0}
    for code in wrong:
        for trial in range(30):
            ops = faulty_ops(graph, memories(graph), FaultModel(), Rates.of(1e-3), 0, trial, Protections.parse(code))
            for memory in memories(graph):
                if memory.layer in ops:
                    changed = memory.words(ops[memory.layer]) != memory.words(graph.node(memory.layer).op)
                    wrong[code] += int(changed.sum())
    assert wrong["none"] > 150
    assert wrong["secded-72-64"] < 0.1 * wrong["none"]


def test_scrubbing_leaves_fewer_errors() -> None:
    """With a code, errors of different intervals do not meet; without one only those of the last interval are left."""
    graph, left = mlp(0, (64, 64, 64, 4)), {}
    for text in ("none", "none:scrub=10", "secded-72-64", "secded-72-64:scrub=10"):
        left[text] = 0
        for trial in range(20):
            ops = faulty_ops(graph, memories(graph), FaultModel(), Rates.of(0.02), 0, trial, Protections.parse(text))
            for memory in memories(graph):
                before = memory.words(graph.node(memory.layer).op)
                left[text] += int((memory.words(ops.get(memory.layer, graph.node(memory.layer).op)) != before).sum())
    assert 0.05 * left["none"] < left["none:scrub=10"] < 0.2 * left["none"]
    assert left["secded-72-64:scrub=10"] < 0.5 * left["secded-72-64"] < left["none"]


@pytest.mark.parametrize(("up", "down"), [(0.4, 0.0), (0.0, 0.3), (0.3, 0.3), (0.2, 0.05), (0.6, 0.4), (0.9, 0.8)])
def test_intervals_together_do_what_the_rates_say(up: float, down: float) -> None:
    """By powers of the matrix of a cell's two states; no intervals do rates that together are 1 or more."""
    part = interval_rate(CellRate(up, down, "x"), 5)
    if up + down >= 1:
        assert part == CellRate(up, down, "x")
        return
    step = np.array([[1 - part.up, part.up], [part.down, 1 - part.down]])
    np.testing.assert_allclose(np.linalg.matrix_power(step, 5), [[1 - up, up], [down, 1 - down]], atol=1e-12)


@pytest.mark.parametrize("text", ["secdet-72-64", "parity:zeros", "secded-72-64:x0"])
def test_bad_protections(text: str, golden: object) -> None:
    with pytest.raises(Problem) as found:
        Protection.parse(text)
    golden(f"problems/faults_protection_{text.replace(':', '_').replace('-', '_')}", str(found.value))  # type: ignore[operator]


def test_tmr_of_single_faults_changes_nothing() -> None:
    graph = cnn()
    subject = Subject(graph, pixels(0, graph, 20), np.zeros(20, np.int64))
    point = Point("weights", (), "single", Rates.of(0.0), "tmr")
    assert all(subject.trial(point, trial).changed == 0 for trial in range(40))


def test_one_memory_by_two_names_has_one_code() -> None:
    with pytest.raises(Problem, match=r"t1\.thresholds has two codes"):
        Protections.parse("t1.bounds=tmr,t1.thresholds=parity")
    assert set(Protections.parse("a.bounds.weights=tmr").by) == {"a.bounds.weights"}


def test_memories_have_codes_of_their_own() -> None:
    """A text of names is each memory in its own code, and all of it is hit by the same faults."""
    graph, rates = mlp(0, (64, 64, 64, 4)), Rates.of(5e-3)
    places = memories(graph, KINDS)
    (first, second), text = (places[0], places[1]), ""

    def read(code: str, trial: int) -> dict[str, np.ndarray]:
        ops = faulty_ops(graph, places, FaultModel(), rates, 0, trial, Protections.parse(code))
        return {one.name: one.words(ops.get(one.layer, graph.node(one.layer).op)) for one in places}

    text = f"parity,{first.name}=tmr,{second.name.replace('thresholds', 'bounds')}=secded-39-32:scrub=3"
    assert str(Protections.parse(text)) == text.replace("bounds", "thresholds")
    for trial in range(5):
        mixed = read(text, trial)
        for code, mine in (("tmr", [first]), ("secded-39-32:scrub=3", [second]), ("parity", places[2:])):
            alone = read(code, trial)
            assert all(np.array_equal(mixed[one.name], alone[one.name]) for one in mine)
    for wrong, said in (
        (f"{first.name}=tmr,{first.name}=none", "two codes"),
        ("tmr,parity", "two codes"),
        ("", "no name"),
    ):
        with pytest.raises(Problem, match=said):
            Protections.parse(wrong)
    with pytest.raises(Problem, match="unit or memory to protect 'nowhere'"):
        Point("weights", (), "flip", rates, "nowhere=tmr").places(graph)
