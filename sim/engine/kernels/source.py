"""The kernels in LLVM's text form, for any width of vectors.

Every kernel is `void name(ptr args)`; args points to int64 parameters, named in order in its docstring.
Loops run over output blocks, images, rows and columns; sizes are parameters, so one text serves every
layer. Maps are channels last. Binary maps hold 64 channels in a 64-bit word, bit c % 64 of word c / 64;
bits beyond the last channel are 0. 64 output channels lie in vector lanes: an activation word is broadcast
against 64 weight words, sums stay in registers, and the masks of the closing comparison are the output word.
"""

from __future__ import annotations

from .machine import NARROW, WIDE, Machine
from .source_dot import dot, dot_declaration
from .source_maps import (
    channels_last,
    compare_bytes,
    compare_sums,
    copy_rows,
    count_levels,
    pool,
    replay_kernels,
    three_channels_last,
)
from .source_xnor import BYTE_SUMS, peak, population_count, xnor_bits, xnor_sums

NAMES = (
    "xnor_bits",
    "xnor_bits_pairs",
    "xnor_sums",
    "xnor_sums_narrow",
    "xnor_sums_narrow_fours",
    "dot_bits",
    "dot_sums",
    "pool",
    "channels_last",
    "three_channels_last",
    "copy_rows",
    "replay",
    "compare_bytes",
    "compare_sums",
    "count_levels",
    "peak",
)


def text(machine: Machine) -> str:
    """The whole module: one function for each of `NAMES`."""
    functions = [
        xnor_bits("xnor_bits", machine, 1),
        xnor_bits("xnor_bits_pairs", machine, 2),
        xnor_sums("xnor_sums", machine, WIDE, 1),
        xnor_sums("xnor_sums_narrow", machine, NARROW, 1),
        xnor_sums("xnor_sums_narrow_fours", machine, NARROW, 4),
        dot("dot_bits", machine, True),
        dot("dot_sums", machine, False),
        pool("pool"),
        channels_last("channels_last"),
        three_channels_last("three_channels_last"),
        copy_rows("copy_rows"),
        replay_kernels("replay"),
        compare_bytes("compare_bytes"),
        compare_sums("compare_sums"),
        count_levels("count_levels"),
        peak("peak", machine),
    ]
    lanes = machine.lanes
    declarations = [
        "declare i64 @llvm.smin.i64(i64, i64)",
        *(f"declare {v} @{population_count(v)}({v})" for v in (f"<{lanes} x i64>", f"<{8 * lanes} x i8>")),
        dot_declaration(machine),
    ]
    if lanes in BYTE_SUMS and machine.dot == "pmaddwd":
        small = f"<{8 * lanes} x i8>"
        declarations.append(f"declare <{lanes} x i64> @{BYTE_SUMS[lanes]}({small}, {small})")
    width = 64 * lanes
    attributes = f'attributes #0 = {{ nounwind "prefer-vector-width"="{width}" "min-legal-vector-width"="{width}" }}'
    return "\n".join([*map(str, functions), *declarations, attributes, ""])
