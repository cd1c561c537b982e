"""What a matrix of constants is made of whose rows are circuits (bnnflow_unrolled), row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..rtl.modules import Module
from ..rtl.unrolled import GROUP, Neuron, counting_levels
from .arithmetic import compressors, different, luts, sixes, tree
from .pieces import SHIFTS, Pieces


def unrolled(made: Pieces, p: Mapping[str, int], module: Module, depths: Sequence[int]) -> None:
    """The stream and its rows.

    Args:
        made: what it is added to.
        p: parameters of the module.
        module: with its rows.
        depths: words of the FIFO behind it.
    """
    rows = module.unrolled
    assert rows is not None
    active = [row for row in rows.neurons if row.constant is None]
    # Inputs that no row reads are no registers.
    made.ff(len({column for row in active for column in row.columns}) + module.latency)
    bits = p["OUT"] // len(rows.neurons)
    columns = rows.inputs.shape[1]
    # Rows of all inputs share what they count by sixes; up to six inputs are one function.
    dense = rows.inputs.all() and columns > GROUP and len(active) > 1
    lanes = Pieces(made.family)
    for row in active:
        _row(lanes, row, rows.op.act_val, bits, module.latency - 1, counted=not dense)
    if dense:
        _shared(lanes, columns, active)
    for key, number in lanes.exact.items():
        made.exact[key] += number
    # Of constants, logic is another than where weights are read.
    for key, amount in lanes.terms.items():
        made.term(f"constant {key}", amount)
    made.fifo(p["OUT"], depths[0], module.latency)


def _row(made: Pieces, row: Neuron, act_val: int, bits: int, latency: int, *, counted: bool) -> None:
    """A row; without the counts of its inputs by sixes, where these are not `counted`."""
    inputs = len(row.columns)
    levels = counting_levels(inputs)
    if inputs <= GROUP:
        results = _results(row, inputs.bit_length(), act_val, bits)
        made.term("function", results * luts(made.family, inputs))
    else:
        groups = sixes(inputs)
        if counted:
            made.term("six", sum(compressors(size) * luts(made.family, size) for size in groups))
        results = _results(row, tree(made, [size.bit_length() for size in groups], levels, odd=True), act_val, bits)
        if levels % 2 and row.bounds:
            # What no bound looks at of the sum's register.
            made.ff(-min((bound & -bound).bit_length() - 1 for bound in row.bounds if 0 < bound <= inputs))
        made.term("bound" if row.bounds else "sum", inputs.bit_length() * max(1, len(row.bounds)))
    wait = latency - row.latency
    if made.family in SHIFTS and wait > 1:
        made.exact["lut_ram"] += results
    else:
        made.ff(results * (1 + wait))


def _results(row: Neuron, counted: int, act_val: int, bits: int) -> int:
    """Bits of a row's result that are neither constant nor equal to another one, for all counts of so many bits."""
    agree = np.arange(2**counted)
    values = act_val + (agree[:, None] >= row.bounds).sum(axis=1) if row.bounds else agree - row.less
    columns = {tuple(column) for column in (values[:, None] >> np.arange(bits) & 1).T.tolist()}
    return sum(len(set(column)) > 1 for column in columns)


def _shared(made: Pieces, columns: int, active: Sequence[Neuron]) -> None:
    """Counts of the same inputs, which rows of all inputs share where their weights agree."""
    groups = sixes(columns)
    for size in groups:
        if size > 1:
            # The lowest bit of a count is the same function for all signs, or its complement.
            number = 1 + (compressors(size) - 1) * different(2**size, len(active))
            made.term("six", number * luts(made.family, size))
    if len(groups) % 2:
        # The last counts have no partner to be added to: they are registers by themselves.
        kinds = {row.plus >> columns - groups[-1] for row in active}
        made.ff((len(kinds) - len(active)) * groups[-1].bit_length())
