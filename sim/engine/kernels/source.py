"""The kernels in LLVM's text form, for any width of vectors.

Every kernel is `void name(ptr args)`; args points to int64 parameters, named in order in its docstring.
Loops run over output blocks, images, rows and columns; sizes are parameters, so one text serves every
layer. Maps are channels last. Binary maps hold 64 channels in a 64-bit word, bit c % 64 of word c / 64;
bits beyond the last channel are 0. 64 output channels lie in vector lanes: an activation word is broadcast
against 64 weight words, sums stay in registers, and the masks of the closing comparison are the output word.
"""

from __future__ import annotations

from .assembly import Function
from .machine import LOOKED_UP_PIXELS, NARROW, WIDE, Machine
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
from .source_steps import move_words
from .source_xnor import (
    BYTE_SUMS,
    LOOK_UP,
    LOOKED_UP,
    peak,
    peak_of_tables,
    population_count,
    tables,
    xnor_bits,
    xnor_bits_tables,
    xnor_sums,
)


def names(machine: Machine) -> tuple[str, ...]:
    """The functions of a module, one a kernel."""
    return tuple(function.name for function in _functions(machine))


def text(machine: Machine) -> str:
    """The whole module: one function for each of `names`."""
    lanes = machine.lanes
    declarations = [
        *(f"declare i64 @llvm.{which}.i64(i64, i64)" for which in ("smin", "smax")),
        *(f"declare {v} @{population_count(v)}({v})" for v in (f"<{lanes} x i64>", f"<{8 * lanes} x i8>")),
        dot_declaration(machine),
    ]
    if lanes in BYTE_SUMS and machine.dot == "pmaddwd":
        small = f"<{8 * lanes} x i8>"
        declarations.append(f"declare <{lanes} x i64> @{BYTE_SUMS[lanes]}({small}, {small})")
    if machine.looks_up:
        small = f"<{LOOKED_UP} x i8>"
        declarations += [f"declare {small} @{LOOK_UP}({small}, {small})", tables()]
    width = 64 * lanes
    attributes = f'attributes #0 = {{ nounwind "prefer-vector-width"="{width}" "min-legal-vector-width"="{width}" }}'
    return "\n".join([*map(str, _functions(machine)), *declarations, attributes, ""])


def _functions(machine: Machine) -> list[Function]:
    return [
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
        move_words("move_words"),
        *(xnor_bits_tables(f"xnor_bits_tables{pixels}", pixels) for pixels in LOOKED_UP_PIXELS if machine.looks_up),
        peak_of_tables("peak") if machine.looks_up else peak("peak", machine),
    ]
