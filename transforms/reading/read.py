"""Read an ONNX file of any stage: QONNX or standard QDQ, streamlined FINN-ONNX, or dataflow nodes.

Only this module, what lies in `reading`, `constants`, `folding`, `standard` and `write` know protobuf.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from bnnflow import Problem, visible

from ..ir.graph import Graph
from . import activations, dataflow, elementwise, layers, pools, quantizers, shapes, signs
from .call import OPERATORS, is_known
from .core import Reader

# Importing these files fills the table of operators.
_FAMILIES = (elementwise, activations, quantizers, layers, pools, shapes, dataflow, signs)
_LARGE = 2**12


def load(path: Path) -> onnx.ModelProto:
    """Parse and check an ONNX file, with what lies in files beside it.

    Raises:
        Problem: the file is missing, cut off, not ONNX, or not valid by the ONNX checker.
    """
    with _parsing(path):
        model = onnx.load(str(path), format="protobuf")
        if not model.graph.node:
            raise Problem("this ONNX file holds no operations", str(path), "export the network again")
        _import_domains(model)
        onnx.checker.check_model(_without_large_constants(model))
    return model


def files_of(path: Path) -> list[Path]:
    """An ONNX file, and the files beside it in which it says that tensors lie, each once.

    Raises:
        Problem: the file is missing, cut off or not ONNX.
    """
    with _parsing(path):
        model = onnx.load(str(path), format="protobuf", load_external_data=False)
        places = [ExternalDataInfo(one).location for one in _tensors(model.graph) if uses_external_data(one)]
    return [path, *(path.parent / place for place in dict.fromkeys(places))]


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for attribute in (one for node in graph.node for one in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for inner in (attribute.g, *attribute.graphs):
            yield from _tensors(inner)


@contextmanager
def _parsing(path: Path) -> Iterator[None]:
    """Within, what is wrong with the file is a Problem."""
    try:
        yield
    except (
        DecodeError,
        EncodeError,
        onnx.checker.ValidationError,
        ValueError,
        TypeError,
        RuntimeError,
        MemoryError,
    ) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "it cannot be parsed"
        raise Problem(
            "this is not a valid ONNX file",
            str(path),
            f"it may be cut off or damaged; export it again ({reason})",
        ) from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Problem(f"the ONNX file cannot be opened: {reason}", str(path), "check the path") from error


def _import_domains(model: onnx.ModelProto) -> None:
    # Brevitas before 0.12 and qonnx' model merge leave the import of their own domain out.
    known = {item.domain for item in model.opset_import}
    for domain in {node.domain for node in model.graph.node} - known - {""}:
        model.opset_import.append(onnx.helper.make_opsetid(domain, 1))


def _without_large_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy for the checker, which is slow and ends at 2 GB; large constants are checked when they are read."""
    copy = onnx.ModelProto()
    copy.ir_version = model.ir_version
    copy.opset_import.extend(model.opset_import)
    copy.functions.extend(model.functions)
    copy.graph.name = model.graph.name
    for field in ("node", "input", "output", "value_info", "quantization_annotation", "sparse_initializer"):
        getattr(copy.graph, field).extend(getattr(model.graph, field))
    for tensor in model.graph.initializer:
        count = 1
        for size in tensor.dims:
            count *= size
        if count > _LARGE:
            copy.graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=[0])
        else:
            copy.graph.initializer.append(tensor)
    return copy


def read(source: Path | onnx.ModelProto) -> Graph:
    """The graph that an ONNX file holds, whatever batch it states.

    Raises:
        Problem: the file is damaged, or an operator, a shape or a weight cannot be represented; the
            message names the node and says what to do.
    """
    if isinstance(source, Path):
        model, name = load(source), source.stem
    else:
        model, name = source, source.graph.name
    reader = Reader(model)
    for node in model.graph.node:
        reader.take(node)
    return reader.graph(re.sub(r"\s+", "_", name) or "graph")


@dataclass(frozen=True, slots=True)
class Surveyed:
    """How one operator of a file fares.

    Attributes:
        node, operator: its name and kind in the file.
        becomes: the operations that it becomes; "folded" for constants, "joined" where it is merged with
            the one before, "not reached" behind a refused one.
        problem: why it is refused; None where it is not.
        made: names of the graph's nodes that it becomes.
    """

    node: str
    operator: str
    becomes: str
    problem: Problem | None = None
    made: tuple[str, ...] = ()


def survey_operators(model: onnx.ModelProto) -> list[Surveyed]:
    """One row an operator, in file order; what lies behind a refused operator is "not reached"."""
    reader, rows, lost = Reader(model), [], set[str]()
    for node in model.graph.node:
        before, blocked, becomes = len(reader.nodes), None, "not reached"
        names: tuple[str, ...] = ()
        kind = visible(node.op_type, lines=False)
        if lost & set(node.input):
            lost.update(node.output)
            if not is_known(node.op_type):
                blocked = Problem(f"operator {kind} is not supported", f"{kind} {node.name!r}")
        else:
            try:
                reader.take(node)
                names = tuple(item.name for item in reader.nodes[before:])
                becomes = ", ".join(type(item.op).__name__ for item in reader.nodes[before:]) or (
                    "joined" if any(name in reader.live for name in node.output) else "folded"
                )
            except Problem as problem:
                blocked = problem
                lost.update(node.output)
        label = visible(node.name or next(iter(node.output), ""), lines=False)
        rows.append(Surveyed(label, kind, "" if blocked else becomes, blocked, names))
    return [replace(row, made=tuple(_last_name(reader, name) for name in row.made)) for row in rows]


def _last_name(reader: Reader, name: str) -> str:
    while name in reader.joined:
        name = reader.joined[name]
    return name


def supported_operators() -> list[str]:
    """Names of the ONNX, QONNX and FINN operators that can be read, sorted."""
    return sorted(OPERATORS)


def operator_help() -> dict[str, str]:
    """What is supported of each operator, one sentence each."""
    return {name: (OPERATORS[name].read.__doc__ or "").splitlines()[0] for name in supported_operators()}
