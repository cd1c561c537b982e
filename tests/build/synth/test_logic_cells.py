"""Logic cells of iCE40 as a netlist is packed into them."""

from __future__ import annotations

from typing import Any

from bnnflow.build.synth.logic_cells import logic_cells

DIRECTIONS = {"I0": "input", "I1": "input", "I2": "input", "I3": "input", "CI": "input", "D": "input", "C": "input"}


def cell(kind: str, **ports: int) -> dict[str, Any]:
    return {
        "type": kind,
        "port_directions": {port: DIRECTIONS.get(port, "output") for port in ports},
        "connections": {port: [wire] for port, wire in ports.items()},
    }


def cells(*made: dict[str, Any], leaving: tuple[int, ...] = ()) -> int:
    ports = {"y": {"direction": "output", "bits": list(leaving)}}
    return logic_cells({"modules": {"top": {"cells": dict(enumerate(made)), "ports": ports}}}, "top")


def test_a_flip_flop_shares_the_cell_of_a_table_that_feeds_it_alone() -> None:
    table, flop = cell("SB_LUT4", I0=2, O=3), cell("SB_DFFE", D=3, C=1, Q=4)
    assert cells(table, flop) == 1
    assert cells(table, flop, leaving=(3,)) == 2
    assert cells(table, flop, cell("SB_LUT4", I0=3, O=5)) == 3
    assert cells(table, flop, cell("SB_DFF", D=3, C=1, Q=6)) == 3
    assert cells(cell("SB_DFF", D=4, C=1, Q=5)) == 1


def test_a_carry_shares_the_cell_of_a_table_that_reads_its_operands() -> None:
    table, carry = cell("SB_LUT4", I1=2, I2=3, I3=4, O=5), cell("SB_CARRY", I0=2, I1=3, CI=4, CO=6)
    assert cells(table, carry) == 1
    assert cells(table, carry, carry) == 2
    assert cells(cell("SB_LUT4", I1=3, I2=2, O=5), carry) == 2


def test_other_cells_take_none() -> None:
    assert cells(cell("SB_RAM40_4K", RDATA=2), cell("SB_GB", O=3)) == 0
