"""Data on their way to a graph's input, as its input contract says."""

from __future__ import annotations

import numpy as np

from bnnflow import Problem

from ..transforms.ir.contract import InputContract, choices
from ..transforms.ir.graph import Graph
from ..transforms.ir.ops import Affine, Quantize, Sign, Stairs
from ..transforms.ir.tensor import Array
from ..transforms.passes.accept import AcceptInput, codes_of, of_network
from ..transforms.passes.floats import on_floats

# How far from the value of a datum, in steps of the data, a float may lie to be taken for it.
_NEAR = 1 / 16


def graph_inputs(graph: Graph, data: Array) -> Array:
    """Data (N, *input shape) as the graph takes them.

    Integers are the data of the contract, such as pixels; floats are the inputs that the network was trained on. So the
    same array may be given to every level of a network.

    Args:
        graph: of any level.
        data: integers or floats.

    Returns:
        integers for a graph on integers, floats for one on floats; shapes and, of what is passed on as it is, ranges
        are not checked.

    Raises:
        Problem: integers are given and it is not known how they become the network's inputs, they are out of range, or
            floats are values that no data give.
    """
    if data.dtype.kind not in "fiub" or data.shape[1:] != graph.input_type.shape:
        return data
    contract, whole, of_integers = graph.input_contract, data.dtype.kind != "f", not graph.input_type.is_float
    if data.dtype.kind == "b":
        _check_truth(graph, contract)
    known = data
    if not whole and contract is not None and contract.knows_data and not (contract.is_plain and of_integers):
        known = _data_of(graph, contract, data)
    if not of_integers:
        return _values(graph, _known(graph), data) if whole else data
    assert contract is not None
    if contract.host:
        if whole and not contract.knows_data:
            return _codes_as_given(graph, data)
        return _on_host(graph, contract, _values(graph, contract, data) if whole else data)
    return known


def _check_truth(graph: Graph, contract: InputContract | None) -> None:
    """Refuse false and true where they would be taken for two of many numbers, such as the darkest pixels."""
    held = contract.data_range if contract is not None and contract.knows_data else None
    if held is None and not graph.input_type.is_float:
        held = (*graph.input_type.range, graph.input_type.step)
    if held is None or held[:2] != (0, 1):
        takes = f", the input takes {held[0]} to {held[1]}" if held is not None else ""
        hint = "give them as numbers: images * np.uint8(255) for pixels, 2 * images.astype(np.int8) - 1 for -1 and +1"
        raise Problem(f"the data are false and true{takes}", _place(graph), hint)


def _known(graph: Graph) -> InputContract:
    """What the data of a graph on floats are; integers as they are where its first quantizer changes none of them."""
    contract = graph.contract or of_network(graph)
    if contract is not None and contract.knows_data:
        return contract
    if contract is not None:
        accepted = AcceptInput()(graph).graph
        if _keeps_integers(accepted):
            return InputContract(accepted.input_type.datatype)
    raise Problem("it is not known how integers become this float input", _place(graph), choices())


def image_inputs(graph: Graph, images: Array) -> Array:
    """Images of a data set, (N, C, H, W) uint8, as the graph takes them; channels go where its input has them.

    Raises:
        Problem: as for `graph_inputs`; the contract's data are no 8-bit pixels, or an input without axes does not say
            in which order the values of several channels lie.
    """
    contract = graph.input_contract or of_network(graph)
    if contract is not None and contract.knows_data:
        low, high, step = contract.data_range
        if low > 0 or high < 255 or step != 1:
            what = f"the data set holds pixels from 0 to 255, the input takes {contract.datatype}"
            raise Problem(what, _place(graph), f"{choices()}; or give the data with --input X.npy")
    shape, wanted = images.shape[1:], graph.input_type.shape
    if len(wanted) == 1 and wanted != shape and wanted[0] == int(np.prod(shape)):
        layout = contract.layout if contract is not None else ""
        if shape[0] > 1 and not layout:
            what = f"images of {list(shape)} can lie in an input of {wanted[0]} values in two orders"
            raise Problem(what, _place(graph), 'say which with --input, for example "pixels/255, nchw" or ", nhwc"')
        images = np.moveaxis(images, 1, -1) if layout == "nhwc" else images
        images = images.reshape(len(images), -1)
    elif len(wanted) == 3 and not graph.channels_first and wanted == (*shape[1:], shape[0]):
        images = np.moveaxis(images, 1, -1)
    return graph_inputs(graph, images)


def float_inputs(graph: Graph, data: Array) -> Array:
    """What a graph's input stands for, as the float32 numbers that programs in float32 give the network.

    Args:
        graph: on integers.
        data: (N, *input shape), as the graph takes them.

    Returns:
        the network's inputs: of data, rounded as float32 does; of what the host makes, numbers of which it makes that.
    """
    contract = graph.input_contract
    if contract is None:
        return data.astype(np.float32)
    last = _channels_last(graph, data)
    if contract.host:
        return _back(graph, _before_host(contract, last).astype(np.float32))
    return _back(graph, contract.values(last, np.float32))


