"""Of which primitives a memory of an FPGA is made: FINN's rule, for cost models and for fault models alike."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal

Style = Literal["block", "distributed"]
# Words of constants that our hardware leaves to the logic which reads them (`bnnflow_rom`).
FEW_WORDS = 8
# A block RAM of 18 kbit: words of one bit, and widths, each with half the words.
_BLOCK_WORDS, _BLOCK_WIDTHS = 16_384, (1, 2, 4, 9, 18, 36)


@dataclass(frozen=True, slots=True)
class Slices:
    """A memory of `depth` words of `width` bits, cut into primitives of one shape.

    Primitive (i, j) holds the bits j * columns to (j + 1) * columns - 1 of the words i * rows to
    (i + 1) * rows - 1; the last ones are partly empty.

    Attributes:
        kind: "BRAM18" or "LUTRAM" (one LUT as a memory of 64 bits).
        rows, columns: words of one primitive, and bits of each.
        down, across: primitives along the words and along the bits.
    """

    kind: str
    rows: int
    columns: int
    down: int
    across: int

    @property
    def count(self) -> int:
        """Number of primitives."""
        return self.down * self.across


def slices(width: int, depth: int, style: Style = "block") -> Slices:
    """Cut a memory into 18-kbit block RAMs by FINN's table of aspect ratios, or into LUTs of 64 x 1 bits.

    Block RAMs: width 1: 16384 x 1; 2: 8192 x 2; to 4: 4096 x 4; to 9: 2048 x 9; to 18, or deeper than 512:
    1024 x 18; else 512 x 36.

    Source: FINN, `MVAU.bram_estimation`.
    """
    if style == "distributed":
        return Slices("LUTRAM", 64, 1, ceil(depth / 64), width)
    if width <= 2:
        rows, columns = 16384 // width, width
    elif width <= 4:
        rows, columns = 4096, 4
    elif width <= 9:
        rows, columns = 2048, 9
    elif width <= 18 or depth > 512:
        rows, columns = 1024, 18
    else:
        rows, columns = 512, 36
    return Slices("BRAM18", rows, columns, ceil(depth / rows), ceil(width / columns))


def prefers_block_ram(width: int, depth: int) -> bool:
    """Whether constants take 96 LUTs or more for each block RAM of 18 kbit, as a ROM of LUT6 of 64 words and a bit."""
    luts, places = width * ceil(depth / 64), ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2))
    return luts >= 96 * min(ceil(depth / words) * ceil(width / bits) for words, bits in places)


def words_of_a_row(width: int, depth: int) -> int:
    """Words that our hardware joins to a row of block RAM: the fewest with which least block RAMs hold all of them.

    A memory that is deeper than a block RAM would be several behind each other, between whose outputs is chosen; rows
    of several words are wide and shallow, and read one after the other.
    """
    shapes = [(_BLOCK_WORDS >> place, bits) for place, bits in enumerate(_BLOCK_WIDTHS)]

    def blocks(joined: int) -> int:
        rows = ceil(depth / joined)
        return min(ceil(joined * width / bits) for words, bits in shapes if words >= rows)

    least = ceil(depth / _BLOCK_WORDS)
    return min(range(least, max(least, ceil(depth / (_BLOCK_WORDS >> len(shapes) - 1))) + 1), key=blocks)
