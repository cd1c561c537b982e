"""Networks of the QONNX model zoo, trained by others, on all 10,000 test images of MNIST."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from bnnflow.models.data.load import load_dataset as load_data
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.verify import Level, images_with_float_ties, sums_of_scores, verify, verify_scores
from bnnflow.transforms.ir.contract_text import parse_contract
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.passes.accept import with_contract
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import load, read
from bnnflow.transforms.writing.standard import to_standard
from bnnflow.transforms.writing.write import write
from tests.places import DATA

pytestmark = pytest.mark.skipif(
    not ((DATA / "qonnx_zoo").is_dir() and (DATA / "mnist").is_dir()),
    reason="needs qonnx_zoo/*.onnx and mnist/*-ubyte.gz in the folder BNNFLOW_DATA",
)

# Classes right of 10,000, and the most images on which a float32 sum may fall on either side of a tie.
NETWORKS = {"TFC_1W1A": (9296, 0), "TFC_1W2A": (9474, 0), "TFC_2W2A": (9660, 0)}


@pytest.fixture(scope="module")
def mnist() -> tuple[np.ndarray, np.ndarray]:
    data = load_data("mnist", DATA)
    return data.test_images, data.test_labels


def onnxruntime_scores(path: Path, images: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    model = to_standard(load(path)).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    # The networks take pixels over 255.
    pixels = images.astype(np.float32) / np.float32(255)
    return np.asarray(session.run(None, {session.get_inputs()[0].name: pixels})[0])


@pytest.mark.parametrize("name", NETWORKS)
def test_every_logit_on_ten_thousand_images(name: str, mnist: tuple[np.ndarray, np.ndarray]) -> None:
    """onnxruntime on floats, all our levels and the files that we write give the same integers and classes."""
    images, labels = mnist
    assert images.shape[0] == 10_000
    path = DATA / "qonnx_zoo" / f"{name}.onnx"
    right, most = NETWORKS[name]
    # The networks take pixels over 255, which their files do not say.
    made = stages(with_contract(read(path), parse_contract("pixels/255")))
    levels = [Level(stage.level, stage.graph, stage.equivalences, stage.float_ties) for stage in made]
    verified = verify(levels, images)
    assert [item.name for item in verified] == ["integer", "xnor", "dataflow"]
    assert [item.differences for item in verified] == [0, 0, 0]
    assert all(item.images == 10_000 and item.tensors >= 5 for item in verified)
    float_ties = [each for stage in made for each in stage.float_ties]
    tied = images_with_float_ties(made[0].graph, float_ties, images)
    assert np.count_nonzero(tied) <= most
    graph = made[-1].graph
    theirs = onnxruntime_scores(path, images)
    compared = verify_scores("onnxruntime", graph, images, theirs, tied)
    assert (compared.values, compared.differences) == (100_000, 0)
    mine = Simulator.of(graph).scores(images)
    assert np.count_nonzero(mine.argmax(axis=1) == labels) == right
    assert np.count_nonzero(theirs.argmax(axis=1) == labels) == right
    for stage in made[1:]:
        # Files hold the scores' scale in float32; the integers behind it are the same.
        again = Simulator.of(read(write(stage.graph))).scores(images[:500])
        assert np.array_equal(sums_of_scores(stage.graph, again), ints(stage.graph, images[:500]))


def ints(graph: Graph, images: np.ndarray) -> np.ndarray:
    return sums_of_scores(graph, Simulator.of(graph).scores(images))
