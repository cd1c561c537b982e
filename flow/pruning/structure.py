"""The QONNX file of a trained network, and which of a user's own modules make and read which channels of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bnnflow import Problem

from ...transforms.channels import channel_groups, cut
from ...transforms.ir.graph import Graph
from ...transforms.ir.ops import Conv, Dense, Flatten
from ...transforms.reading.read import read
from ...transforms.residual_units import residual_units, without_unit
from ...transforms.synapses import synapses, without_synapses
from ...transforms.writing.network import write_network

if TYPE_CHECKING:
    from torch import nn

    from ...models.files.saved import Trained
    from ...models.networks.network import Network
    from ...models.networks.own import OwnNetwork
    from ...models.prune.structure import MaskedStructure, Structure

_DIFFERENCE = 1e-4


def export_network(network: Trained, path: Path, properties: Mapping[str, str] | None = None) -> None:
    """Write a network as QONNX; a user's own module without unread channels and removed synapses.

    Raises:
        Problem: there are such, and the modules that have them are not found in the exported graph.
    """
    from ...models.files.export import export_qonnx
    from ...models.networks.own import OwnNetwork

    export_qonnx(network, path, network.spec.input_shape, properties or {})
    if isinstance(network, OwnNetwork) and (network.spec.unread or network.spec.sparse or network.spec.dropped):
        graph = _without_removed(network, read(path))
        if network.spec.unread:
            graph = cut(graph, masked_structure(network, graph).kept(network))
        path.write_bytes(write_network(graph).SerializeToString())


def _without_removed(network: OwnNetwork, graph: Graph) -> Graph:
    """The whole graph of a user's module without the residual units and synapses that the module lacks."""
    left, keep, found = network.synapses_left(), {}, modules_in(network.whole(), graph)
    for first in network.spec.dropped.values():
        units = (unit for unit in residual_units(graph) if found.get(unit.name, ("",))[0] == first)
        if (gone := next(units, None)) is None:
            raise Problem("a residual unit that is gone is not found in the exported graph", network.spec.target)
        graph = without_unit(graph, gone)
    there = {node.name for node in graph.nodes}
    left = {name: some for name, some in left.items() if name in {found[layer][0] for layer in found.keys() & there}}
    for layer, (module, order) in found.items():
        if layer not in there:
            continue
        op = graph.node(layer).op
        if module in left and isinstance(op, Conv | Dense):
            keep[layer] = np.ones(op.weight.shape, bool)
            keep[layer][..., order] = np.moveaxis(left[module].cpu().numpy() > 0, 1, -1)
    if len(keep) < len(left):
        raise Problem("layers without some synapses are not found in the exported graph", network.spec.target)
    return without_synapses(graph, keep)


def synapse_layers(network: Trained, graph: Graph | None = None) -> tuple[str, ...]:
    """Names of the layers that single synapses can be removed of.

    Args:
        network, graph: as for `structure_of`.

    Raises:
        Problem: there are none in a user's own module.
    """
    from ...models.networks.network import Network
    from ...models.networks.own import OwnNetwork
    from ...models.prune.synapses import prunable_layers
    from ...models.training.ensemble import joined

    if isinstance(network, Network):
        return tuple(name for name, _ in network.weight_layers())
    network = joined(network)
    assert isinstance(network, OwnNetwork)
    if graph is None or network.spec.unread:
        graph = graph_of(network.without({}) if network.spec.unread else network)
    there = synapses(graph)
    found = {module for layer, (module, _) in modules_in(network, graph).items() if layer in there}
    names = tuple(name for name, _ in prunable_layers(network) if name in found)
    if not names:
        what = f"no layer of {network.spec.target} that runs once has weights of -1 and +1 alone"
        raise Problem(what, key="prune.method", hint="use method: filters, which takes any weights")
    return names


