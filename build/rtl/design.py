"""The files of a network's hardware: top, memories, list of files, constraints, manifest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from bnnflow import Problem, __version__

from ...transforms.ir.graph import Graph
from ...transforms.streams import Converter, Stream, Streams, StreamUnit, streams_of
from . import top_control
from .beside import Beside, Vectors
from .control import MOST_ROW, Control, Rows
from .modules import Memory, Module, module_of, packed
from .top_control import HostMemory
from .words import value_bits, word_bytes

MANIFEST = "manifest.json"
FILE_LIST = "files.f"
GENERIC = "generic"
# Models of primitives, which simulators read and synthesis does not.
MODELS = "simulation"
_PARTS = (
    "bnnflow_fifo",
    *(
        "bnnflow_memory",
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
class UnitSource:
    """A part of a top module by itself: a unit with its memories and its output's FIFO, a converter, ...

    Attributes:
        name: of the unit; in brackets what is none.
        text: instances and wires between them.
        entries, leaves: streams that it reads and writes: the beginning of their wires' names, bits of a word.
        names: of its instances and of wires within it.
        ports: others than clock, reset, streams and what memories hear of the host.
    """

    name: str
    text: str
    entries: Sequence[tuple[str, int]]
    leaves: Sequence[tuple[str, int]]
    names: Sequence[str]
    ports: Sequence[str] = ()


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
        host_memories: those that a host can write, or that correct errors, by number.
        controlled: whether there are registers.
        sources: parts of the top module.
    """

    name: str
    digest: str
    files: Mapping[str, str]
    entry: Stream
    leave: Stream
    modules: Mapping[str, Module]
    fifos: Mapping[str, str]
    host_memories: Sequence[HostMemory] = ()
    controlled: bool = False
    sources: Sequence[UnitSource] = ()


