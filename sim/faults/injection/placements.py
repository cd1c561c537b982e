"""Plans that say which of a board's memories each block RAM of a design is, kept in files.

A plan is of one network with its weights, folding and memories, and of one board; beside another of either it is
refused. It is of memories as they are: with check bits they are cut into other block RAMs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bnnflow import Problem

from ....transforms.ir.graph import Graph
from .boards import Board
from .layout import KINDS, Memory, in_block_ram
from .protect import Protections

_VERSION = 1
_KEYS = ("placement", "network", "board", "board_name", "block_rams")
_HINT = "`flow placement` writes one"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the block RAMs of a design lie.

    Attributes:
        network: from `design_digest`.
        board: `Board.digest`.
        places: the board's memory of each block RAM of the design, in its order (`Lying`); no two alike.
    """

    network: str
    board: str
    places: tuple[int, ...]

    def check(self, graph: Graph, board: Board, protection: Protections) -> None:
        """Refuse another design, board or a protection.

        Raises:
            Problem: names what differs.
        """
        mine = design_digest(graph)
        for what, planned, here in (("network or folding", self.network, mine), ("board", self.board, board.digest)):
            if planned != here:
                said = f"the placement was made for another {what} ({planned[:12]}, not {here[:12]})"
                raise Problem(
                    said, "placement", "make one for this network on this board: flow placement", key="faults"
                )
        count = sum(memory.block_rams for memory in in_block_ram(graph, KINDS))
        if len(self.places) != count or max(self.places, default=0) >= board.memories:
            what = f"the placement has {len(self.places):,} places for {count:,} block RAMs, or some that are none"
            raise Problem(what, "placement", "make it again: flow placement", key="faults")
        if protection.coded:
            what = f"{protection} cuts memories into other block RAMs than those that the placement says"
            raise Problem(what, "placement", "use protection none", key="faults")

    def content(self, graph: Graph, board: Board) -> bytes:
        """The plan as a file: a row a block RAM, with the words and bits that it holds and its faulty cells."""
        rows, places = [], iter(self.places)
        for memory in in_block_ram(graph, KINDS):
            for number in range(memory.block_rams):
                ram, place = memory.block_ram(number), next(places)
                counts = board.table[:, place].tolist()
                rows.append(
                    {
                        "memory": memory.name,
                        "words": [ram.words.start, ram.words.stop - 1],
                        "bits": [ram.bits.start, ram.bits.stop - 1],
                        "place": place,
                        "faulty": {f"{volts:g}": n for volts, n in zip(board.voltages, counts, strict=True)},
                    }
                )
        head = {"placement": _VERSION, "network": self.network, "board": self.board, "board_name": board.name}
        # A line a block RAM.
        listed = ",\n".join(f"  {json.dumps(row)}" for row in rows)
        return f'{json.dumps(head)[:-1]},\n "block_rams": [\n{listed}\n ]}}\n'.encode()


def read_placement(path: Path) -> Placement:
    """A plan from its file.

    Raises:
        Problem: the file cannot be read, is no plan, or puts two block RAMs into one memory.
    """
    try:
        held = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Problem("the placement cannot be read", str(path), _HINT) from error
    if not isinstance(held, dict) or set(held) != set(_KEYS) or held["placement"] != _VERSION:
        raise Problem("this is no placement", str(path), _HINT)
    rows = held["block_rams"]
    places = [_place(row) for row in rows] if isinstance(rows, list) else [None]
    if not all(isinstance(held[key], str) for key in _KEYS[1:4]) or None in places:
        raise Problem("the placement is damaged", str(path), _HINT)
    kept = [place for place in places if place is not None]
    twice = [place for place in dict.fromkeys(kept) if kept.count(place) > 1]
    if twice:
        raise Problem(f"two block RAMs lie in memory {twice[0]}", str(path), _HINT)
    return Placement(held["network"], held["board"], tuple(kept))


def _place(row: Any) -> int | None:
    place = row.get("place") if isinstance(row, dict) else None
    return place if type(place) is int and place >= 0 else None


def design_digest(graph: Graph) -> str:
    """sha256 over the memories of a dataflow graph that lie in block RAM: names, shapes, folding and content."""
    return memories_digest(graph, in_block_ram(graph, KINDS))


def memories_digest(graph: Graph, places: Sequence[Memory]) -> str:
    """sha256 over memories of a dataflow graph: names, shapes, folding and content."""
    made = hashlib.sha256()
    for memory in places:
        made.update(f"{_shape(memory)} ".encode())
        made.update(memory.words(graph.node(memory.layer).op).tobytes())
    return made.hexdigest()


def _shape(memory: Memory) -> str:
    return f"{memory.name} {memory.depth}x{memory.width} lanes {memory.lanes} bank {memory.bank} bits {memory.bits}"
