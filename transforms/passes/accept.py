"""Where a network begins: from floats to the integers that hardware takes, as the input contract says."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bnnflow import Problem

from ..ir.contract import FLOAT, MOST_BITS, HostOp, InputContract, choices
from ..ir.graph import Graph, Node
from ..ir.ops import Affine, ChannelsLast, Flatten, PiecewiseLinear, Quantize, Sign, Stairs, Threshold
from ..ir.tensor import Array, TensorType, bipolar
from .floats import on_floats
from .rewrite import Rewritten

_PIXEL_RANGES = ((0.0, 1.0), (-1.0, 1.0), (-0.5, 0.5), (-127.5, 127.5))
_CLOSE = 1e-6
_LOPSIDED = 0.99
_CROWDED, _MANY_LEVELS = 0.4, 16


@dataclass(frozen=True, slots=True)
class AcceptInput:
    """Give a float input the integers that its contract states: the data themselves, or the first quantizer's.

    Needs: the graph's contract; without one, what the network's first operations say: a division of pixels
    by 255 and its like, or a quantizer that nothing but products, sums and clips stand in front of, which then runs on
    the host (as FINN cuts networks). Removes: a float graph input. Exact: for the inputs that the contract states.
    """

    name: str = "accept-input"

    def __call__(self, graph: Graph) -> Rewritten:
        """The graph with an integer input; `Problem` where it is not known what the floats hold."""
        if not graph.input_type.is_float:
            return Rewritten(graph, ())
        contract = graph.contract or of_network(graph)
        if contract is None:
            raise Problem("it is not known what the float input holds", _place(graph), choices())
        return Rewritten((_on_data if contract.knows_data else _behind_quantizer)(graph, contract), ())


def with_contract(graph: Graph, given: InputContract) -> Graph:
    """The graph, its input meaning what is given.

    A graph behind its first quantizer takes what is given as the data from which the host starts.

    Raises:
        Problem: the graph's own contract contradicts it.
    """
    own = graph.input_contract
    if own is None or given == own:
        return replace(graph, contract=given)
    if own.host and not own.knows_data and given.knows_data:
        return replace(graph, contract=replace(given, host=own.host))
    if own.is_plain and given.is_plain and given.datatype == own.datatype:
        return replace(graph, contract=given)
    said = given.formula() if given.knows_data else "float"
    raise Problem(
        f"the input is said to be {said}, but for the file it is {own.describe(graph.input_type)}",
        _place(graph),
        "leave it out, or start from the file that the network was exported to",
    )


def of_network(graph: Graph) -> InputContract | None:
    """What a network's first operations say of its float input; None where they say nothing.

    A product and sum that bring 0..255 to 0..1, -1..1 or around 0 read 8-bit pixels; else the first quantizer is the
    border to the host.
    """
    chain = _chain(graph)
    first = chain.ops[0] if chain is not None and chain.ops else _first_affine(graph)
    if isinstance(first, Affine):
        ends = [end * first.scale / first.divisor + first.shift for end in (0.0, 255.0)]
        for low, high in _PIXEL_RANGES:
            if all(np.all(np.abs(end - value) <= _CLOSE * 255) for end, value in zip(ends, (low, high), strict=True)):
                # 2x - 1 brings 0..1 there, not 0..255.
                return InputContract("UINT8", source="network")
    return None if chain is None or not chain.ends else InputContract(FLOAT, source="network")


# -- the first operations --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Chain:
    """The operations through which alone the input goes, up to the first quantizer.

    Attributes:
        nodes: those, with changes of shape.
        ops: those that compute.
        ends: whether the last is a quantizer of at most `MOST_BITS` bits.
    """

    nodes: tuple[Node, ...]
    ops: tuple[HostOp, ...]
    ends: bool


def _chain(graph: Graph) -> _Chain | None:
    """None where the input is read twice, or a value a place of a flattened map comes before the quantizer."""
    nodes: list[Node] = []
    ops: list[HostOp] = []
    tensor, flat = graph.input, False
    while (node := graph.sole_reader(tensor)) is not None:
        op = node.op
        if isinstance(op, ChannelsLast | Flatten):
            flat = flat or isinstance(op, Flatten)
        elif isinstance(op, HostOp):
            if flat and _entries(op) > 1:
                return None
            ops.append(op)
        else:
            return _Chain(tuple(nodes), tuple(ops), False)
        nodes.append(node)
        if isinstance(op, Quantize | Sign | Stairs):
            return _Chain(tuple(nodes), tuple(ops), codes_of(op) is not None)
        tensor = node.name
    return None if graph.uses(tensor) > 1 and not nodes else _Chain(tuple(nodes), tuple(ops), False)


def _first_affine(graph: Graph) -> Affine | None:
    """The product and sum that the input goes through first, whatever follows."""
    tensor = graph.input
    while (node := graph.sole_reader(tensor)) is not None and isinstance(node.op, ChannelsLast | Flatten):
        tensor = node.name
    return node.op if node is not None and isinstance(node.op, Affine) else None


def _entries(op: HostOp) -> int:
    match op:
        case Affine(scale, shift, divisor):
            return max(scale.size, shift.size, divisor.size)
        case PiecewiseLinear(knots, slopes, intercepts):
            return max(len(knots), len(slopes), len(intercepts))
        case Quantize(scale):
            return int(scale.size)
        case Stairs(bounds):
            return int(bounds.shape[0])
        case _:
            return 1


@dataclass(frozen=True, slots=True)
class Codes:
    """A quantizer's results as integers: result = unit * code + offset.

    Attributes:
        kind: low, high and step of the codes (its shape is empty).
        unit: (channels,) or (1,). offset: one number.
    """

    kind: TensorType
    unit: Array
    offset: float = 0.0


def codes_of(op: Quantize | Sign | Stairs) -> Codes | None:
    """The integers of a quantizer; None where there are more than `MOST_BITS` bits of them."""
    match op:
        case Quantize(scale, low, high):
            return None if high - low >= 2**MOST_BITS else Codes(TensorType((), low, high), scale)
        case Sign(zero):
            return Codes(bipolar(()) if zero else TensorType((), -1, 1), np.ones(1))
        case Stairs(bounds, out_bias, out_scale):
            if bounds.shape[1] == 1 and 2 * out_bias == -out_scale:
                return Codes(bipolar(()), np.array([out_scale / 2]))
            return Codes(TensorType((), 0, bounds.shape[1]), np.array([out_scale]), out_bias)


def _on_data(graph: Graph, contract: InputContract) -> Graph:
    """The graph on the data themselves, their steps in front; those with a value per channel behind the turned axes."""
    low, high, step = contract.data_range
    kind = TensorType(graph.input_type.shape, low, high, step)
    single = all(_entries(op) == 1 for op in contract.steps)
    turned = graph.channels_first and not single
    # One turn of the axes serves every reader of an image.
    places = [node.name for node in graph.readers(graph.input)][:1] if turned else [graph.input]
    channels = graph.types[places[0]].channels
    for op in contract.steps:
        if _entries(op) not in (1, channels):
            what = f"{_entries(op)} numbers per channel are given for an input of {channels} channels"
            raise Problem(what, _place(graph), "give one number, or one per channel")
    nodes, ends = [] if turned else _scaled(graph, contract, graph.input), {}
    if not turned:
        ends[graph.input] = nodes[-1].name if nodes else graph.input
    for node in graph.nodes:
        nodes.append(replace(node, inputs=tuple(ends.get(name, name) for name in node.inputs)))
        if turned and node.name in places:
            nodes += _scaled(graph, contract, node.name)
            ends[node.name] = nodes[-1].name
    output = ends.get(graph.output, graph.output)
    return replace(graph, input_type=kind, nodes=tuple(nodes), output=output, contract=contract)


def _scaled(graph: Graph, contract: InputContract, tensor: str) -> list[Node]:
    """The steps from data to the network's inputs behind a tensor, which need not be the graph's only one."""
    nodes: list[Node] = []
    for number, op in enumerate(contract.steps):
        name = "input_scale" + (str(number) if number else "")
        while name in graph.types:
            name += "_"
        nodes.append(Node(name, op, (nodes[-1].name if nodes else tensor,)))
    return nodes


def _behind_quantizer(graph: Graph, contract: InputContract) -> Graph:
    """The graph behind its first quantizer, which the contract takes to the host."""
    chain = _chain(graph)
    last = chain.nodes[-1] if chain is not None and chain.ends else None
    if chain is None or last is None or last.name == graph.output:
        what = "no quantizer stands between this input and the first layer, so that floats cannot enter the hardware"
        raise Problem(what, _place(graph), choices())
    op = chain.ops[-1]
    assert isinstance(op, Quantize | Sign | Stairs)
    codes = codes_of(op)
    assert codes is not None
    kind = replace(codes.kind, shape=graph.input_type.shape)
    # What turns axes and flattens stays; what computes goes; the quantizer's scale takes its place and name.
    gone = {node.name: node.input for node in chain.nodes[:-1] if not isinstance(node.op, ChannelsLast | Flatten)}

    def source(tensor: str) -> str:
        while tensor in gone:
            tensor = gone[tensor]
        return tensor

    nodes = []
    for node in graph.nodes:
        if node.name == last.name:
            unit = Affine(codes.unit, np.array([codes.offset]))
            nodes.append(Node(node.name, unit, (source(node.input),)))
        elif node.name not in gone:
            nodes.append(replace(node, inputs=tuple(map(source, node.inputs))))
    made = replace(contract, host=chain.ops)
    return replace(graph, input_type=kind, nodes=tuple(nodes), contract=made)


def _place(graph: Graph) -> str:
    return f"input {graph.input!r} of {graph.name!r}, {graph.input_type}"


# -- whether the contract fits the network ---------------------------------------------------------


def check_levels(graph: Graph) -> None:
    """Refuse a contract whose data reach half of the first quantizer's levels at most, or crowd on one.

    Args:
        graph: as `AcceptInput` gives it.

    Raises:
        Problem: with what the data reach.
    """
    contract = graph.input_contract
    chain = _chain(graph)
    if contract is None or contract.partial or contract.host or chain is None or not chain.ends:
        return
    low, high, step = *graph.input_type.range, graph.input_type.step
    if high - low >= 2**MOST_BITS:
        return
    channels = max(map(_entries, chain.ops))
    data = np.arange(low, high + 1, step, dtype=np.float64)[:, None]
    made = np.repeat(data, channels, axis=1)
    for op in chain.ops:
        made = on_floats(op, made)
    quantizer = chain.ops[-1]
    assert isinstance(quantizer, Quantize | Sign | Stairs)
    codes = codes_of(quantizer)
    assert codes is not None
    least, greatest = codes.kind.range
    # Whether a sign has a level for 0 says nothing of the data: most data never are 0.
    levels = 2 if isinstance(quantizer, Sign) else (greatest - least) // codes.kind.step + 1
    found = [np.unique(np.round(column, 9), return_counts=True) for column in made.T]
    reached = max(len(values) for values, _ in found)
    unit = float(codes.unit.max()) * codes.kind.step
    span = max((values[-1] - values[0]) / unit + 1 for values, _ in found)
    # A sign that all data but one or two lie on one side of, and many levels of which one takes nearly half of the
    # data, are meant for other data.
    share = min(counts.max() / len(data) for _, counts in found) if len(data) > 4 else 0.0
    crowded = share > (_CROWDED if levels >= _MANY_LEVELS else _LOPSIDED)
    half = -(-levels // 2)
    if reached > -(-min(levels, len(data)) // 2) and (span > half + _CLOSE or levels == 2) and not crowded:
        return
    said = contract.formula() if contract.knows_data else "float"
    values = f"{made.min():g} to {made.max():g}"
    given = "a single one" if reached == 1 else f"{reached} ({values})"
    rest = f", and one of them to {share:.0%} of all data" if crowded and reached > 1 else ""
    raise Problem(
        f"with the input as {said}, the first quantizer gives {given} of its {levels} levels{rest}",
        f"{chain.nodes[-1].name!r} of {graph.name!r}",
        f'{choices()}; if it is meant so: --input "{said}, partial"',
    )


def check_first_layer(graph: Graph) -> None:
    """Refuse an integer graph whose first thresholds give constants on every channel: its input is another.

    Raises:
        Problem: names the layer.
    """
    contract = graph.input_contract
    if contract is not None and (contract.partial or contract.host):
        # All that the first quantizer gives comes in: the network itself is so.
        return
    reached = {graph.input}
    for node in graph.nodes:
        if not reached & set(node.inputs):
            continue
        if not isinstance(node.op, Threshold):
            reached.add(node.name)
            continue
        kind = graph.types[node.input]
        if kind.is_float:
            continue
        low, high = kind.range
        bounds = node.op.bounds
        if np.all((bounds <= low) | (bounds > high)):
            said = graph.input_type.datatype.lower() if contract is None else contract.formula()
            raise Problem(
                f"with the input as {said}, every channel of {node.input!r} is constant behind its thresholds",
                f"{node.name!r} of {graph.name!r}",
                f'{choices()}; if it is meant so: --input "{said}, partial"',
            )
