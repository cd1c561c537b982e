"""Hardware of a graph in Python: written, simulated, and watched at work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import DATA, Count, Natural, PathLike, Positive, checked_arguments
from .common import array_of, path_of
from .hardware import choices_of, of_run, wanted_of

if TYPE_CHECKING:
    import numpy as np

    from ...transforms.ir.graph import Graph
    from ..recipe.schema import Recipe
    from ..results.activity import Activity
    from ..results.hardware import Cosim, Rtl


class GraphHardware:
    """What `LoadedGraph` does with our own hardware.

    Attributes:
        graph: of any level.
        path: of its file.
        recipe: of the run that it belongs to; None: of none.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        graph: Graph
        path: Path
        recipe: Recipe | None

    @checked_arguments()
    def rtl(
        self,
        folder: PathLike,
        fps: float | None = None,
        *,
        part: str | None = None,
        clock_mhz: float | None = None,
        folding: PathLike | None = None,
        fifo: Natural | None = None,
        fifo_depths: PathLike | None = None,
        control: bool | None = None,
        sets: int | None = None,
        protect: str | None = None,
        scrub: bool | None = None,
        primitives: str | None = None,
        top_k: Natural = 0,
        keep_shape: bool = False,
    ) -> Rtl:
        """Fold the graph for a rate and write it as SystemVerilog.

        Args:
            folder: for the files; one that such files were written to before, and not changed, is replaced.
            fps, part, clock_mhz, folding, fifo_depths, top_k, keep_shape: as for `estimate`; a run's networks stay as
                they are folded without `fps` and `folding`, and part and clock are the run's.
            fifo: depth of every FIFO, in words; those that would cost rate are made deeper.
            control: AXI-Lite registers; `sets` and `protect` bring them, too.
            sets: of weights and thresholds that the host can write; 0: they are constants.
            protect: code of the memories, such as "secded-39-32", "tmr", or of single ones, as in
                "conv0.weights=tmr,dense3=parity"; empty: none.
            scrub: memories whose code corrects are walked through while no unit reads them.
            primitives: "generic", or "xc7" for Xilinx's 7 series. None of these: that of the run, else the
                recipe's default.

        Raises:
            Problem: as for `estimate`; a unit that has no hardware; the folder holds something else.

        >>> g.rtl("hardware", fps=1000).top
        'bnn_net'
        """
        from ..commands import graphs, hardware

        wanted = wanted_of(part, clock_mhz, fps, folding, False, top_k, keep_shape, self.recipe)
        fifos = graphs.Fifos(of_run(fifo, "rtl.fifo", self.recipe), path_of(fifo_depths))
        asked = choices_of(control, sets, protect, scrub, primitives, self.recipe)
        return hardware.rtl(self.graph, wanted, fifos, Path(folder), asked)

    @checked_arguments(DATA)
    def cosim(
        self,
        images: np.ndarray | PathLike | None = None,
        fps: float | None = None,
        *,
        data: str = "",
        data_dir: PathLike | None = None,
        count: Count = 20,
        stalls: Natural = 3,
        seed: Natural = 0,
        seconds: Positive | None = None,
        structural: bool = False,
        folder: PathLike | None = None,
        fault_map: PathLike | None = None,
        part: str | None = None,
        clock_mhz: float | None = None,
        folding: PathLike | None = None,
        fifo: Natural | None = None,
        fifo_depths: PathLike | None = None,
        control: bool | None = None,
        sets: int | None = None,
        protect: str | None = None,
        scrub: bool | None = None,
        primitives: str | None = None,
        top_k: Natural = 0,
        keep_shape: bool = False,
    ) -> Cosim:
        """Simulate the hardware that `rtl` writes, cycle by cycle by Verilator, and compare it with the simulators.

        Args:
            images: as for `simulate`; None, and no `data`: drawn ones.
            data, data_dir: test images of a data set.
            count: images.
            stalls: further runs in which both ends stall at random.
            seed: of drawn images and stalls.
            seconds: that a build or a run may take; None: as long as it takes.
            structural: simulate counts and sums as they are built from LUTs, which takes longer.
            folder: leave the hardware's files there, and the waveform around the first wrong word.
            fault_map: of the folded graph's memories, as `bf.faults` and `flow faults --save-map` write it: both the
                hardware's memories and the simulators' have these cells.
            fps, part, clock_mhz, folding, fifo, fifo_depths, control, sets, protect, scrub, primitives, top_k,
                keep_shape: as for `rtl`.

        Returns:
            `equal`, and what was compared.

        Raises:
            Problem: as for `rtl`; status 3 where Verilator or a C++ compiler is missing.

        >>> g.cosim(x, fps=1000, stalls=1).equal
        True
        """
        from ..commands import graphs, hardware, simulation
        from ..graphs.cosimulation import Checks

        given = None
        if images is not None or data:
            given = simulation.Images(array_of(images), None, data, path_of(data_dir), count)
        wanted = wanted_of(part, clock_mhz, fps, folding, False, top_k, keep_shape, self.recipe)
        checks = Checks(stalls, seed, seconds, structural)
        how = hardware.CosimOptions(given, count, checks, path_of(folder), path_of(fault_map))
        fifos = graphs.Fifos(of_run(fifo, "rtl.fifo", self.recipe), path_of(fifo_depths))
        asked = choices_of(control, sets, protect, scrub, primitives, self.recipe)
        return hardware.cosim(self.graph, wanted, fifos, how, asked)

    @checked_arguments(DATA)
    def activity(
        self,
        images: np.ndarray | PathLike | None = None,
        fps: float | None = None,
        *,
        data: str = "",
        data_dir: PathLike | None = None,
        count: Count = 20,
        seed: Natural = 0,
        seconds: Positive | None = None,
        saif: PathLike | None = None,
        part: str | None = None,
        clock_mhz: float | None = None,
        folding: PathLike | None = None,
        fifo: Natural | None = None,
        fifo_depths: PathLike | None = None,
        control: bool | None = None,
        sets: int | None = None,
        protect: str | None = None,
        scrub: bool | None = None,
        primitives: str | None = None,
        top_k: Natural = 0,
        keep_shape: bool = False,
    ) -> Activity:
        """Count how often bits of the hardware that `rtl` writes change with an image, unit by unit, by Verilator.

        A relative figure of power, to hold designs against each other: how much energy a bit takes is not in it.

        Args:
            images, data, data_dir: as for `cosim`.
            count: images, two or more; the first one is not counted.
            seed: of drawn images.
            seconds: that a build or a run may take; None: as long as it takes.
            saif: file (.saif) with every bit, for a vendor's power tool.
            fps, part, clock_mhz, folding, fifo, fifo_depths, control, sets, protect, scrub, primitives, top_k,
                keep_shape: as for `rtl`.

        Raises:
            Problem: as for `rtl`; there is one image; status 3 where Verilator or a C++ compiler is missing.

        >>> g.activity(x, fps=1000).changes > 0
        True
        """
        from ..commands import graphs, hardware, simulation
        from ..graphs.cosimulation import Checks
        from ..run.files import check_file

        given = None
        if images is not None or data:
            given = simulation.Images(array_of(images), None, data, path_of(data_dir), count)
        if saif is not None:
            check_file(Path(saif), (".saif",), [self.path])
        wanted = wanted_of(part, clock_mhz, fps, folding, False, top_k, keep_shape, self.recipe)
        how = hardware.CosimOptions(given, count, Checks(0, seed, seconds), command="flow activity")
        fifos = graphs.Fifos(of_run(fifo, "rtl.fifo", self.recipe), path_of(fifo_depths))
        asked = choices_of(control, sets, protect, scrub, primitives, self.recipe)
        return hardware.activity(self.graph, wanted, fifos, how, asked, path_of(saif))
