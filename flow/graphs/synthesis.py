"""Hardware as cells of an FPGA: units that were chosen, each mapped once, and what they take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeVar

from bnnflow import Problem

from ...build.cost import estimate, usual_model
from ...build.cost_models import CostModel
from ...build.rtl.design import GENERIC
from ...build.synth.families import RESOURCES, Family
from ...build.synth.units import unit_sources, whole
from ...build.synth.yosys import Netlist, Sources, Yosys, kept, synthesized
from ..results.synthesis import Resources, Synthesis, SynthesisResult, SynthesizedUnit
from .hardware import Hardware

Progress = Callable[[int, int], None]
Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class SynthOptions:
    """How hardware is synthesized.

    Attributes:
        family: that it is mapped to.
        units: names; empty: all.
        whole: whether it is also mapped as one netlist.
        jobs: units at a time.
        seconds: that one may take; None: as long as it takes.
    """

    family: Family
    units: Sequence[str] = ()
    whole: bool = False
    jobs: int = 1
    seconds: float | None = None


def refuse_foreign(primitives: str, family: Family) -> None:
    """Refuse primitives that a family does not have.

    Raises:
        Problem: they are of another one.
    """
    if primitives not in (GENERIC, family.name):
        what = f"primitives of {primitives} cannot be mapped to {family.name}"
        raise Problem(what, "primitives", f"take {GENERIC}, or the family {primitives}", key="rtl.primitives")


def mapped(
    made: Mapping[str, tuple[Hardware, Sequence[str]]], how: SynthOptions, tool: Yosys, progress: Progress
) -> SynthesisResult:
    """Map hardware unit by unit; what was mapped before, of any network, is taken from the cache.

    Args:
        made: hardware and notes by network.
        how: what is run.
        tool: yosys.
        progress: is told netlists done and in all.

    Raises:
        Problem: there is no such unit, or primitives are of another family; yosys fails, or takes too long (status 1).
    """
    if how.units and how.whole:
        raise Problem("one netlist is of the whole network, not of some units", "--whole", "leave out --unit, or it")
    jobs: dict[tuple[str, str], Sources] = {}
    for name, (hardware, _) in made.items():
        refuse_foreign(hardware.asked.primitives, how.family)
        for unit, source in unit_sources(hardware.design):
            if not how.units or unit in how.units:
                jobs[name, unit] = source
        if how.whole:
            jobs[name, ""] = whole(hardware.design)
    refuse_unknown(how.units, [each.name for one, _ in made.values() for each in one.design.sources])
    found = netlists(jobs, how, tool, progress)
    return SynthesisResult(
        networks={
            name: _told(hardware, notes, {unit: one for (of, unit), one in found.items() if of == name}, how, tool)
            for name, (hardware, notes) in made.items()
            if any(of == name for of, _ in found)
        }
    )


def kept_synthesis(hardware: Hardware, how: SynthOptions, tool: Yosys) -> Synthesis | None:
    """What the cache has of a network's hardware; None where any of its units was not mapped before.

    Args:
        hardware: of the network.
        how: the family; nothing is run.
        tool: yosys, whose version counts.
    """
    refuse_foreign(hardware.asked.primitives, how.family)
    found = {unit: kept(source, how.family, tool) for unit, source in unit_sources(hardware.design)}
    whole_of_it = {unit: one for unit, one in found.items() if one is not None}
    return _told(hardware, (), whole_of_it, how, tool) if len(whole_of_it) == len(found) else None


def netlists(jobs: Mapping[Key, Sources], how: SynthOptions, tool: Yosys, progress: Progress) -> dict[Key, Netlist]:
    """Map modules, equal ones once; what was mapped before is taken from the cache.

    Args:
        jobs: modules by a key of each.
        how: family, modules at a time, and seconds that one may take.
        tool: yosys.
        progress: is told netlists done and in all.

    Raises:
        Problem: yosys fails, or takes too long (status 1).
    """
    alike: dict[str, list[Key]] = {}
    for key, source in jobs.items():
        alike.setdefault(source.digest, []).append(key)
    found: dict[Key, Netlist] = {}
    with ThreadPoolExecutor(how.jobs) as pool:
        running = {
            pool.submit(synthesized, jobs[keys[0]], how.family, tool, how.seconds): keys for keys in alike.values()
        }
        try:
            for done in as_completed(running):
                found |= dict.fromkeys(running[done], done.result())
                progress(len(found), len(jobs))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


def refuse_unknown(units: Sequence[str], known: Sequence[str]) -> None:
    """Refuse names of units that there are not.

    Raises:
        Problem: with those that are near.
    """
    for unit in units:
        if unit not in known:
            near = get_close_matches(unit, known, 3)
            listed = ", ".join(dict.fromkeys(known))
            hint = f"did you mean {' or '.join(dict.fromkeys(near))}?" if near else f"units are: {listed}"
            raise Problem(f"there is no unit {unit!r}", "--unit", hint)


def _told(
    hardware: Hardware, notes: Sequence[str], found: Mapping[str, Netlist], how: SynthOptions, tool: Yosys
) -> Synthesis:
    model = own_model(hardware, how.family)
    made = estimate(hardware.graph, model, depths=hardware.depths, control=hardware.control)
    guessed = {unit.name: unit.lut for unit in made.units}
    order = [source.name for source in hardware.design.sources if source.name in found]
    units = [
        SynthesizedUnit(
            name=name,
            module=hardware.design.modules[name].name if name in hardware.design.modules else "",
            resources=_resources(how.family, [found[name]]),
            seconds=found[name].seconds,
            kept=found[name].kept,
            estimated_lut=guessed.get(name),
        )
        for name in order
    ]
    all_of_it, interval = found.get(""), hardware.timing.interval
    assert interval is not None, "FIFOs are deep enough"
    return Synthesis(
        name=hardware.graph.name,
        sha256=hardware.design.digest,
        family=how.family.name,
        block=how.family.block,
        tool=tool.version,
        interval_cycles=interval,
        units=units,
        total=_resources(how.family, [found[name] for name in order]),
        whole=None if all_of_it is None else _resources(how.family, [all_of_it]),
        whole_seconds=None if all_of_it is None else all_of_it.seconds,
        estimated_lut=sum(guessed.get(name, 0) for name in order),
        estimated_by=model.source,
        notes=list(notes),
    )


def own_model(hardware: Hardware, family: Family) -> CostModel:
    """The model of our own hardware where it knows what was built, else FINN's formulas."""
    plain = hardware.asked.primitives == GENERIC
    return usual_model(hardware.graph, family.name if plain else "")[0]


def _resources(family: Family, netlists: Sequence[Netlist]) -> Resources:
    counts = [family.resources(each.cells) for each in netlists]
    return Resources(**{key: sum(count[key] for count in counts) for key in RESOURCES})
