"""What zero padding leaves out of sums of bits: a border of its own, or a part of thresholds where it is the same."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, helper

from bnnflow.sim.verify import Level, verify
from bnnflow.transforms.ir.ops import AddBorder, Threshold, XnorConv
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.write import write
from tests.transforms.onnx_files import QONNX, Net


def network(weight: np.ndarray, side: int) -> ModelProto:
    """Signs of pixels, a padded 3 x 3 convolution of bits, signs, and class scores."""
    net = Net((1, side, side), datatype="UINT8")

    def signs(tensor: str) -> str:
        name = f"s{len(net.nodes)}"
        net.nodes.append(helper.make_node("BipolarQuant", [tensor, net.c(1.0)], [name], domain=QONNX))
        return name

    kernel = signs(net.c(weight))
    x = signs(net.add("Sub", "x", net.c(100.0)))
    x = net.add("Conv", x, kernel, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    x = signs(net.add("Flatten", x))
    net.nodes.append(
        helper.make_node("Gemm", [x, signs(net.c(net.rng.normal(0, 1, (4, len(weight) * side**2))))], ["y"], transB=1)
    )
    net.last = "y"
    return net.model()


@pytest.mark.parametrize("same", [True, False])
def test_a_border_that_is_the_same_everywhere_is_none(same: bool) -> None:
    """On a map of 2 x 2 each window lacks another corner: of equal weights the same sum, which is odd."""
    weight = np.ones((3, 1, 3, 3)) if same else np.random.default_rng(0).normal(0, 1, (3, 1, 3, 3))
    made = stages(read(network(weight, 2)))
    ops = [type(node.op) for node in made[2].graph.nodes]
    assert XnorConv in ops and Threshold in ops and (AddBorder in ops) != same
    # Of the files, too, in which a sum that is equal at all places is one of channels.
    levels = [Level(stage.level, read(write(stage.graph)), stage.equivalences, stage.float_ties) for stage in made[1:]]
    pixels = np.random.default_rng(1).integers(0, 256, (40, *levels[0].graph.input_type.shape)).astype(np.uint8)
    assert all(one.differences == 0 for one in verify(levels, pixels))
