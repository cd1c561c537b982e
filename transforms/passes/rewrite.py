"""What a pass is, how passes follow each other, and what they tell about the tensors they touch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from ..ir.graph import Graph, Node
from ..ir.infer import result_type
from ..ir.ops import AnyOp
from ..ir.tensor import Array, TensorType


@dataclass(frozen=True, slots=True)
class Equivalence:
    """An equality that holds for every input: old[..., kept] == factor * new + offset.

    Attributes:
        old: tensor of the graph before the pass.
        new: tensor of the graph after it; of the same shape but for channels that are left out.
        factor, offset: float64, (channels,) or (1,), exactly representable.
        kept: channels of `old` that `new` holds, in order; None for all.
    """

    old: str
    new: str
    factor: Array
    offset: Array
    kept: Array | None = None


@dataclass(frozen=True, slots=True)
class FloatTies:
    """Where programs that compute in float32 may see a value on the other side of a quantizer's threshold.

    Attributes:
        tensor: of the graph before the pass; the input of a quantizer.
        channels: those with float ties; a channel may stand more than once.
        thresholds: for each, the value at which the quantizer's result changes.
        widths: for each, how near to the threshold a value must be for float32 to err on its side.
        alike: whether each stands for all channels, of which none has thresholds of its own.
    """

    tensor: str
    channels: tuple[int, ...]
    thresholds: tuple[float, ...]
    widths: tuple[float, ...]
    alike: bool = False


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A pass's result: the new graph, what it has in common with the old one, and remarks for people.

    `origins` says for each node of the new graph which nodes of the old one it was made of.
    """

    graph: Graph
    equivalences: tuple[Equivalence, ...]
    notes: tuple[str, ...] = ()
    float_ties: tuple[FloatTies, ...] = ()
    origins: Origins = field(default_factory=dict)


Origins = Mapping[str, tuple[str, ...]]


class Pass(Protocol):
    """One exact rewriting of a graph."""

    @property
    def name(self) -> str:
        """Short name, as in file names and reports."""

    def __call__(self, graph: Graph) -> Rewritten:
        """The rewritten graph; raises `Problem` for what it cannot do exactly."""


Observer = Callable[[Pass, Graph, Rewritten], None]


def run_passes(passes: Sequence[Pass], graph: Graph, observe: Observer | None = None) -> Rewritten:
    """Apply one or more passes in order; the result's equivalences span them all.

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
            equivalences = compose(whole.equivalences, result.equivalences)
            origins = compose_origins(whole.origins, result.origins)
            notes, float_ties = whole.notes + result.notes, whole.float_ties + result.float_ties
            whole = Rewritten(result.graph, equivalences, notes, float_ties, origins)
    assert whole is not None, "at least one pass"
    return whole


def compose(first: Sequence[Equivalence], second: Sequence[Equivalence]) -> tuple[Equivalence, ...]:
    """Equivalences from before `first` to after `second`, for tensors that both passes keep."""
    known = {equivalence.new: equivalence for equivalence in first}
    return tuple(_joined(known[equivalence.old], equivalence) for equivalence in second if equivalence.old in known)


def compose_origins(first: Origins, second: Origins) -> Origins:
    """Origins of what `second` made in what `first` was given."""
    return {
        name: tuple(dict.fromkeys(old for middle in middles for old in first.get(middle, ())))
        for name, middles in second.items()
    }


def _joined(first: Equivalence, second: Equivalence) -> Equivalence:
    factor, offset, kept = first.factor, first.offset, second.kept
    if kept is not None:
        factor, offset = (value if value.size == 1 else value[kept] for value in (factor, offset))
        kept = kept if first.kept is None else first.kept[kept]
    else:
        kept = first.kept
    return Equivalence(first.old, second.new, factor * second.factor, factor * second.offset + offset, kept)


@dataclass(slots=True)
class Rewrite:
    """The new graph that grows along a walk over an old one."""

    graph: Graph
    nodes: dict[str, Node] = field(default_factory=dict)
    types: dict[str, TensorType] = field(default_factory=dict)
    equivalences: dict[str, Equivalence] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    float_ties: list[FloatTies] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    origins: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.types[self.graph.input] = self.graph.input_type

    def of(self, *nodes: Node) -> None:
        """State which nodes of the old graph what is emitted from now on is made of."""
        self._sources = tuple(node.name for node in nodes)

    def emit(self, name: str, op: AnyOp, *sources: str) -> str:
        """Append an operation; returns its tensor, named `name` where no other tensor is."""
        while name in self.types:
            name += "_"
        self.types[name] = result_type(op, [self.types[source] for source in sources], name)
        self.nodes[name] = Node(name, op, sources)
        self.origins[name] = self._sources
        return name

    def fresh(self, kind: str) -> str:
        """A name that no tensor of the new graph has: kind0, kind1, ..."""
        while True:
            number = self.counts.get(kind, 0)
            self.counts[kind] = number + 1
            if f"{kind}{number}" not in self.types:
                return f"{kind}{number}"

    def replace(self, tensor: str, op: AnyOp) -> None:
        """Put another operation in the place of the one that makes `tensor`."""
        node = replace(self.nodes[tensor], op=op)
        self.nodes[tensor] = node
        self.types[tensor] = result_type(op, [self.types[source] for source in node.inputs], tensor)

    def equate(
        self, old: str, new: str, factor: Array | float = 1.0, offset: Array | float = 0.0, kept: Array | None = None
    ) -> None:
        """State that tensor `old`, or its channels `kept`, equals factor * `new` + offset."""
        factors, offsets = (np.atleast_1d(np.asarray(value, np.float64)) for value in (factor, offset))
        self.equivalences[new] = Equivalence(old, new, factors, offsets, kept)

    def done(self, output: str) -> Rewritten:
        """The finished graph with its equivalences in the order of its nodes."""
        graph = self.graph.with_nodes(tuple(self.nodes.values()), output)
        order = [self.graph.input, *self.nodes]
        equivalences = tuple(self.equivalences[tensor] for tensor in order if tensor in self.equivalences)
        return Rewritten(graph, equivalences, tuple(self.notes), tuple(self.float_ties), self.origins)
