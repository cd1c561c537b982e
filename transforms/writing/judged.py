"""A network as other programs that judge ours are to run it: whatever batch it states, up to its scores."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

# What reading leaves out at the end, too.
_ORDER_KEPT = ("Softmax", "LogSoftmax")
_INT64 = onnx.TensorProto.INT64


def judged(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network for one image, without the softmax that it may end with; the file's own where it is so already.

    Of another batch, stated or open, the shapes behind the input are to be inferred anew.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    stored = {item.name for item in made.graph.initializer}
    ends = [*(item for item in made.graph.input if item.name not in stored), *made.graph.output]
    batches = [item.type.tensor_type.shape.dim[0] for item in ends if item.type.tensor_type.shape.dim]
    batch = batches[0].dim_value if batches else 1
    for one in batches:
        # Class indices without an axis of their own have the batch alone.
        one.dim_value = 1
    if batch != 1:
        del made.graph.value_info[:]
    sizes = {item.name: numpy_helper.to_array(item) for item in made.graph.initializer if item.data_type == _INT64}
    for node in made.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            sizes[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        if node.op_type in _ORDER_KEPT:
            node.op_type = "Identity"
            del node.attribute[:]
        if node.op_type == "Reshape" and len(node.input) > 1 and batch > 1:
            _keep_batch(made, node, sizes.get(node.input[1]), batch)
    return made


def _keep_batch(model: onnx.ModelProto, node: onnx.NodeProto, target: np.ndarray | None, batch: int) -> None:
    """A reshape that states the file's batch keeps whatever batch there is."""
    if target is None or target.ndim != 1 or target.size < 2 or target[0] != batch:
        return
    name = f"{node.output[0]}_shape_of_one_image"
    model.graph.initializer.append(numpy_helper.from_array(np.concatenate([[0], target[1:]]).astype(np.int64), name))
    node.input[1] = name
