"""Tables of a sign: what is computed of a tensor that depends on its source only through its sign.

Three values, for a source below, at and above 0. Whatever is computed of such a tensor and constants is a table again,
so that Sign(Sign(x) + 0.1), Where(x >= 0, 1, -1), 2 * (x > 0) - 1 or Sign(x) + (1 - Abs(Sign(x))) become the one sign
that they are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
import onnx

from bnnflow import Problem

from ..ir.ops import Add, Affine, AnyOp, Sign
from .call import Call
from .constant_folding import folded_outputs
from .constants import Constants
from .live import Live, Signs

# Values below, at and above 0.
COMPARED = {
    "Greater": (0.0, 0.0, 1.0),
    "GreaterOrEqual": (0.0, 1.0, 1.0),
    "Less": (1.0, 0.0, 0.0),
    "LessOrEqual": (1.0, 1.0, 0.0),
    "Equal": (0.0, 1.0, 0.0),
}
# What is computed in the tables; sums and products by a constant have operations of their own, and tables beside them.
_TABLES = ("Sign", "Abs", "Where", "Not", "And", "Or", "Xor", "Cast", *COMPARED)
_BESIDE = ("Add", "Sub", "Mul", "Div", "Neg", "Relu", "Clip", "Max", "Min", "Sum")


class Makes(Protocol):
    """What tables ask of a reader of a file."""

    live: dict[str, Live]
    constants: Constants
    signs: dict[str, Signs]

    def on(self, x: Live, name: str, op: AnyOp, call: Call | None = None) -> Live:
        """An operation on a tensor."""
        ...

    def add(self, name: str, op: AnyOp, *sources: str, call: Call | None = None) -> str:
        """An operation on tensors by their names."""
        ...


def table_of(reader: Makes, node: onnx.NodeProto) -> Signs | None:
    """The table of an operator on tables (all that it reads have one) of one source and single constants, or None."""
    if node.op_type not in _TABLES + _BESIDE:
        return None
    lives = [reader.live[name] for name in node.input if name in reader.live]
    first = lives[0]
    tables = {x.tensor: reader.signs[x.tensor] for x in lives}
    if len({table.source for table in tables.values()}) > 1:
        return None
    if any(x.shape != first.shape or x.first != first.first or x.order != first.order for x in lives):
        return None
    fixed = {name: reader.constants.array(name) for name in node.input if name and name not in reader.live}
    if any(value.size != 1 for value in fixed.values()):
        return None
    found = []
    for place in range(3):
        inputs = []
        for name in node.input:
            x = reader.live.get(name)
            inputs.append(fixed.get(name) if x is None else tables[x.tensor].values[place])
        made = folded_outputs(node, inputs)
        if made is None:
            return None
        found.append(np.asarray(made[0]).reshape(()))
    if not all(np.isfinite(value) for value in found):
        return None
    return Signs(tables[first.tensor].source, (found[0], found[1], found[2]))


def computed(reader: Makes, call: Call, x: Live, signs: Signs) -> Live | None:
    """The operations of a table, on its source; None where the operator's own reader makes them."""
    if call.kind in _BESIDE and sum(name in reader.live for name in call.inputs) == 1:
        return None
    low, zero, high = (float(value) for value in signs.values)
    up, top = (zero - low) / 2, (high - zero) / 2
    # What 0 is worth in the sign that is multiplied, and by what.
    terms = [(0, 2 * up)] if up == top else [(at, gain) for at, gain in ((1, up), (-1, top)) if gain]
    if not up and not top:
        raise Problem(f"the result of this {call.kind} is {low:g} whatever its input is", hint="remove what is dead")
    base, shift = replace(x, tensor=signs.source), low + sum(gain for _, gain in terms)
    parts = []
    for at, gain in terms:
        last = call if len(terms) == 1 else None
        plain = gain == 1 and not shift
        made = reader.on(base, "sign", Sign(at), last if plain else None)
        if not plain:
            made = reader.on(made, "affine", Affine(np.full(1, gain), np.full(1, shift)), last)
        parts.append(made.tensor)
        shift = 0.0
    tensor = parts[0] if len(parts) == 1 else reader.add("add", Add(), *parts, call=call)
    reader.signs[tensor] = signs
    return replace(base, tensor=tensor)