def design(
    graph: Graph,
    depth: int,
    depths: Mapping[str, int],
    clock_mhz: float,
    control: Control | None = None,
    vectors: Vectors | None = None,
    primitives: str = GENERIC,
) -> Design:
    """Hardware of a folded dataflow graph; the same arguments give the same bytes.

    Args:
        graph: dataflow level, folded.
        depth, depths: words of every FIFO, and of single ones by the names of `streams_of`; 1 or more.
        clock_mhz: of the constraints.
        control: what a host can ask of it; None: it has no registers.
        vectors: for a test bench; None: there is none.
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
    units = [part.node for part in streams.parts if isinstance(part, StreamUnit)]
    modules = {node.name: module_of(node, graph, control) for node in units}
    chosen = "" if primitives == GENERIC else primitives
    asked = repr(control) if control else ""
    digest = hashlib.sha256((str(graph) + json.dumps(held) + asked + chosen).encode()).hexdigest()
    top = _Top(graph, streams, modules, held, digest, control)
    text = top.text()
    library = files(__package__) / "library"
    own = _modules(library / chosen) if chosen else {}
    hosts = top_control.modules(top.guarded) if control else ()
    used = sorted({_module_name(part, modules) for part in streams.parts} | {*_PARTS, *own, *hosts})
    sources = _modules(library) | own
    models = _modules(library / MODELS) if chosen else {}
    made = {
        f"{top.name}.sv": text,
        **{f"library/{name}.sv": sources[name].read_text("utf-8") for name in used},
        **{f"{MODELS}/{name}.sv": place.read_text("utf-8") for name, place in models.items()},
        **{path: "\n".join(lines) + "\n" for path, lines in top.memories.items()},
        FILE_LIST: "\n".join([*(f"library/{name}.sv" for name in used), f"{top.name}.sv"]) + "\n",
        "clock.xdc": f"create_clock -name ap_clk -period {1000 / clock_mhz:.3f} [get_ports ap_clk]\n",
    }
    made |= Beside(
        top=top.name,
        network=graph.name,
        digest=digest,
        streams=streams,
        memories=top.guarded,
        vectors=vectors,
        controlled=control is not None,
        models=bool(models),
    ).files()
    made[MANIFEST] = _manifest(top, primitives, made)
    entry, leave = streams.entries[0], streams.leave
    return Design(
        top.name, digest, made, entry, leave, modules, top.fifos, top.guarded, control is not None, top.sources
    )


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
        self,
        graph: Graph,
        streams: Streams,
        modules: Mapping[str, Module],
        depths: Mapping[str, int],
        digest: str,
        control: Control | None,
    ) -> None:
        self.graph, self.streams, self.modules, self.depths, self.digest = graph, streams, modules, depths, digest
        self.control = control
        self.guarded: list[HostMemory] = []
        # Images under way: no stream holds more than fill its places, and each unit has one in hand.
        images = sum((depths[each.name] + self._latency(each)) // each.words + 3 for each in streams.streams)
        self.image_bits = min(32, images.bit_length() + 1)
        self.taken: set[str] = set()
        self.name = self._unique(f"bnn_{identifier(graph.name)}")
        self.wires = {id(each): self._unique(f"s_{identifier(each.target)}") for each in streams.streams}
        self.memories: dict[str, Sequence[str]] = {}
        self.instances: list[str] = []
        self.sources: list[UnitSource] = []
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
            *(top_control.ports() if self.control else []),
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
            "  initial rst = 1'b1;",
            "  always_ff @(posedge clk) rst <= ~ap_rst_n;",
        ]
        for each in self.streams.streams:
            wire, bits = self.wires[id(each)], each.width * value_bits(each.type)
            lines += [
                f"  // {each.name}: {each.words} words of {each.width} {each.type.datatype}",
                f"  logic {wire}_valid, {wire}_ready, {wire}_push;",
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
        self.instances.append(f"  assign {self.wires[id(entry)]}_push = s_axis_0_tvalid & s_axis_0_tready;")
        ports = [
            "input logic s_axis_0_tvalid",
            "output logic s_axis_0_tready",
            f"input logic [{wide - 1}:0] s_axis_0_tdata",
        ]
        self._source("(input)", 0, (), [entry], ports)
        for part in self.streams.parts:
            start = len(self.instances)
            self._part(part)
            if isinstance(part, Converter):
                self._source(part.name, start, [part.entry], [part.leave])
            else:
                self._source(part.node.name, start, part.inputs, part.outputs)
        lines += self._controlled() if self.control else [f"  wire unused_pushes = &{{{', '.join(self._pushes())}}};"]
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

    def _source(
        self, name: str, start: int, entries: Sequence[Stream], leaves: Sequence[Stream], ports: Sequence[str] = ()
    ) -> None:
        """Keep the instances from number `start` on as a part."""
        text = "\n".join(self.instances[start:])
        named = re.findall(r"^  \) (\w+) \($|^  logic (?:\[\d+:0\] )?(\w+);$", text, re.MULTILINE)
        names = [one or other for one, other in named]
        self.sources.append(UnitSource(name, text, self._bits(entries), self._bits(leaves), names, ports))

    def _bits(self, streams: Sequence[Stream]) -> list[tuple[str, int]]:
        return [(self.wires[id(each)], each.width * value_bits(each.type)) for each in streams]

    def _part(self, part: Converter | StreamUnit) -> None:
        module = _module_name(part, self.modules)
        if isinstance(part, Converter):
            narrow, wide = sorted((part.entry.width, part.leave.width))
            sizes = {
                "WIDTH": narrow * value_bits(part.entry.type),
                "N": wide // narrow,
                "DEPTH": self.depths[part.leave.name],
            }
            ports = self._ports("s", [part.entry]) | self._ports("m", [part.leave]) | self._push([part.leave])
            self.fifos[f"{self._instance(module, part.name, sizes, ports)}.u_out"] = part.leave.name
            return
        node, made = part.node, self.modules[part.node.name]
        name = identifier(node.name)
        parameters = dict(made.parameters)
        for key, memory in made.tables.items():
            parameters[key] = self._file(f"{name}_{key.lower()}", memory.words)
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
        for key, memory in made.memories.items():
            ports |= self._memory(node.name, key, memory)
        ports |= self._ports("m", part.outputs) | self._push(part.outputs)
        made_as = self._instance(module, node.name, parameters, ports)
        for place, each in enumerate(part.outputs):
            inner = f"g_reader[{place}]." if module == "bnnflow_duplicate_streams" else ""
            self.fifos[f"{made_as}.{inner}u_out"] = each.name

    def _file(self, name: str, words: Sequence[str]) -> str:
        """The file of a memory as a parameter."""
        path = f"memories/{name}.hex"
        while path in self.memories:
            path = path.replace(".hex", "_.hex")
        self.memories[path] = words
        return f'"{path}"'

    def _memory(self, unit: str, port: str, memory: Memory) -> dict[str, str]:
        """Ports of a unit that reads a memory beside it."""
        name = f"{identifier(unit)}_{port}"
        wire = self._unique(name)
        self.instances.append(f"  logic {wire}_next;\n  logic [{memory.width - 1}:0] {wire};")
        if not memory.words:
            self.instances.append(f"  assign {wire} = '0;\n  wire unused_{wire} = {wire}_next;")
            return {f"{port}_next": f"{wire}_next", port: wire}
        read = {"next": f"{wire}_next", "data": wire}
        if memory.rows is None:
            sizes: dict[str, int | str] = {"DEPTH": len(memory.words), "WIDTH": memory.width}
            sizes |= {"FILE": self._file(name, memory.words), "STYLE": f'"{memory.style}"'}
            self._instance("bnnflow_memory", wire, sizes, read)
        else:
            self._guarded(unit, port, wire, memory, memory.rows, read)
        return {f"{port}_next": f"{wire}_next", port: wire}

    def _guarded(self, unit: str, port: str, wire: str, memory: Memory, rows: Rows, read: Mapping[str, str]) -> None:
        """An instance of a memory that can be written or corrects errors."""
        number = len(self.guarded)
        sizes = (memory.sets, len(rows.words), len(memory.words), memory.width, rows.joined, rows.bits)
        host = HostMemory(unit, port, *sizes)
        if host.data_bits > MOST_ROW:
            what = f"{unit} has a memory of {host.data_bits:,} bits a word, more than registers hold ({MOST_ROW:,})"
            raise Problem(what, f"graph {self.graph.name!r}", "use less PE or SIMD")
        self.guarded.append(host)
        self._instance(
            "bnnflow_guarded_memory",
            wire,
            {
                "WORDS": host.words,
                "WIDTH": host.word_bits,
                "SETS": host.sets,
                "JOINED": host.joined,
                **rows.coding.parameters(),
                "BITS": host.stored_bits,
                "PASSES": memory.passes,
                "IBITS": self.image_bits,
                "FILE": self._file(f"{identifier(unit)}_{port}", [*rows.words] * host.sets),
                "STYLE": f'"{memory.style}"',
            },
            {**read, **top_control.memory_ports(host, number, self.image_bits)},
        )

    def _controlled(self) -> list[str]:
        """Declarations of what the host talks to; instances of it are made."""
        entry, leave, streams = self.streams.entries[0], self.streams.leave, self.streams.streams
        sets = max([1, *(each.sets for each in self.guarded)])
        sizes = top_control.control_parameters(self.digest, entry.words, leave.words, len(streams), self.guarded, sets)
        start = len(self.instances)
        self._instance("bnnflow_axi_lite", "axi_lite", {}, top_control.AXI_PORTS)
        self._instance("bnnflow_control", "control", sizes, top_control.CONTROL_PORTS)
        for place, each in enumerate(streams):
            wire = self.wires[id(each)]
            self._instance(
                "bnnflow_monitor",
                f"monitor_{wire}",
                {"PBITS": (self.depths[each.name] + self._latency(each) + 1).bit_length()},
                {
                    "clear": "host_clear",
                    **{name: f"{wire}_{name}" for name in ("push", "valid", "ready")},
                    "stalls": f"host_stalls[{32 * place + 31}:{32 * place}]",
                    "peak": f"host_peaks[{32 * place + 31}:{32 * place}]",
                },
            )
        wires = top_control.wires(self.guarded, sets, len(streams))
        ports = [port.strip().rstrip(",") for port in top_control.ports()]
        ports += [f"input logic {self.wires[id(each)]}_{end}" for each in streams for end in ("push", "valid", "ready")]
        own, told = top_control.alone(self.guarded, sets)
        self.instances[start:start] = [*wires, *told]
        self._source("(registers)", start, (), (), [*ports, *own])
        del self.instances[start : start + len(wires) + len(told)]
        return wires

    def _latency(self, stream: Stream) -> int:
        """Places of a stream's FIFO beside its depth."""
        return self.modules[stream.source].latency if stream.source in self.modules else 0

    def _pushes(self) -> list[str]:
        return [f"{self.wires[id(each)]}_push" for each in self.streams.streams]

    def _push(self, streams: Sequence[Stream]) -> dict[str, str]:
        names = [f"{self.wires[id(each)]}_push" for each in streams]
        return {"m_push": names[0] if len(names) == 1 else "{" + ", ".join(reversed(names)) + "}"}

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
        **({"memories": [asdict(each) | {"data_bits": each.data_bits} for each in top.guarded]} if top.control else {}),
        "files": {path: hashlib.sha256(text.encode()).hexdigest() for path, text in made.items()},
    }
    return json.dumps(content, indent=2) + "\n"
