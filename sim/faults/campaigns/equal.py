"""Two networks under equal conditions: as many faults, or as much memory.

At an equal rate per bit the smaller of two networks suffers fewer faults. On one device, with a given number of faulty
cells, it suffers as many as the larger one, in fewer bits; and what memory it leaves free can hold a code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bnnflow import Problem

from ....transforms.ir.graph import Graph
from ..injection.cells import CellRate
from ..injection.layout import KINDS, Memory, chosen
from ..injection.models import FaultModel
from ..injection.protect import Protections
from ..injection.rates import Rates
from ..injection.trials import SINGLE, Point

EQUAL = ("faults", "memory")


def check_equal(equal: Sequence[str], points: Sequence[Point]) -> None:
    """Whether two networks can be compared so under these points.

    Raises:
        Problem: an unknown word; as many faults of streams, of single or measured faults, or of rates that have
            directions; as much memory without points both with and without a code.
    """
    for word in equal:
        chosen(word, EQUAL, "equal condition")
    place = "equal conditions"
    if "faults" in equal:
        for point in points:
            if not all(kind in KINDS for kind in point.target.split("+")):
                raise Problem(f"{point.target} have no number of faults", place, "hit memories alone", key="faults")
            if point.model == SINGLE or point.voltage is not None or point.rates.directed or point.rates.one_way:
                what = f"the number of faults of '{point.model}' does not follow from one rate"
                raise Problem(what, place, "use a model with one rate, or leave faults out", key="faults")
    if "memory" in equal:
        coded = {Protections.parse(point.protection).coded for point in points}
        if coded != {False, True}:
            what = "equal memory compares a network without a code with one that has one"
            hint = "give both, as by --protection none --protection secded-72-64"
            raise Problem(what, place, hint, key="faults")


def stored_bits(point: Point, graph: Graph) -> int:
    """Bits of the memories that a point hits, with check bits and copies."""
    safe = Protections.parse(point.protection)
    return sum(safe.stored(place).size for place in point.places(graph) if isinstance(place, Memory))


def equal_faults(point: Point, first: Graph, second: Graph) -> Point:
    """The point at which maps of `second` have as many faults in the mean as maps of `first` have at this one.

    All rates are multiplied by one factor: that of the expected numbers of units that are hit.

    Raises:
        Problem: a rate above 1.
    """
    model, safe = FaultModel.parse(point.model), Protections.parse(point.protection)

    def expected(graph: Graph) -> float:
        places = [place for place in point.places(graph) if isinstance(place, Memory)]
        units = [model.shape.units(safe.stored(place)) for place in places]
        rates = [point.rates.at(place.layer, place.kind).up for place in places]
        return sum(count * rate for count, rate in zip(units, rates, strict=True))

    mine, theirs = expected(first), expected(second)
    if not mine or not theirs:
        return point

    def scaled(rate: CellRate) -> CellRate:
        value = rate.up * mine / theirs
        if value > 1:
            what = f"as many faults as {first.name} has at {rate.figures} need a rate of {value:.3g} in {second.name}"
            raise Problem(what, "equal conditions", "give lower rates", key="faults")
        return CellRate.of(value, rate.label)

    rates: Mapping[str, CellRate] = {name: scaled(rate) for name, rate in point.rates.by.items()}
    rest = None if point.rates.rest is None else scaled(point.rates.rest)
    return replace(point, rates=Rates(rest, rates, point.rates.directed))
