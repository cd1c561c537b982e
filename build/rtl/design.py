"""The files of a network's hardware: top, memories, list of files, constraints, manifest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from bnnflow import Problem, __version__

from ...transforms.ir.graph import Graph
from ...transforms.streams import Converter, Stream, Streams, StreamUnit, streams_of
from .modules import Module, module_of, packed
from .words import value_bits, word_bytes

MANIFEST = "manifest.json"
GENERIC = "generic"
# Models of primitives, which simulators read and synthesis does not.
MODELS = "simulation"
_PARTS = (
    "bnnflow_fifo",
    *(
        "bnnflow_rom",
        "bnnflow_rom_array",
        "bnnflow_leaf",
        "bnnflow_delay",
        "bnnflow_sum",
        "bnnflow_ones",
        "bnnflow_tree",
        "bnnflow_equal",
        "bnnflow_popcount",
        "bnnflow_dot",
        "bnnflow_levels",
        "bnnflow_row",
        "bnnflow_rows",
    ),
)


@dataclass(frozen=True, slots=True)
class Design:
    """A network's hardware.

    Attributes:
        name: of the top module.
        digest: sha256 of the graph, of the depths and of primitives; every file has its beginning.
        files: text by path.
        entry, leave: streams that the host writes and reads.
        modules: of the units, by name.
        fifos: name of a stream by the place of its FIFO in the top module, such as "u_conv0.u_out".
    """

    name: str
    digest: str
    files: Mapping[str, str]
    entry: Stream
    leave: Stream
    modules: Mapping[str, Module]
    fifos: Mapping[str, str]


def design(graph: Graph, depth: int, depths: Mapping[str, int], clock_mhz: float, primitives: str = GENERIC) -> Design:
    """Hardware of a folded dataflow graph; the same graph, depths and primitives give the same bytes.

    Args:
        graph: dataflow level, folded.
        depth, depths: words of every FIFO, and of single ones by the names of `streams_of`; 1 or more.
        clock_mhz: of the constraints.
        primitives: folder of the library whose modules stand in the place of generic ones; "generic": none.

    Raises:
        Problem: a unit that has no module here, or a FIFO without a size.
    """
    streams = streams_of(graph)
    if len(streams.entries) != 1:
        raise Problem("the input is read by several units", f"graph {graph.name!r}", "compile the graph again")
    held = {each.name: depths.get(each.name, depth) for each in streams.streams}
    for name, places in held.items():
        if places < 1:
            raise Problem(f"FIFO {name!r} has {places} words", "FIFO depths", "hardware needs one or more")
    modules = {part.node.name: module_of(part.node, graph) for part in streams.parts if isinstance(part, StreamUnit)}
    chosen = "" if primitives == GENERIC else primitives
    digest = hashlib.sha256((str(graph) + json.dumps(held) + chosen).encode()).hexdigest()
    top = _Top(graph, streams, modules, held, digest)
    library = files(__package__) / "library"
    own = _modules(library / chosen) if chosen else {}
    used = sorted({_module_name(part, modules) for part in streams.parts} | {*_PARTS, *own})
    sources = _modules(library) | own
    models = _modules(library / MODELS) if chosen else {}
    made = {
        f"{top.name}.sv": top.text(),
        **{f"library/{name}.sv": sources[name].read_text("utf-8") for name in used},
        **{f"{MODELS}/{name}.sv": place.read_text("utf-8") for name, place in models.items()},
        **{path: "\n".join(lines) + "\n" for path, lines in top.memories.items()},
        "files.f": "\n".join([*(f"library/{name}.sv" for name in used), f"{top.name}.sv"]) + "\n",
        "clock.xdc": f"create_clock -name ap_clk -period {1000 / clock_mhz:.3f} [get_ports ap_clk]\n",
    }
    made[MANIFEST] = _manifest(top, primitives, made)
    return Design(top.name, digest, made, streams.entries[0], streams.leave, modules, top.fifos)


def _modules(folder: Traversable) -> dict[str, Traversable]:
    """The modules of a folder of the library, by name."""
    found = sorted(folder.iterdir(), key=lambda place: place.name)
    return {place.name.removesuffix(".sv"): place for place in found if place.name.endswith(".sv")}


def _module_name(part: Converter | StreamUnit, modules: Mapping[str, Module]) -> str:
    if isinstance(part, StreamUnit):
        return modules[part.node.name].name
    return "bnnflow_widen" if part.leave.width > part.entry.width else "bnnflow_narrow"


def identifier(text: str) -> str:
    """A name as an identifier of SystemVerilog."""
    plain = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") or "x"
    return f"n{plain}" if plain[0].isdigit() else plain


class _Top:
    """The top module: a FIFO at the input, an instance a part, wires by the names of streams."""

    def __init__(
        self, graph: Graph, streams: Streams, modules: Mapping[str, Module], depths: Mapping[str, int], digest: str
    ) -> None:
        self.graph, self.streams, self.modules, self.depths, self.digest = graph, streams, modules, depths, digest
        self.taken: set[str] = set()
        self.name = self._unique(f"bnn_{identifier(graph.name)}")
        self.wires = {id(each): self._unique(f"s_{identifier(each.target)}") for each in streams.streams}
        self.memories: dict[str, list[str]] = {}
        self.instances: list[str] = []
        self.fifos: dict[str, str] = {}

    def _unique(self, name: str) -> str:
        made, number = name, 2
        while made in self.taken:
            made, number = f"{name}_{number}", number + 1
        self.taken.add(made)
        return made

    def text(self) -> str:
        """Its source; fills `memories`."""
        entry, leave = self.streams.entries[0], self.streams.leave
        wide, given = 8 * word_bytes(entry), entry.width * value_bits(entry.type)
        out_wide, made = 8 * word_bytes(leave), leave.width * value_bits(leave.type)
        count = max(1, (leave.words - 1).bit_length())
        lines = [
            f"// {self.graph.name}: generated by bnnflow {__version__}; sha256 of the network {self.digest[:16]}",
            "//",
            "// s_axis_0: values of an image, channels fastest; m_axis_0: its scores, tlast with the last word.",
            "// A value lies in the lowest bits of a word first; words are padded to bytes.",
            f"module {self.name} (",
            "    input logic ap_clk,",
            "    input logic ap_rst_n,",
            "    input logic s_axis_0_tvalid,",
            "    output logic s_axis_0_tready,",
            f"    input logic [{wide - 1}:0] s_axis_0_tdata,",
            "    output logic m_axis_0_tvalid,",
            "    input logic m_axis_0_tready,",
            f"    output logic [{out_wide - 1}:0] m_axis_0_tdata,",
            "    output logic m_axis_0_tlast",
            ");",
            "  wire clk = ap_clk;",
            "  logic rst;",
            "  always_ff @(posedge clk) rst <= ~ap_rst_n;",
        ]
        for each in self.streams.streams:
            wire, bits = self.wires[id(each)], each.width * value_bits(each.type)
            lines += [
                f"  // {each.name}: {each.words} words of {each.width} {each.type.datatype}",
                f"  logic {wire}_valid, {wire}_ready;",
                f"  logic [{bits - 1}:0] {wire}_data;",
            ]
        if wide > given:
            lines += [f"  wire unused_padding = &s_axis_0_tdata[{wide - 1}:{given}];"]
        name = self._instance(
            "bnnflow_fifo",
            "input",
            {"WIDTH": given, "DEPTH": self.depths[entry.name]},
            {
                "free": "s_axis_0_tready",
                "take": "s_axis_0_tvalid & s_axis_0_tready",
                "push": "s_axis_0_tvalid & s_axis_0_tready",
                "push_data": f"s_axis_0_tdata[{given - 1}:0]",
                **self._ports("m", [entry]),
            },
        )
        self.fifos[name] = entry.name
        for part in self.streams.parts:
            self._part(part)
        wire = self.wires[id(leave)]
        lines += [
            *self.instances,
            f"  assign m_axis_0_tvalid = {wire}_valid;",
            f"  assign {wire}_ready = m_axis_0_tready;",
            f"  assign m_axis_0_tdata = {out_wide}'({wire}_data);" if out_wide > made else "",
            f"  assign m_axis_0_tdata = {wire}_data;" if out_wide == made else "",
            f"  logic [{count - 1}:0] word;",
            f"  assign m_axis_0_tlast = word == {count}'d{leave.words - 1};",
            "  always_ff @(posedge clk)",
            "    if (rst) word <= '0;",
            "    else if (m_axis_0_tvalid & m_axis_0_tready) word <= m_axis_0_tlast ? '0 : word + 1'b1;",
            "endmodule",
        ]
        return "\n".join(line for line in lines if line) + "\n"

    def _part(self, part: Converter | StreamUnit) -> None:
        module = _module_name(part, self.modules)
        if isinstance(part, Converter):
            narrow, wide = sorted((part.entry.width, part.leave.width))
            sizes = {
                "WIDTH": narrow * value_bits(part.entry.type),
                "N": wide // narrow,
                "DEPTH": self.depths[part.leave.name],
            }
            ports = self._ports("s", [part.entry]) | self._ports("m", [part.leave])
            self.fifos[f"{self._instance(module, part.name, sizes, ports)}.u_out"] = part.leave.name
            return
        node, made = part.node, self.modules[part.node.name]
        name = identifier(node.name)
        parameters = dict(made.parameters)
        for key, memory in made.memories.items():
            path = f"memories/{name}_{key.lower()}.hex"
            while path in self.memories:
                path = path.replace(".hex", "_.hex")
            self.memories[path] = memory.words
            parameters[key] = f'"{path}"'
        depths = [self.depths[each.name] for each in part.outputs]
        if module == "bnnflow_duplicate_streams":
            parameters |= {"N": len(depths), "DEPTHS": packed(depths)}
        elif len(depths) > 1:
            raise Problem(f"{node.name} has several readers", f"graph {self.graph.name!r}", "compile the graph again")
        else:
            parameters["DEPTH"] = depths[0]
        if module == "bnnflow_add_streams":
            ports = self._ports("a", part.inputs[:1]) | self._ports("b", part.inputs[1:])
        elif module == "bnnflow_concat":
            widest = int(parameters["XMAX"])
            ports = self._ports("s", part.inputs, widest)
        else:
            ports = self._ports("s", part.inputs)
        made_as = self._instance(module, node.name, parameters, ports | self._ports("m", part.outputs))
        for place, each in enumerate(part.outputs):
            inner = f"g_reader[{place}]." if module == "bnnflow_duplicate_streams" else ""
            self.fifos[f"{made_as}.{inner}u_out"] = each.name

    def _ports(self, side: str, streams: tuple[Stream, ...] | list[Stream], bits: int = 0) -> dict[str, str]:
        """Ports of a side; several streams side by side, the first lowest, their values in `bits` each."""
        wires = [self.wires[id(each)] for each in streams]
        data = [f"{wire}_data" for wire in wires]
        if bits:
            data = [self._widened(each, bits) for each in streams]
        whole = {"valid": [f"{w}_valid" for w in wires], "ready": [f"{w}_ready" for w in wires], "data": data}
        return {
            f"{side}_{kind}": values[0] if len(values) == 1 else "{" + ", ".join(reversed(values)) + "}"
            for kind, values in whole.items()
        }

    def _widened(self, stream: Stream, bits: int) -> str:
        wire, own = f"{self.wires[id(stream)]}_data", value_bits(stream.type)
        if own == bits:
            return wire
        values = [f"{bits}'({wire}[{(i + 1) * own - 1}:{i * own}])" for i in range(stream.width)]
        return "{" + ", ".join(reversed(values)) + "}"

    def _instance(self, module: str, name: str, parameters: Mapping[str, int | str], ports: Mapping[str, str]) -> str:
        """The name of the new instance."""
        # A parameter of one bit is given one: Icarus Verilog 11 lets it be as wide as what it is given.
        texts = {key: f"1'b{value:d}" if isinstance(value, bool) else value for key, value in parameters.items()}
        given = [f"      .{key}({value})" for key, value in texts.items()]
        joined = [f"      .{key}({value})" for key, value in {"clk": "clk", "rst": "rst", **ports}.items()]
        own = self._unique(f"u_{identifier(name)}")
        head = f"  {module} #(\n" + ",\n".join(given) + f"\n  ) {own} (\n"
        self.instances.append(head + ",\n".join(joined) + "\n  );")
        return own


def _manifest(top: _Top, primitives: str, made: Mapping[str, str]) -> str:
    streams = [
        {
            "name": each.name,
            "from": each.source,
            "values": each.width,
            "bits": value_bits(each.type),
            "words": each.words,
            "depth": top.depths[each.name],
        }
        for each in top.streams.streams
    ]
    units = [
        {"name": name, "module": module.name, "latency": module.latency, "parameters": dict(module.parameters)}
        for name, module in top.modules.items()
    ]
    content = {
        "network": top.graph.name,
        "sha256": top.digest,
        "version": __version__,
        "top": top.name,
        "primitives": primitives,
        "units": units,
        "streams": streams,
        "files": {path: hashlib.sha256(text.encode()).hexdigest() for path, text in made.items()},
    }
    return json.dumps(content, indent=2) + "\n"
