"""Bits that change in a simulation of hardware, by part of the top module, from Verilator's SAIF file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..rtl.design import Design

# What a part's bits are of: its own module, constants that it reads, and its output's FIFO with the wires behind it.
KINDS = ("logic", "memory", "streams")
# Clocks change in every cycle, whatever the images are; parameters never do.
_CLOCKS = frozenset({"clk", "ap_clk"})
_PARAMETER = re.compile(r"[A-Z][A-Z0-9_]*$")
_BIT = re.compile(r"\((\S+) \(T0 \d+\) \(T1 \d+\) .*\(TC (\d+)\)\)$")
_INSTANCE = re.compile(r"\(INSTANCE (\S+)$")
_PORT = re.compile(r"^\s*(?:input|output)\s+logic\b(?:\s+signed)?(?:\s*\[[^\]]*\])*\s*(\w+)", re.MULTILINE)
_USE = re.compile(r"\b(bnnflow_\w+)\s*(?=[#\w])")


@dataclass(frozen=True, slots=True)
class ModuleText:
    """What of a module's text says where its wires are driven.

    Attributes:
        ports: names.
        children: module of each instance, by name.
    """

    ports: frozenset[str]
    children: Mapping[str, str]


def bits_changed(saif: str, design: Design) -> dict[str, Counter[str]]:
    """How often bits change, by the name of a part of the top module (`UnitSource.name`) and one of `KINDS`.

    A wire that passes modules is counted once, where it is declared: ports are not, nor are clocks, parameters and
    cells of memories (words that are read of them are).

    Args:
        saif: the file, of a simulation of the design.
        design: of the same files.
    """
    modules = {path.split("/")[-1].removesuffix(".sv"): text for path, text in design.files.items() if _is_sv(path)}
    known = {name: _read(text) for name, text in modules.items()}
    top = known[design.name]
    owners: dict[str, tuple[str, str]] = {}
    for source in design.sources:
        # The unit's own instance is the last; in front of it stand memories, or rows of constants, and their wires.
        *held, own = source.names
        beside = "logic" if top.children[own] == "bnnflow_unrolled" else "memory"
        owners |= dict.fromkeys(held, (source.name, beside))
        owners[own] = (source.name, "streams" if top.children[own] == "bnnflow_fifo" else "logic")
        ends = [f"{wire}_{end}" for wire, _ in source.leaves for end in ("valid", "ready", "data", "push")]
        owners |= dict.fromkeys(ends, (source.name, "streams"))
    found: dict[str, Counter[str]] = {source.name: Counter() for source in design.sources}
    for scopes, bit, changes in _bits(saif):
        # TOP, the top module, then instances, and blocks of generates between them.
        name = re.split(r"\\?\[", bit)[0]
        if not changes or len(scopes) < 2 or not _counts(name, bit, scopes[1:], known):
            continue
        if (owner := owners.get(scopes[2] if len(scopes) > 2 else name)) is not None:
            part, kind = owner
            found[part]["streams" if "u_out" in scopes else kind] += changes
    return found


def _is_sv(path: str) -> bool:
    return path.endswith(".sv")


def _counts(name: str, bit: str, scopes: Sequence[str], known: Mapping[str, ModuleText]) -> bool:
    # A cell of an array stands as name[3]\[0\], a bit of a vector as name\[0\].
    is_cell = "[" in bit.replace("\\[", "")
    return not (name in _CLOCKS or is_cell or _PARAMETER.match(name) or name in _module(scopes, known).ports)


def _module(scopes: Sequence[str], known: Mapping[str, ModuleText]) -> ModuleText:
    """The module that the innermost scope is of: blocks of generates are of the module around them."""
    module = known[scopes[0]]
    for scope in scopes[1:]:
        module = known[module.children[scope]] if scope in module.children else module
    return module


def _read(text: str) -> ModuleText:
    start = text.index("\nmodule ") if "\nmodule " in text else text.index("module ")
    ports = frozenset(_PORT.findall(text[start : text.index(");", start)]))
    children = {}
    for use in _USE.finditer(text, text.index(");", start)):
        at = use.end()
        if text[at] == "#":
            at = _behind(text, text.index("(", at))
        if (named := re.compile(r"\s*(\w+)\s*\(").match(text, at)) is not None:
            children[named[1]] = use[1]
    return ModuleText(ports, children)


def _behind(text: str, opened: int) -> int:
    """The place behind the parenthesis that closes one."""
    depth = 0
    for at in range(opened, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if depth == 0:
            return at + 1
    return len(text)


def _bits(saif: str) -> Iterator[tuple[list[str], str, int]]:
    """Every bit of the file: the scopes that it lies in, its name, and how often it changed."""
    scopes: list[str] = []
    nets = False
    for line in saif.splitlines():
        text = line.strip()
        if (opened := _INSTANCE.match(text)) is not None:
            scopes.append(opened[1])
        elif text == "(NET":
            nets = True
        elif text == ")":
            if nets:
                nets = False
            elif scopes:
                scopes.pop()
        elif nets and (bit := _BIT.match(text)) is not None:
            yield scopes, bit[1], int(bit[2])
