"""Which memories of a board should hold which block RAMs of a design: the faultiest the least important.

A block RAM is worth what its loss does: how many images change their class when a share of its cells reads 0, all else
being whole. What faults are to be expected to change is then the sum over block RAMs of worth times faulty cells, as
far as faults add up, and least where the most important lie in memories with the fewest (rearrangement inequality). The
idea is that of Salami et al., MICRO 2018, who keep critical data out of faulty block RAMs by placement constraints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bnnflow import Problem

from ....transforms.ir.tensor import Array
from ..injection.cells import CLEAR, Cells
from ..injection.draws import stream
from ..injection.layout import KINDS, in_block_ram
from ..injection.placements import Placement, design_digest
from ..injection.trials import Subject
from ..injection.undervolting import Chip

_KEY = 0x706C


@dataclass(frozen=True, slots=True)
class Worth:
    """What the block RAMs of a design are worth.

    Attributes:
        memories: name of the memory that each is of, in the design's order.
        used: cells of each that hold anything, (block_rams,).
        changed: mean images whose class changes when a share of these reads 0, (block_rams,).
        images: that were judged on.
    """

    memories: tuple[str, ...]
    used: Array
    changed: Array
    images: int


def worth(
    subject: Subject,
    share: float = 0.25,
    draws: int = 1,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Worth:
    """Measure every block RAM of a design by itself.

    Args:
        subject: a folded graph with images, which should not be those that judge the placement.
        share: of a block RAM's cells that read 0, above 0 and up to 1.
        draws: sets of cells that are tried of each.
        seed: of these.
        progress: called with block RAMs done and in all.

    Raises:
        Problem: nothing lies in block RAM, or a share of nothing.
    """
    if not 0 < share <= 1 or draws < 1:
        raise Problem(f"{draws} draws of {share:g} of the cells", "placement", "give 1 or more, and a share up to 1")
    held = in_block_ram(subject.graph, KINDS)
    if not held:
        raise Problem("no memory is in block RAM", "placement", "fold it so that memories are deeper")
    names: list[str] = []
    used, changed = [], []
    total = sum(memory.block_rams for memory in held)
    for memory in held:
        op = subject.graph.node(memory.layer).op
        words = memory.words(op)
        for number in range(memory.block_rams):
            ram, lost = memory.block_ram(number), 0
            cells = ram.cells(np.arange(ram.rows * ram.columns), memory.width)
            count = max(1, round(share * len(cells)))
            for draw in range(draws):
                hit = stream(seed, draw, _KEY)(len(names)).permutation(cells)[:count]
                read = Cells(np.sort(hit), np.full(count, CLEAR, np.uint8)).on(words)
                lost += subject.run({memory.layer: memory.holding(op, read)}).changed
            names.append(memory.name)
            used.append(len(cells))
            changed.append(lost / draws)
            progress(len(names), total)
    return Worth(tuple(names), np.array(used), np.array(changed), len(subject.images))


def place(subject: Subject, found: Worth, chip: Chip, voltage: float) -> Placement:
    """The most important block RAMs in the memories with the fewest faults at a voltage.

    Memories that are alike there are told apart by their faults at all voltages together, then by their number.

    Raises:
        Problem: the board was not measured at the voltage, or has fewer memories than the design block RAMs.
    """
    board, count = chip.board, len(found.changed)
    if count > board.memories:
        what = f"the design has {count:,} block RAMs, {board.name} {board.memories:,}"
        raise Problem(what, "placement", "measure a larger board, or fold so that fewer are needed")
    now = board.table[board.place(voltage)]
    good = np.lexsort((np.arange(board.memories), board.table.sum(axis=0), now))[:count]
    places = np.empty(count, np.int64)
    places[np.argsort(-found.changed, kind="stable")] = good
    return Placement(design_digest(subject.graph), board.digest, tuple(places.tolist()))


def exposed(found: Worth, chip: Chip, voltage: float, places: Array | None = None) -> Array:
    """Faulty cells that are to be expected among those that each block RAM uses, (block_rams,).

    Args:
        found: of the design.
        chip, voltage: on which it lies.
        places: the board's memory of each block RAM; None: the mean of all random placements.
    """
    board = chip.board
    counts = board.table[board.place(voltage)]
    mean: Array = np.full(len(found.used), counts.mean()) if places is None else counts[places]
    return found.used * mean / board.bits
