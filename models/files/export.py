"""Write a network as QONNX, the file that everything behind training starts from."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import onnx
import torch
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.infer_shapes import InferShapes
from torch import nn

from ..networks.network import Network, ScoreNorm
from ..networks.own import OwnNetwork
from ..networks.twin import PlainAffine, binary_weights
from ..store import write_atomically
from ..training.ensemble import EnsembleNetwork, binarize

INPUT, OUTPUT = "image", "scores"
OPSET, MAX_IR_VERSION = 13, 10


def export_qonnx(
    network: nn.Module,
    path: Path,
    input_shape: tuple[int, ...] | None = None,
    properties: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write the eval mode of `network` to `path` as QONNX: opset 13, IR version of at most 10, batch of 1.

    The input `image` is (1, C, H, W) float32 holding pixels 0 to 255 and is annotated UINT8; the output
    `scores` is (1, classes) float32. Binary weights without a scale are stored as +1 and -1 under BipolarQuant of
    scale 1, ternary and masked ones as -1, 0 and +1 under Quant of 2 bits, narrow, scale 1, others as their latent
    values under their quantizer. A shared score scale becomes Mul and Add with one number each.
    A user's own module is written whole, with the channels that its layers leave unread and removed synapses.

    Args:
        network: a `Network`, or any module that ends in class scores; not changed.
        path: moved into place once complete.
        input_shape: channels, height, width; None takes the network's own.
        properties: entries of the file's `metadata_props`.
    """
    plain = copy.deepcopy(network).eval()
    if isinstance(plain, OwnNetwork):
        plain = plain.whole()
    if isinstance(plain, Network):
        with torch.no_grad():
            if plain.spec.has_unit_weights:
                for _, module in plain.weight_layers():
                    module.weight.copy_(binary_weights(module))
            score = plain.layers["score"]
            if isinstance(score, ScoreNorm):
                plain.layers["score"] = PlainAffine(*score.affine())
        input_shape = input_shape or plain.spec.input_shape
    if isinstance(plain, EnsembleNetwork):
        binarize(plain, binary_weights)
        plain.score = PlainAffine(*plain.score.affine())  # type: ignore[assignment]
    assert input_shape is not None
    with _quiet():
        model = _trace(plain, input_shape)
    onnx.helper.set_model_props(model, dict(properties))
    write_atomically(path, lambda temporary: temporary.write_bytes(model.SerializeToString()))


def _trace(network: nn.Module, input_shape: tuple[int, ...]) -> onnx.ModelProto:
    # imported here, inside _quiet: the import itself warns about optional packages
    from brevitas.export import export_qonnx as brevitas_export

    example = torch.zeros(1, *input_shape)
    model = brevitas_export(
        network,
        example,
        dynamo=False,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=[OUTPUT],
    )
    model.ir_version = min(model.ir_version, MAX_IR_VERSION)
    stored = {tensor.name for tensor in model.graph.initializer}
    real = [value for value in model.graph.input if value.name not in stored]
    del model.graph.input[:]
    model.graph.input.extend(real)
    note = onnx.TensorAnnotation(tensor_name=INPUT)
    note.quant_parameter_tensor_names.append(onnx.StringStringEntryProto(key="finn_datatype", value="UINT8"))
    model.graph.quantization_annotation.append(note)
    _note_shapes(model)
    onnx.checker.check_model(model)
    return model


def _note_shapes(model: onnx.ModelProto) -> None:
    """Add the shape of every tensor, which qonnx needs to execute the file."""
    # only the shapes are taken over: qonnx also splits shared initializers, under random names
    inferred = ModelWrapper(model, make_deepcopy=True).transform(InferShapes()).model.graph.value_info
    ours = {name for node in model.graph.node for name in node.output} - {OUTPUT}
    del model.graph.value_info[:]
    model.graph.value_info.extend(sorted((v for v in inferred if v.name in ours), key=lambda v: v.name))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter: its deprecation notes are about the call made here, not about the network."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "brevitas")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
