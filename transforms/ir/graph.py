"""The graph: a typed, immutable list of operations over named tensors.

One graph type serves every level, from the float network as it was read to the dataflow graph
that is built in hardware. Shapes never hold the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType

import numpy as np

from bnnflow import Problem

from .contract import InputContract, plain_contract
from .infer import result_type
from .ops import AnyOp, ChannelsLast
from .tensor import Array, TensorType


@dataclass(frozen=True, slots=True)
class Node:
    """One operation in a graph: reads the tensors `inputs`, makes tensor `name`."""

    name: str
    op: AnyOp
    inputs: tuple[str, ...]

    @property
    def input(self) -> str:
        """The first tensor that is read; the only one but for joins."""
        return self.inputs[0]


@dataclass(frozen=True, slots=True)
class Graph:
    """Operations in the order of execution, with the type of every tensor.

    Attributes:
        name: for people.
        input: name of the input tensor.
        input_type: its type; (channels, height, width) for images.
        nodes: each reads the input or earlier nodes' tensors.
        output: name of the tensor that holds the class scores.
        notes: what was left out when the network was read, for people.
        contract: what the input means and how data become it; None for integers as they are, and for floats of which
            nothing is known.
        types: type of every tensor, inferred.

    Raises:
        Problem: names that are used twice or unknown; shapes that do not fit.
    """

    name: str
    input: str
    input_type: TensorType
    nodes: tuple[Node, ...]
    output: str
    notes: tuple[str, ...] = field(default=(), compare=False)
    contract: InputContract | None = None
    types: Mapping[str, TensorType] = field(init=False, repr=False, compare=False)
    _nodes: Mapping[str, Node] = field(init=False, repr=False, compare=False)
    _readers: Mapping[str, tuple[Node, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        types = {self.input: self.input_type}
        readers: dict[str, tuple[Node, ...]] = {}
        for node in self.nodes:
            if node.name in types:
                raise Problem("two tensors have the same name", f"tensor {node.name!r} of {self.name!r}")
            for tensor in node.inputs:
                if tensor not in types:
                    raise Problem("an operation reads a tensor that nothing makes", f"{node.name!r} reads {tensor!r}")
            for tensor in dict.fromkeys(node.inputs):
                readers[tensor] = (*readers.get(tensor, ()), node)
            types[node.name] = result_type(node.op, [types[tensor] for tensor in node.inputs], node.name)
        if self.output not in types:
            raise Problem("the output is a tensor that nothing makes", f"tensor {self.output!r} of {self.name!r}")
        object.__setattr__(self, "types", MappingProxyType(types))
        object.__setattr__(self, "_nodes", {node.name: node for node in self.nodes})
        object.__setattr__(self, "_readers", readers)

    def __deepcopy__(self, memo: dict[int, object]) -> Graph:
        """Itself: nothing in a graph changes."""
        return self

    @property
    def input_contract(self) -> InputContract | None:
        """What the input means: as stated, else integers as they are; None for floats of which nothing is known."""
        if self.contract is not None or self.input_type.is_float:
            return self.contract
        return plain_contract(self.input_type)

    @property
    def channels_first(self) -> bool:
        """Whether the input is a map with its channels first."""
        readers = self.readers(self.input)
        return bool(readers) and all(isinstance(node.op, ChannelsLast) for node in readers)

    @property
    def output_type(self) -> TensorType:
        """Type of the output tensor."""
        return self.types[self.output]

    def node(self, name: str) -> Node:
        """The node that makes tensor `name`; KeyError if there is none."""
        return self._nodes[name]

    def maker(self, tensor: str) -> AnyOp | None:
        """The operation that makes `tensor`, None for the graph's input."""
        node = self._nodes.get(tensor)
        return None if node is None else node.op

    def readers(self, tensor: str) -> tuple[Node, ...]:
        """The nodes that read `tensor`, each once."""
        return self._readers.get(tensor, ())

    def uses(self, tensor: str) -> int:
        """How often `tensor` is read, the graph's output counted as one reading."""
        return sum(node.inputs.count(tensor) for node in self.readers(tensor)) + int(tensor == self.output)

    def sole_reader(self, tensor: str) -> Node | None:
        """The node that reads `tensor`, where it is read just once; else None."""
        return self.readers(tensor)[0] if self.uses(tensor) == 1 and tensor != self.output else None

    def with_nodes(self, nodes: tuple[Node, ...], output: str | None = None) -> Graph:
        """The same graph with other nodes; types are inferred again."""
        return replace(self, nodes=nodes, output=self.output if output is None else output)

    def __str__(self) -> str:
        """The graph as text, which `text.parse_graph` reads back; the same graph always gives the same text."""
        lines = [f"graph {self.name}", f"%{self.input} : {self.input_type}"]
        if self.contract is not None:
            lines.append(f"input {self.contract.to_json()}")
        arrays: list[str] = []
        for node in self.nodes:
            items = []
            for item in fields(node.op):
                value = getattr(node.op, item.name)
                if isinstance(value, np.ndarray):
                    arrays.append(f"@{node.name}.{item.name} = {_print_array(value)}")
                else:
                    items.append(f"{item.name}={value!r}")
            settings = f" {{{'; '.join(items)}}}" if items else ""
            made = self.types[node.name]
            inputs = ", ".join(f"%{tensor}" for tensor in node.inputs)
            lines.append(f"%{node.name} : {made} = {type(node.op).__name__}({inputs}){settings}")
        return "\n".join([*lines, f"return %{self.output}", *arrays]) + "\n"


def _print_array(array: Array) -> str:
    shape = "x".join(map(str, array.shape))
    flat = array.reshape(-1)
    if array.dtype == np.int8 and np.all(np.abs(flat.astype(np.int64)) == 1):
        return f"bipolar {shape} {np.packbits(flat > 0).tobytes().hex()}"
    if array.dtype == np.uint8 and np.all(flat <= 1):
        return f"binary {shape} {np.packbits(flat).tobytes().hex()}"
    return f"{array.dtype} {shape} {' '.join(repr(value) for value in flat.tolist())}"
