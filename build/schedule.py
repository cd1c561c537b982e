"""Folding: PE and SIMD of every unit for a target rate, at the least cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil, floor

from bnnflow import CHECK_FAILED, Problem

from ..transforms.graph import Graph, Mvau, Node, SlidingWindow, TensorType, Thresholding
from .cost import Estimate, UnitCost, estimate, unit, unit_cycles
from .parts import Part

HIGHEST_CLOCK_MHZ = 500
Foldable = Mvau | SlidingWindow | Thresholding


def cycles_for(fps: float, clock_mhz: float) -> int:
    """Clock cycles that one image may take at a rate in images a second."""
    return floor(clock_mhz * 1e6 / fps)


def schedule(graph: Graph, fps: float, clock_mhz: float, part: Part) -> Graph:
    """The dataflow graph folded so that every unit keeps the rate, each at its least cost on the part.

    A unit's cost is its share of the part's LUTs plus its share of the part's block RAMs. PE divides
    the rows or channels, SIMD the columns or channels, and SIMD is at least columns / 1024 (FINN's
    limit for HLS).

    Args:
        graph: dataflow level; its folding is ignored.
        fps: target rate, images a second.
        clock_mhz: clock.
        part: what it must fit.

    Raises:
        Problem: status 1; no folding reaches the rate, or none that does fits the part. The message
            says what can be reached.
    """
    folded = _fold(graph, cycles_for(fps, clock_mhz), part)
    if folded is None:
        fastest = fastest_cycles(graph)
        raise Problem(
            f"{_rate(fps)} images/s at {clock_mhz:g} MHz leave {cycles_for(fps, clock_mhz)} cycles an image, "
            f"{fastest.name!r} needs {fastest.cycles}",
            "target rate",
            f"at most {floor(clock_mhz * 1e6 / fastest.cycles):,} images/s{_faster_clock(fps, fastest.cycles)}",
            CHECK_FAILED,
        )
    cost = estimate(folded)
    if not fits(cost, part):
        raise Problem(
            f"{_rate(fps)} images/s at {clock_mhz:g} MHz need {cost.lut:,} LUT and {cost.bram18:,} BRAM18; "
            f"{part.name} has {part.lut:,} and {part.bram18:,}",
            "target rate",
            _what_fits(graph, clock_mhz, part, estimate(folded).cycles),
            CHECK_FAILED,
        )
    return folded


def _faster_clock(fps: float, cycles: int) -> str:
    """The clock that would do, where an FPGA can have it."""
    needed = ceil(fps * cycles / 1e6)
    return f", or a clock of at least {needed} MHz" if needed <= HIGHEST_CLOCK_MHZ else ""


def _rate(fps: float) -> str:
    return f"{fps:,.0f}" if fps >= 100 else f"{fps:g}"


def fits(cost: Estimate, part: Part) -> bool:
    """Whether an estimate is within a part's LUTs and block RAMs."""
    return cost.lut <= part.lut and cost.bram18 <= part.bram18


def fastest_cycles(graph: Graph) -> UnitCost:
    """The unit that bounds the rate when every unit is folded as wide as it can be."""
    units = []
    for node in graph.nodes:
        if isinstance(node.op, Foldable):
            x = graph.types[node.input]
            units.append(min((unit(node.name, op, x) for op in _widest(node.op, x)), key=lambda u: u.cycles))
        elif unit_cycles(node.op, graph.types[node.input]):
            units.append(unit(node.name, node.op, graph.types[node.input]))  # type: ignore[arg-type]
    return max(units, key=lambda u: u.cycles)


def _what_fits(graph: Graph, clock_mhz: float, part: Part, too_fast: int) -> str:
    """The highest rate whose folding fits, found by bisection over cycles an image."""
    low, high = too_fast, too_fast
    while True:
        high *= 2
        folded = _fold(graph, high, part)
        if folded is not None and fits(estimate(folded), part):
            break
        if high > 2**40:
            return "no folding fits this part: choose a larger part or a smaller network"
    while high - low > max(1, low // 1000):
        middle = (low + high) // 2
        folded = _fold(graph, middle, part)
        low, high = (low, middle) if folded is not None and fits(estimate(folded), part) else (middle, high)
    return f"at most {floor(clock_mhz * 1e6 / high):,} images/s fit; or choose a larger part, or prune more"


def _fold(graph: Graph, cycles: int, part: Part) -> Graph | None:
    """Every unit at its cheapest folding within `cycles`; None where a unit has none."""
    nodes: list[Node] = []
    for node in graph.nodes:
        x = graph.types[node.input]
        if isinstance(node.op, Foldable):
            fast = [op for op in _foldings(node.op, x) if unit_cycles(op, x) <= cycles]
            if not fast:
                return None
            best = min(fast, key=lambda op: _weigh(unit(node.name, op, x), part))
            node = replace(node, op=best)
        elif unit_cycles(node.op, x) > cycles:
            return None
        nodes.append(node)
    return graph.with_nodes(tuple(nodes))


def _weigh(cost: UnitCost, part: Part) -> tuple[float, int]:
    # Equal cost: fewer cycles.
    return cost.lut / part.lut + cost.bram18 / part.bram18, cost.cycles


def _foldings(op: Foldable, x: TensorType) -> Iterator[Foldable]:
    if isinstance(op, Mvau):
        rows, columns = op.weight.shape
        for simd in divisors(columns):
            if simd * 1024 >= columns:
                for pe in divisors(rows):
                    yield replace(op, pe=pe, simd=simd)
    elif isinstance(op, SlidingWindow):
        for simd in divisors(x.channels):
            yield replace(op, simd=simd)
    else:
        for pe in divisors(x.channels):
            yield replace(op, pe=pe)


def _widest(op: Foldable, x: TensorType) -> Iterator[Foldable]:
    if isinstance(op, Mvau):
        yield replace(op, pe=op.weight.shape[0], simd=op.weight.shape[1])
    elif isinstance(op, SlidingWindow):
        yield replace(op, simd=x.channels)
    else:
        yield replace(op, pe=x.channels)


def divisors(number: int) -> list[int]:
    """All divisors of a positive number, ascending."""
    return [d for d in range(1, number + 1) if number % d == 0]
