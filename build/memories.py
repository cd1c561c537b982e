"""The words of a unit's memories as FINN stores them: weights (`memblock.dat`), thresholds (`thresh.h`, `.dat`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..transforms.ir.tensor import Array


def weight_words(weight: Array, pe: int, simd: int) -> Array:
    """The weights of an MVAU in the order of its memory: (words, pe, simd).

    Word nf * SF + sf, with SF = columns / simd, holds for lane p and place s the weight of row nf * pe + p and column
    sf * simd + s.

    Args:
        weight: (rows, columns) integers.
        pe, simd: divide rows and columns.
    """
    rows, columns = weight.shape
    blocks = weight.reshape(rows // pe, pe, columns // simd, simd)
    return blocks.transpose(0, 2, 1, 3).reshape(-1, pe, simd)


def weight_lines(weight: Array, pe: int, simd: int, bits: int) -> list[str]:
    """The lines of `memblock.dat`: a word each in lower-case hexadecimal, ceil(pe * simd * bits / 4) digits.

    The weight of lane p and place s lies in the `bits` bits from (p * simd + s) * bits on, in two's complement.

    Args:
        weight: (rows, columns) integers; with one bit, what is above 0 (1 of {0, 1}, +1 of {-1, +1}) is stored as 1.
        pe, simd: divide rows and columns.
        bits: of a weight; FINN stores the -1 and +1 of a layer with integer inputs in 2.
    """
    values = (weight > 0).astype(np.int64) if bits == 1 else weight.astype(np.int64)
    return words_hex(weight_words(values, pe, simd).reshape(-1, pe * simd), bits)


def threshold_table(bounds: Array, pe: int) -> Array:
    """The table `threshs` of an MVAU's `thresh.h`: (pe, rows / pe, levels); entry [p][nf] belongs to row nf * pe + p.

    Args:
        bounds: (rows, levels) integers, ascending along levels.
        pe: divides the rows.
    """
    rows, levels = bounds.shape
    return bounds.reshape(rows // pe, pe, levels).transpose(1, 0, 2)


def threshold_lines(bounds: Array, pe: int, output_bits: int, bits: int) -> dict[tuple[int, int], list[str]]:
    """The memories of a `Thresholding_rtl`, which searches by bisection: lines of hexadecimal by (lane, stage).

    Stage x decides bit output_bits - 1 - x of the result. For channel nf * pe + p and the x bits i found before, word
    nf * 2^x + i of lane p holds bound number i * 2^(output_bits - x) + 2^(output_bits - x - 1) - 1. Bounds that are
    missing to 2^output_bits - 1 are stored as 0, as FINN does.

    Args:
        bounds: (channels, levels) integers, ascending along levels.
        pe: divides the channels.
        output_bits: of the result's type; levels is less than 2^output_bits.
        bits: of a bound, in two's complement; a line has ceil(bits / 4) digits.
    """
    full = np.pad(bounds.astype(np.int64), ((0, 0), (0, 2**output_bits - 1 - bounds.shape[1])))
    table = threshold_table(full, pe)
    lines = {}
    for stage in range(output_bits):
        step = 2 ** (output_bits - stage)
        for lane in range(pe):
            lines[lane, stage] = words_hex(table[lane][:, step // 2 - 1 :: step].reshape(-1, 1), bits)
    return lines


def words_hex(words: Array, bits: int) -> list[str]:
    """Words in lower-case hexadecimal, ceil(values * bits / 4) digits each.

    Args:
        words: (words, values) integers; the first value of a word lies in its lowest bits.
        bits: of a value, in two's complement.
    """
    count, values = words.shape
    digits = -(-values * bits // 4)
    places = np.arange(bits)
    stored = (words[..., None] >> places & 1).astype(np.uint8).reshape(count, values * bits)
    packed = np.packbits(stored, axis=1, bitorder="little")
    return [row[::-1].tobytes().hex()[-digits:] for row in packed]


def joined_words(words: Sequence[str], bits: int, joined: int) -> list[str]:
    """Words in hexadecimal as rows of so many, the first of a row in its lowest bits; 0 behind the last word.

    Args:
        words: in hexadecimal.
        bits: of a word.
        joined: words of a row.
    """
    digits, rows = -(-bits * joined // 4), []
    for start in range(0, len(words), joined):
        row = sum(int(word, 16) << place * bits for place, word in enumerate(words[start : start + joined]))
        rows.append(f"{row:0{digits}x}")
    return rows
