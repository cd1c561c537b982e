"""Units of a design by themselves, each with its memories and its output's FIFO, as modules to be synthesized."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ..rtl.design import MODELS, Design, UnitSource, named_in
from .yosys import Sources

# What a memory beside a unit hears of the host and tells it, up to the highest bit that it reads.
_HOST = re.compile(r"\bhost_(set|at|writes|row|data|mended|failed)\[(\d+)")


def whole(design: Design) -> Sources:
    """All of a design."""
    return Sources(design.name, {path: text for path, text in design.files.items() if _is_source(path)})


def unit_sources(design: Design) -> Iterator[tuple[str, Sources]]:
    """Each unit as a module `unit`, by its name, in the order of the design.

    Names of the network play no part in them: equal units of any networks are equal sources.
    """
    library = {
        path.removeprefix("library/").removesuffix(".sv"): text
        for path, text in design.files.items()
        if path.startswith("library/")
    }
    for source in design.sources:
        text, memories = _anonymous(source, design.files)
        ports = ["input logic clk", "input logic rst", *_ports(source), *(source.ports or _host_ports(text))]
        module = "module unit (\n    " + ",\n    ".join(ports) + f"\n);\n{text}\nendmodule\n"
        used = {f"library/{name}.sv": library[name] for name in named_in(module, library)}
        yield source.name, Sources("unit", {"unit.sv": module, **used, **memories}, source.name)


def _is_source(path: str) -> bool:
    return path.startswith("memories/") or (path.endswith(".sv") and not path.startswith(MODELS))


def _ports(source: UnitSource) -> Iterator[str]:
    for place, (_, bits) in enumerate(source.entries):
        yield f"input logic in{place}_valid"
        yield f"output logic in{place}_ready"
        yield f"input logic [{bits - 1}:0] in{place}_data"
    for place, (_, bits) in enumerate(source.leaves):
        yield f"output logic out{place}_valid"
        yield f"input logic out{place}_ready"
        yield f"output logic [{bits - 1}:0] out{place}_data"
        yield f"output logic out{place}_push"


def _host_ports(text: str) -> Iterator[str]:
    """Ports of what memories read of the host, as wide as they read it."""
    widest: dict[str, int] = {}
    for name, high in _HOST.findall(text):
        widest[name] = max(widest.get(name, 0), int(high))
    for name, high in sorted(widest.items()):
        yield f"{'output' if name in ('mended', 'failed') else 'input'} logic [{high}:0] host_{name}"


def _anonymous(source: UnitSource, files: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The text of a unit with names of its own, and the memories that it reads, under names of their own."""
    text, memories = source.text, {}
    for place, path in enumerate(dict.fromkeys(re.findall(r'"(memories/[^"]+)"', text))):
        memories[f"memory{place}.hex"] = files[path]
        text = text.replace(f'"{path}"', f'"memory{place}.hex"')
    renamed = {wire: f"in{place}" for place, (wire, _) in enumerate(source.entries)}
    renamed |= {wire: f"out{place}" for place, (wire, _) in enumerate(source.leaves)}
    for wire, name in renamed.items():
        text = re.sub(rf"\b{wire}_(valid|ready|data|push)\b", rf"{name}_\1", text)
    # In one pass, for an unrolled unit has a name a row; of names within each other the first counts.
    places: dict[str, str] = {}
    for place, name in enumerate(source.names):
        for before in ("", "unused_"):
            for behind in ("", "_next"):
                places.setdefault(f"{before}{name}{behind}", f"{before}n{place}{behind}")
    text = re.sub(r"\b\w+\b", lambda word: places.get(word[0], word[0]), text)
    # A unit's memories have numbers of the network.
    numbers = list(dict.fromkeys(re.findall(r"\bhost_writes\[(\d+)\]", text)))
    for place, number in enumerate(numbers):
        text = re.sub(rf"\bhost_(writes|mended|failed)\[{number}\]", rf"host_\1[#{place}]", text)
    text = text.replace("[#", "[")
    return text, memories
