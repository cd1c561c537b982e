"""Functions of a sign: comparisons with constants, and the ways in which programs mend the sign of 0."""

from __future__ import annotations

import numpy as np

from bnnflow import Problem

from .call import Call, operator
from .core import Reader
from .elementwise import sub_of
from .live import Live, Signs
from .sign_tables import COMPARED, computed


@operator(*COMPARED, joins=True)
def compared_signs(reader: Reader, call: Call, x: Live) -> Live:
    """Comparison with a constant or a computed tensor: 1 where it holds, else 0."""
    values = COMPARED[call.kind]
    if len(call.inputs) != 2:
        raise Problem(f"{call.kind} needs 2 inputs, not {len(call.inputs)}")
    left, right = call.inputs
    if left not in reader.live:
        left, right, values = right, left, (values[2], values[1], values[0])
    base = sub_of(reader, reader.live[left], right)
    below, at, above = (np.array(bool(value)) for value in values)
    made = computed(reader, call, base, Signs(base.tensor, (below, at, above)))
    assert made is not None
    return made


@operator("Where", "Not", "And", "Or", "Xor", "Abs", joins=True)
def logic(reader: Reader, call: Call, x: Live) -> Live:
    """Of signs and comparisons of one tensor, and of single constants."""
    raise Problem(
        f"{call.kind} is supported on signs or comparisons of one tensor with 0, and single constants",
        hint="write a sign as Sign, BipolarQuant, or Where(x >= 0, 1, -1)",
    )
