"""The part of a top module that a host talks to: ports, registers, monitors of streams, wires to memories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...transforms.streams import Stream, Streams
from .modules import Module

# What stands beside the units, as a unit of a design.
REGISTERS = "(registers)"
PORTS = (
    ("input", "awvalid", 1),
    ("output", "awready", 1),
    ("input", "awaddr", 16),
    ("input", "wvalid", 1),
    ("output", "wready", 1),
    ("input", "wdata", 32),
    ("input", "wstrb", 4),
    ("output", "bvalid", 1),
    ("input", "bready", 1),
    ("output", "bresp", 2),
    ("input", "arvalid", 1),
    ("output", "arready", 1),
    ("input", "araddr", 16),
    ("output", "rvalid", 1),
    ("input", "rready", 1),
    ("output", "rdata", 32),
    ("output", "rresp", 2),
)
_MODULES = ("bnnflow_axi_lite", "bnnflow_control", "bnnflow_monitor")
_MEMORY_MODULES = ("bnnflow_guarded_memory", "bnnflow_turn", "bnnflow_scrubber", "bnnflow_code", "bnnflow_ram")
# A memory's next row is looked at 2**PAUSE cycles behind the last one, or later.
PAUSE = 4


@dataclass(frozen=True, slots=True)
class HostMemory:
    """A memory that a host can write, or that corrects errors.

    Attributes:
        unit, port: which reads it: "weights" or "bounds".
        sets, rows: sets, and rows of each.
        words, word_bits: of a set, as the unit reads them; bits of one.
        joined: words of a row.
        stored_bits: of a row.
        code: of a row; empty: none.
        scrubbed: whether all rows are walked through, and corrected, while the unit reads none.
    """

    unit: str
    port: str
    sets: int
    rows: int
    words: int
    word_bits: int
    joined: int
    stored_bits: int
    code: str = ""
    scrubbed: bool = False

    @property
    def data_bits(self) -> int:
        """Of a row."""
        return self.joined * self.word_bits

    @property
    def row_address_bits(self) -> int:
        """Of all rows of all sets."""
        return max(1, (self.sets * self.rows - 1).bit_length())


def place_bits(stream: Stream, depths: Mapping[str, int], modules: Mapping[str, Module]) -> int:
    """Bits that hold how many words lie in a stream's FIFO, one that is being written included.

    Args:
        stream: of the graph.
        depths: words of every FIFO.
        modules: of the units, by name.
    """
    return (_places(stream, depths, modules) + 1).bit_length()


def image_bits(streams: Streams, depths: Mapping[str, int], modules: Mapping[str, Module]) -> int:
    """Bits of the numbers of images that memories tell apart; arguments as for `place_bits`."""
    # Images under way: no stream holds more than fill its places, and each unit has one in hand.
    images = sum(_places(each, depths, modules) // each.words + 3 for each in streams.streams)
    return min(32, images.bit_length() + 1)


def _places(stream: Stream, depths: Mapping[str, int], modules: Mapping[str, Module]) -> int:
    """Places of a stream's FIFO: its depth, and those of words that a unit has under way."""
    return depths[stream.name] + (modules[stream.source].latency if stream.source in modules else 0)


def modules(memories: Sequence[HostMemory]) -> tuple[str, ...]:
    """Modules of the library that it takes."""
    return (*_MODULES, *(_MEMORY_MODULES if memories else ()))


def set_bits(sets: int) -> int:
    """Bits of a set's number."""
    return max(1, (sets - 1).bit_length())


def row_bits(memories: Sequence[HostMemory]) -> int:
    """Bits of data of the longest row."""
    return max((each.data_bits for each in memories), default=1)


def ports() -> list[str]:
    """Ports of the top module."""
    return [f"{way} logic {f'[{bits - 1}:0] ' if bits > 1 else ''}s_axi_control_{name}" for way, name, bits in PORTS]


def memory_ports(memory: HostMemory, number: int, image_bits: int) -> dict[str, str]:
    """Of a bnnflow_guarded_memory."""
    return {
        "set": f"host_set[{set_bits(memory.sets) - 1}:0]" if memory.sets > 1 else "1'b0",
        "at": f"host_at[{image_bits - 1}:0]",
        "write": f"host_writes[{number}] & (host_row < 32'd{memory.sets * memory.rows})",
        "row": f"host_row[{memory.row_address_bits - 1}:0]",
        "write_data": f"host_data[{memory.data_bits - 1}:0]",
        "mended": f"host_mended[{number}]",
        "failed": f"host_failed[{number}]",
    }


def wires(memories: Sequence[HostMemory], sets: int, streams: int) -> list[str]:
    """Declarations; they stand before all instances."""
    many, row = max(1, len(memories)), row_bits(memories)
    made = [
        "  logic reg_write;",
        "  logic [15:0] reg_write_addr, reg_read_addr;",
        "  logic [31:0] reg_write_data, reg_read_data;",
        "  logic host_clear;",
        f"  logic [{set_bits(sets) - 1}:0] host_set;",
        "  logic [31:0] host_at, host_row;",
        f"  logic [{many - 1}:0] host_writes, host_mended, host_failed;",
        f"  logic [{row - 1}:0] host_data;",
        f"  logic [{32 * streams - 1}:0] host_stalls, host_peaks;",
        "  wire unused_host = &{s_axi_control_wstrb, host_set, host_at, host_row, host_writes, host_data};",
    ]
    if not memories:
        made += ["  assign host_mended = '0;", "  assign host_failed = '0;"]
    return made


def alone(memories: Sequence[HostMemory], sets: int) -> tuple[list[str], list[str]]:
    """Ports and wires with which registers stand for themselves: what memories hear and say."""
    many, row = max(1, len(memories)), row_bits(memories)
    bits = 64 + many + row + set_bits(sets)
    ports = [
        f"input logic {end}" for end in ("s_axis_0_tvalid", "s_axis_0_tready", "m_axis_0_tvalid", "m_axis_0_tready")
    ]
    ports += [f"output logic [{bits - 1}:0] told"]
    told = ["  assign told = {host_set, host_at, host_row, host_writes, host_data};"]
    if memories:
        ports += [f"input logic [{many - 1}:0] mended, failed"]
        told += ["  assign host_mended = mended;", "  assign host_failed = failed;"]
    return ports, told


def control_parameters(
    digest: str, entry: int, leave: int, streams: int, memories: Sequence[HostMemory], sets: int
) -> Mapping[str, int | str]:
    """Of bnnflow_control."""
    return {
        "HASH": f"128'h{digest[:32]}",
        "ENTRY": entry,
        "LEAVE": leave,
        "STREAMS": streams,
        "MEMORIES": len(memories),
        "SETS": sets,
        "ROW": row_bits(memories),
    }


_ACCESS = {
    "write": "reg_write",
    "write_addr": "reg_write_addr",
    "write_data": "reg_write_data",
    "read_addr": "reg_read_addr",
    "read_data": "reg_read_data",
}
AXI_PORTS = {name: f"s_axi_control_{name}" for _, name, _ in PORTS if name != "wstrb"} | _ACCESS
CONTROL_PORTS = _ACCESS | {
    "in": "s_axis_0_tvalid & s_axis_0_tready",
    "out": "m_axis_0_tvalid & m_axis_0_tready",
    **{
        name: f"host_{name}"
        for name in ("clear", "stalls", "peaks", "set", "at", "writes", "row", "data", "mended", "failed")
    },
}
