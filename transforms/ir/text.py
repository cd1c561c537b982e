"""Reading the text form of a graph, which `str` gives of it: stable and complete.

Operations come first, one a line with the type of what they make; arrays follow, named after the
operation and field that they belong to. Arrays of {-1, +1} or {0, 1} are written as hexadecimal
bits, most significant first.
"""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from typing import get_args

import numpy as np

from bnnflow import Problem

from .contract import InputContract, contract_of_json
from .graph import Graph, Node
from .ops import AnyOp
from .tensor import Array, TensorType

OPS: dict[str, type] = {cls.__name__: cls for cls in get_args(AnyOp)}
_TYPE = re.compile(r"(float|int)\[([\d, ]*)\](?: in (-?\d+)\.\.(-?\d+))?(?: step (\d+))?$")
_LINE = re.compile(r"%(\S+) : (.+?) = (\w+)\((%[^)]+)\)(?: \{(.*)\})?$")


def parse_graph(text: str) -> Graph:
    """The graph that `str` printed.

    Raises:
        Problem: a line cannot be read, or an array is missing; the message gives the line's number.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    arrays: dict[str, Array] = {}
    for number, line in lines:
        if line.startswith("@"):
            name, _, body = line[1:].partition(" = ")
            arrays[name] = _guard(_parse_array, body, number)
    name, graph_input, input_type, output = "", "", TensorType(()), ""
    contract: InputContract | None = None
    nodes: list[Node] = []
    for number, line in lines:
        if line.startswith("input {"):
            contract = contract_of_json(line.removeprefix("input "))
        elif line.startswith("graph "):
            name = line.removeprefix("graph ")
        elif line.startswith("return %"):
            output = line.removeprefix("return %")
        elif match := _LINE.match(line):
            nodes.append(_parse_node(match, arrays, number))
        elif line.startswith("%"):
            tensor, _, kind = line[1:].partition(" : ")
            graph_input, input_type = tensor, _guard(_parse_type, kind, number)
        elif not line.startswith("@"):
            raise Problem("this line of a graph's text cannot be read", f"line {number}: {line[:60]}")
    return Graph(name, graph_input, input_type, tuple(nodes), output, contract=contract)


def _parse_node(match: re.Match[str], arrays: dict[str, Array], number: int) -> Node:
    name, _, op_name, inputs, settings = match.groups()
    sources = tuple(tensor.strip().removeprefix("%") for tensor in inputs.split(","))
    if op_name not in OPS:
        raise Problem(f"unknown operation {op_name!r} in a graph's text", f"line {number}")
    values: dict[str, object] = {}
    for item in (settings or "").split("; ") if settings else []:
        key, _, value = item.partition("=")
        values[key] = _guard(_parse_value, value, number)
    for item in fields(OPS[op_name]):
        if f"{name}.{item.name}" in arrays:
            values[item.name] = arrays[f"{name}.{item.name}"]
    try:
        return Node(name, OPS[op_name](**values), sources)
    except TypeError as error:
        raise Problem(f"operation {op_name} in a graph's text lacks or repeats a field", f"line {number}") from error


def _parse_value(text: str) -> object:
    return float(text) if text in ("inf", "-inf") else ast.literal_eval(text)


def _guard(function, argument: str, number: int):  # type: ignore[no-untyped-def]
    try:
        return function(argument)
    except (ValueError, SyntaxError, AttributeError) as error:
        raise Problem("this line of a graph's text cannot be read", f"line {number}: {argument[:60]}") from error


def _parse_type(text: str) -> TensorType:
    match = _TYPE.match(text)
    if not match:
        raise ValueError(text)
    shape = tuple(int(size) for size in match[2].split(",") if size.strip())
    if match[1] == "float":
        return TensorType(shape)
    return TensorType(shape, int(match[3]), int(match[4]), int(match[5] or 1))


def _parse_array(text: str) -> Array:
    kind, shape_text, *values = text.split(" ")
    shape = tuple(int(size) for size in shape_text.split("x"))
    count = int(np.prod(shape))
    if kind in ("bipolar", "binary"):
        packed = np.frombuffer(bytes.fromhex(values[0] if values else ""), np.uint8)
        bits = np.unpackbits(packed, count=count)
        flat = bits if kind == "binary" else (2 * bits.astype(np.int8) - 1).astype(np.int8)
        return flat.reshape(shape)
    return np.array([ast.literal_eval(v) for v in values if v], np.dtype(kind)).reshape(shape)