def _before_host(contract: InputContract, made: Array) -> Array:
    """Floats of which the host makes the integers `made`, channels on the last axis."""
    *front, last = contract.host
    assert isinstance(last, Quantize | Sign | Stairs)
    codes = codes_of(last)
    assert codes is not None
    if isinstance(last, Stairs):
        # At its bound each level begins; float32 may not round that down.
        ends = np.nextafter(last.bounds.astype(np.float32), np.float32(np.inf)).astype(np.float64)
        floor = np.concatenate([ends[:, :1] - 1, ends], axis=1)
        rows = np.broadcast_to(np.arange(made.shape[-1]) % len(floor), made.shape)
        values = floor[rows, (made - codes.kind.range[0]) // codes.kind.step]
    else:
        values = made * codes.unit + codes.offset
    for op in reversed(front):
        if isinstance(op, Affine):
            values = (values - op.shift) * op.divisor / np.where(op.scale == 0, 1.0, op.scale)
    return np.asarray(values)


def _place(graph: Graph) -> str:
    return f"input {graph.input!r} of {graph.name!r}"


def _channels_last(graph: Graph, data: Array) -> Array:
    return np.moveaxis(data, 1, -1) if graph.channels_first else data


def _back(graph: Graph, data: Array) -> Array:
    return np.moveaxis(data, -1, 1) if graph.channels_first else data


def _values(graph: Graph, contract: InputContract, data: Array) -> Array:
    """The network's inputs of data."""
    low, high, step = contract.data_range
    between = step > 1 and np.any((data.astype(np.int64) - low) % step)
    if data.size and (data.min() < low or data.max() > high or between):
        what = f"the data are {data.min()} to {data.max()}, the input takes {contract.datatype}"
        raise Problem(what, _place(graph), f"give data of this type, or say what else they are: {choices()}")
    channels = graph.input_type.shape[0 if graph.channels_first else -1]
    if any(size not in (1, channels) for op in contract.steps for size in (op.scale.size, op.shift.size)):
        raise Problem(f"--input gives other numbers of channels than {channels}", _place(graph))
    return _back(graph, contract.values(_channels_last(graph, data)))


def _on_host(graph: Graph, contract: InputContract, values: Array) -> Array:
    """The first quantizer's integers of the network's inputs."""
    if not np.all(np.isfinite(values)):
        return values
    return _back(graph, _codes(contract, _channels_last(graph, values)))


def _codes(contract: InputContract, values: Array) -> Array:
    """What the host makes of the network's inputs, channels on the last axis."""
    for op in contract.host:
        values = on_floats(op, values)
    last = contract.host[-1]
    assert isinstance(last, Quantize | Sign | Stairs)
    codes = codes_of(last)
    assert codes is not None
    return np.rint((values - codes.offset) / codes.unit).astype(np.int64)


def _codes_as_given(graph: Graph, data: Array) -> Array:
    """Integers for a graph whose host starts from floats: good where integers are what the host makes of them."""
    if not _keeps_integers(graph):
        what = "integers are given, and it is not known how they become the floats that the host starts from"
        raise Problem(what, _place(graph), f"give the floats that the network was trained on, or {choices()}")
    return data


def _keeps_integers(graph: Graph) -> bool:
    """Whether the host makes of every integer of the graph's input that integer itself."""
    contract, (low, high) = graph.contract, graph.input_type.range
    assert contract is not None
    channels = graph.input_type.shape[0 if graph.channels_first else -1]
    same = np.repeat(np.arange(low, high + 1, graph.input_type.step)[:, None], channels, axis=1)
    return np.array_equal(_codes(contract, same.astype(np.float64)), same)


def _data_of(graph: Graph, contract: InputContract, values: Array) -> Array:
    """The data that give the network's inputs `values`."""
    if not np.all(np.isfinite(values)):
        return values
    given = _channels_last(graph, values)
    data = given.astype(np.float64)
    for step in reversed(contract.steps):
        data = (data - step.shift) * step.divisor / step.scale
    whole = np.rint(data)
    low, high, step_ = contract.data_range
    wrong = (np.abs(data - whole) > _NEAR) | (whole < low) | (whole > high) | ((whole - low) % step_ != 0)
    if np.any(wrong):
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        what = f"{given[first]:g} is not the network's input of any {contract.datatype}: x = {contract.formula()}"
        ends = np.sort([contract.values(np.full((1, given.shape[-1]), end)).reshape(-1) for end in (low, high)], axis=0)
        hint = (
            f"floats are what the network was trained on, here {ends[0].min():g} to {ends[1].max():g}; save data such "
            "as pixels as integers"
        )
        raise Problem(what, f"{_place(graph)}, image {first[0]}", hint)
    return _back(graph, whole.astype(np.int64))
