"""Other programs that judge our integers, or are timed beside us: onnxruntime, qonnx and OpenVINO."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bnnflow import Problem

from ...transforms.reading.read import load


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

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(_standard(path), options, providers=["CPUExecutionProvider"])


def _standard(path: Path) -> bytes:
    """A QONNX file in plain ONNX."""
    from ...transforms.writing.standard import to_standard

    made: bytes = to_standard(load(path)).SerializeToString()
    return made


def openvino_program(path: Path, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """A QONNX file's standard form in OpenVINO, float32 throughout: images (any number, ...) to its first output.

    Raises:
        Problem: OpenVINO does not take the network.
    """
    import openvino

    try:
        return openvino_compiled(openvino.Core().read_model(_standard(path)), threads)
    except RuntimeError as error:
        raise Problem(f"OpenVINO does not take the network: {str(error).splitlines()[-1]}", str(path)) from error


def openvino_compiled(model: Any, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """An `openvino.Model` on the processor, one stream of requests on `threads` threads, in float32."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    # Results are views of memory that the next request overwrites.
    return lambda images: np.array(compiled(images)[0])


def qonnx_scores(path: Path, images: np.ndarray) -> np.ndarray:
    """Class scores of a QONNX or FINN-ONNX file by qonnx, image by image."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    model = ModelWrapper(str(path)).transform(InferShapes())
    source, target = model.graph.input[0].name, model.graph.output[0].name
    rows = [execute_onnx(model, {source: image[None].astype(np.float32)})[target] for image in images]
    return np.concatenate(rows)
