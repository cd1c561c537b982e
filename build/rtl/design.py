"""The files of a network's hardware: top, memories, list of files, constraints, manifest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from bnnflow import Problem, __version__

from ...transforms.ir.graph import Graph
from ...transforms.streams import Stream, streams_of
from . import top_control
from .beside import Beside, Vectors
from .control import Control
from .modules import Module, modules_of
from .top import Top, UnitSource
from .top_control import HostMemory
from .words import value_bits

MANIFEST = "manifest.json"
FILE_LIST = "files.f"
GENERIC = "generic"
# Models of primitives, which simulators read and synthesis does not.
MODELS = "simulation"


@dataclass(frozen=True, slots=True)
class Design:
    """A network's hardware.

    Attributes:
        name: of the top module.
        digest: sha256 of the graph, the depths, what a host can ask, and primitives; the top has its beginning.
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

    def write(self, folder: Path) -> None:
        """Write its files into a folder, which need not be there."""
        for path, text in self.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")


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
    modules = modules_of(streams, graph.types, control)
    chosen = "" if primitives == GENERIC else primitives
    asked = repr(control) if control else ""
    digest = hashlib.sha256((str(graph) + json.dumps(held) + asked + chosen).encode()).hexdigest()
    top = Top(graph, streams, modules, held, digest, control)
    text = top.text()
    library = files(__package__) / "library"
    own = _modules(library / chosen) if chosen else {}
    hosts = top_control.modules(top.guarded) if control else ()
    sources = {name: place.read_text("utf-8") for name, place in (_modules(library) | own).items()}
    used = sorted({*named_in("\n".join([text, *hosts, *own]), sources)})
    models = _modules(library / MODELS) if chosen else {}
    made = {
        f"{top.name}.sv": text,
        **{f"library/{name}.sv": sources[name] for name in used},
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


def named_in(text: str, library: Mapping[str, str]) -> list[str]:
    """The modules of a library that a text names outside comments, those that they name, and so on.

    Args:
        text: SystemVerilog.
        library: text by the name of the module.
    """
    found: dict[str, None] = {}
    texts = [text]
    while texts:
        for name in re.findall(r"\bbnnflow_\w+", re.sub(r"//.*", "", texts.pop())):
            if name in library and name not in found:
                found[name] = None
                texts.append(library[name])
    return list(found)


def _modules(folder: Traversable) -> dict[str, Traversable]:
    """The modules of a folder of the library, by name."""
    found = sorted(folder.iterdir(), key=lambda place: place.name)
    return {place.name.removesuffix(".sv"): place for place in found if place.name.endswith(".sv")}


def _manifest(top: Top, primitives: str, made: Mapping[str, str]) -> str:
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
