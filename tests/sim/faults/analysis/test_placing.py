"""Placements: the most important block RAMs in the best memories; kept in files; of one network and board alone."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bnnflow import Problem
from bnnflow.sim.faults import (
    Chip,
    FaultModel,
    Grid,
    Placement,
    Point,
    Protection,
    Rates,
    Subject,
    draw_map,
    read_placement,
)
from bnnflow.sim.faults import in_block_ram as in_block_ram
from bnnflow.sim.faults.analysis.placing import exposed, place, worth
from bnnflow.sim.faults.injection.layout import KINDS
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.ops import Mvau
from tests.sim.faults.fault_graphs import board, deep, pixels

# At 0.5 V memory 4 is the best, then 1, 6, ...
COUNTS = [60, 1, 40, 5, 0, 30, 2, 8, 100, 20, 90, 9]
BOARD = board([0] * 12, COUNTS, bits=128)


def subject(seed: int = 0) -> Subject:
    """A design of 9 block RAMs: `wide` takes 8 of 576 words, `narrow` one."""
    graph = deep("block", seed=seed)
    wide = graph.node("wide").op
    assert isinstance(wide, Mvau)
    made = replace(wide, pe=8, simd=16, ram_style="block", weight=wide.weight.copy())
    nodes = tuple(replace(node, op=made) if node.name == "wide" else node for node in graph.nodes)
    graph = graph.with_nodes(nodes)
    images = pixels(seed, graph, 40)
    return Subject(graph, images, np.zeros(40, np.int64))


def test_the_most_important_lie_in_the_best_memories() -> None:
    """Images change as those of the design with these cells read as 0; ranks of both orders meet."""
    one = subject()
    seen: list[tuple[int, int]] = []
    found = worth(one, share=1.0, progress=lambda done, total: seen.append((done, total)))
    count = len(found.changed)
    assert seen[-1] == (count, count) and sum(m.block_rams for m in in_block_ram(one.graph, KINDS)) == count
    for memory in in_block_ram(one.graph, KINDS):
        first = found.memories.index(memory.name)
        ram, words = memory.block_ram(0), memory.words(one.graph.node(memory.layer).op)
        words[np.ix_(ram.words, ram.bits)] = 0
        lost = one.run({memory.layer: memory.holding(one.graph.node(memory.layer).op, words)}).changed
        assert found.changed[first] == lost and found.used[first] == len(ram.words) * len(ram.bits)
    chip = Chip(BOARD)
    made = place(one, found, chip, 0.5)
    counts = BOARD.table[1][list(made.places)]
    assert sorted(counts.tolist()) == sorted(BOARD.counts[1])[:count]
    order = np.argsort(-found.changed, kind="stable")
    assert (np.diff(counts[order]) >= 0).all()
    planned = exposed(found, chip, 0.5, np.array(made.places))
    assert planned.sum() == pytest.approx((found.used * counts).sum() / 128)
    assert exposed(found, chip, 0.5).sum() == pytest.approx(found.used.sum() * BOARD.rate(0.5))
    again = worth(one, share=0.3, draws=2, seed=1)
    assert np.array_equal(again.changed, worth(one, share=0.3, draws=2, seed=1).changed)


def test_campaigns_follow_a_placement(tmp_path: Path) -> None:
    """Every map has the memories of the plan, and other cells; a file gives the same plan."""
    one = subject()
    made = place(one, worth(one), Chip(BOARD), 0.5)
    (tmp_path / "p.json").write_bytes(made.content(one.graph, BOARD))
    held = json.loads((tmp_path / "p.json").read_text())
    assert [row["faulty"]["0.5"] for row in held["block_rams"]] == [BOARD.counts[1][p] for p in made.places]
    assert read_placement(tmp_path / "p.json") == made
    chip = Chip(BOARD, made)
    lying = chip.holding(one.graph, Protection())
    assert lying.physical(0, 0).tolist() == lying.physical(3, 7).tolist() == list(made.places)
    places = in_block_ram(one.graph, KINDS)
    maps = [draw_map(one.graph, places, FaultModel.parse("undervolting:0.5"), Rates.of(0), 0, t, chip) for t in (0, 1)]
    assert maps[0].cells.keys() == maps[1].cells.keys()
    assert any(not np.array_equal(maps[0].cells[n].index, maps[1].cells[n].index) for n in maps[0].cells)
    points = [Point("weights", (), "undervolting:0.5", chip.rates(0.5), chip=c) for c in (chip, Chip(BOARD))]
    assert points[0].key() != points[1].key() and points[0].places(one.graph)
    # Less is changed than by a plan that is upside down.
    worst = np.argsort(-BOARD.table[1])[: len(made.places)]
    upside = Placement(made.network, made.board, tuple(worst.tolist()))
    changed = [
        sum(one.trial(replace(points[0], chip=Chip(BOARD, plan)), trial).changed for trial in range(3))
        for plan in (made, upside)
    ]
    assert changed[0] < changed[1]


def refused(graph: Graph, chip: Chip, code: str = "none") -> str:
    with pytest.raises(Problem) as found:
        Grid([Rates.of(0.1)], models=("undervolting:0.5",), protections=(code,), chip=chip).points(graph)
    return str(found.value)


def test_placements_of_others(golden: object) -> None:
    """Another network of the same shape, another folding, another board, a code; a design that is too large."""
    one, chip = subject(), Chip(BOARD)
    found = worth(one)
    made = place(one, found, chip, 0.5)
    other = Chip(board([0] * 12, [*COUNTS[:-1], 10], bits=128), made)
    said = {
        "network": refused(subject(1).graph, Chip(BOARD, made)),
        "folding": refused(deep("block"), Chip(BOARD, made)),
        "board": refused(one.graph, other),
        "cut": refused(one.graph, Chip(BOARD, replace(made, places=made.places[:-1]))),
        "beyond": refused(one.graph, Chip(BOARD, replace(made, places=(12, *made.places[1:])))),
        "code": refused(one.graph, Chip(BOARD, made), "tmr"),
    }
    with pytest.raises(Problem) as problem:
        place(one, found, Chip(board([0], [3])), 0.5)
    said["size"] = str(problem.value)
    with pytest.raises(Problem) as problem:
        worth(Subject(deep("distributed"), one.images, one.labels))
    said["nothing"] = str(problem.value)
    with pytest.raises(Problem):
        worth(one, share=0.0)
    for name, text in said.items():
        golden(f"problems/placement_{name}", re.sub("[0-9a-f]{12}", "DIGEST", text))  # type: ignore[operator]


GOOD = {"placement": 1, "network": "a", "board": "b", "board_name": "c", "block_rams": [{"place": 1}]}
BAD = {
    "text": "{",
    "keys": json.dumps({**GOOD, "more": 1}),
    "version": json.dumps({**GOOD, "placement": 2}),
    "rows": json.dumps({**GOOD, "block_rams": 3}),
    "place": json.dumps({**GOOD, "block_rams": [{"place": -1}]}),
    "names": json.dumps({**GOOD, "network": 3}),
    "twice": json.dumps({**GOOD, "block_rams": [{"place": 1}, {"place": 1}]}),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_placement(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: object) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.json").write_text(BAD[name])
    with pytest.raises(Problem) as found:
        read_placement(Path("p.json"))
    golden(f"problems/placement_file_{name}", str(found.value))  # type: ignore[operator]
