"""The work behind `flow compile`: an ONNX file through every level, with what is seen on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bnnflow import Problem

from ...transforms.ir.contract import InputContract
from ...transforms.ir.graph import Graph
from ...transforms.passes.compile import LEVEL_NAMES, Stage, stages
from ...transforms.passes.ranked import left_to_host, ranked
from ...transforms.passes.rewrite import Pass, Rewritten
from ...transforms.writing.write import write
from ..graphs.inputs import input_held, open_graph
from ..results.graphs import CompileResult, LevelSize, PassRow
from ..run.files import explain, write_whole

FILES = {"integer": "1_integer", "xnor": "2_xnor", "dataflow": "3_dataflow"}
_PROBES = 4
_FLOAT_PROBES = 32


@dataclass(slots=True)
class Watch:
    """Observer of the passes: times them, checks them on probe images, and leaves each one's result in a folder.

    Attributes:
        check: simulate probes before and after each pass, and stop at the pass that changed a bit.
        dump: folder for the graph behind each pass, as text and as ONNX; None for none.
        rows: one a pass, in order.
        unwritten: which graphs ONNX cannot hold, and why.
    """

    check: bool = False
    dump: Path | None = None
    rows: list[PassRow] = field(default_factory=list)
    unwritten: list[str] = field(default_factory=list)
    _started: float = field(default_factory=time.process_time)

    def __call__(self, step: Pass, before: Graph, result: Rewritten) -> None:
        """Record one pass; raises Problem (status 1) where its result differs from what it was given."""
        seconds = time.process_time() - self._started
        compared = self._compare(step, before, result) if self.check else 0
        self.rows.append(PassRow(step.name, seconds, len(before.nodes), len(result.graph.nodes), compared))
        if self.dump is not None:
            self._write(self.dump, f"{len(self.rows):02d}_{step.name}", result.graph)
        self._started = time.process_time()

    def _write(self, folder: Path, name: str, graph: Graph) -> None:
        """The text of a graph, and beside it what viewers of ONNX open, or nothing where ONNX cannot hold it."""
        write_whole(folder / f"{name}.txt", str(graph).encode())
        model = folder / f"{name}.onnx"
        try:
            whole = write(graph).SerializeToString()
        except Problem as problem:
            self.unwritten.append(f"passes/{model.name} is not written, ONNX cannot hold this graph: {problem.what}")
            _removed(model)
            return
        write_whole(model, whole)

    @staticmethod
    def _compare(step: Pass, before: Graph, result: Rewritten) -> int:
        from ...sim.verify import Level, verify

        levels = [
            Level("input", before),
            Level(f"{step.name} pass's", result.graph, result.equivalences, result.float_ties),
        ]
        return verify(levels, probes(before, _PROBES))[0].values


def probes(graph: Graph, count: int) -> np.ndarray:
    """Data of a graph's integer input: the least and the greatest value everywhere, then random ones."""
    kind = graph.input_type
    low, high, step = *kind.range, kind.step
    made = low + step * np.random.default_rng(0).integers(0, (high - low) // step + 1, (count, *kind.shape))
    made[0], made[1] = low, high
    return made


def compile_file(
    path: Path,
    folder: Path,
    to: str = "dataflow",
    check: bool = False,
    dump: bool = False,
    finn_base: bool = False,
    finn_plus: bool = False,
    contract: InputContract | None = None,
    announce: Callable[[str], None] = lambda text: None,
    top_k: int = 0,
    keep_shape: bool = False,
) -> CompileResult:
    """Compile an ONNX file of any level and write the levels behind it into a folder, as ONNX and as text.

    Levels behind the last that an earlier compilation left in the folder are removed.

    Args:
        path: the file.
        folder: made where it is missing.
        to: the last level.
        check: compare every pass's result with its input on probes, and the last with the network on floats as the
            file holds it, given what its input contract makes of the probes.
        dump: leave the graph behind every pass in folder/passes, as text and as ONNX.
        finn_base: write the integer and xnor levels as finn-base 0.0.3 loads them; it has no dataflow units.
        finn_plus: lower to finn-plus' units.
        contract: what the input holds, where the file does not say so.
        announce: called with each level's name before it is written.
        top_k: add the choice of the top-k classes where the network has none; 0 for none.
        keep_shape: keep neurons that are constant, repeated or never read.

    Raises:
        Problem: the file cannot be read or compiled, or (status 1) a pass changed a bit.
    """
    if to not in FILES:
        raise Problem(f"there is no level {to!r} to compile to", "--to", f"levels are: {', '.join(FILES)}")
    started = time.process_time()
    graph = ranked(open_graph(path, contract), top_k)
    read_seconds = time.process_time() - started
    watch = Watch(check, folder / "passes" if dump else None)
    if watch.dump is not None:
        _made(watch.dump)
    made = stages(graph, observe=watch, finn_plus=finn_plus, keep_shape=keep_shape)
    if LEVEL_NAMES.index(made[0].level) >= LEVEL_NAMES.index(to):
        raise Problem(f"this graph is at the {made[0].level} level already", str(path), "give a later level with --to")
    if check and graph.input_type.is_float:
        watch.rows.append(_against_floats(graph, made))
    files: list[str] = []
    _clear(folder, to, path)
    for stage in made[1 : LEVEL_NAMES.index(to) - LEVEL_NAMES.index(made[0].level) + 1]:
        announce(stage.level)
        files += _write(stage, _made(folder), finn_base, finn_plus)
    return CompileResult(
        graph=str(path),
        folder=str(folder),
        input=input_held(made[-1].graph),
        files=files,
        read_seconds=read_seconds,
        levels=[LevelSize(level=stage.level, operations=len(stage.graph.nodes)) for stage in made],
        passes=watch.rows,
        checked=check,
        notes=[
            *(note for stage in made for note in stage.notes),
            *watch.unwritten,
            *left_to_host(made[-1].graph, top_k),
        ],
    )


def _against_floats(graph: Graph, made: Sequence[Stage]) -> PassRow:
    """Hold the last level against the network on floats, on inputs of its real range."""
    from ...sim.engine.simulator import Simulator
    from ...sim.inputs import float_inputs
    from ...sim.verify import images_with_float_ties, verify_scores

    first, last = made[0].graph, made[-1].graph
    data = probes(first, _FLOAT_PROBES)
    started = time.process_time()
    scores = Simulator.of(graph).scores(float_inputs(first, data).astype(np.float64))
    float_ties = [each for stage in made for each in stage.float_ties]
    found = verify_scores("compiled", last, data, scores, images_with_float_ties(first, float_ties, data))
    seconds = time.process_time() - started
    return PassRow("all, against floats", seconds, len(graph.nodes), len(last.nodes), found.values)


def _clear(folder: Path, to: str, source: Path) -> None:
    """Remove the levels behind `to` that an earlier compilation left: they may be of another network."""
    levels = list(FILES)
    for level in levels[levels.index(to) + 1 :]:
        for stale in (folder / f"{FILES[level]}.onnx", folder / f"{FILES[level]}.txt"):
            if stale.resolve() != source.resolve():
                _removed(stale)


def _removed(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise explain(error, path) from error


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Problem(f"the folder cannot be made: {error.strerror}", str(folder), "give another with -o") from error
    return folder


def _write(stage: Stage, folder: Path, finn_base: bool, finn_plus: bool) -> list[str]:
    model = write(stage.graph, finn_plus)
    if finn_base and stage.level != "dataflow":
        from ...transforms.writing.finn_base import for_finn_base

        model = for_finn_base(model)
    name = FILES[stage.level]
    write_whole(folder / f"{name}.onnx", model.SerializeToString())
    write_whole(folder / f"{name}.txt", str(stage.graph).encode())
    return [f"{name}.onnx", f"{name}.txt"]
