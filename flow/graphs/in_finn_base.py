"""Runs in a process of its own: finn-base executes an ONNX file and saves every tensor.

Usage: python in_finn_base.py JOB.json, with `images` (.npy) and `models`, ONNX file to .npz file that is written.

finn-base 0.0.3 reads `onnx.mapping`, which later onnx has under other names, and hands every node to onnxruntime as a
model of onnx' latest opset, which onnxruntime may not know yet: both are given as they were in its days.
"""

from __future__ import annotations

import json
import os
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper


def _mapping() -> None:
    module = types.ModuleType("onnx.mapping")
    kinds = [kind for kind in onnx.TensorProto.DataType.values() if kind != onnx.TensorProto.UNDEFINED]
    table = {kind: helper.tensor_dtype_to_np_dtype(kind) for kind in kinds}
    vars(module).update(
        TENSOR_TYPE_TO_NP_TYPE=table,
        NP_TYPE_TO_TENSOR_TYPE={dtype: kind for kind, dtype in reversed(table.items())},
    )
    sys.modules["onnx.mapping"] = module
    vars(onnx)["mapping"] = module


def _dated_models() -> None:
    make = helper.make_model

    def make_model(graph: onnx.GraphProto, **settings: Any) -> onnx.ModelProto:
        stated = {"opset_imports": [helper.make_opsetid("", 13)], "ir_version": 8} | settings
        return make(graph, **stated)

    vars(helper)["make_model"] = make_model


def main(path: Path) -> None:
    """Do the job in file `path`."""
    job = json.loads(path.read_text())
    os.environ["FINN_BUILD_DIR"] = str(path.parent)
    # It would round what is nearly whole, value by value in Python: ten times as slow, and it hides what is not whole.
    os.environ["SANITIZE_QUANT_TENSORS"] = "0"
    if not hasattr(onnx, "mapping"):
        _mapping()
    _dated_models()
    from finn.core.modelwrapper import ModelWrapper
    from finn.core.onnx_exec import execute_onnx
    from finn.transformation.infer_datatypes import InferDataTypes
    from finn.transformation.infer_shapes import InferShapes

    for file, output in job["models"].items():
        model = ModelWrapper(file).transform(InferShapes()).transform(InferDataTypes())
        source = model.graph.input[0].name
        made = [name for node in model.graph.node for name in node.output]
        found: dict[str, list[np.ndarray]] = {name: [] for name in made}
        for image in np.load(job["images"]):
            context = execute_onnx(model, {source: image[None].astype(np.float32)}, return_full_exec_context=True)
            for name in made:
                found[name].append(np.asarray(context[name]))
        np.savez(output, allow_pickle=False, **{name: np.concatenate(parts) for name, parts in found.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
