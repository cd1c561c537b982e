"""Other programs that judge our integers: onnxruntime and qonnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..transforms.read import load


def onnxruntime_scores(path: Path, images: np.ndarray, batch: int = 500) -> np.ndarray:
    """Class scores of a QONNX file by onnxruntime in float32, operator by operator as the file says."""
    session = onnxruntime_session(path, optimize=False)
    name = session.get_inputs()[0].name
    parts = [
        session.run(None, {name: images[start : start + batch].astype(np.float32)})[0]
        for start in range(0, len(images), batch)
    ]
    return np.concatenate(parts)


def onnxruntime_session(path: Path, threads: int = 0, optimize: bool = True) -> Any:
    """An onnxruntime session of a QONNX file's standard form.

    Args:
        path: QONNX file.
        threads: 0 for as many as there are cores.
        optimize: let onnxruntime fuse operators. It multiplies batch-norm gains into weights, which moves
            exact ties to either side of zero; so it must not where its results are compared.
    """
    import onnxruntime

    from ..transforms.standard import to_standard

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    model = to_standard(load(path)).SerializeToString()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def qonnx_scores(path: Path, images: np.ndarray) -> np.ndarray:
    """Class scores of a QONNX or FINN-ONNX file by qonnx, image by image."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    model = ModelWrapper(str(path)).transform(InferShapes())
    source, target = model.graph.input[0].name, model.graph.output[0].name
    rows = [execute_onnx(model, {source: image[None].astype(np.float32)})[target] for image in images]
    return np.concatenate(rows)
