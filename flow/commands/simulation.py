"""The work behind `flow simulate`: a graph on images of a file or a data set, and files of what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bnnflow import Problem

from ..graphs.inputs import input_held, load_array, test_images
from ..results.graphs import Simulation
from ..run.files import check_file
from . import graphs

if TYPE_CHECKING:
    import numpy as np

    from ...transforms.ir.graph import Graph


@dataclass(frozen=True, slots=True)
class Images:
    """Images that are given, or a data set's test images.

    Attributes:
        images: (N, C, H, W) or as the graph wants them, or the .npy file that holds them: integers as the data are, or
            floats as the network was trained on.
        labels: (N,), or their .npy file.
        data: name of a data set, in place of both.
        data_dir: folder of its files.
        count: only the first so many; None: all.
    """

    images: np.ndarray | Path | None = None
    labels: np.ndarray | Path | None = None
    data: str = ""
    data_dir: Path | None = None
    count: int | None = None

    @property
    def files(self) -> list[Path]:
        """The files they are read from."""
        return [one for one in (self.images, self.labels) if isinstance(one, Path)]


def array(given: np.ndarray | Path, what: str) -> np.ndarray:
    """An array as it is, or the one of a file."""
    return load_array(given, what) if isinstance(given, Path) else given


def labelled(given: Images) -> tuple[np.ndarray, np.ndarray | None]:
    """Images that are given, and their labels, whole numbers, where there are any.

    Raises:
        Problem: a file holds no numbers, or there is not a label per image.
    """
    assert given.images is not None
    images = array(given.images, "input")
    labels = None if given.labels is None else array(given.labels, "labels")
    if labels is not None and (labels.shape != (len(images),) or labels.dtype.kind not in "iu"):
        raise Problem(f"{labels.shape} labels for {len(images)} images", "--labels", "give one label per image")
    return images, labels


def taken(graph: Graph, given: Images, command: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Images as a graph takes them, and their labels where there are any.

    Raises:
        Problem: no images, or two sources of them; shapes, values or labels that do not fit.
    """
    from ...sim.inputs import graph_inputs, image_inputs

    if given.images is not None and not given.data:
        stored = array(given.images, "input")
        truth = None if given.labels is None else array(given.labels, "labels")
        if truth is not None and stored.shape[1:] == graph.input_type.shape and len(truth) != len(stored):
            where = str(given.labels) if isinstance(given.labels, Path) else "labels"
            raise Problem(f"{len(truth)} labels for {len(stored)} images", where, "give one label per image")
        return graph_inputs(graph, stored[: given.count]), None if truth is None else truth[: given.count]
    if given.data and given.images is None and given.labels is None:
        stored, truth = test_images(given.data, given.data_dir, given.count)
        return image_inputs(graph, stored), truth
    hint = "for example --data digits, or --input X.npy --labels L.npy"
    both = "--data has images and labels of its own"
    raise Problem(both if given.data else "either --input or --data is needed", command, hint)


def simulate(
    graph: Graph,
    given: Images,
    source: Path,
    *,
    batch: int | None = None,
    threads: int = 1,
    device: str = "cpu",
    taps: Sequence[str] = (),
    output: Path | None = None,
) -> Simulation:
    """Run a graph bit for bit.

    Args:
        graph: of any level.
        given: images.
        source: the graph's file, which no output may replace.
        batch: images at a time; None: what suits the network.
        threads: processor threads; the bits do not depend on them.
        device: "cpu", "cuda" or "cpu-torch".
        taps: tensors that are written beside `output`.
        output: .npy or .csv file of the scores; None writes none.

    Raises:
        Problem: no images, or two sources of them; shapes, values or labels that do not fit; no such tensor or device.
    """
    for place in graphs.result_files(output, taps) if output is not None else []:
        check_file(place, (".npy", ".csv"), [source, *given.files])
    pixels, truth = taken(graph, given, "flow simulate")
    if taps and output is None:
        raise Problem("tapped tensors need a place", "--tap", "give --output; tensors are written beside it")
    scores, accuracy, confusion = graphs.simulate(graph, pixels, truth, batch, threads, device)
    tensors = {} if output is None else graphs.taps(graph, pixels, taps, threads)
    files = [] if output is None else graphs.save_results(output, scores, tensors)
    return Simulation(
        graph=str(source),
        images=len(scores),
        accuracy=accuracy,
        confusion=confusion,
        input=input_held(graph),
        output=None if output is None else str(output),
        files=files,
        scores=scores,
    )
