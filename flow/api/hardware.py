"""Hardware in Python: what methods of graphs and `synth` take of a run, and cells of an FPGA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from .common import PathLike, checked_key, given_or_default, path_of

if TYPE_CHECKING:
    from ..graphs.control import HardwareChoices
    from ..graphs.folding import Wanted
    from ..recipe.schema import Recipe
    from ..results.synthesis import SynthesisResult

__all__ = ["synth"]

T = TypeVar("T")


def synth(
    path: PathLike,
    fps: float | None = None,
    *,
    units: Sequence[str] = (),
    family: str = "",
    whole: bool = False,
    jobs: int | None = None,
    seconds: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    part: str | None = None,
    clock_mhz: float | None = None,
    folding: PathLike | None = None,
    fifo: int | None = None,
    fifo_depths: PathLike | None = None,
    control: bool | None = None,
    sets: int | None = None,
    protect: str | None = None,
    scrub: bool | None = None,
    primitives: str | None = None,
    input: str | None = None,
    top_k: int = 0,
    keep_shape: bool = False,
) -> SynthesisResult:
    """Map hardware to an FPGA's cells by yosys, unit by unit; what was mapped before is taken from the cache.

    Args:
        path: of a run, both of whose networks are mapped, of one of its networks, or of an ONNX file.
        units: names; empty: all.
        family: "xc7", "xcup", "ecp5" or "ice40"; empty: that of the part.
        whole: also map each network as one netlist.
        jobs: netlists at a time; None: one a processor, at most 4.
        seconds: that a netlist may take; None: as long as it takes.
        progress: is told netlists done and in all.
        fps, part, clock_mhz, folding, fifo, fifo_depths, control, sets, protect, scrub, primitives, top_k, keep_shape:
            as for `LoadedGraph.rtl`.
        input: as for `load`.

    Returns:
        `networks`: by "base" and "pruned", or by the graph's name, cells of units and their sum.

    Raises:
        Problem: as for `rtl`; no such unit or family; yosys fails, is missing (status 3) or takes too long (1).

    >>> bf.synth("net.onnx", fps=1000, units=["dense1"], family="ice40").networks["net"].total.lut > 0
    True
    """
    import os

    from ...build.synth.families import family as family_named
    from ...build.synth.families import family_of
    from ..commands import graphs
    from ..commands import synth as work
    from ..graphs.inputs import contract_of
    from ..graphs.of_runs import networks
    from ..graphs.synthesis import SynthOptions

    found = networks(Path(path), contract_of(input))
    wanted = wanted_of(part, clock_mhz, fps, folding, False, top_k, keep_shape, found.recipe)
    family = of_run(family or None, "synth.family", found.recipe)
    mapped = family_named(family) if family else family_of(wanted.part)
    how = SynthOptions(mapped, units, whole, jobs or min(4, len(os.sched_getaffinity(0))), seconds)
    fifos = graphs.Fifos(of_run(fifo, "rtl.fifo", found.recipe), path_of(fifo_depths))
    asked = choices_of(control, sets, protect, scrub, primitives, found.recipe)
    return work.synth(found.graphs, wanted, fifos, how, asked, progress)


def of_run(value: T | None, key: str, recipe: Recipe | None) -> T:
    """A value that is given, else the run's of a key "section.name", else the key's default.

    Raises:
        Problem: it is out of the key's range.
    """
    if value is None and recipe is not None:
        section, name = key.split(".")
        found: T = getattr(getattr(recipe, section), name)
        return found
    return given_or_default(value, key)


def choices_of(
    control: bool | None,
    sets: int | None,
    protect: str | None,
    scrub: bool | None,
    primitives: str | None,
    recipe: Recipe | None,
) -> HardwareChoices:
    """What is asked of hardware; None: what `of_run` says."""
    from ..graphs.control import HardwareChoices

    return HardwareChoices(
        of_run(control, "rtl.control", recipe),
        of_run(sets, "rtl.sets", recipe),
        of_run(protect, "rtl.protect", recipe),
        of_run(scrub, "rtl.scrub", recipe),
        of_run(primitives, "rtl.primitives", recipe),
    )


def wanted_of(
    part: str | None,
    clock_mhz: float | None,
    fps: float | None,
    folding: PathLike | None,
    finn_plus: bool,
    top_k: int,
    keep_shape: bool,
    recipe: Recipe | None,
) -> Wanted:
    """What a graph is folded for; None of part and clock: what `of_run` says. A run's graph is folded already."""
    from ..graphs.folding import Wanted
    from ..recipe.parts import part_of

    chip, clock = part_of(of_run(part, "target.part", recipe)), of_run(clock_mhz, "target.clock_mhz", recipe)
    rate = checked_key(fps, "target.fps")
    return Wanted(chip, clock, rate, path_of(folding), finn_plus, top_k, keep_shape, folded=recipe is not None)
