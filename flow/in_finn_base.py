"""Runs in a process of its own: finn-base executes an ONNX file and saves every tensor.

Usage: python in_finn_base.py JOB.json, with `model` (ONNX), `images` (.npy) and `output` (.npz, to be written).

finn-base 0.0.3 reads `onnx.mapping`, which onnx left out in 1.19; the tables are the same under other names.
"""

from __future__ import annotations

import json
import os
import sys
import types
from pathlib import Path

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


def main(path: Path) -> None:
    """Do the job in file `path`."""
    job = json.loads(path.read_text())
    os.environ["FINN_BUILD_DIR"] = str(path.parent)
    if not hasattr(onnx, "mapping"):
        _mapping()
    from finn.core.modelwrapper import ModelWrapper
    from finn.core.onnx_exec import execute_onnx
    from finn.transformation.infer_datatypes import InferDataTypes
    from finn.transformation.infer_shapes import InferShapes

    model = ModelWrapper(job["model"]).transform(InferShapes()).transform(InferDataTypes())
    source = model.graph.input[0].name
    made = [name for node in model.graph.node for name in node.output]
    found: dict[str, list[np.ndarray]] = {name: [] for name in made}
    for image in np.load(job["images"]):
        context = execute_onnx(model, {source: image[None].astype(np.float32)}, return_full_exec_context=True)
        for name in made:
            found[name].append(np.asarray(context[name]))
    np.savez(job["output"], allow_pickle=False, **{name: np.concatenate(parts) for name, parts in found.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
