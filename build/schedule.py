"""Folding: PE and SIMD of every unit for a target rate, at the least cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import ceil, floor, gcd, inf
from typing import Any

from bnnflow import CHECK_FAILED, Problem

from ..transforms.ir.graph import Graph, Node
from ..transforms.ir.ops import AnyOp, FMPadding, Mvau, Pool, SlidingWindow, StreamingConcat, StreamingMaxPool, Unit
from .cost import Estimate, UnitCost, estimate, unit, unit_cycles, widths
from .parts import Part

HIGHEST_CLOCK_MHZ = 500
# Of a quotient of two products of floats, relative, with room.
_ROUNDING = 1e-12


def cycles_for(fps: float, clock_mhz: float) -> int:
    """Clock cycles that one image may take at a rate in images per second.

    Cycles whose rate is this one but for the rounding of floats are enough: 33.3 MHz give 33,300,000 images/s at one
    cycle, and a rate that was printed gives its cycles again.
    """
    return floor(clock_mhz * 1e6 / fps * (1 + _ROUNDING))


def highest_rate(cycles: int, clock_mhz: float) -> int:
    """The most whole images a second of which `cycles_for` leaves so many cycles."""
    return floor(clock_mhz * 1e6 / cycles * (1 + _ROUNDING))


def schedule(graph: Graph, fps: float, clock_mhz: float, part: Part) -> Graph:
    """The dataflow graph folded so that every unit keeps the rate, each at its least cost on the part.

    A unit's cost is its share of the part's LUTs plus its share of the part's block RAMs. PE divides
    the rows or channels, SIMD the columns or channels, and SIMD is at least columns / 1024 (FINN's
    limit for HLS).

    Args:
        graph: dataflow level; its folding is ignored.
        fps: target rate, images per second.
        clock_mhz: clock.
        part: what it must fit.

    Raises:
        Problem: status 1; no folding reaches the rate, or none that does fits the part. The message
            says what can be reached.
    """
    folded = fold(graph, cycles_for(fps, clock_mhz), part)
    if folded is None:
        fastest = fastest_cycles(graph)
        raise out_of_reach(fps, clock_mhz, fastest.name, fastest.cycles)
    cost = estimate(folded)
    if not fits(cost, part):
        raise too_large(
            fps,
            clock_mhz,
            f"{cost.lut:,} LUT and {cost.bram18:,} BRAM18{_more(cost)}; "
            f"{part.name} has {part.lut:,} and {part.bram18:,}{_more(cost, part)}",
            _least_that_fits(graph, part, cost.cycles),
        )
    return folded


def out_of_reach(
    fps: float, clock_mhz: float, name: str, cycles: int, fitting: int | None = None, part: str = ""
) -> Problem:
    """Why no folding reaches a rate in images per second: a unit takes so many cycles at least.

    Args:
        fps, clock_mhz: the rate and the clock.
        name, cycles: of the unit, and the cycles an image that it takes at least.
        fitting: cycles an image of the fastest folding that fits the part, where that is known.
        part: its name, where `fitting` is known.
    """
    hint = f"at most {highest_rate(cycles, clock_mhz):,} images/s{_faster_clock(fps, cycles)}"
    if fitting is not None and fitting > cycles:
        hint += f"; {part} holds a design of at most {highest_rate(fitting, clock_mhz):,}"
    return Problem(
        f"{_rate(fps)} images/s at {clock_mhz:g} MHz leave {cycles_for(fps, clock_mhz)} cycles per image, "
        f"{name!r} needs {cycles}",
        "target rate",
        hint,
        CHECK_FAILED,
    )


def too_large(fps: float, clock_mhz: float, needed: str, cycles: int | None, larger: str = "") -> Problem:
    """Why no folding of a rate in images per second fits a part.

    Args:
        fps, clock_mhz: the rate and the clock.
        needed: what it takes, and what the part has, for people.
        cycles: an image, of the fastest folding that was found to fit; None: none was.
        larger: name of a part that would do; empty: none is known.
    """
    part = f"take {larger}" if larger else "choose a larger part"
    hint = f"no folding was found that fits this part: {part}, or a smaller network"
    if cycles is not None:
        hint = f"at most {highest_rate(cycles, clock_mhz):,} images/s fit; or {part}, or prune more"
    return Problem(f"{_rate(fps)} images/s at {clock_mhz:g} MHz need {needed}", "target rate", hint, CHECK_FAILED)


def _more(cost: Estimate, part: Part | None = None) -> str:
    """What units ask for beside LUTs and block RAMs: how much, or how much of it a part has."""
    kinds = (("uram", "UltraRAM"), ("dsp", "DSP slices"))
    return "".join(f", {getattr(part or cost, key):,} {name}" for key, name in kinds if getattr(cost, key))


def _faster_clock(fps: float, cycles: int) -> str:
    """The clock that would do, where an FPGA can have it."""
    needed = ceil(fps * cycles / 1e6)
    return f", or a clock of at least {needed} MHz" if needed <= HIGHEST_CLOCK_MHZ else ""


def _rate(fps: float) -> str:
    return f"{fps:,.0f}" if fps >= 100 else f"{fps:g}"


def fits(cost: Estimate, part: Part) -> bool:
    """Whether an estimate is within what a part has."""
    pairs = ((getattr(cost, kind), getattr(part, kind)) for kind in ("lut", "bram18", "uram", "dsp"))
    return all(needed <= held for needed, held in pairs)


def fastest_cycles(graph: Graph) -> UnitCost:
    """The unit that bounds the rate when every unit is folded as wide as it can be."""
    units = []
    for node in graph.nodes:
        if isinstance(node.op, Unit):
            units.append(min(_costs(graph, node, _widest(graph, node)), key=lambda cost: cost.cycles))
    return max(units, key=lambda u: u.cycles)


def _costs(graph: Graph, node: Node, ops: Iterable[Unit]) -> list[UnitCost]:
    """The cost of a node under several foldings."""
    x, made = graph.types[node.input], graph.types[node.name]
    known = widths(node.op, x)  # type: ignore[arg-type]
    return [unit(node.name, op, x, known, made) for op in ops]


def _least_that_fits(graph: Graph, part: Part, too_fast: int) -> int | None:
    """The cycles per image of the fastest folding that fits, by bisection; None where none does."""
    low, high = too_fast, too_fast
    while True:
        high *= 2
        folded = fold(graph, high, part)
        if folded is not None and fits(estimate(folded), part):
            break
        if high > 2**40:
            return None
    while high - low > max(1, low // 1000):
        middle = (low + high) // 2
        folded = fold(graph, middle, part)
        low, high = (low, middle) if folded is not None and fits(estimate(folded), part) else (middle, high)
    return high


def is_folded(graph: Graph) -> bool:
    """Whether any unit takes more than one value a cycle."""
    return any(max(getattr(node.op, "pe", 1), getattr(node.op, "simd", 1)) > 1 for node in graph.nodes)


def refolded(graph: Graph) -> Graph:
    """A graph whose memories lie where a new folding puts them.

    In a folded graph, block RAM and LUTs were mostly chosen with PE and SIMD, and are chosen with them again. UltraRAM,
    which no folding chooses, stays, and so does all that a graph states which is not folded.
    """
    if not is_folded(graph):
        return graph
    return graph.with_nodes(tuple(replace(node, op=_without_place(node.op)) for node in graph.nodes))


def _without_place(op: AnyOp) -> AnyOp:
    match op:
        case Mvau(ram_style="block" | "distributed"):
            return replace(op, ram_style="auto")
        case SlidingWindow(ram_style="block"):
            return replace(op, ram_style="distributed")
        case _:
            return op


def fold(graph: Graph, cycles: int, part: Part, known: dict[Any, Unit] | None = None) -> Graph | None:
    """Every unit at its cheapest folding within `cycles`; None where a unit has none.

    Args:
        graph: dataflow level; its folding is ignored.
        cycles: most that a unit may take for an image.
        part: what shares of LUTs and block RAMs are of.
        known: foldings found before, for the same cycles and part, of the same network or narrower and wider ones cut
            from it; grows.
    """
    nodes: list[Node] = []
    pool_pe: dict[str, int] = {}
    graph = refolded(graph)
    for node in graph.nodes:
        if isinstance(node.op, Unit):
            key = (node.name, pool_pe.get(node.input), *sizes(graph, node))
            best = None if known is None else known.get(key)
            if best is None:
                best = _cheapest(graph, node, cycles, part, pool_pe)
            if best is None:
                return None
            if known is not None:
                known[key] = best
            pool_pe[node.name] = getattr(best, "simd", getattr(best, "pe", 1))
            node = replace(node, op=like_folded(node.op, best))
        nodes.append(node)
    return graph.with_nodes(tuple(nodes))


def sizes(graph: Graph, node: Node) -> tuple[Any, ...]:
    """What the cost of a unit of a given name follows from."""
    x, made = graph.types[node.input], graph.types[node.name]
    bounds = getattr(node.op, "bounds", None)
    return x.shape, x.range, made.shape, made.range, None if bounds is None else bounds.shape[1]


def like_folded(op: Unit, folded: Unit) -> Unit:
    """An operation with PE, SIMD and the place of what it stores of another."""
    changes = {key: getattr(folded, key) for key in ("pe", "simd", "ram_style") if hasattr(folded, key)}
    return replace(op, **changes)


def _cheapest(graph: Graph, node: Node, cycles: int, part: Part, pool_pe: Mapping[str, int]) -> Unit | None:
    assert isinstance(node.op, Unit)
    ops = [replace(node.op, pe=pool_pe[node.input])] if isinstance(node.op, Pool) else foldings(graph, node)
    costs = zip(_costs(graph, node, ops), ops, strict=True)
    candidates = [(cost, op) for cost, op in costs if cost.cycles <= cycles]
    if isinstance(node.op, SlidingWindow) and node.op.depthwise:
        # A pool takes the channels in the groups in which its window gives them.
        pool = graph.readers(node.name)[0]
        assert isinstance(pool.op, Pool)
        x = graph.types[node.name]
        candidates = [(cost, op) for cost, op in candidates if unit_cycles(replace(pool.op, pe=cost.simd), x) <= cycles]
    return min(candidates, key=lambda pair: _weigh(pair[0], part))[1] if candidates else None


def _weigh(cost: UnitCost, part: Part) -> tuple[float, int]:
    # Equal cost: fewer cycles. A part without block RAMs has none to share.
    blocks = cost.bram18 / part.bram18 if part.bram18 else inf if cost.bram18 else 0.0
    return cost.lut / part.lut + blocks, cost.cycles


def foldings(graph: Graph, node: Node) -> list[Unit]:
    """Every legal folding of a unit."""
    op, x = node.op, graph.types[node.input]
    match op:
        case Mvau():
            rows, columns = op.weight.shape
            simds = [simd for simd in divisors(columns) if simd * 1024 >= columns]
            return [replace(op, pe=pe, simd=simd) for simd in simds for pe in divisors(rows)]
        case SlidingWindow() if op.parallel_window and not op.depthwise:
            return [replace(op, simd=x.channels)]
        case SlidingWindow() | FMPadding():
            return [replace(op, simd=simd) for simd in divisors(x.channels)]
        case StreamingConcat():
            channels = gcd(*(graph.types[tensor].channels for tensor in node.inputs))
            return [replace(op, simd=simd) for simd in divisors(channels)]
        case Pool():
            return [replace(op, pe=pe) for pe in divisors(graph.types[node.name].channels)]
        case StreamingMaxPool():
            return [op]
        case _:
            assert isinstance(op, Unit)
            return [replace(op, pe=pe) for pe in divisors(x.channels)]


def _widest(graph: Graph, node: Node) -> list[Unit]:
    """The folding of a unit with the fewest cycles."""
    if isinstance(node.op, Mvau):
        return [replace(node.op, pe=node.op.weight.shape[0], simd=node.op.weight.shape[1])]
    return foldings(graph, node)[-1:]


def whole(graph: Graph, node: Node, key: str) -> int:
    """What "PE" or "SIMD" of a unit must divide."""
    match node.op:
        case Mvau(weight):
            return int(weight.shape[0 if key.upper() == "PE" else 1])
        case StreamingConcat():
            return gcd(*(graph.types[tensor].channels for tensor in node.inputs))
        case Pool():
            return graph.types[node.name].channels
        case _:
            return graph.types[node.input].channels


def divisors(number: int) -> list[int]:
    """All divisors of a positive number, ascending."""
    return [d for d in range(1, number + 1) if number % d == 0]
