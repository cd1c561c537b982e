"""Other programs that judge our integers, or are timed beside us: onnxruntime, qonnx and OpenVINO."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper

from bnnflow import Problem

from ...transforms.reading.read import load
from ...transforms.writing.judged import judged


def onnxruntime_scores(path: Path, images: np.ndarray, batch: int = 500) -> np.ndarray:
    """Class scores of a QONNX file by onnxruntime in float32, operator by operator as the file says."""
    run = onnxruntime_program(path, optimize=False)
    return np.concatenate([run(images[start : start + batch]) for start in range(0, len(images), batch)])


def onnxruntime_program(path: Path, threads: int = 0, optimize: bool = True) -> Callable[[np.ndarray], np.ndarray]:
    """A QONNX file's standard form in onnxruntime: images (any number, ...), of any type, to its first output.

    Args:
        path: QONNX file.
        threads: 0 for as many as there are cores.
        optimize: let onnxruntime fuse operators. It multiplies batch-norm gains into weights, which moves
            exact ties to either side of zero; so it must not where its results are compared.

    Raises:
        Problem: the network has no standard form, or onnxruntime does not take it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    model = _standard(path)
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise Problem(f"onnxruntime does not take the network: {str(error).splitlines()[-1]}", str(path)) from error
    name, kind = session.get_inputs()[0].name, input_type(model)
    return lambda images: np.reshape(session.run(None, {name: images.astype(kind)})[0], (len(images), -1))


def input_type(model: onnx.ModelProto) -> np.dtype:
    """The type that a file says of its first input."""
    stored = {item.name for item in model.graph.initializer}
    given = next(item for item in model.graph.input if item.name not in stored)
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(given.type.tensor_type.elem_type))


def _standard(path: Path) -> onnx.ModelProto:
    """A QONNX file in plain ONNX, up to its scores."""
    from ...transforms.writing.standard import to_standard

    return to_standard(judged(load(path)))


def openvino_program(path: Path, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """A QONNX file's standard form in OpenVINO, float32 throughout: images (any number, ...) to its first output.

    Raises:
        Problem: OpenVINO does not take the network.
    """
    import openvino

    try:
        model = _standard(path)
        program = openvino_compiled(openvino.Core().read_model(model.SerializeToString()), threads)
    except RuntimeError as error:
        raise Problem(f"OpenVINO does not take the network: {str(error).splitlines()[-1]}", str(path)) from error
    kind = input_type(model)
    return lambda images: np.reshape(program(images.astype(kind)), (len(images), -1))


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

    model = ModelWrapper(judged(load(path))).transform(InferShapes())
    source, target, kind = model.graph.input[0].name, model.graph.output[0].name, input_type(model.model)
    rows = [execute_onnx(model, {source: image[None].astype(kind)})[target] for image in images]
    return np.concatenate([np.reshape(row, (1, -1)) for row in rows])
