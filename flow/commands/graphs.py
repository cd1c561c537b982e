"""The work behind the commands on single graphs: simulate, speed, estimate, cycles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bnnflow import CHECK_FAILED, Problem

from ...transforms.ir.contract import InputContract
from ...transforms.ir.graph import Graph
from ...transforms.passes.compile import stages
from ..graphs.control import PLAIN, HardwareChoices
from ..graphs.folding import FPS, Folded, Wanted, compile_and_fold
from ..graphs.hardware import NOT_COUNTED, controlled
from ..graphs.inputs import input_held, load_json, open_graph
from ..results.costs import CostTarget, FifoRate, GraphCost, StreamedGraphCost, Unrolled
from ..results.speed import GraphSpeed
from ..results.timing import Cycles, TimedUnit
from ..run.files import move_into_place, temporary_beside
from ..run.folder import verify_recorded
from ..run.typed_json import extended

if TYPE_CHECKING:
    from ...build.calibrated.table import Table
    from ...build.cost_models import CostModel
    from ...build.rtl.control import Control


def simulate(
    graph: Graph,
    images: np.ndarray,
    labels: np.ndarray | None,
    batch: int | None = None,
    threads: int = 1,
    device: str = "cpu",
) -> tuple[np.ndarray, float | None, list[list[int]] | None]:
    """Class scores (N, classes) and, with labels, accuracy (0 to 1) and confusion: rows true, columns found classes.

    `device` is "cpu" for the compiled kernels, else one of `torch_engine.DEVICES`.

    Raises:
        Problem: shapes or values do not fit; no images; labels of another number; no such device.
    """
    from ...sim.engine.simulator import Simulator, class_count, classes_of
    from ...sim.images import checked_labels

    if images.shape[1:] != graph.input_type.shape and images.shape == graph.input_type.shape:
        images = images[None]
    if not len(images):
        raise Problem("there are no images", "input", "give at least one")
    if device == "cpu":
        scores = Simulator.of(graph, threads=threads).scores(images, batch)
    else:
        from ..device.engine import torch_simulator
        from ..recipe.objects import set_threads

        set_threads(threads)
        scores = torch_simulator(graph, device).scores(images, batch)
    if labels is None:
        return scores, None, None
    classes = class_count(graph)
    checked_labels(labels, len(images), classes)
    found = classes_of(graph, scores)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, found), 1)
    return scores, float(np.mean(found == labels)), confusion.tolist()


def taps(graph: Graph, images: np.ndarray, names: Sequence[str], threads: int = 1) -> dict[str, np.ndarray]:
    """Tensors of a graph for all images, by name.

    Raises:
        Problem: the graph has no such tensor.
    """
    from ...sim.engine.simulator import Simulator

    for name in names:
        if name not in graph.types:
            close = get_close_matches(name, graph.types, 3)
            hint = f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(graph.types)}"
            raise Problem(f"the graph has no tensor {name!r}", "--tap", hint)
    return Simulator.of(graph, threads=threads).tensors(images, taps=names) if names else {}


def save_results(output: Path, scores: np.ndarray, tensors: Mapping[str, np.ndarray]) -> list[str]:
    """Write scores as .npy or, by the name's ending, .csv; tensors beside them as <stem>.<tensor>.npy.

    Returns:
        the files' names.
    """
    files = result_files(output, list(tensors))
    for path, values in zip(files, (scores, *tensors.values()), strict=True):
        with temporary_beside(path) as temporary:
            with temporary.open("wb") as file:
                if path.suffix == ".csv":
                    np.savetxt(file, values, delimiter=",", fmt="%.17g")
                else:
                    np.save(file, values)
            move_into_place(temporary, path)
    return [str(path) for path in files]


def result_files(output: Path, names: Sequence[str]) -> list[Path]:
    """The files of class scores, and of tensors beside them."""
    return [output, *(output.with_name(f"{output.stem}.{name}.npy") for name in names)]


def estimate(
    graph: Graph,
    wanted: Wanted,
    model: str | None = None,
    fifos: Fifos | None = None,
    output: Path | None = None,
    with_unrolled: bool = False,
    own: Table | None = None,
    host: HardwareChoices = PLAIN,
) -> GraphCost:
    """Cost of a graph of any level, compiled, folded, and estimated.

    Args:
        graph: of any level.
        wanted: what to fold for.
        model: a name of `COST_MODELS`, which chooses the folding of a rate, too; None: `usual_model` of the part.
        fifos: add the rate with these FIFOs, simulated; None of networks so large that it takes long.
        output: write the folded graph, as ONNX and as text: a file's name ending in .onnx, or a folder.
        with_unrolled: add every MVAU with its weights built in.
        own: calibration of our own hardware, which is then the model; None: the one that comes with the package.
        host: what a host is to ask of our own hardware.

    Raises:
        Problem: it does not compile, the model is unknown, no folding reaches the rate, the folding file, the FIFO
            depths or codes do not fit, or the output cannot be written.
    """
    from ...build.cost import beyond, block_note, blocks_of, model_for, operations, usual_model
    from ...build.cost import estimate as count
    from ...build.cost_models.bnnflow import Bnnflow, unheeded
    from ...build.energy import SOURCE as ENERGY_SOURCE
    from ...build.schedule import cycles_for
    from ..graphs.figures import cost_counts
    from ..graphs.folded_files import places_of, write_folded
    from ..pruning.widths import widths_note

    named = Bnnflow.name if model is None and own is not None else model
    asked = None if named is None else model_for(named, wanted.part.family, own)
    files = None if output is None else places_of(output)
    made = compile_and_fold(graph, wanted if named is None else replace(wanted, cost_model=named, own=own))
    kind, note = usual_model(made.graph, wanted.part.family) if asked is None else (asked, "")
    counted, control, _ = controlled(made.graph, host)
    counts = asdict(operations(made.levels["xnor"])) if "xnor" in made.levels else {}
    chip, rate = wanted.part, wanted.fps
    if rate is None and made.chosen_by is not None:
        rate = FPS
    holds = {"lut": chip.lut, "bram18": blocks_of(chip, kind.name), "uram": chip.uram, "dsp": chip.dsp}
    given = fifos or Fifos()
    depths = given.own(made, wanted.finn_plus)
    rate_of = None if fifos is None else _rate(counted, wanted, given.depth, depths, control)
    if rate_of is not None:
        # What hardware is given: depths that keep the rate.
        depths |= rate_of.restoring_depths
    depth = given.depth or Fifos().depth
    notes = [note] if note else []
    if not isinstance(kind, Bnnflow) and chip.lut_inputs < 6:
        what = f"LUTs are counted as of 6 inputs; {chip.name} has {chip.lut_inputs}, so it takes more"
        notes.append(f"{what}: see `flow synth`")
    if isinstance(kind, Bnnflow) and (left := unheeded(made.graph)):
        notes.append(f"{left}: our own hardware has no such choice; `--cost-model exact` counts FINN's")
    if blocks := block_note(chip, kind):
        notes.append(blocks)
    if isinstance(kind, Bnnflow) and (rate_of is None or not given.depth or 0 in depths.values()):
        notes.append(f"FIFOs without a depth of their own are counted as {depth} words deep")
    slowest = max(unit.cycles for unit in count(made.graph).units)
    if said := widths_note(made.graph, slowest if rate is None else max(1, cycles_for(rate, wanted.clock_mhz))):
        notes.append(said)
    bounded = {name: words for name, words in depths.items() if words}
    if control is not None and not isinstance(kind, Bnnflow):
        notes.append(NOT_COUNTED)
    if host.primitives != PLAIN.primitives:
        notes.append(f"the run's hardware is of primitives of {host.primitives}, which are not counted")
    estimated = count(counted, kind, depth, bounded, control)
    figures = cost_counts(counted, estimated, wanted.clock_mhz, kind)
    if said := beyond(estimated, chip, kind):
        notes.append(f"more than {chip.name} has: {said}")
    if figures.clock is not None and figures.clock.fmax_mhz < wanted.clock_mhz:
        notes.append(
            f"{wanted.clock_mhz:g} MHz were asked for, more than the clock that is predicted: `flow route` places"
        )
    found = extended(
        GraphCost,
        figures,
        name=graph.name,
        input=input_held(made.graph),
        target=CostTarget(part=chip.name, clock_mhz=wanted.clock_mhz, fps=rate, folded_by=made.chosen_by, **holds),
        energy_source=ENERGY_SOURCE,
        notes=[*made.notes, *notes],
        files=None if files is None else write_folded(made.graph, files, wanted.finn_plus),
        unrolled=_unrolled(made.graph, kind) if with_unrolled else None,
        **counts,
    )
    return found if fifos is None else extended(StreamedGraphCost, found, fifos=rate_of)


def _unrolled(graph: Graph, kind: CostModel) -> Unrolled:
    from ...build.unrolled import source, unrolled

    return Unrolled(source=source(kind), layers=list(unrolled(graph, kind)))


@dataclass(frozen=True, slots=True)
class Fifos:
    """Depths of FIFOs as a user gives them: `depth` words but for those in a JSON file, 0 for unbounded ones."""

    depth: int = 2
    depths: Path | None = None

    def own(self, made: Folded, finn_plus: bool) -> dict[str, int]:
        """Depths of single FIFOs: of the file, else those that the folding file states.

        Raises:
            Problem: they do not fit the graph.
        """
        from ...sim.pipeline import fifo_names
        from ..graphs.fifo_depths import fifo_depths

        if self.depths is None and not made.fifos:
            return {}
        config = made.fifos if self.depths is None else load_json(self.depths, "file of FIFO depths")
        return fifo_depths(config, made.graph, fifo_names(made.graph), finn_plus)


def _rate(graph: Graph, wanted: Wanted, depth: int, own: Mapping[str, int], control: Control | None) -> FifoRate | None:
    from ..graphs.rates import affordable, rate

    if not affordable(graph):
        return None
    return rate(graph, depth, own, control=control).at(depth, own, wanted.clock_mhz)


def cycles(
    graph: Graph,
    wanted: Wanted,
    images: int,
    fifos: Fifos,
) -> Cycles:
    """Timing of a graph of any level, compiled and folded as for `estimate`, word by word.

    Args:
        graph: of any level.
        wanted: as for `estimate`.
        images: sent through.
        fifos: depths.

    Raises:
        Problem: as for `estimate`.
    """
    from ...build.cost import estimate as cost
    from ..graphs.rates import SOURCE, rate, timing_of

    made = compile_and_fold(graph, wanted)
    folded, clock_mhz, depth = made.graph, wanted.clock_mhz, fifos.depth
    own = fifos.own(made, wanted.finn_plus)
    both = rate(folded, depth, own, images, remedy=True)
    restored = both.at(depth, own, clock_mhz)
    found, stuck = both.given, both.given.deadlock
    if stuck is not None:
        found = timing_of(folded, images, depth, own | dict(stuck.enough))
    interval, fps = found.interval, found.fps(clock_mhz)
    assert found.latency is not None and interval is not None and fps is not None
    estimated = {unit.name: unit.cycles for unit in cost(folded).units}
    return Cycles(
        name=graph.name,
        input=input_held(folded),
        clock_mhz=clock_mhz,
        images=images,
        notes=list(made.notes),
        fifo_depth=depth,
        fifo_depths=own,
        source=SOURCE,
        interval_cycles=interval,
        intervals=list(found.intervals),
        fps=fps,
        latency_cycles=found.latency,
        latency_us=found.latency / clock_mhz,
        estimated_cycles=max(estimated.values()),
        estimated_fps=clock_mhz * 1e6 / max(estimated.values()),
        deep_interval_cycles=restored.deep_interval_cycles,
        deep_fps=restored.deep_fps,
        restoring_depths=restored.restoring_depths,
        units=[extended(TimedUnit, unit, estimated_cycles=estimated.get(unit.name)) for unit in found.units],
        fifos=list(found.fifos),
        deadlock=stuck,
    )


def speed(
    path: Path,
    count: int,
    threads: int,
    part_name: str,
    clock_mhz: float,
    fps: float,
    contract: InputContract | None = None,
) -> GraphSpeed:
    """Speed of a graph, compiled, in our simulator; of its file, if QONNX, in other programs; of its accelerator.

    Images are random. The network in torch is the one whose weights.pt lies beside the file.

    Args:
        path: ONNX file of any level.
        count: images a run.
        threads: processor threads.
        part_name, clock_mhz, fps: what the accelerator is folded for; one that no folding reaches is left out.
        contract: what the input holds, where the file does not say so.
    """
    from ...transforms.passes.compile import level_of
    from ..graphs.speed import Accelerator, network_rows, processor
    from ..recipe.parts import part_of
    from ..run.names import WEIGHTS

    graph = open_graph(path, contract)
    compiled = stages(graph)[-1].graph
    low, high, step = *compiled.input_type.range, compiled.input_type.step
    levels = np.random.default_rng(0).integers(0, (high - low) // step + 1, (count, *compiled.input_type.shape))
    images = low + step * levels
    if low >= 0 and high <= 255:
        images = images.astype(np.uint8)
    qonnx = path if level_of(graph) == "network" else None
    weights, network = path.with_name(WEIGHTS), None
    if qonnx is not None and weights.is_file():
        from ...models.files.saved import load_network

        verify_recorded(weights)
        network = load_network(weights)
    try:
        found = estimate(graph, Wanted(part_of(part_name), clock_mhz, fps))
    except Problem as problem:
        if problem.status != CHECK_FAILED:
            raise
        accelerator, reason = None, problem.what
    else:
        accelerator, reason = Accelerator(found.target.part, clock_mhz, fps, found.fps, found.latency_us), ""
    rows, missing = network_rows(qonnx, compiled, images, threads, network, accelerator, reason)
    return GraphSpeed(device=processor(), threads=threads, input=input_held(compiled), rows=rows, missing=missing)
