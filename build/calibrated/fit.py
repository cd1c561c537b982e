"""The fit: LUTs of a term, so that units come out as they were synthesized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import nnls

from ...transforms.streams import Converter, StreamUnit, streams_of
from ..rtl.modules import modules_of
from ..rtl.top_control import REGISTERS, image_bits
from .counts import converter, counted, entrance
from .guarded import registers
from .pieces import Pieces
from .subject import ENTRANCE, Subject
from .table import Estimated, Table

# Units count by their relative errors, small ones less: a LUT matters more to whoever has few of many.
_POWER, _LEAST = 0.9, 50
_EXACT = ("ff", "lut_ram", "block_ram", "dsp")
# A unit: name, what it is made of, and what was synthesized.
Measured = tuple[str, Pieces, Mapping[str, int]]


def counted_subject(subject: Subject, family: str) -> Pieces:
    """What a subject is made of."""
    streams, control = streams_of(subject.graph), subject.control
    if subject.part == ENTRANCE:
        return counted(entrance(streams.entries[0]), [subject.depth], family)
    modules = modules_of(streams, subject.graph.types, control)
    depths = {each.name: subject.depth for each in streams.streams}
    if subject.part == REGISTERS:
        return registers(streams, modules, depths, family)
    bits = image_bits(streams, depths, modules)
    for part in streams.parts:
        if isinstance(part, Converter) and part.name == subject.part:
            return counted(converter(part), [subject.depth], family)
        if isinstance(part, StreamUnit) and part.node.name == subject.part:
            scrub = control is not None and control.scrub
            held = [subject.depth] * len(part.outputs)
            return counted(modules[subject.part], held, family, image_bits=bits, scrub=scrub)
    raise AssertionError(f"{subject.name} has no part {subject.part!r}")


def fitted(made: Sequence[Measured]) -> dict[str, float]:
    """LUTs of each term, none below 0."""
    names = sorted({name for _, parts, _ in made for name in parts.terms})
    amounts = np.array([[parts.terms.get(name, 0) for name in names] for _, parts, _ in made], float)
    luts = np.array([found["lut"] for _, _, found in made], float)
    weights = 1 / np.maximum(luts, _LEAST) ** _POWER
    found, _ = nnls(amounts * weights[:, None], luts * weights, maxiter=100 * len(names))
    return {name: round(float(value), 4) for name, value in zip(names, found, strict=True)}


def judged(made: Sequence[Measured], terms: Mapping[str, float]) -> list[Estimated]:
    """Units beside what the terms say of them."""
    return [
        Estimated(
            name,
            found["lut"],
            round(sum(terms.get(term, 0.0) * amount for term, amount in parts.terms.items())),
            {key: [parts.exact[key], found[key]] for key in _EXACT if parts.exact[key] != found[key]},
        )
        for name, parts, found in made
    ]


def calibration(family: str, tool: str, fitting: Sequence[Measured], held_out: Sequence[Measured]) -> Table:
    """A table fitted to some units and judged by others."""
    terms = fitted(fitting)
    others = judged(held_out, terms)
    errors = [abs(each.error) for each in others]
    return Table(
        family=family,
        tool=tool,
        terms=terms,
        mean_error=round(float(np.mean(errors)), 4) if errors else 0.0,
        worst_error=round(max(errors, default=0.0), 4),
        fitted=judged(fitting, terms),
        held_out=others,
    )
