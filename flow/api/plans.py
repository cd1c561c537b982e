"""Plans against faults in Python: how bad memories may be, what is worth a code, and what a stuck PE is to compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import DATA, FOLDED, Bit, Count, Jobs, Natural, PathLike, Rate, Share, Void, checked_arguments
from .common import array_of, folding_of, given_or_default, path_of

if TYPE_CHECKING:
    import numpy as np

    from ..results.planning import ProtectionPlan, TolerancePlan
    from ..results.stuck_pes import ReplicationPlan, StuckPlan

__all__ = ["permute", "protect", "replicate", "tolerance"]

GRID = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 2e-2, 3e-2, 5e-2, 1e-1, 2e-1)
CODES = ("secded-72-64", "tmr")


@checked_arguments(DATA)
def tolerance(
    path: PathLike,
    images: np.ndarray | PathLike | None = None,
    labels: np.ndarray | PathLike | None = None,
    *,
    data: str = "",
    data_dir: PathLike | None = None,
    count: Count = 2000,
    grid: Sequence[float] = GRID,
    loss: Share = 0.01,
    target: str = "weights",
    maps: int | None = None,
    seed: int | None = None,
    store: PathLike | None = None,
    jobs: Jobs | None = None,
    output: PathLike | None = None,
    input: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> TolerancePlan:
    """How high a bit error rate each memory stands, with all of them at theirs.

    Args:
        path: ONNX file of any level.
        images, labels: arrays or .npy files, or
        data, data_dir: a data set's test images; without any: those of the run that the graph belongs to.
        count: images; every second one chooses, the others judge.
        grid: bit error rates that a memory may have, ascending from above 0.
        loss: accuracy that may be lost on the images that choose, 0 to 1.
        target: "weights", "thresholds" or "weights+thresholds".
        maps: fault maps of each measurement.
        seed: of the maps that choose; those that judge have the next.
        store: SQLite file of results; an interrupted search goes on.
        jobs: processes.
        output: .csv of the rates, which `faults(table=...)` reads.
        input: what the file's input holds, as for `load`.
        progress: called with measurements done and the most that there can be.

    Raises:
        Problem: what does not fit the graph; the lowest rate costs more than the loss (status 1).

    >>> plan = bf.tolerance("net.onnx", x, y, grid=[1e-6, 0.5], loss=0.1, maps=2, input="uint8")
    >>> sorted({row.rate for row in plan.rates} - {1e-6, 0.5})
    []
    """
    from ..commands import fault_planning as work
    from ..commands.faults import FaultedGraph
    from ..commands.simulation import Images
    from ..graphs.inputs import contract_of

    how = work.Measuring(
        target,
        given_or_default(maps, "faults.maps"),
        given_or_default(seed, "seed"),
        path_of(store),
        given_or_default(jobs, "faults.jobs"),
    )
    given = Images(array_of(images), array_of(labels), data, path_of(data_dir), count)
    source = FaultedGraph(Path(path), contract_of(input))
    return work.tolerance(source, given, list(grid), loss, how, path_of(output), progress)


@checked_arguments(DATA, *FOLDED)
def protect(
    path: PathLike,
    images: np.ndarray | PathLike | None = None,
    labels: np.ndarray | PathLike | None = None,
    *,
    rate: Rate,
    data: str = "",
    data_dir: PathLike | None = None,
    count: Count = 2000,
    codes: Sequence[str] = CODES,
    loss: Share = 0.002,
    target: str = "weights",
    maps: int | None = None,
    seed: int | None = None,
    fps: float | None = None,
    folding: PathLike | None = None,
    pe_simd: str = "",
    part: str | None = None,
    clock_mhz: float | None = None,
    store: PathLike | None = None,
    jobs: Jobs | None = None,
    output: PathLike | None = None,
    input: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ProtectionPlan:
    """Which memories to protect, and by which code: the front of accuracy against LUTs and block RAMs.

    Args:
        path, images, labels, data, data_dir, count, target, maps, seed, store, jobs, input: as for `tolerance`.
        rate: bit error rate of all memories, above 0 to 1.
        codes: that a memory may have.
        loss: that the plan which is written may have, on the images that judge, 0 to 1.
        fps, folding, pe_simd, part, clock_mhz: how the graph is folded, as for `faults`.
        output: .json of the plan, which `rtl(protect=...)` and `faults(protections=[...])` read.
        progress: called with measurements done and about how many there will be.

    Raises:
        Problem: what does not fit the graph; a graph that is not folded.

    >>> bf.protect("net.onnx", x, y, rate=0.01, maps=2, pe_simd="1,1", input="uint8").front[0].protect
    'none'
    """
    from ..commands import fault_planning as work
    from ..commands.faults import FaultedGraph
    from ..commands.simulation import Images
    from ..graphs.inputs import contract_of

    how = work.Measuring(
        target,
        given_or_default(maps, "faults.maps"),
        given_or_default(seed, "seed"),
        path_of(store),
        given_or_default(jobs, "faults.jobs"),
    )
    fold = folding_of(fps, folding, pe_simd, part, clock_mhz)
    given = Images(array_of(images), array_of(labels), data, path_of(data_dir), count)
    source = FaultedGraph(Path(path), contract_of(input), fold)
    return work.protect(source, given, rate, list(codes), loss, how, path_of(output), progress)


@checked_arguments(DATA, *FOLDED)
def permute(
    path: PathLike,
    images: np.ndarray | PathLike | None = None,
    labels: np.ndarray | PathLike | None = None,
    *,
    data: str = "",
    data_dir: PathLike | None = None,
    count: Count = 2000,
    units: Sequence[str] = (),
    pe: Natural | None = None,
    stuck: Bit | None = None,
    by: str = "accuracy",
    together: bool = True,
    fps: float | None = None,
    folding: PathLike | None = None,
    pe_simd: str = "",
    part: str | None = None,
    clock_mhz: float | None = None,
    output: PathLike | None = None,
    input: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> StuckPlan:
    """What a stuck PE costs, and a graph that gives it the channels that matter least (docs/stuck-pes.md).

    Args:
        path, images, labels, data, data_dir, count, input: as for `tolerance`.
        units: whose PE is bad; none: every one that has PEs.
        pe: its index, with one unit; None: each.
        stuck: at 0 or 1; None: both.
        by: "accuracy" or "changed": what channels are chosen by, each stuck and measured.
        together: measure them together, one taken after another; else each alone, which is quicker.
        fps, folding, pe_simd, part, clock_mhz: how the graph is folded, as for `faults`.
        output: .onnx of the permuted graph, for one unit, PE and bit.
        progress: called with sets of channels measured and in all.

    Raises:
        Problem: what does not fit the graph; a graph that is not folded; a PE for which no order is of use.

    >>> plan = bf.permute("net.onnx", x, y, pe_simd="2,1", stuck=0, input="uint8")
    >>> plan.units[-1].reason
    'they are the class scores'
    """
    from ..commands import stuck_pes as work
    from ..commands.faults import FaultedGraph
    from ..commands.simulation import Images
    from ..graphs.inputs import contract_of

    fold = folding_of(fps, folding, pe_simd, part, clock_mhz)
    given = Images(array_of(images), array_of(labels), data, path_of(data_dir), count)
    source = FaultedGraph(Path(path), contract_of(input), fold)
    bad = work.BadPe(units, pe, stuck)
    return work.permute(source, given, bad, by, together, path_of(output), progress)


@checked_arguments(DATA, FOLDED[0], Void(("clock_mhz",), ("fps",)))
def replicate(
    path: PathLike,
    images: np.ndarray | PathLike | None = None,
    labels: np.ndarray | PathLike | None = None,
    *,
    unit: str,
    channels: Sequence[Count] = (),
    data: str = "",
    data_dir: PathLike | None = None,
    count: Count = 2000,
    stuck: Bit | None = None,
    by: str = "accuracy",
    fps: float | None = None,
    folding: PathLike | None = None,
    pe_simd: str = "",
    part: str | None = None,
    clock_mhz: float | None = None,
    output: PathLike | None = None,
    input: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ReplicationPlan:
    """Channels computed three times, so that a stuck PE is outvoted: accuracy against cost (docs/stuck-pes.md).

    Args:
        path, images, labels, data, data_dir, count, input: as for `tolerance`.
        unit: an MVAU with one threshold a channel and three PEs or more.
        channels: how many are computed three times; none: about 1/8, 1/4, 1/2 and all of them.
        stuck: what a PE is stuck at, 0 or 1; None: the worse one.
        by: "accuracy" or "changed": what channels are chosen by, each stuck and measured.
        fps, folding, pe_simd, clock_mhz: how the graph is folded, as for `faults`.
        part: that it is folded for, and that costs are estimated for.
        output: .onnx of the graph with one number of `channels`.
        progress: called with graphs judged and in all.

    Raises:
        Problem: what does not fit the graph; a graph that is not folded; a unit that cannot vote, or a number of
            channels that its PEs do not divide.

    >>> plan = bf.replicate("net.onnx", x, y, unit="dense0", channels=[8], fps=1e6, input="uint8")
    >>> [(row.channels, row.rows) for row in plan.front]
    [(0, 16), (8, 32)]
    """
    from ..commands import replicas as work
    from ..commands.faults import FaultedGraph
    from ..commands.simulation import Images
    from ..graphs.inputs import contract_of

    fold = folding_of(fps, folding, pe_simd, part, clock_mhz)
    given = Images(array_of(images), array_of(labels), data, path_of(data_dir), count)
    source = FaultedGraph(Path(path), contract_of(input), fold)
    wanted = work.Replication(unit, channels, stuck, by)
    return work.replicate(source, given, wanted, path_of(output), progress)
