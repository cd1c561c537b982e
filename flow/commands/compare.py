"""The work behind `flow compare`: runs side by side, and their pruned networks beside the unpruned ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

from ...build.cost import blocks_of
from ...build.parts import Part
from ...build.rate_folding import fold_for_rate
from ...build.schedule import cycles_for
from ...build.synth.families import family
from ...transforms.ir.graph import Graph
from ...transforms.reading.read import read
from ..graphs.comparison import NETWORKS, Mapped, Sized, Target, compare_hardware
from ..graphs.control import PLAIN, choices_of
from ..graphs.fitting import too_much
from ..graphs.hardware import hardware_of
from ..graphs.rates import FIFO
from ..graphs.synthesis import Progress, SynthOptions, kept_synthesis, mapped
from ..recipe.of_runs import recipe_of
from ..recipe.parts import target_part
from ..recipe.schema import Recipe
from ..results.compared_runs import RunsCompared
from ..results.comparison import AccuracyCandidate, EqualAccuracy, HardwareComparison, NotCompared
from ..results.summary import Summary
from ..results.synthesis import Synthesis
from ..run.folder import Run
from ..run.names import LEVEL_FILES
from ..run.tools import synthesis_tool, yosys_command
from ..stages.summary import read_summary

# Words of an image up to which FIFOs are sized: about a minute.
_MOST_WORDS = 2_000_000
_NORMAL = 1.96


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a comparison.

    Attributes:
        loss: accuracy that a network of equal accuracy may lose, 0 to 1.
        fps: images per second at equal rate; None: each run's own.
        part: whose resources are equal; None: those that each unpruned network takes, on its run's part.
        synth: have yosys map the designs; else what the run or the cache holds of them is taken.
        jobs: netlists at a time.
        progress: is told netlists done and in all.
    """

    loss: float = 0.01
    fps: float | None = None
    part: Part | None = None
    synth: bool = False
    jobs: int = 1
    progress: Progress = lambda done, total: None

    @property
    def anew(self) -> bool:
        """Whether networks are folded otherwise than their runs compared them."""
        return self.fps is not None or self.part is not None or self.synth


@dataclass(frozen=True, slots=True)
class _Compared:
    """A run whose networks are compared.

    Attributes:
        summary: the run's.
        built, cost_model: the part that the run is for, and what counted there.
        part: that `found` is of.
        found: at equal rate and resources.
    """

    summary: Summary
    built: Part
    cost_model: str
    part: Part
    found: HardwareComparison


def compare(runs: Sequence[Path], asked: Asked) -> RunsCompared:
    """Compare runs, and in each the pruned network with the unpruned one at equal rate, resources and accuracy.

    Args:
        runs: folders.
        asked: what for.

    Raises:
        Problem: as `read_summary`; status 1: a network cannot be folded for the rate that is asked for; status 3: yosys
            is asked for and missing.
    """
    tool = synthesis_tool() if asked.synth else None
    summaries = [read_summary(run) for run in runs]
    notes: list[str] = []
    compared: list[_Compared] = []
    for folder, summary in zip(runs, summaries, strict=True):
        if summary.pruned is None:
            notes.append(f"{summary.folder}: no network is pruned here, so there is nothing to compare with")
            continue
        run = Run.find(folder)
        assert run is not None, "its summary was read"
        recipe = recipe_of(run)
        built = target_part(recipe)
        part = asked.part or built
        known = None if asked.anew else summary.comparison
        if known is None:
            known = _anew(run, recipe, part, asked)
        compared.append(_Compared(summary, built, recipe.target.cost_model, part, known))
    if tool is None and asked.anew and yosys_command() is None:
        notes.append("yosys is not installed: no synthesized figures of foldings other than the runs'")
    accuracy = [*_among_runs(compared, asked.loss, notes), *_among_rounds(compared, asked.loss, notes)]
    return RunsCompared(runs=summaries, hardware=[each.found for each in compared], accuracy=accuracy, notes=notes)


def _anew(run: Run, recipe: Recipe, part: Part, asked: Asked) -> HardwareComparison:
    """Both networks of a run folded for what is asked, and compared."""
    target, fps = recipe.target, asked.fps or recipe.target.fps
    graphs: dict[str, Graph] = {}
    for name in NETWORKS:
        graph = read(run.path(f"{name}/{LEVEL_FILES['dataflow']}"))
        graphs[name] = fold_for_rate(graph, fps, target.clock_mhz, part, target.cost_model, too_much=too_much).graph
    wanted = Target(
        part,
        target.clock_mhz,
        cycles_for(fps, target.clock_mhz),
        target.cost_model,
        whole_part=asked.part is not None,
        words=_MOST_WORDS,
        host=choices_of(recipe.rtl) if recipe.rtl.enabled else PLAIN,
    )
    return compare_hardware(recipe.name, graphs, wanted, _mapper(wanted, asked))


