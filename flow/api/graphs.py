"""Graphs in Python: `load` opens one of any level; its methods compile, simulate, prune, estimate and time it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ..run.files import check_file, check_folder
from .arguments import DATA, Bounds, Changes, Count, Natural, PathLike, Void, checked_arguments
from .common import array_of, changes_of, given_or_default, path_of
from .graph_hardware import GraphHardware
from .graph_pruning import GraphPruning
from .hardware import choices_of, of_run, table_of, wanted_of

if TYPE_CHECKING:
    import numpy as np

    from ...transforms.ir.graph import Graph
    from ..commands.graphs import Fifos
    from ..recipe.schema import Recipe
    from ..results.costs import GraphCost
    from ..results.graphs import CheckResult, CompileResult, Simulation
    from ..results.timing import Cycles

__all__ = ["LoadedGraph", "check", "compile_file", "load"]


def _is_recipe(path: PathLike) -> bool:
    return Path(path).suffix in (".yaml", ".yml")


@checked_arguments()
def load(path: PathLike, input: str | None = None) -> LoadedGraph:
    """Open an ONNX file of any level: QONNX, streamlined, or dataflow units.

    Args:
        path: of the file, or of a run: its pruned network as it is folded, else its base; RUN/base is that.
        input: what its input holds, where the file does not say so: "uint8", "pixels/255", "normalize(0.5,0.5)",
            "int8", "bipolar", "fixed<8,4>", a formula such as "int8/128", or "float".

    Raises:
        Problem: the file is missing, damaged, or holds what cannot be read.

    >>> g = bf.load("net.onnx", input="uint8")
    >>> g.level
    'network'
    """
    from ..graphs.inputs import contract_of
    from ..graphs.of_runs import networks

    found = networks(Path(path), contract_of(input))
    return LoadedGraph(found.graphs[found.first], found.files[found.first], found.recipe)


@checked_arguments(Void(("changes",), lambda values: _is_recipe(values["path"]), "in a network"))
def check(path: PathLike, input: str | None = None, changes: Changes = ()) -> CheckResult:
    """Say what becomes of every operator of a recipe's network or an ONNX file; nothing is trained or written.

    Args:
        path: of a recipe (.yaml) or an ONNX file.
        input: what an ONNX file's input holds, as for `load`.
        changes: of a recipe, {"train.epochs": 3}.

    Returns:
        `operators`, `notes`, and `problem`: the first reason why it does not compile, or None.

    >>> bf.check("net.onnx", input="uint8").problem is None
    True
    """
    from ..commands import check as work

    return work.check(Path(path), input, changes_of(changes))


@checked_arguments()
def compile_file(
    path: PathLike,
    folder: PathLike | None = None,
    *,
    to: str = "dataflow",
    check: bool = False,
    dump: bool = False,
    finn_base: bool = False,
    finn_plus: bool = False,
    input: str | None = None,
    top_k: Natural = 0,
    keep_shape: bool = False,
) -> CompileResult:
    """Compile an ONNX file and write every level behind it, as ONNX and as text.

    Args:
        path: of the file.
        folder: for the files; None: <name>_compiled.
        to: last level: "integer", "xnor" or "dataflow".
        check: stop at the pass that changes a bit on probe images.
        dump: leave every pass's graph in folder/passes.
        finn_base: write the integer and xnor levels as finn-base 0.0.3 loads them.
        finn_plus: use the units and names of finn-plus 1.6.
        input: what the file's input holds, as for `load`.
        top_k: add LabelSelect for the top-k classes where the network has none; 0: do not.
        keep_shape: keep neurons that are constant, repeated or never read.

    Raises:
        Problem: the file cannot be read or compiled, or (status 1) a pass changed a bit.

    >>> bf.compile_file("net.onnx", "compiled", input="uint8", check=True).files[-2:]
    ['3_dataflow.onnx', '3_dataflow.txt']
    """
    from ..commands import compile as work
    from ..graphs.inputs import contract_of

    place = Path(folder) if folder is not None else Path(f"{Path(path).stem}_compiled")
    check_folder(place)
    more: dict[str, Any] = {"contract": contract_of(input), "top_k": top_k, "keep_shape": keep_shape}
    return work.compile_file(Path(path), place, to, check, dump, finn_base, finn_plus, **more)


@dataclass(frozen=True, slots=True)
class LoadedGraph(GraphHardware, GraphPruning):
    """A graph and the file that it comes from.

    Attributes:
        graph: the graph itself; `str(graph)` is its text.
        path: of its file.
        recipe: of the run whose network it is; None of a file.
    """

    graph: Graph = field(repr=False)
    path: Path
    recipe: Recipe | None = field(default=None, repr=False)

    @property
    def level(self) -> str:
        """How far it is compiled: "network", "integer", "xnor" or "dataflow"."""
        from ...transforms.passes.compile import level_of

        return level_of(self.graph)

    @checked_arguments()
    def compile(
        self, to: str = "dataflow", *, finn_plus: bool = False, top_k: int = 0, keep_shape: bool = False
    ) -> LoadedGraph:
        """The graph of a later level; `compile_file` also writes and checks it.

        Args:
            to: "integer", "xnor" or "dataflow".
            finn_plus, top_k, keep_shape: as for `compile_file`.

        Raises:
            Problem: it does not compile, or has no such level.

        >>> g.compile("xnor").level
        'xnor'
        """
        from bnnflow import Problem

        from ...transforms.passes.compile import stages
        from ...transforms.passes.ranked import ranked

        made = stages(ranked(self.graph, top_k), finn_plus=finn_plus, keep_shape=keep_shape)
        levels = {stage.level: stage.graph for stage in made}
        if to not in levels:
            raise Problem(f"there is no level {to!r} to compile to", "to", f"levels are: {', '.join(levels)}")
        return LoadedGraph(levels[to], self.path)

    @checked_arguments(DATA)
    def simulate(
        self,
        images: np.ndarray | PathLike | None = None,
        labels: np.ndarray | PathLike | None = None,
        *,
        data: str = "",
        data_dir: PathLike | None = None,
        count: Count | None = None,
        batch: Count | None = None,
        threads: int | None = None,
        device: str = "cpu",
        taps: Sequence[str] = (),
        output: PathLike | None = None,
    ) -> Simulation:
        """Run the graph bit for bit.

        Args:
            images: (N, C, H, W), or an .npy file: integers as the data are, or floats as the network was trained on.
            labels: (N,), or an .npy file, for the accuracy.
            data: a data set's test images, in place of both: "digits", "mnist", ...
            data_dir: folder of its files; None: the usual places.
            count: only the first so many; None: all.
            batch: images at a time; None: what suits the network.
            threads: processor threads, on which no bit depends; None: the recipe's default for speed.
            device: "cpu", "cuda" (a GPU by torch) or "cpu-torch"; the same bits on all.
            taps: tensors that are written beside `output`.
            output: .npy or .csv file for the scores.

        Returns:
            `scores` (N, classes) and, with labels, `accuracy` (0 to 1) and `confusion`.

        Raises:
            Problem: shapes, values or labels do not fit; no images; no such data set, tensor or device.

        >>> found = g.simulate(x, y)
        >>> found.scores.shape
        (20, 10)
        """
        from ..commands import simulation as work

        given = work.Images(array_of(images), array_of(labels), data, path_of(data_dir), count)
        return work.simulate(
            self.graph,
            given,
            self.path,
            batch=batch,
            threads=given_or_default(threads, "speed.threads"),
            device=device,
            taps=taps,
            output=path_of(output),
        )

    @checked_arguments()
    def estimate(
        self,
        fps: float | None = None,
        *,
        part: str | None = None,
        clock_mhz: float | None = None,
        folding: PathLike | None = None,
        cost_model: str | None = None,
        calibration: PathLike | None = None,
        fifo: Natural | None = None,
        fifo_depths: PathLike | None = None,
        finn_plus: bool = False,
        top_k: Natural = 0,
        keep_shape: bool = False,
        output: PathLike | None = None,
        unrolled: bool = False,
        control: bool | None = None,
        sets: int | None = None,
        protect: str | None = None,
        scrub: bool | None = None,
    ) -> GraphCost:
        """Fold the graph for a rate and estimate cycles, LUTs and block RAMs of every unit.

        Args:
            fps: images per second to fold for; None: the recipe's default, or what the graph or `folding` is
                folded for.
            part: FPGA part; None: the recipe's default.
            clock_mhz: None: the recipe's default.
            folding: FINN's folding file (.json); with `fps`, that is for what the file leaves out.
            cost_model: what folds and counts: "bnnflow" (our own hardware), or, folded by FINN's formulas, "exact"
                (FINN's, with widths that hold every sum), "finn" (FINN's figures digit for digit) or "bits"; None:
                "bnnflow", or "exact" for parts that it is not calibrated for.
            calibration: file of `bf.calibrate`, by which our own hardware is counted; None: the package's table.
            fifo: depth of every FIFO, in words; 0: unbounded; None: the run's `rtl.fifo`, or 2.
            fifo_depths: JSON file with depths of single FIFOs.
            finn_plus, top_k, keep_shape: as for `compile_file`.
            output: file (.onnx) or folder for the folded graph.
            unrolled: also count every layer with its weights built in.
            control, sets, protect, scrub: as for `rtl`: registers, and memories that a host writes or that lie in a
                code, of our own hardware.

        Raises:
            Problem: it does not compile; an unknown part; (status 1) no folding reaches the rate; a folding file or
                FIFO depths that do not fit.

        >>> cost = g.estimate(fps=100_000)
        >>> cost.fps >= 100_000
        True
        """
        from ..commands import graphs

        place = path_of(output)
        if place is not None and place.suffix:
            check_file(place, (".onnx",), [self.path, path_of(folding)])
        wanted = wanted_of(part, clock_mhz, fps, folding, finn_plus, top_k, keep_shape, self.recipe)
        depths = self._fifos(fifo, fifo_depths)
        own = table_of(calibration)
        host = choices_of(control, sets, protect, scrub, None, self.recipe)
        return graphs.estimate(self.graph, wanted, cost_model, depths, place, unrolled, own, host)

    @checked_arguments()
    def cycles(
        self,
        fps: float | None = None,
        *,
        part: str | None = None,
        clock_mhz: float | None = None,
        folding: PathLike | None = None,
        count: Annotated[int, Bounds(least=2)] = 3,
        fifo: Natural | None = None,
        fifo_depths: PathLike | None = None,
        finn_plus: bool = False,
        top_k: Natural = 0,
        keep_shape: bool = False,
    ) -> Cycles:
        """Fold the graph for a rate and simulate when every word moves; a deadlock is found, not raised.

        Args:
            fps, part, clock_mhz, folding, fifo, fifo_depths, finn_plus, top_k, keep_shape: as for `estimate`.
            count: images to send, one behind the other; 2 at least, of which a rate can be told.

        Raises:
            Problem: as for `estimate`.

        >>> g.cycles(fps=1000).deadlock is None
        True
        """
        from ..commands import graphs

        wanted = wanted_of(part, clock_mhz, fps, folding, finn_plus, top_k, keep_shape, self.recipe)
        return graphs.cycles(self.graph, wanted, count, self._fifos(fifo, fifo_depths))

    def _fifos(self, fifo: int | None, depths: PathLike | None) -> Fifos:
        from ..commands.graphs import Fifos

        return Fifos(of_run(None, "rtl.fifo", self.recipe) if fifo is None else fifo, path_of(depths))
