"""What lies beside a network's hardware for people: README, and a test bench for any simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from bnnflow import __version__

from ...transforms.streams import Stream, Streams
from .control import STREAMS
from .top_control import PAUSE, PORTS, HostMemory
from .words import value_bits, word_bytes

VECTORS = ("vectors/in.hex", "vectors/out.hex")


@dataclass(frozen=True, slots=True)
class Vectors:
    """Images as words, and the words that the hardware gives for them.

    Attributes:
        images: number.
        given, expected: in hexadecimal, one behind the other.
    """

    images: int
    given: Sequence[str]
    expected: Sequence[str]


@dataclass(frozen=True, slots=True)
class Beside:
    """What the files say.

    Attributes:
        top, network, digest: names of the top module and of the network, its sha256.
        streams: of the network, in the order of registers.
        memories: that a host can write, by number.
        vectors: for a test bench; None: there is none.
        controlled: whether there are registers.
        models: whether there are models of primitives.
    """

    top: str
    network: str
    digest: str
    streams: Streams
    memories: Sequence[HostMemory]
    vectors: Vectors | None
    controlled: bool
    models: bool

    def files(self) -> dict[str, str]:
        """By path."""
        entry, leave, vectors = self.streams.entries[0], self.streams.leave, self.vectors
        made = {"README.md": self._readme()}
        if vectors is not None:
            said = {
                "TOP": self.top,
                "IMAGES": vectors.images,
                "WORDS_IN": entry.words,
                "WORDS_OUT": leave.words,
                "BITS_IN": 8 * word_bytes(entry),
                "BITS_OUT": 8 * word_bytes(leave),
                "HOST": "".join(_idle(way, name, bits) for way, name, bits in PORTS) if self.controlled else "",
            }
            text = (files(__package__) / "bench.v").read_text("utf-8")
            for key, value in said.items():
                text = text.replace(f"@{key}@", str(value))
            made["bench.v"] = text
            for path, words in zip(VECTORS, (vectors.given, vectors.expected), strict=True):
                made[path] = "\n".join(words) + "\n"
        return made

    def _readme(self) -> str:
        entry, leave = self.streams.entries[0], self.streams.leave
        lines = [
            f"# {self.network}",
            "",
            f"Module `{self.top}`, written by bnnflow {__version__} for the network {self.digest}.",
            "",
            "| port | what |",
            "|---|---|",
            "| `ap_clk`, `ap_rst_n` | clock, and reset that is active low: one cycle or more |",
            f"| `s_axis_0_*` | AXI-Stream: {_said(entry)}; channels fastest, then columns, rows |",
            f"| `m_axis_0_*` | AXI-Stream: {_said(leave)}; `tlast` with the last word of an image |",
        ]
        if self.controlled:
            lines += ["| `s_axi_control_*` | AXI4-Lite, 16 bits of address, 32 of data: the registers below |"]
        lines += [
            "",
            "The first value of a word lies in its lowest bits; words are padded to bytes. Values that may be negative "
            "are in two's complement.",
            "",
            "| file | what |",
            "|---|---|",
            f"| `{self.top}.sv`, `library/` | sources; `files.f` lists them |",
            "| `memories/` | contents of memories, read by `$readmemh` from the folder in which a tool is started |",
            "| `clock.xdc` | the clock |",
            "| `manifest.json` | units, streams, FIFO depths, sha256 of all files |",
        ]
        if self.models:
            lines += ["| `simulation/` | what a vendor's primitives compute, for simulators without models of them |"]
        own = "simulation/*.sv " if self.models else ""
        if self.vectors is not None:
            lines += [
                f"| `bench.v`, `vectors/` | {self.vectors.images} drawn images and what the hardware makes of them |",
                "",
                "In this folder, each says `equal` in the end:",
                "",
                "```",
                f"iverilog -g2012 -o bench.vvp -s bench -f files.f {own}bench.v && vvp -N bench.vvp",
                f"verilator --binary --timing -CFLAGS -fcoroutines --top bench -Wno-fatal -f files.f {own}bench.v && "
                "obj_dir/Vbench",
                "```",
            ]
        lines += [
            "",
            "Synthesis by yosys, as any of its targets:",
            "",
            "```",
            f"yosys -p 'read_verilog -sv -defer library/*.sv; read_verilog -sv {self.top}.sv; "
            f"synth_xilinx -family xc7 -flatten -top {self.top}'",
            "```",
        ]
        if self.controlled:
            lines += ["", *_registers(self.streams.streams, self.memories)]
        return "\n".join(lines) + "\n"


def _idle(way: str, name: str, bits: int) -> str:
    """A port of registers that nobody talks to."""
    held = f"{bits}'d0" if way == "input" else ""
    return f"      .s_axi_control_{name}({held}),\n"


def _registers(streams: Sequence[Stream], memories: Sequence[HostMemory]) -> list[str]:
    lines = [
        "## Registers",
        "",
        "Addresses in bytes; `library/bnnflow_control.sv` has the table.",
        "",
        "| address | what |",
        "|---|---|",
        "| 0x0000 | `BNNF` |",
        "| 0x0008 to 0x0014 | first 128 bits of the network's sha256 |",
        "| 0x0024 | cycles; written: cycles, stalls, peaks, interval, latency and errors begin again |",
        "| 0x0028, 0x002c | images that began, that ended |",
        "| 0x0030, 0x0034 | cycles between the last two images' ends, and of the last image that was timed |",
        "| 0x0038, 0x003c | rows that were corrected and written back, words that were beyond correction |",
        "| 0x0040, 0x0044, 0x0048 | set that is asked for, that new images read, first image that reads it |",
        "| 0x004c | 1: all images in front of that one have left; an interval later the set before is free to write |",
        "| 0x0050, 0x0054 | row, and memory that takes the data into it when it is written |",
        f"| 0x{STREAMS:04x} + 8 i | stream i: cycles in which a word waited; 4 further: most words in its FIFO |",
        "| 0x8000 + 4 i | bits 32 i and up of a row's data |",
        "",
        "| stream | name |",
        "|---|---|",
        *(f"| {number} | {each.name} |" for number, each in enumerate(streams)),
    ]
    if memories:
        lines += [
            "",
            "Row `set * rows + row` of a memory holds the words from `row * words a row` on, the first lowest: data",
            "alone, check bits are made here. A reset brings back set 0, as it then is. Where the network was not made",
            "to be rewritten (`--sets`), sums have room for its own weights alone.",
            "",
            "| memory | unit | what | sets | rows of a set | words a row | bits a word | code |",
            "|---|---|---|---|---|---|---|---|",
            *(
                f"| {number} | {one.unit} | {one.port} | {one.sets} | {one.rows} | {one.joined} | {one.word_bits} "
                f"| {one.code or 'none'}{', scrubbed' if one.scrubbed else ''} |"
                for number, one in enumerate(memories)
            ),
        ]
    if any(one.scrubbed for one in memories):
        lines += [
            "",
            f"Scrubbed: a row in {2**PAUSE} cycles at most, of all sets in turn, is read in a cycle in which the unit",
            "reads none, and written back if it was corrected. What is beyond correction counts when a unit reads it.",
        ]
    return lines


def _said(stream: Stream) -> str:
    bits = value_bits(stream.type)
    return f"{stream.words:,} words an image, {stream.width} values of {bits} bits ({stream.type.datatype})"
