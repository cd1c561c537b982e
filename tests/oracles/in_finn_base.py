"""Runs inside finn-base's own environment: executes an ONNX file there and saves every tensor.

Usage: python in_finn_base.py JOB.json, with `model` (ONNX) and `images` (.npy); the tensors go to `answer.npz` and
the data types that finn-base infers to `answer.json` beside the job.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np


def main(path: Path) -> None:
    """Do the job in file `path`."""
    os.environ["FINN_BUILD_DIR"] = str(path.parent)
    from finn.core.modelwrapper import ModelWrapper
    from finn.core.onnx_exec import execute_onnx
    from finn.transformation.infer_datatypes import InferDataTypes
    from finn.transformation.infer_shapes import InferShapes

    job = json.loads(path.read_text())
    model = ModelWrapper(job["model"]).transform(InferShapes()).transform(InferDataTypes())
    source = model.graph.input[0].name
    made = [name for node in model.graph.node for name in node.output]
    found: dict[str, list[np.ndarray]] = {name: [] for name in made}
    for image in np.load(job["images"]):
        inputs = {source: image[None].astype(np.float32)}
        context = execute_onnx(model, inputs, return_full_exec_context=True)
        for name in made:
            found[name].append(np.asarray(context[name]))
    np.savez(path.parent / "answer.npz", **{name: np.concatenate(parts) for name, parts in found.items()})
    types = {name: str(getattr(model.get_tensor_datatype(name), "name", "")) for name in made}
    (path.parent / "answer.json").write_text(json.dumps({"types": types}))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
