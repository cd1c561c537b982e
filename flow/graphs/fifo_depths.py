"""Depths of single FIFOs, from plain names or from FINN's settings, and FINN's settings that say them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from bnnflow import Problem

from ...build.finn_reports import unit_names
from ...transforms.ir.graph import Graph

_ENDS = {"outFIFODepths": 0, "inFIFODepths": 1}
_HINT = (
    'write {"conv0 -> conv1": 32}, {"MVAU_hls_0": {"outFIFODepths": [32]}} or {"StreamingFIFO_rtl_0": {"depth": 32}}'
)


def fifo_depths(
    config: Mapping[str, Any], graph: Graph, fifos: Sequence[str], finn_plus: bool = False
) -> dict[str, int]:
    """Name of a FIFO to its depth in words; FIFOs that the settings leave out are left out.

    Args:
        config: entries of three forms. "unit -> unit": depth, by the names of `fifos`; 0 is unbounded.
            A unit by FINN's positional name: {"inFIFODepths": [...], "outFIFODepths": [...]}, a depth a stream; a
            FIFO gets the greater of what its two ends ask for. "StreamingFIFO_rtl_0": {"depth": ...}: FIFO by FIFO
            from the input to the output, of chains alone; all must be there. Where one FIFO is named in several ways,
            "unit -> unit" counts first, then its number, then its ends. Other attributes and "Defaults" change nothing,
            so that one file may hold the folding too.
        graph: dataflow level.
        fifos: names of all its FIFOs, "unit -> unit", in the order of the graph.
        finn_plus: units bear the names of finn-plus.

    Raises:
        Problem: an unknown name, two names of one unit, a number of depths that does not fit, a depth that is none, or
            no depth at all.
    """
    units = {_plain(finn): name for name, finn in unit_names(graph, finn_plus).items()}
    own: dict[str, int] = {}
    asked: dict[str, int] = {}
    numbered: dict[int, int] = {}
    seen: dict[str, str] = {}
    for name, value in config.items():
        kind, _, number = name.rpartition("_")
        if name == "Defaults":
            continue
        if " -> " in name:
            if name not in fifos:
                near = get_close_matches(name, fifos, 1)
                hint = f"did you mean '{near[0]}'?" if near else f"FIFOs are {', '.join(fifos)}"
                raise Problem(f"there is no FIFO {name!r}", "FIFO depths", hint)
            own[name] = _depth(name, value, 0)
        elif not isinstance(value, Mapping):
            raise Problem(f"{name} is not a mapping of attributes", "FIFO depths", _HINT)
        elif kind.startswith("StreamingFIFO") and number.isdigit():
            if int(number) in numbered:
                raise Problem(f"{kind} number {number} is there twice", "FIFO depths", "keep one of them")
            numbered[int(number)] = _depth(name, value.get("depth"), 1)
        elif _plain(name) in units:
            wrong = [key for key in value if "fifo" in key.lower() and key not in _ENDS]
            if wrong:
                raise Problem(f"{name} has no attribute {wrong[0]!r}", "FIFO depths", f"write {' or '.join(_ENDS)}")
            if _plain(name) in seen:
                raise Problem(f"{name} and {seen[_plain(name)]} are one unit", "FIFO depths", "keep one of them")
            seen[_plain(name)] = name
            for key, end in _ENDS.items():
                if key in value:
                    mine = [fifo for fifo in fifos if _ends(fifo)[end] == units[_plain(name)]]
                    for fifo, depth in zip(mine, _depths(f"{name}.{key}", value[key], len(mine)), strict=True):
                        asked[fifo] = max(depth, asked.get(fifo, 0))
        elif not kind.startswith("StreamingDataWidthConverter"):
            raise Problem(f"no unit or FIFO is named {name!r}", "FIFO depths", f"units are {', '.join(units)}")
    ordered = _in_order(numbered, graph, fifos)
    if not (asked or ordered or own):
        raise Problem("the file has no depth of a FIFO", "FIFO depths", _HINT)
    return asked | ordered | own


def fifo_settings(
    depths: Mapping[str, int], graph: Graph, fifos: Sequence[str], depth: int
) -> dict[str, dict[str, list[int]]]:
    """FINN's settings by which `fifo_depths` gives these depths again.

    Args:
        depths: words by the name of a FIFO.
        graph, fifos: as for `fifo_depths`.
        depth: of FIFOs that `depths` leaves out.

    Returns:
        `outFIFODepths` and `inFIFODepths` of each unit whose FIFOs are not all of this depth, by its positional name;
        both ends of a FIFO say the same. A FIFO between two converters has no unit at an end, and is left out.
    """
    made: dict[str, dict[str, list[int]]] = {}
    for unit, finn in unit_names(graph).items():
        for key, end in _ENDS.items():
            here = [depths.get(fifo, depth) for fifo in fifos if _ends(fifo)[end] == unit]
            if set(here) - {depth}:
                made.setdefault(finn, {})[key] = here
    return made


def _in_order(numbered: Mapping[int, int], graph: Graph, fifos: Sequence[str]) -> dict[str, int]:
    if not numbered:
        return {}
    if len({_ends(fifo)[0] for fifo in fifos}) < len(fifos):
        hint = "name them as in `flow cycles --json`, or give inFIFODepths and outFIFODepths of the units"
        raise Problem("numbers do not tell the FIFOs of branches apart", f"FIFO depths of {graph.name!r}", hint)
    if sorted(numbered) != list(range(len(fifos))):
        what = f"{len(numbered)} FIFOs are numbered, the graph has {len(fifos)}"
        raise Problem(what, f"FIFO depths of {graph.name!r}", f"number all, from 0 on: {', '.join(fifos)}")
    return {fifo: numbered[place] for place, fifo in enumerate(fifos)}


def _depths(where: str, value: Any, count: int) -> list[int]:
    if not isinstance(value, list) or len(value) != count:
        raise Problem(f"{where} is not a list of {count} depths", "FIFO depths", _HINT)
    return [_depth(where, one, 1) for one in value]


def _depth(where: str, value: Any, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise Problem(f"{where} is no depth: {value!r}", "FIFO depths", f"give a number of words, at least {least}")
    return value


def _ends(fifo: str) -> tuple[str, str]:
    """Source and target; the name of a second FIFO between two units ends in its number."""
    source, _, target = fifo.partition(" -> ")
    return source, target.partition(" (")[0] if target != "(output)" else target


def _plain(name: str) -> str:
    """A unit's name without its kind of implementation: MVAU_hls_0 and MVAU_rtl_0 are MVAU_0."""
    return name.replace("_hls_", "_").replace("_rtl_", "_")
