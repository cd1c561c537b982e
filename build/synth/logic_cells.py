"""Logic cells of iCE40: a look-up table, a flip-flop and a carry each, shared as nextpnr-ice40 packs a netlist."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

LOGIC_CELL = "ICESTORM_LC"


def logic_cells(netlist: Mapping[str, Any], top: str) -> int:
    """Logic cells that a mapped netlist takes before it is placed.

    A flip-flop shares the cell of the look-up table that feeds it and nothing else; a carry that of a table which reads
    both its operands at I1 and I2. All others have a cell of their own. Cells by which a placed chain of carries is
    entered or left are not known yet. Source: the packer of nextpnr-ice40, ice40/pack.cc.

    Args:
        netlist: that `write_json` of yosys wrote, flat.
        top: the module.
    """
    cells = netlist["modules"][top]["cells"].values()
    tables = [_wires(cell) for cell in cells if cell["type"] == "SB_LUT4"]
    flops = [_wires(cell) for cell in cells if cell["type"].startswith("SB_DFF")]
    carries = [_wires(cell) for cell in cells if cell["type"] == "SB_CARRY"]
    readers = Counter(_read(netlist["modules"][top]))
    fed = {table["O"] for table in tables if readers[table["O"]] == 1}
    alone = sum(flop["D"] not in fed for flop in flops)
    operands = Counter((table.get("I1"), table.get("I2")) for table in tables)
    for carry in carries:
        pair = carry.get("I0"), carry.get("I1")
        if operands[pair]:
            operands[pair] -= 1
        else:
            alone += 1
    return len(tables) + alone


def _wires(cell: Mapping[str, Any]) -> dict[str, Any]:
    """The wire at each port of one bit."""
    return {port: bits[0] for port, bits in cell["connections"].items() if bits}


def _read(module: Mapping[str, Any]) -> Iterable[Any]:
    """Wires, as often as something reads them."""
    for cell in module["cells"].values():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                yield from bits
    for port in module["ports"].values():
        if port["direction"] == "output":
            yield from port["bits"]
