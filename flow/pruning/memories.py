"""What the hardware's memories hold of a torch network's weights, and a fault map of theirs as wrong bits of it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bnnflow import Problem

from ...sim import reference
from ...sim.faults.injection.layout import KINDS, Memory, memories
from ...sim.faults.injection.maps import FaultMap
from ...sim.inputs import image_inputs
from ...transforms.ir.graph import Graph
from ...transforms.ir.ops import Conv, Dense, DuplicateStreams, Mvau, SlidingWindow, Thresholding
from ...transforms.passes.compile import stages
from .structure import graph_of, modules_in

if TYPE_CHECKING:
    from ...models.networks.network import Network
    from ...models.networks.own import OwnNetwork
    from ...models.training.injection import Memories, Thresholds, WrongBits


def hardware_memories(
    network: Network | OwnNetwork,
    properties: Mapping[str, str] | None = None,
    folded: Graph | None = None,
    path: Path | None = None,
) -> Memories:
    """The memories that the hardware of a network has, for bit errors in training.

    Args:
        network: with the shape that is trained; its weights do not matter.
        properties: of its file, as for `graph_of`.
        folded: its dataflow graph, folded as it will be built; with `path` alone.
        path: fault map of the weight memories; None: which bits are wrong is drawn.

    Raises:
        Problem: a layer's weights are in no memory, or in several; the map cannot be read, belongs to another network
            or folding, or hits other memories.
    """
    from ...models.training.injection import Memories

    network.eval()
    graph = graph_of(network, properties)
    places = _places(network, graph)
    inputs = _inputs(network, graph, places)
    asked = (partial(stored_signs, properties=properties), inputs, partial(stored_thresholds, properties=properties))
    if path is None:
        return Memories(*asked)
    assert folded is not None
    wrong = _wrong(network, FaultMap.load(path, folded), folded, places, path)
    return Memories(*asked, wrong, hashlib.sha256(path.read_bytes()).hexdigest())


def stored_signs(network: Network | OwnNetwork, properties: Mapping[str, str] | None = None) -> dict[str, np.ndarray]:
    """+1 where the hardware stores a weight, -1 where its negative, by layer: int8 of the weights' shape in torch.

    A negative gain of a batch norm goes into the weights in front or behind when a network is compiled.

    Raises:
        Problem: a layer's weights are in no memory.
    """
    graph = graph_of(network, properties)
    built = stages(graph)[-1].graph
    made = {}
    for name, (layer, order) in _places(network, graph).items():
        node = graph.node(layer)
        assert isinstance(node.op, Conv | Dense)
        there, op = node.op.weight[..., order], built.node(layer).op
        assert isinstance(op, Mvau)
        held = op.weight.astype(np.int64).reshape(node.op.weight.shape)[..., order]
        product = np.sign((2 * held - 1 if op.xnor else held) * np.sign(there))
        # a zero has no sign of its own: its filter's
        rows = np.sign(product.reshape(len(product), -1).sum(1)).reshape(-1, *(1,) * (product.ndim - 1))
        signs = np.where(product != 0, product, np.where(rows != 0, rows, 1))
        made[name] = np.ascontiguousarray(np.moveaxis(signs, -1, 1)).astype(np.int8)
    return made


def stored_thresholds(
    network: Network | OwnNetwork, properties: Mapping[str, str] | None = None
) -> dict[str, Thresholds]:
    """What the hardware compares sums with, by the path of the batch norm in torch; see `Memories.thresholds`.

    Raises:
        Problem: the network is no chain of layers with signs.
    """
    from ...models.training.injection import Thresholds

    graph = graph_of(network, properties)
    compiled = stages(graph)
    built, sums = compiled[-1].graph, next(one.graph for one in compiled if one.level == "xnor")
    held = {memory.layer: memory for memory in memories(built, ["thresholds"])}
    images = np.random.default_rng(0).integers(0, 256, (8, *network.spec.input_shape), dtype=np.uint8)
    here, there = _sums(network, images), reference.run(sums, image_inputs(sums, images))
    made = {}
    for path, (layer, memory) in _norms(network, held).items():
        bounds = _bounds(built, memory)
        there_as = np.clip(bounds, held[memory].least, held[memory].most)
        whole = f"{layer}_border" if f"{layer}_border" in there else layer  # what zero padding leaves out is added
        pair = (here[layer], there[whole])
        slopes = _slopes(*(values.reshape(-1, len(bounds)).astype(np.float64) for values in pair))
        made[path] = Thresholds(
            bounds.copy(), there_as, held[memory].bits, held[memory].signed, slopes.astype(np.float32)
        )
    return made


def _sums(network: Network | OwnNetwork, images: np.ndarray) -> dict[str, np.ndarray]:
    """What layers with weights give in torch, channels last, by layer."""
    import torch

    made, hooks = {}, []
    for name, layer in network.weight_layers():

        def keep(_module: object, _inputs: object, sums: torch.Tensor, name: str = name) -> None:
            made[name] = np.moveaxis(sums.numpy(), 1, -1)

        hooks.append(layer.register_forward_hook(keep))
    try:
        with torch.no_grad():
            network.eval()(torch.from_numpy(images).float())
    finally:
        for hook in hooks:
            hook.remove()
    return made


def _norms(network: Network | OwnNetwork, held: Collection[str]) -> dict[str, tuple[str, str]]:
    """By the path of each batch norm of a chain: the layer in front, and the unit whose memory has its thresholds."""
    from ...models.networks.network import Network

    spec = network.spec
    if not isinstance(network, Network) or not network.spec.is_chain or network.spec.act_bits > 1:
        what = f"which thresholds are behind which norm of {getattr(spec, 'target', 'this network')} is not known"
        raise Problem(what, key="thresholds", hint="leave them out: errors of thresholds are for chains with signs")
    found = {}
    for index, layer in enumerate(network.spec.layers()[:-1]):
        unit = layer.name if layer.name in held else f"sign{index}"
        found[f"layers.norm{index}"] = (layer.name, unit)
    return found


def _bounds(graph: Graph, unit: str) -> np.ndarray:
    op = graph.node(unit).op
    assert isinstance(op, Mvau | Thresholding)
    return op.bounds.reshape(-1)


def _slopes(x: np.ndarray, held: np.ndarray) -> np.ndarray:
    """How much x moves where the held sum is one more, channel by channel: (places, channels) each."""
    apart = held - held.mean(0)
    square = (apart * apart).sum(0)
    slopes = (apart * (x - x.mean(0))).sum(0) / np.where(square > 0, square, 1.0)
    return np.where(square > 0, slopes, np.median(np.abs(slopes[square > 0])) if (square > 0).any() else 1.0)


def _inputs(
    network: Network | OwnNetwork, graph: Graph, places: Mapping[str, tuple[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """See `Memories.inputs`: measured on images of noise, of which it must not depend."""
    images = np.random.default_rng(0).integers(0, 256, (3, *network.spec.input_shape), dtype=np.uint8)
    built = stages(graph)[-1].graph
    here, there = (reference.run(one, image_inputs(one, images)) for one in (graph, built))
    made = {}
    for name, (layer, order) in places.items():
        op, source = built.node(layer).op, built.node(layer).input
        assert isinstance(op, Mvau)
        while source != built.input and isinstance(built.maker(source), SlidingWindow | DuplicateStreams):
            source = built.node(source).input
        x, held = (np.asarray(values, np.float64) for values in (here[graph.node(layer).input], there[source]))
        if x.shape != held.shape:
            raise _unknown(name)
        held = 2 * held - 1 if op.xnor else held
        held = held * _senses(x, held)
        step = np.ptp(x) / np.ptp(held)
        # what stands for 0 is a whole number of steps, or of half ones between two levels
        apart = np.round(2 * (held - x / step)) / 2 * step
        if np.ptp(apart, 0).any() or not np.allclose(held * step - x, apart, rtol=0, atol=1e-6 * step):
            raise _unknown(name)
        if apart.any():
            made[name] = np.ascontiguousarray(np.moveaxis(apart[0][..., order], -1, 0)).astype(np.float32)
    return made


def _senses(x: np.ndarray, held: np.ndarray) -> np.ndarray:
    """+1 where a channel is held as it is, -1 where it is inverted: weights behind it are negated, too."""
    x, held = (one.reshape(-1, one.shape[-1]) for one in (x, held))
    together = np.sign(((x - x.mean(0)) * (held - held.mean(0))).sum(0))
    constant = np.where((np.sign(x) == np.sign(held)).sum(0) >= (np.sign(x) == -np.sign(held)).sum(0), 1.0, -1.0)
    return np.where(together != 0, together, constant)


def _unknown(layer: str) -> Problem:
    what = f"what the hardware multiplies the weights of {layer} by is not what the network does"
    return Problem(what, key="weights", hint="train with errors of activations alone")


def _places(network: Network | OwnNetwork, graph: Graph) -> dict[str, tuple[str, np.ndarray]]:
    """By layer of the network: the layer of its graph, and for each input there which input it is here."""
    found = {name: (layer, order) for layer, (name, order) in modules_in(network, graph).items()}
    missing = [name for name, _ in network.weight_layers() if name not in found]
    if missing:
        what = f"the weights of {', '.join(missing)} are not found in the exported graph, or run more than once"
        raise Problem(what, key="map", hint="give one rate for both directions")
    return found


def _wrong(
    network: Network | OwnNetwork,
    found: FaultMap,
    folded: Graph,
    places: Mapping[str, tuple[str, np.ndarray]],
    path: Path,
) -> dict[str, WrongBits]:
    from ...models.training.injection import WrongBits

    layers = {layer: (name, order) for name, (layer, order) in places.items()}
    known = {memory.name: memory for memory in memories(folded, KINDS)}
    made = {}
    for name, cells in found.cells.items():
        memory = known[name]
        if memory.kind == "thresholds":
            held = {one.layer for one in known.values() if one.kind == "thresholds"}
            norms = {unit: norm for norm, (_, unit) in _norms(network, held).items()}
            if memory.layer not in norms:
                what = f"the map hits {name}, whose thresholds are behind no batch norm alone"
                raise Problem(what, str(path), "draw a map of the target weights")
            made[norms[memory.layer]] = WrongBits(memory.logical()[cells.index], cells.effect)
            continue
        module, order = layers[memory.layer]
        logical = memory.logical()[cells.index]
        weight, bit = np.divmod(logical, memory.bits)
        index = _torch_numbers(memory, order)[weight] * memory.bits + bit
        made[module] = WrongBits(index, cells.effect)
    return made


def _torch_numbers(memory: Memory, order: np.ndarray) -> np.ndarray:
    """For each weight of a memory by channel and value: its number in torch's order."""
    channels, values = memory.values
    inputs = len(order)
    here = np.arange(channels * values).reshape(channels, inputs, values // inputs)
    there = np.empty((channels, values // inputs, inputs), np.int64)
    there[..., order] = np.moveaxis(here, 1, -1)
    return there.reshape(-1)
