"""What a host can ask of a graph's hardware: memories that it writes, and such as correct their errors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bnnflow import Problem

from ...build.memories import words_hex
from ...build.parts import Part
from ...build.rtl.control import Coding, Control, Rows
from ...build.rtl.design import GENERIC
from ...sim.faults.injection.layout import KINDS, Memory, memories
from ...sim.faults.injection.protect import Protection
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
        protect: text form of the memories' protection (`Protection`), such as "secded-72-64:x4"; empty: none.
        primitives: of a vendor, "xc7"; "generic": none. No cycle depends on them.
    """

    control: bool = False
    sets: int = 0
    protect: str = ""
    primitives: str = GENERIC


PLAIN = HardwareChoices()


def choices_of(settings: Rtl) -> HardwareChoices:
    """What a recipe's section `rtl` asks for."""
    return HardwareChoices(settings.control, settings.sets, settings.protect, settings.primitives)


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
        Problem: an unknown protection, or one that has no hardware.
    """
    own = any(isinstance(node.op, Mvau | Thresholding) and node.op.runtime_writeable_weights for node in graph.nodes)
    code, coded = code_of(choices.protect), {}
    if not (choices.control or choices.sets or code.coded or own):
        return None
    if code.coded:
        for memory in memories(graph, KINDS):
            coded[memory.layer, PORTS[memory.kind]] = stored_in(graph, memory, code)
    return Control(max(1, choices.sets), coded)


def code_of(protect: str) -> Code:
    """The code of a protection's text form; of none where it is empty.

    Raises:
        Problem: an unknown protection, or one that has no hardware.
    """
    try:
        protection = Protection.parse(protect) if protect else Protection()
    except Problem as problem:
        raise problem.at("protection", key="rtl.protect") from None
    code = protection.code
    if protection.scrubs > 1:
        what, hint = f"{protect!r} says how often it scrubs", "hardware corrects a word whenever it reads it"
        raise Problem(what, "protection", f"{hint}: leave scrub out")
    if isinstance(code, Codewords) and code.on_error == "last":
        what = f"{protect!r} answers with the last good word, which has no hardware here"
        raise Problem(what, "protection", "leave the option out, or use zero or keep")
    return code


def stored_in(graph: Graph, memory: Memory, code: Code) -> Rows:
    """A memory's rows in a code of `code_of`."""
    stored, op = code.stored(memory), graph.node(memory.layer).op
    if isinstance(op, Mvau) and not op.xnor and op.weight.min() >= 0 and memory.kind == "weights":
        # Hardware keeps a sign for them, the memory that faults are laid into does not.
        what = f"{memory.layer} has no negative weight, for which codes have no hardware here"
        raise Problem(what, "protection", "leave the protection out")
    rows = code.encode(memory, memory.words(op))
    joined = code.joined(memory) if isinstance(code, Codewords) else 1
    return Rows(words_hex(rows.astype(np.int64), 1), stored.width, joined, coding(code, memory))


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
