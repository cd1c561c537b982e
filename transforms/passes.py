"""What a pass is, how passes follow each other, and what they tell about the tensors they touch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from bnnflow import Problem

from .graph import AnyOp, Array, Graph, Node, TensorType, result_type


@dataclass(frozen=True, slots=True)
class Match:
    """An equality that holds for every input: old == factor * new + offset.

    Attributes:
        old: tensor of the graph before the pass.
        new: tensor of the graph after it, of the same shape.
        factor, offset: float64, (channels,) or (1,), exactly representable.
    """

    old: str
    new: str
    factor: Array
    offset: Array


@dataclass(frozen=True, slots=True)
class Doubt:
    """Where programs that compute in float32 may see a tie on the other side of zero.

    Attributes:
        tensor: of the graph before the pass; the input of a sign.
        channels: those in doubt.
        widths: for each, how near to zero a value must be for float32 to err on its side.
    """

    tensor: str
    channels: tuple[int, ...]
    widths: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A pass's result: the new graph, what it has in common with the old one, and remarks for people."""

    graph: Graph
    matches: tuple[Match, ...]
    notes: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()


class Pass(Protocol):
    """One exact rewriting of a graph."""

    @property
    def name(self) -> str:
        """Short name, as in file names and reports."""

    def __call__(self, graph: Graph) -> Rewritten:
        """The rewritten graph; raises `Problem` for what it cannot do exactly."""


Observer = Callable[[Pass, Graph, Rewritten], None]


def run(passes: Sequence[Pass], graph: Graph, observe: Observer | None = None) -> Rewritten:
    """Apply one or more passes in order; the result's matches span them all.

    `observe(pass, before, result)` sees each step: timing, printing and checking are its business.
    """
    whole: Rewritten | None = None
    for step in passes:
        before = graph if whole is None else whole.graph
        result = step(before)
        if observe is not None:
            observe(step, before, result)
        if whole is None:
            whole = result
        else:
            matches = compose(whole.matches, result.matches)
            whole = Rewritten(result.graph, matches, whole.notes + result.notes, whole.doubts + result.doubts)
    assert whole is not None, "at least one pass"
    return whole


def compose(first: Sequence[Match], second: Sequence[Match]) -> tuple[Match, ...]:
    """Matches from before `first` to after `second`, for tensors that both passes keep."""
    known = {match.new: match for match in first}
    return tuple(
        Match(
            known[m.old].old,
            m.new,
            known[m.old].factor * m.factor,
            known[m.old].factor * m.offset + known[m.old].offset,
        )
        for m in second
        if m.old in known
    )


@dataclass(slots=True)
class Rewrite:
    """The walk over a graph without branches, and the new graph that grows along it."""

    graph: Graph
    nodes: list[Node] = field(default_factory=list)
    types: dict[str, TensorType] = field(default_factory=dict)
    matches: dict[str, Match] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.types[self.graph.input] = self.graph.input_type

    def walk(self) -> list[Node]:
        """The old nodes in order.

        Raises:
            Problem: a tensor is read by two operations; networks with branches are not compiled yet.
        """
        for tensor in (self.graph.input, *(node.name for node in self.graph.nodes)):
            readers = self.graph.readers(tensor)
            if len(readers) > 1:
                raise Problem(
                    "networks with branches do not compile yet",
                    f"tensor {tensor!r} is read by {readers[0].name!r} and {readers[1].name!r}",
                    "use a network in which each layer feeds one other layer",
                )
        return list(self.graph.nodes)

    def emit(self, name: str, op: AnyOp, source: str) -> str:
        """Append an operation; returns its tensor."""
        self.types[name] = result_type(op, self.types[source], name)
        self.nodes.append(Node(name, op, source))
        return name

    def match(self, old: str, new: str, factor: Array | float = 1.0, offset: Array | float = 0.0) -> None:
        """State that tensor `old` equals factor * `new` + offset."""
        columns = (np.atleast_1d(np.asarray(value, np.float64)) for value in (factor, offset))
        self.matches[new] = Match(old, new, *columns)

    def negate(self, tensor: str, channels: Array, op: AnyOp) -> None:
        """Replace the operation that makes `tensor` by `op`, which negates its values on `channels` (bool)."""
        index = next(i for i, node in enumerate(self.nodes) if node.name == tensor)
        self.nodes[index] = replace(self.nodes[index], op=op)
        self.types[tensor] = result_type(op, self.types[self.nodes[index].input], tensor)
        if tensor in self.matches:
            known = self.matches[tensor]
            self.matches[tensor] = replace(known, factor=known.factor * np.where(channels, -1.0, 1.0))

    def done(self, output: str) -> Rewritten:
        """The finished graph with its matches in the order of its nodes."""
        graph = self.graph.with_nodes(tuple(self.nodes), output)
        order = [self.graph.input, *(node.name for node in self.nodes)]
        matches = tuple(self.matches[tensor] for tensor in order if tensor in self.matches)
        return Rewritten(graph, matches, tuple(self.notes), tuple(self.doubts))


def maker_op(graph: Graph, tensor: str) -> AnyOp | None:
    """The operation that makes `tensor`, None for the graph's input."""
    return next((node.op for node in graph.nodes if node.name == tensor), None)


def reader_op(graph: Graph, tensor: str) -> AnyOp | None:
    """The operation that reads `tensor`, None at the end of the graph."""
    readers = graph.readers(tensor)
    return readers[0].op if readers else None
