"""What a host can ask of a graph's hardware: memories that it writes, and such as correct their errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from bnnflow import Problem

from ...build.memories import words_hex
from ...build.parts import Part
from ...build.rtl.control import Coding, Control, Rows
from ...build.rtl.design import GENERIC
from ...sim.faults.injection.layout import KINDS, Memory, memories
from ...sim.faults.injection.protect import Protection, named
from ...sim.faults.protections import Code
from ...sim.faults.protections.codewords import Codewords
from ...sim.faults.protections.tmr import Tmr
from ...transforms.ir.graph import Graph
from ...transforms.ir.ops import Mvau, Thresholding

if TYPE_CHECKING:
    from ..recipe.schema import Rtl

PORTS = {"weights": "weights", "thresholds": "bounds"}


@dataclass(frozen=True, slots=True)
class HardwareChoices:
    """What is asked for.

    Attributes:
        control: whether there are choices, even if nothing else is asked for.
        sets: of weights and thresholds that the host can write; 0: none, but in units that say so themselves.
        protect: the memories' codes, as `codes_of` reads them, or a plan's file; empty: none.
        scrub: whether memories whose code corrects are walked through while no unit reads them.
        primitives: of a vendor, "xc7"; "generic": none. No cycle depends on them.
    """

    control: bool = False
    sets: int = 0
    protect: str = ""
    scrub: bool = True
    primitives: str = GENERIC


PLAIN = HardwareChoices()


def choices_of(settings: Rtl) -> HardwareChoices:
    """What a recipe's section `rtl` asks for."""
    return HardwareChoices(settings.control, settings.sets, settings.protect, settings.scrub, settings.primitives)


def refuse_primitives(primitives: str, part: Part) -> None:
    """Refuse primitives that a part does not have.

    Raises:
        Problem: it is of another family.
    """
    if primitives != GENERIC and part.family != primitives:
        what = f"{part.name} has no primitives of {primitives}"
        raise Problem(what, "primitives", f"name a part of that family, or take {GENERIC}", key="rtl.primitives")


def writable(graph: Graph, choices: HardwareChoices) -> Graph:
    """The graph whose units all have memories that can be written, where sets are asked for."""
    if not choices.sets:
        return graph
    return graph.with_nodes(
        tuple(
            replace(node, op=replace(node.op, runtime_writeable_weights=1))
            if isinstance(node.op, Mvau | Thresholding)
            else node
            for node in graph.nodes
        )
    )


def control_of(graph: Graph, choices: HardwareChoices) -> Control | None:
    """What the hardware of a graph, as `writable` gives it, needs for what is asked; None: no choices.

    Raises:
        Problem: as for `memory_codes`; a memory that has no hardware in a code.
    """
    own = any(isinstance(node.op, Mvau | Thresholding) and node.op.runtime_writeable_weights for node in graph.nodes)
    chosen = memory_codes(graph, choices.protect)
    if not (choices.control or choices.sets or chosen or own):
        return None
    coded = {
        (memory.layer, PORTS[memory.kind]): stored_in(graph, memory, chosen[_name(memory)])
        for memory in memories(graph, KINDS)
        if _name(memory) in chosen
    }
    return Control(max(1, choices.sets), coded, choices.scrub and any(rows.coding.mends for rows in coded.values()))


def codes_of(protect: str) -> dict[str, Code]:
    """Codes by name, as a text says: "CODE", "NAME=CODE", or several of these with commas between them.

    A name is that of a unit, or of one of its memories: UNIT.weights, UNIT.bounds; a code without one, by the name "",
    is that of all other memories. CODE as for `Protection`.

    Raises:
        Problem: an unknown protection, or one that has no hardware; a name that has two.
    """
    try:
        said = named(protect)
    except Problem as problem:
        raise problem.at("protection", key="rtl.protect") from None
    # what campaigns call thresholds, the hardware's ports call bounds
    return {re.sub(r"\.thresholds$", ".bounds", name): _code_of(code) for name, code in said.items()}


def _code_of(text: str) -> Code:
    try:
        protection = Protection.parse(text)
    except Problem as problem:
        raise problem.at("protection", key="rtl.protect") from None
    code = protection.code
    if protection.scrubs > 1:
        hint = "hardware corrects a word whenever it reads it, and walks through the others: leave scrub=N out"
        raise _refused(f"{text!r} says how often it scrubs", hint)
    if isinstance(code, Codewords) and code.on_error == "last":
        what = f"{text!r} answers with the last good word, which has no hardware here"
        raise _refused(what, "leave the option out, or use zero or keep")
    return code


def memory_codes(graph: Graph, protect: str) -> dict[str, Code]:
    """The code of each memory of a graph that is in one, by UNIT.weights and UNIT.bounds.

    Raises:
        Problem: as for `codes_of`; a name of nothing that holds weights or bounds.
    """
    asked, there = codes_of(protect), memories(graph, KINDS)
    held: dict[str, list[str]] = {}
    for memory in there:
        held.setdefault(memory.layer, []).append(_name(memory))
    for name in asked:
        if name and name not in held and not any(name in names for names in held.values()):
            raise _unknown(name, graph, held)
    found = {}
    for memory in there:
        names = (_name(memory), memory.layer, "")
        code = next((asked[name] for name in names if name in asked), None)
        if code is not None and code.coded:
            found[_name(memory)] = code
    return found


def _unknown(name: str, graph: Graph, held: Mapping[str, list[str]]) -> Problem:
    """That nothing that holds weights or bounds has this name."""
    of, units = name.rpartition(".")[0], [node.name for node in graph.nodes]
    if of in held:
        return _refused(f"{of} has no memory {name!r}", f"it has {', '.join(held[of])}")
    if name in units or of in units:
        what = f"{name if name in units else of} has no weights and no bounds"
        return _refused(what, f"memories are those of {', '.join(held)}")
    known = [*held, *(one for names in held.values() for one in names)]
    near = get_close_matches(name, known, 1)
    hint = f"did you mean '{near[0]}'?" if near else f"units with memories are {', '.join(held)}"
    return _refused(f"there is no unit or memory {name!r}", hint)


def _refused(what: str, hint: str) -> Problem:
    return Problem(what, "protection", hint, key="rtl.protect")


def _name(memory: Memory) -> str:
    """Of a memory, by the port that reads it."""
    return f"{memory.layer}.{PORTS[memory.kind]}"


def stored_in(graph: Graph, memory: Memory, code: Code) -> Rows:
    """A memory's rows in a code of `codes_of`."""
    stored, op = code.stored(memory), graph.node(memory.layer).op
    rows = code.encode(memory, memory.words(op))
    joined = code.joined(memory) if isinstance(code, Codewords) else 1
    return Rows(words_hex(rows.astype(np.int64), 1), stored.width, joined, coding(code, memory), str(code))


def coding(code: Code, memory: Memory) -> Coding:
    """A code as the parameters of bnnflow_code."""
    if isinstance(code, Tmr):
        return Coding(copies=3)
    assert isinstance(code, Codewords), "codes are copies or codewords"
    limit = code.data or memory.width
    columns = (1 << np.arange(code.checks)) @ code.columns(limit)
    return Coding(
        limit=limit,
        checks=code.checks,
        ways=code.interleave,
        columns=tuple(int(column) for column in columns),
        corrects=code.corrects,
        zeros=code.on_error == "zero",
    )
