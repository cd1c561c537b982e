"""A memory of a unit: its words, where they lie, and how they are stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from ...transforms.memories import FEW_WORDS, prefers_block_ram, words_of_a_row
from ..memories import joined_words
from .control import Rows


@dataclass(frozen=True)
class Memory:
    """What a memory holds.

    Attributes:
        depth: words; 0 where a unit has the port, but nothing to read.
        width: bits of a word.
        contents: makes its words.
        style: of the array, as it stands in SystemVerilog: "auto", "block" or "distributed".
        rows: as they are stored where a host writes them or errors are corrected; None: constants.
        sets: of words, one of which is read.
        passes: times that an image reads all words.
        wired: its one word is wires in the top module: read from a file, tools know it only behind their choice of
            multipliers and adders, and a product with 0 or 1 takes as much as any.
        same: counts bits of a word that are the same in all words, which tools find; None: there are none.
    """

    depth: int
    width: int
    contents: Callable[[], list[str]] = field(default=list, compare=False)
    style: str = "auto"
    rows: Rows | None = None
    sets: int = 1
    passes: int = 1
    wired: bool = False
    same: Callable[[], int] | None = field(default=None, compare=False)  # it follows from the contents

    @cached_property
    def fixed(self) -> int:
        """Bits of a word that are the same in all words; counted when they are asked for."""
        return 0 if self.same is None else self.same()

    @cached_property
    def words(self) -> list[str]:
        """In hexadecimal, word 0 first; made when they are asked for: sizes alone say what hardware costs."""
        return self.contents()

    @property
    def cycles(self) -> int:
        """Least cycles from asking for a word to having it."""
        return 2 if self.rows is not None and self.rows.coding.coded else 1

    @property
    def joined(self) -> int:
        """Words of a row that is read ahead of block RAM (bnnflow_memory); 0 for what does not lie there."""
        return words_of_a_row(self.width, self.depth) if self.style == "block" and self.depth > FEW_WORDS else 0

    @property
    def rows_of_words(self) -> list[str]:
        """Its words as they lie in the file: joined to rows, in hexadecimal."""
        return joined_words(self.words, self.width, self.joined) if self.joined > 1 else self.words

    @property
    def bits(self) -> int:
        """Of its words."""
        return self.width * self.depth

    @property
    def stored_bits(self) -> int:
        """As they are stored, of all sets."""
        return self.bits if self.rows is None else self.rows.bits * len(self.rows.words) * self.sets

    @property
    def prefers_block_ram(self) -> bool:
        """Whether block RAM takes its place where no one says (`transforms.memories`)."""
        return prefers_block_ram(self.width, self.depth)
