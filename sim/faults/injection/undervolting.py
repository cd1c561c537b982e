"""Faulty cells of a design whose block RAMs run below nominal voltage.

Every block RAM of the design is one of a board's memories (`boards`), which says how many of its cells are faulty at
each voltage. Which memory it is is drawn without replacement, a new drawing a map; a design of more block RAMs than the
board has goes through all of them before it takes any again. Which cells are faulty is drawn, too: they are the first
ones of a random order of all cells of the block RAM, so that a lower voltage keeps all faults of a higher one, unless
the board's own count falls. A block RAM of n cells of which a board's memory of b cells has f faulty ones has f n / b,
rounded down or up with the chance that keeps the mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np

from ....transforms.ir.graph import Graph
from ....transforms.ir.tensor import Array
from .boards import Board, kc705b
from .cells import CLEAR, CellRate, Cells
from .draws import stream
from .layout import KINDS, Memory, in_block_ram
from .placements import Placement
from .protect import Protections
from .rates import Rates

# No memory has so high an index, of which other streams of random numbers are made.
_KEY = 0x756E
_PLACES, _CELLS = 0, 1


@dataclass(frozen=True)
class Chip:
    """A device on which designs are undervolted.

    Attributes:
        measured: its memories; None: those of the board that comes with the package, so that nothing of it travels
            to workers.
        placement: which of them hold the block RAMs of a design; None: drawn anew for each map.
    """

    measured: Board | None = None
    placement: Placement | None = None

    @property
    def board(self) -> Board:
        """What its memories are like."""
        return self.measured or kc705b()

    def rates(self, voltage: float) -> Rates:
        """The mean rate of a voltage, of cells that read 0 in place of 1; its label is the voltage.

        Raises:
            Problem: the board was not measured there.
        """
        return Rates(CellRate(0.0, self.board.rate(voltage), f"{voltage:g} V"))

    def key(self) -> str:
        """A text that is the same for the same device alone."""
        placed = "" if self.placement is None else f" placed {','.join(map(str, self.placement.places))}"
        return f"board {self.board.digest}{placed}"

    def check(self, graph: Graph, voltage: float, protection: Protections) -> None:
        """Refuse what the board or the placement does not speak of.

        Raises:
            Problem: the board was not measured at the voltage; as for `Placement.check`.
        """
        self.board.place(voltage)
        if self.placement is not None:
            self.placement.check(graph, self.board, protection)

    def holding(self, graph: Graph, protection: Protections) -> Lying:
        """A design on it: all its memories that are held in block RAM, each in the protection."""
        return Lying.of(self, [protection.stored(memory) for memory in in_block_ram(graph, KINDS)])


@dataclass(frozen=True)
class Lying:
    """A design on a device.

    Attributes:
        chip: the device.
        first: number of the first block RAM of each memory, by name.
        block_rams: how many there are in all.
    """

    chip: Chip
    first: Mapping[str, int]
    block_rams: int

    @staticmethod
    def of(chip: Chip, stored: Sequence[Memory]) -> Lying:
        """Memories as they are stored, all of a design that lie in block RAM, in their order."""
        first, count = {}, 0
        for memory in stored:
            first[memory.name] = count
            count += memory.block_rams
        return Lying(chip, first, count)

    def physical(self, seed: int, trial: int) -> Array:
        """Which of the board's memories each block RAM is in one map, (block_rams,)."""
        if self.chip.placement is not None:
            return np.array(self.chip.placement.places, np.int64)
        rng, board = stream(seed, trial, _KEY)(_PLACES), self.chip.board
        rounds = ceil(self.block_rams / board.memories)
        every = [rng.permutation(board.memories) for _ in range(rounds)]
        return np.concatenate([np.zeros(0, np.int64), *every])[: self.block_rams]

    def draw(self, stored: Memory, voltage: float, seed: int, trial: int) -> Cells:
        """The cells of one memory, as it is stored, that hold 0 in one map; none of one that is not in block RAM.

        Raises:
            Problem: the board was not measured at the voltage.
        """
        board, first = self.chip.board, self.first.get(stored.name)
        table, now = board.table, board.place(voltage)
        if first is None:
            return Cells(np.zeros(0, np.int64), np.zeros(0, np.uint8))
        places, streams = self.physical(seed, trial), stream(seed, trial, _KEY)
        found = [np.zeros(0, np.int64)]
        for number in range(stored.block_rams):
            counts = table[:, places[first + number]]
            if counts.any():
                ram = stored.block_ram(number)
                size, rng = ram.rows * ram.columns, streams(_CELLS + first + number)
                coin = rng.random()
                faulty, most = (
                    min(size, floor(int(n) * size / board.bits + coin)) for n in (counts[now], counts.max())
                )
                found.append(ram.cells(rng.choice(size, most, replace=False)[:faulty], stored.width))
        index = np.sort(np.concatenate(found))
        return Cells(index, np.full(len(index), CLEAR, np.uint8))


@dataclass(frozen=True, slots=True)
class Exposure:
    """What maps of undervolted memories hit.

    Attributes:
        block_rams, bits: of the memories, as they are stored.
        faulty: mean cells of a map that read 0.
        ones: how many of them held 1, and so are read wrong.
    """

    block_rams: int
    bits: int
    faulty: float
    ones: float

    @property
    def rate(self) -> float:
        """Faulty share of all cells of the maps, 0 to 1: near the board's mean rate, by the luck of the drawing."""
        return self.faulty / self.bits


def exposure(
    graph: Graph, places: Sequence[Memory], chip: Chip, voltage: float, protection: Protections, seed: int, maps: int
) -> Exposure:
    """What maps 0 to `maps` - 1 hit in these memories of a design."""
    lying, faulty, ones = chip.holding(graph, protection), 0, 0
    stored = [protection.stored(memory) for memory in places]
    held = [
        protection.at(memory).encode(memory, memory.words(graph.node(memory.layer).op)).reshape(-1) for memory in places
    ]
    for trial in range(maps):
        for memory, content in zip(stored, held, strict=True):
            cells = lying.draw(memory, voltage, seed, trial).index
            faulty += len(cells)
            ones += int(content[cells].sum())
    rams, bits = sum(memory.block_rams for memory in stored), sum(memory.size for memory in stored)
    return Exposure(rams, bits, faulty / maps, ones / maps)
