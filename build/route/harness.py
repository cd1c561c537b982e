"""What stands for the neighbours of a module while it is placed by itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bnnflow import Problem

from ..synth.yosys import Sources

INSTANCE = "dut"
_PORT = re.compile(r"^\s*(input|output) logic (?:\[(\d+):0\] )?(\w+)", re.MULTILINE)
_CLOCKS = ("clk", "ap_clk")


@dataclass(frozen=True, slots=True)
class Harnessed:
    """A module between registers: streams have more wires than a part has pins, and paths of a clock end in registers.

    Attributes:
        sources: the module in a module of four pins.
        ff: flip-flops that are the harness, one a wire.
        lut: its look-up tables, at most, one a wire that the module drives.
    """

    sources: Sources
    ff: int
    lut: int


def harnessed(sources: Sources) -> Harnessed:
    """Put a module between two shift registers, which hold its inputs and take its outputs.

    Args:
        sources: a module of the generator: its ports are one a line in front of the first `);`.

    Raises:
        Problem: it has no clock, or nothing leaves it.
    """
    text = next((text for text in sources.files.values() if f"module {sources.top} (" in text), "")
    start = text.find(f"module {sources.top} (")
    ports = _PORT.findall(text[start : text.find(");", start)])
    clock = next((name for kind, _, name in ports if kind == "input" and name in _CLOCKS), "")
    entering = [(name, int(high or 0) + 1) for kind, high, name in ports if kind == "input" and name != clock]
    leaving = [(name, int(high or 0) + 1) for kind, high, name in ports if kind == "output"]
    if not clock or not entering or not leaving:
        raise Problem(f"{sources.top} cannot be placed by itself", "ports", "this is a bug: please report it")
    held, taken = sum(bits for _, bits in entering), sum(bits for _, bits in leaving)
    wires = ",\n      ".join([f".{clock}(clk)", *_slices(entering, "held"), *_slices(leaving, "made")])
    top = f"{sources.top}_alone"
    made = f"""\
// A module by itself, for placing: a register holds each of its inputs and takes each of its outputs.
module {top} (
    input logic clk,
    input logic shift_in,
    input logic take,
    output logic shift_out
);
  logic [{held - 1}:0] held;
  logic [{taken - 1}:0] made, taken;
  assign shift_out = taken[{taken - 1}];
  always_ff @(posedge clk) begin
    held  <= {held}'({{held, shift_in}});
    taken <= take ? made : {taken}'({{taken, 1'b0}});
  end
  {sources.top} {INSTANCE} (
      {wires}
  );
endmodule
"""
    return Harnessed(Sources(top, {f"{top}.sv": made, **sources.files}, sources.name), held + taken, taken)


def _slices(ports: list[tuple[str, int]], wire: str) -> list[str]:
    made, low = [], 0
    for name, bits in ports:
        made.append(f".{name}({wire}[{low + bits - 1}:{low}])")
        low += bits
    return made
