"""The fit: LUTs of a term, so that units come out as they were synthesized."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy.optimize import nnls

from ...transforms.ir.graph import Graph
from ...transforms.streams import Converter, streams_of
from ..rtl.design import Design, design
from ..rtl.modules import Module
from ..rtl.words import value_bits
from .counts import Parts, converter, counted, entrance
from .subjects import Subject
from .table import Estimated, Table

# Units count by their relative errors, small ones less: a LUT matters more to whoever has few of many.
_POWER, _LEAST = 0.9, 50
_EXACT = ("ff", "lut_ram", "block_ram", "dsp")


def parts_of(
    graph: Graph, made: Design, depth: int, depths: Mapping[str, int]
) -> Iterable[tuple[str, Module, list[int]]]:
    """Units, converters and the FIFO at the input, by the names of `build.synth.units`: modules and FIFOs behind."""
    streams = streams_of(graph)
    entry = streams.entries[0]
    yield "(input)", entrance(entry.width * value_bits(entry.type)), [depths.get(entry.name, depth)]
    for part in streams.parts:
        if isinstance(part, Converter):
            narrow, wide = sorted((part.entry.width, part.leave.width))
            bits = narrow * value_bits(part.entry.type)
            module = converter(bits, wide // narrow, widens=part.leave.width > part.entry.width)
            yield part.name, module, [depths.get(part.leave.name, depth)]
        else:
            yield part.node.name, made.modules[part.node.name], [depths.get(each.name, depth) for each in part.outputs]


def counted_subject(subject: Subject, family: str) -> Parts:
    """What a subject is made of."""
    made = design(subject.graph, subject.depth, {}, 100.0)
    found = {name: (module, depths) for name, module, depths in parts_of(subject.graph, made, subject.depth, {})}
    return counted(*found[subject.part], family)


def fitted(made: Sequence[tuple[str, Parts, Mapping[str, int]]]) -> dict[str, float]:
    """LUTs of each term, none below 0.

    Args:
        made: units: name, what they are made of, and what was synthesized.
    """
    names = sorted({name for _, parts, _ in made for name in parts.terms})
    amounts = np.array([[parts.terms.get(name, 0) for name in names] for _, parts, _ in made], float)
    luts = np.array([found["lut"] for _, _, found in made], float)
    weights = 1 / np.maximum(luts, _LEAST) ** _POWER
    found, _ = nnls(amounts * weights[:, None], luts * weights, maxiter=100 * len(names))
    return {name: round(float(value), 4) for name, value in zip(names, found, strict=True)}


def judged(made: Sequence[tuple[str, Parts, Mapping[str, int]]], terms: Mapping[str, float]) -> list[Estimated]:
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


def calibration(
    family: str,
    tool: str,
    fitting: Sequence[tuple[str, Parts, Mapping[str, int]]],
    held_out: Sequence[tuple[str, Parts, Mapping[str, int]]],
) -> Table:
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
