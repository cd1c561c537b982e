"""Hardware on a part: all of a network, or units by themselves, placed and routed with one or several seeds."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from bnnflow import Problem

from ...build.cost import estimate
from ...build.cost_models.bnnflow import Bnnflow
from ...build.parts import Part
from ...build.route import PROGRAMS, is_placed
from ...build.route.harness import Harnessed, harnessed
from ...build.route.nextpnr import Netlists, Nextpnr, Routed, Target, routed
from ...build.synth.families import FAMILIES
from ...build.synth.units import unit_sources, whole
from ...build.synth.yosys import Yosys
from ..results.routing import RoutedSeed, RoutedUnit, Routing, RoutingResult, SlowestPath
from .figures import predicted_clock
from .hardware import Hardware
from .synthesis import own_model, refuse_foreign, refuse_unknown

Progress = Callable[[int, int], None]
Key = TypeVar("Key", bound=Hashable)
_WHOLE = ""


@dataclass(frozen=True, slots=True)
class RouteOptions:
    """How hardware is placed and routed.

    Attributes:
        part: that it lies on.
        grade: speed grade; empty: the slowest of the part's, where it has some.
        clock_mhz: that is asked for.
        seeds: of the placer, the numbers from 1 on.
        units: names, each placed by itself; empty: all of them together.
        jobs: modules at a time.
        seconds: that yosys and nextpnr may take each; None: as long as they take.
    """

    part: Part
    grade: str = ""
    clock_mhz: float = 100.0
    seeds: int = 1
    units: Sequence[str] = ()
    jobs: int = 1
    seconds: float | None = None

    @property
    def speed(self) -> str:
        """The speed grade."""
        return self.grade or next(iter(self.part.grades), "")


def program_of(part: Part, grade: str = "") -> str:
    """The program that places and routes on a part.

    Raises:
        Problem: there is none for it, or it has no such speed grade.
    """
    if not is_placed(part):
        what = f"no open tool here places and routes on {part.name}"
        raise Problem(what, "part", "take a part of Lattice ECP5 or iCE40: `flow parts` names them", key="target.part")
    if grade and grade not in part.grades:
        known = ", ".join(part.grades)
        hint = f"grades of {part.name}: {known}" if known else f"leave it out: {part.name} has none"
        raise Problem(f"there is no speed grade {grade!r}", "--grade", hint)
    return PROGRAMS[part.family]


def routed_hardware(
    made: Mapping[str, tuple[Hardware, Sequence[str]]],
    how: RouteOptions,
    tools: tuple[Yosys, Nextpnr],
    progress: Progress,
) -> RoutingResult:
    """Place and route hardware; what was done before, of any network, is taken from the cache.

    Args:
        made: hardware and notes by network.
        how: what is run.
        tools: the programs.
        progress: is told runs done and in all.

    Raises:
        Problem: there is no such unit, or primitives are of another family; a tool fails; status 1: it does not fit
            the part, or takes too long.
    """
    refuse_unknown(how.units, [each.name for one, _ in made.values() for each in one.design.sources])
    modules: dict[tuple[str, str], Harnessed] = {}
    for name, (hardware, _) in made.items():
        refuse_foreign(hardware.asked.primitives, FAMILIES[how.part.family])
        if not how.units:
            modules[name, _WHOLE] = harnessed(whole(hardware.design))
            continue
        for unit, source in unit_sources(hardware.design):
            if unit in how.units:
                modules[name, unit] = harnessed(source)
    runs = routed_modules(modules, how, tools, progress)
    found: dict[str, dict[str, RoutedUnit]] = {}
    guessed = {name: _predicted(hardware, how) for name, (hardware, _) in made.items()}
    for (name, unit), module in modules.items():
        names = {each.name: each.names for each in made[name][0].design.sources}.get(unit, ())
        routed_unit = _unit(unit, module, names, runs[name, unit])
        found.setdefault(name, {})[unit] = replace(routed_unit, predicted_mhz=guessed[name].get(unit))
    return RoutingResult(networks={name: _told(*made[name], units, how, tools) for name, units in found.items()})


def routed_modules(
    modules: Mapping[Key, Harnessed], how: RouteOptions, tools: tuple[Yosys, Nextpnr], progress: Progress
) -> dict[Key, dict[int, Routed]]:
    """Place and route modules, those that are alike once; what was done before is taken from the cache.

    Args:
        modules: by what they are to be called.
        how: what is run; its units are not looked at.
        tools: the programs.
        progress: is told runs done and in all.

    Returns:
        For each module what every seed made of it.

    Raises:
        Problem: a tool fails; status 1: a module does not fit the part, or takes too long.
    """
    alike: dict[str, list[Key]] = {}
    for key, module in modules.items():
        alike.setdefault(module.sources.digest, []).append(key)
    targets = {seed: Target(how.part, how.speed, how.clock_mhz, seed) for seed in range(1, how.seeds + 1)}
    made: dict[str, dict[int, Routed]] = {digest: {} for digest in alike}
    with Netlists(tools[0], how.seconds) as netlists, ThreadPoolExecutor(how.jobs) as pool:
        running = {
            pool.submit(routed, modules[keys[0]], target, tools, how.seconds, netlists): (digest, seed)
            for digest, keys in alike.items()
            for seed, target in targets.items()
        }
        try:
            for count, done in enumerate(as_completed(running), 1):
                digest, seed = running[done]
                made[digest][seed] = done.result()
                if len(made[digest]) == len(targets):
                    netlists.forget(digest)
                progress(count, len(running))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return {key: made[digest] for digest, keys in alike.items() for key in keys}


def _predicted(hardware: Hardware, how: RouteOptions) -> dict[str, float]:
    """Clocks in MHz by unit, and of all together, of what the cost model knows on this speed grade."""
    model = own_model(hardware, FAMILIES[how.part.family])
    clock = model.table.clock if isinstance(model, Bnnflow) else None
    if clock is None or clock.grade != how.speed:
        return {}
    made = estimate(hardware.graph, model, depths=hardware.depths, control=hardware.control)
    whole = predicted_clock(made, model)
    assert whole is not None
    return {unit.name: round(1000 / clock.slowest(unit.paths)[0], 1) for unit in made.units} | {_WHOLE: whole.fmax_mhz}


def _unit(name: str, module: Harnessed, names: Sequence[str], runs: Mapping[int, Routed]) -> RoutedUnit:
    """A unit as it was found.

    Args:
        name: of the unit; empty: all of them.
        module: that was placed.
        names: of its instances, where it is a unit by itself: these have numbers there.
        runs: by seed.
    """
    numbers = {f"n{place}": each for place, each in enumerate(names)} if name else {}
    seeds = []
    for seed, one in sorted(runs.items()):
        start, end = (numbers.get(each, each) for each in (one.path.start, one.path.end))
        path = SlowestPath(**asdict(one.path) | {"start": start, "end": end})
        seeds.append(RoutedSeed(seed=seed, fmax_mhz=one.fmax_mhz, path=path, seconds=one.seconds, kept=one.kept))
    best = max(seeds, key=lambda one: one.fmax_mhz)
    chosen = runs[best.seed]
    return RoutedUnit(
        name=name,
        fmax_mhz=best.fmax_mhz,
        path=best.path,
        seeds=seeds,
        used=chosen.used,
        available=chosen.available,
        harness_ff=module.ff,
        harness_lut=module.lut,
    )


def _told(
    hardware: Hardware,
    notes: Sequence[str],
    found: Mapping[str, RoutedUnit],
    how: RouteOptions,
    tools: tuple[Yosys, Nextpnr],
) -> Routing:
    order = [source.name for source in hardware.design.sources if source.name in found]
    all_of_it, interval = found.get(_WHOLE), hardware.timing.interval
    assert interval is not None, "FIFOs are deep enough"
    return Routing(
        name=hardware.graph.name,
        sha256=hardware.design.digest,
        part=how.part.name,
        grade=how.speed,
        tools=[tool.version for tool in tools],
        interval_cycles=interval,
        clock_mhz=how.clock_mhz,
        whole=all_of_it,
        units=[found[name] for name in order],
        fps=None if all_of_it is None else all_of_it.fmax_mhz * 1e6 / interval,
        reached=None if all_of_it is None else all_of_it.fmax_mhz >= how.clock_mhz,
        notes=list(notes),
    )