def graph_of(network: Trained, properties: Mapping[str, str] | None = None) -> Graph:
    """A torch network as a graph of the network level, through its QONNX file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export_network(network, path, properties)
        return read(path)


def layer_graph(network: Trained, properties: Mapping[str, str] | None = None) -> Graph:
    """`graph_of` a network, its layers under their own names.

    Raises:
        Problem: as for `own_names`.
    """
    return own_names(network, graph_of(network, properties))


def own_names(network: Trained, graph: Graph) -> Graph:
    """A network's graph, its layers under the names that they have in the network.

    A file's layers are numbered as they come, shortcuts with the others; a network's shortcuts have names of their own.

    Raises:
        Problem: names differ, and a layer is not found in the network by its weights.
    """
    from ...models.networks.network import Network

    layers = {node.name for node in graph.nodes if isinstance(node.op, Conv | Dense)}
    if not isinstance(network, Network) or layers == {name for name, _ in network.weight_layers()}:
        return graph
    own = {layer: name for layer, (name, _) in modules_in(network, graph).items()}
    if left := layers - own.keys():
        raise Problem(f"layers of the file are not found in the network: {', '.join(sorted(left))}", network.spec.arch)
    nodes = (
        replace(node, name=own.get(node.name, node.name), inputs=tuple(own.get(each, each) for each in node.inputs))
        for node in graph.nodes
    )
    return graph.with_nodes(tuple(nodes), own.get(graph.output, graph.output))


def graph_and_structure(network: Trained, properties: Mapping[str, str] | None = None) -> tuple[Graph, Structure]:
    """`layer_graph` and `structure_of` a network that has channels to remove; exported once where none is unread.

    Raises:
        Problem: as `structure_of` and `with_groups`.
    """
    from ...models.networks.own import OwnNetwork

    if not isinstance(network, OwnNetwork):
        return layer_graph(network, properties), structure_of(network)
    whole = graph_of(network.without({}) if network.spec.unread else network, properties)
    structure = with_groups(masked_structure(network, whole).of_what_is_left(network), network)
    # What a file holds of a cut network is rounded once more than what its whole graph does.
    return (graph_of(network, properties) if network.spec.unread else whole), structure


def structure_of(network: Trained, graph: Graph | None = None) -> Structure:
    """What can be removed of a network.

    Args:
        network: trained or not.
        graph: the network's, of the network level, where it is at hand; a user's own module is exported for it.

    Raises:
        Problem: of a user's own module or an ensemble, whose layers are not found in its graph.
    """
    from ...models.networks.network import Network
    from ...models.networks.own import OwnNetwork
    from ...models.prune.structure import SpecStructure
    from ...models.training.ensemble import joined

    if isinstance(network, Network):
        return SpecStructure(network.spec)
    network = joined(network)
    assert isinstance(network, OwnNetwork)
    if graph is None or network.spec.unread:  # Modules still have what the graph of a cut network lacks.
        graph = graph_of(network.without({}))
    return masked_structure(network, graph).of_what_is_left(network)


def masked_structure(network: OwnNetwork, graph: Graph) -> MaskedStructure:
    """The groups of channels of a user's own module that can be removed, those that its layers leave unread included.

    Modules are found by their weights, which are the graph's up to a positive factor per filter; groups with a layer
    that is not found, or runs more than once, stay whole.

    Args:
        network: whose graph it is.
        graph: of the network level, whole.

    """
    from ...models.prune.structure import MaskedGroup, MaskedStructure

    found = modules_in(network, graph)
    groups = []
    for group in channel_groups(graph):
        around = {*group.producers, *group.readers}
        if group.reason or not group.columns or not around <= found.keys():
            continue
        rows = {found[layer][0]: channels for layer, channels in group.rows.items()}
        columns = {found[layer][0]: channels[found[layer][1]] for layer, channels in group.columns.items()}
        groups.append(MaskedGroup(group.name, group.width, rows, columns))
    places = {found[layer][0]: _places(graph, layer) for layer in found}
    return MaskedStructure(tuple(groups), places)


def with_groups(structure: Structure, network: Trained) -> Structure:
    """A structure, where it has channels to remove.

    Raises:
        Problem: a user's own module has none that can be.
    """
    from ...models.networks.own import OwnNetwork

    if isinstance(network, OwnNetwork) and not structure.widths:
        what = f"no layer of {network.spec.target} can be made narrower"
        hint = (
            "its convolutions and dense layers have to run once each, and others read what they make; `method: "
            "synapses` takes single weights, or set `prune: {enabled: false}`"
        )
        raise Problem(what, key="prune.method", hint=hint)
    return structure


def modules_in(network: Network | OwnNetwork, graph: Graph) -> dict[str, tuple[str, np.ndarray]]:
    """For layers of the graph the name of their module and, for each input of the module, the layer's input.

    Modules are found by their weights; those that run more than once are left out.
    """
    from ...models.networks.own import OwnNetwork

    layers = network.weight_layers()
    if isinstance(network, OwnNetwork):
        layers = [(name, module) for name, module in layers if network.runs(name) == 1]
    left = [(name, _weights(module)) for name, module in layers]
    made = {}
    for node in graph.nodes:
        if not isinstance(node.op, Conv | Dense):
            continue
        orders = list(_orders(graph, node.name))
        pairs = ((name, held, order) for name, held in left for order in orders)
        same = next(((n, o) for n, held, o in pairs if _proportional(held, node.op.weight[..., o])), None)
        if same is not None:
            made[node.name] = same
            left = [(name, held) for name, held in left if name != same[0]]
    return made


def _weights(module: nn.Conv2d | nn.Linear) -> np.ndarray:
    """(filters, ..., inputs) as the graph has them: channels last."""
    from brevitas.nn import QuantConv2d, QuantLinear

    from ...models.networks.twin import binary_weights

    quantized = isinstance(module, QuantConv2d | QuantLinear)
    held = (binary_weights(module) if quantized else module.weight.detach()).cpu().numpy().astype(np.float64)
    return np.moveaxis(held, 1, -1)


def _orders(graph: Graph, layer: str) -> Iterator[np.ndarray]:
    """Ways in which a module's inputs may be the layer's: as they are, or channels first where a map was flattened."""
    node = graph.node(layer)
    inputs = graph.types[node.input].channels
    yield np.arange(inputs)
    tensor = node.input
    while tensor != graph.input and not isinstance(graph.maker(tensor), Flatten | Conv | Dense):
        tensor = graph.node(tensor).input
    if isinstance(graph.maker(tensor), Flatten):
        shape = graph.types[graph.node(tensor).input].shape
        yield np.moveaxis(np.arange(inputs).reshape(shape), -1, 0).reshape(-1)


def _proportional(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape:
        return False
    flat, wanted = one.reshape(len(one), -1), other.reshape(len(other), -1).astype(np.float64)
    square = (wanted * wanted).sum(1)
    factor = (flat * wanted).sum(1) / np.where(square > 0, square, 1.0)
    most = np.abs(flat).max(initial=0.0)
    return bool((factor >= 0).all()) and bool((np.abs(flat - factor[:, None] * wanted) <= _DIFFERENCE * most).all())


def _places(graph: Graph, layer: str) -> int:
    op, shape = graph.node(layer).op, graph.types[layer].shape
    if isinstance(op, Conv):
        return int(np.prod(shape[:-1])) * int(np.prod(op.weight.shape[1:3]))
    return int(np.prod(shape[:-1]))