def _mapper(wanted: Target, asked: Asked) -> Mapped:
    """What gives the synthesis of folded networks: of the cache alone, or by yosys."""

    def found(given: Mapping[str, Sized]) -> Mapping[str, Synthesis]:
        # FIFOs that were not sized are not those of the hardware.
        part = wanted.part
        if not part.family or yosys_command() is None or any(one.interval is None for one in given.values()):
            return {}
        how, tool = SynthOptions(family(part.family), jobs=asked.jobs), synthesis_tool()
        made = {
            name: hardware_of(one.graph, FIFO, one.depths, wanted.clock_mhz, wanted.host) for name, one in given.items()
        }
        if asked.synth:
            return mapped({name: (one, ()) for name, one in made.items()}, how, tool, asked.progress).networks
        known = {name: kept_synthesis(one, how, tool) for name, one in made.items()}
        return {name: one for name, one in known.items() if one is not None}

    return found


def _among_runs(compared: Sequence[_Compared], loss: float, notes: list[str]) -> list[EqualAccuracy]:
    """The smallest of all runs' pruned networks that is as accurate as the first run's unpruned one, on test images."""
    if not compared:
        return []
    first = compared[0]
    images = first.summary.data.test
    alike = [each for each in compared if _same(each) == _same(first)]
    for other in compared:
        if other not in alike:
            why = f"images, part, clock or rate are not those of {first.summary.folder}"
            notes.append(f"{other.summary.folder}: {why}: accuracies are not compared")
    unpruned = _network(first, "base", first.summary.base.accuracy_hw, images, loss)
    if unpruned is None:
        return []
    made = (_network(each, "pruned", unpruned.accuracy, images, loss) for each in alike)
    candidates = [one for one in made if one is not None]
    costs = f"estimated, at equal rate: at most {_cycles(first)} cycles an image on {first.part.name}"
    return [_equal(loss, f"{images:,} test images", costs, unpruned, candidates)]


def _cycles(of: _Compared) -> str:
    return "" if isinstance(of.found.rate, NotCompared) else f"{of.found.rate.cycles_asked:,}"


def _same(of: _Compared) -> tuple[object, ...]:
    """What must be the same for accuracies and costs of two runs to be compared."""
    data = of.summary.data
    return (data.name, data.test, dict(data.files), of.part, of.found.clock_mhz, of.found.cost_model, _cycles(of))


def _network(of: _Compared, name: str, reference: float, images: int, loss: float) -> AccuracyCandidate | None:
    if isinstance(of.found.rate, NotCompared):
        return None
    folded = of.found.rate.base if name == "base" else of.found.rate.pruned
    accuracy = of.summary.networks[name].accuracy_hw
    spread = sum(each * (1 - each) / images for each in (accuracy, reference)) if name != "base" else 0.0
    taken = folded.estimated
    cost = {"lut": taken.lut, "bram18": taken.bram18, "cycles": folded.cycles}
    there = (of.part.lut, blocks_of(of.part, of.found.cost_model))
    return _candidate(of, there, name, accuracy, reference, _NORMAL * sqrt(spread), loss, cost)


def _candidate(
    of: _Compared,
    there: tuple[int, int],
    network: str,
    accuracy: float,
    reference: float,
    half_width: float | None,
    loss: float,
    cost: Mapping[str, float],
) -> AccuracyCandidate:
    """A network of a run; `there` are LUTs and block RAMs of the part that its cost is of, as its cost counts them."""
    lut, rams = round(cost["lut"]), round(cost["bram18"])
    lost = round(reference - accuracy, 9)
    return AccuracyCandidate(
        run=of.summary.folder or of.summary.name,
        network=network,
        accuracy=accuracy,
        loss=lost,
        half_width=half_width,
        within=lost <= loss,
        lut=lut,
        bram18=rams,
        cycles=round(cost["cycles"]),
        share=round(sum(taken / most for taken, most in zip((lut, rams), there, strict=True) if most), 6),
    )


def _among_rounds(compared: Sequence[_Compared], loss: float, notes: list[str]) -> list[EqualAccuracy]:
    """The smallest network of each run's rounds of pruning that is as accurate as its unpruned one, on images held out.

    Rounds that were undone are no networks of the run.
    """
    made = []
    for each in compared:
        pruning = each.summary.pruning
        rounds = [] if pruning is None else [step for step in pruning.steps if step.cost and not step.rolled_back]
        if pruning is None or not pruning.unpruned or not rounds:
            notes.append(f"{each.summary.folder}: costs of its rounds are not known, or all were undone")
            continue
        reference = pruning.held_out_accuracy
        there = (each.built.lut, blocks_of(each.built, each.cost_model))
        unpruned = _candidate(each, there, "base", reference, reference, None, loss, pruning.unpruned)
        candidates = [
            _candidate(each, there, f"step {step.step}", step.accuracy_after, reference, None, loss, step.cost or {})
            for step in rounds
        ]
        target = each.summary.target
        costs = f"estimated as pruning counts them, for {target.fps:,.0f} images/s on {target.part}"
        judged = pruning.judged_on or "held-out training images"
        made.append(_equal(loss, judged, costs, unpruned, candidates))
    return made


def _equal(
    loss: float, judged_on: str, costs: str, unpruned: AccuracyCandidate, candidates: list[AccuracyCandidate]
) -> EqualAccuracy:
    within = [place for place, one in enumerate(candidates) if one.within]
    smallest = min(within, key=lambda place: (candidates[place].share, -candidates[place].accuracy), default=None)
    return EqualAccuracy(
        tolerance=loss, judged_on=judged_on, costs=costs, unpruned=unpruned, candidates=candidates, smallest=smallest
    )
