"""Layers whose widths divide badly for a rate, the nearest friendly widths, and what each of them would cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from bnnflow import Problem

from ...build.cost import estimate
from ...build.cost_models.bnnflow import Bnnflow
from ...build.explore import Space
from ...build.parts import Part
from ...build.rate_folding import cheapest
from ...build.widths import Matrix, friendly_widths, groups_of, matrices, unfriendly, with_widths
from ...transforms.channels import ChannelGroup, channel_groups
from ...transforms.ir.graph import Graph
from ...transforms.ir.ops import AddBorder, Conv, Dense, Mvau, Scale
from ...transforms.passes.raised import Raise
from ..results.exploration import FriendlyWidth, LayerWidth, NetworkTaken, Widths


def _groups(units: Graph) -> tuple[ChannelGroup, ...]:
    """Channels that units make and read, which follow from the layers that they compute: one a unit, in their order.

    Raises:
        Problem: a unit that cannot be written as what it computes, or that stands for several layers.
    """
    raised = Raise()(units).graph
    # What borders add depends on weights, but moves no channel.
    as_it_is = Scale(np.ones(1, np.int64))
    moved = (replace(node, op=as_it_is) if isinstance(node.op, AddBorder) else node for node in raised.nodes)
    raised = raised.with_nodes(tuple(moved))
    names = [node.name for node in units.nodes if isinstance(node.op, Mvau)]
    layers = [(node.name, node.op) for node in raised.nodes if isinstance(node.op, Conv | Dense)]
    known = matrices(units)
    if [len(op.weight) for _, op in layers] != [known[name].rows for name in names]:
        raise Problem("its units are no layers one by one", f"graph {units.name!r}")
    of = {layer: name for (layer, _), name in zip(layers, names, strict=True)}
    return tuple(
        replace(
            group,
            name=of.get(group.name, group.name),
            rows={of[name]: rows for name, rows in group.rows.items()},
            columns={of[name]: columns for name, columns in group.columns.items()},
        )
        for group in channel_groups(raised)
    )


def widths(units: Graph, cycles: int, part: Part, model: Bnnflow) -> Widths:
    """Which layers of a network divide badly for so many cycles an image, and what other widths would cost.

    Args:
        units: dataflow level; its folding is ignored.
        cycles: most that a unit may take for an image, 1 and more.
        part: of whose resources designs take the least share.
        model: what counts; by sizes alone.
    """
    model = model.of_sizes()
    found, reason = unfriendly(units, cycles), ""
    known, now = matrices(units), None
    groups: tuple[ChannelGroup, ...] = ()
    if found:
        try:
            groups = _groups(units)
            now = _taken(units, {}, cycles, part, model)
        except Problem as problem:
            reason = f"other widths are not looked for: {problem.in_place}"
            groups = ()
    costs: dict[tuple[str, int], NetworkTaken | None] = {}
    rows = []
    for name, one in found.items():
        choices = []
        for side, group in groups_of(name, groups):
            for width, after in friendly_widths(name, group, known, cycles):
                key = group.name, width
                if key not in costs:
                    costs[key] = _taken(units, dict.fromkeys(group.producers, width), cycles, part, model)
                if (network := costs[key]) is not None:
                    overshoot = round(after.overshoot, 3)
                    choices.append(
                        FriendlyWidth(
                            side=side,
                            layer=group.name,
                            now=group.width,
                            channels=width,
                            overshoot=overshoot,
                            network=network,
                        )
                    )
        rows.append(_row(name, one.matrix, one.needed, (one.pe, one.simd), choices))
    return Widths(cycles=cycles, now=now, layers=rows, reason=reason)


def _row(name: str, matrix: Matrix, needed: int, chosen: tuple[int, int], choices: list[FriendlyWidth]) -> LayerWidth:
    pe, simd = chosen
    return LayerWidth(
        name=name,
        rows=matrix.rows,
        columns=matrix.columns,
        needed=needed,
        pe=pe,
        simd=simd,
        overshoot=round(pe * simd / needed, 3),
        choices=choices,
    )


def _taken(units: Graph, rows: Mapping[str, int], cycles: int, part: Part, model: Bnnflow) -> NetworkTaken | None:
    """The network of other widths, folded at the least share of the part; None where nothing is as fast."""
    made = with_widths(units, rows)
    found = cheapest(Space(made, model, cycles), cycles, part)
    if found is None:
        return None
    cost = estimate(found.graph(made), model)
    return NetworkTaken(lut=cost.lut + cost.lut_ram, bram18=cost.bram18, cycles=found.cycles)


def widths_note(units: Graph, cycles: int) -> str:
    """One sentence on the layers whose widths divide badly, the worst first; empty where none does.

    Args:
        units: dataflow level.
        cycles: most that a unit may take for an image, 1 and more.
    """
    found = unfriendly(units, cycles)
    if not found:
        return ""
    try:
        groups, known = _groups(units), matrices(units)
    except Problem:
        groups, known = (), {}
    said = []
    for name, one in found.items():
        nearest = [
            f"{side} {' or '.join(str(width) for width, _ in near)} (now {group.width})"
            for side, group in groups_of(name, groups)
            if (near := friendly_widths(name, group, known, cycles))
        ]
        if nearest:
            made = f"{one.matrix.rows} x {one.matrix.columns}"
            takes = f"takes {one.pe * one.simd:,} products a cycle where {one.needed:,} would do"
            said.append(f"{name} ({made}) {takes}, better were {', '.join(nearest)}")
    return (
        f"widths that divide badly for this rate: {'; '.join(said)}; `flow explore --widths` costs them" if said else ""
    )
