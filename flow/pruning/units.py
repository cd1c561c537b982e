"""The residual units of a torch network: which modules of a user's own end and make those that its graph has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bnnflow import Problem

from ...transforms.ir.graph import Graph
from ...transforms.passes.accept import AcceptInput
from ...transforms.residual_units import ResidualUnit, residual_units, without_unit
from .structure import graph_of, modules_in, structure_of
from .trainable import Trainable

if TYPE_CHECKING:
    from ...models.files.saved import Trained
    from ...models.networks.own import OwnNetwork
    from ...models.prune.blocks import OwnUnits, Units

_IMAGES = 8
_DIFFERENCE = 1e-4


def units_of(network: Trained, properties: Mapping[str, str] | None = None, graph: Graph | None = None) -> Units[Any]:
    """What can be left out of a network.

    Args:
        network: trained or not.
        properties: of its file.
        graph: the network's, of the network level, where it is at hand.

    Raises:
        Problem: of a user's own module or an ensemble, of which no unit can go.
    """
    from ...models.networks.network import Network
    from ...models.networks.own import OwnNetwork
    from ...models.prune.blocks import SpecUnits
    from ...models.training.ensemble import joined

    if isinstance(network, Network):
        return SpecUnits()
    network = joined(network)
    assert isinstance(network, OwnNetwork)
    if graph is None or network.spec.unread:  # Modules still have what the graph of a cut network lacks.
        graph = graph_of(network.without({}), properties)
    return _own_units(network, graph)


def _own_units(network: OwnNetwork, graph: Graph) -> OwnUnits:
    """Units are found in the graph, and their last modules by what they compute on a few drawn images.

    A unit counts where its layers run once each, its join alone reads what it adds, and the module without it computes
    what the graph without it computes.
    """
    from ...models.prune.blocks import OwnUnits, UnitModules

    graph = AcceptInput()(graph).graph
    found, units, inner = modules_in(network, graph), {}, set[str]()
    images = np.random.default_rng(7).integers(0, 256, (_IMAGES, *network.spec.input_shape), np.uint8)
    there = {unit: _branch(graph, unit) for unit in residual_units(graph)}
    values, results = _values(graph, images, [*there.values()]), _results(network, images)
    for unit, branch in sorted(there.items(), key=lambda one: -len(one[0].layers)):
        reader = graph.sole_reader(branch)
        if inner.issuperset(unit.layers) or not found.keys() >= {*unit.layers} or reader is None:
            continue
        layers = tuple(found[layer][0] for layer in unit.layers)
        smaller = without_unit(graph, unit)
        scores = _values(smaller, images, [smaller.output])[smaller.output]
        for last in (name for name, made in results.items() if _same(made, values[branch])):
            if _same(_scores(network.without_units({last: layers[0]}), images), scores):
                units[unit.name] = UnitModules(last, layers)
                inner.update(unit.layers)
                break
    if not units:
        what = f"no residual unit of {network.spec.target} can be left out"
        hint = (
            "a unit is what a join adds to a tensor that goes around its layers, made by a module of its own that runs "
            "once, as its layers do; the file takes any join: set `prune: {enabled: false}`, build, and `flow prune "
            "RUN/base/network.onnx --method blocks`"
        )
        raise Problem(what, key="prune.method", hint=hint)
    order = [node.name for node in graph.nodes]
    macs = structure_of(network, graph).layer_macs(network)
    return OwnUnits({name: units[name] for name in sorted(units, key=order.index)}, macs)


def _branch(graph: Graph, unit: ResidualUnit) -> str:
    """What a unit adds to its shortcut; that itself where it is added to itself."""
    return next((name for name in graph.node(unit.join).inputs if name != unit.shortcut), unit.shortcut)


@torch.no_grad()
def _values(graph: Graph, images: np.ndarray, wanted: list[str]) -> dict[str, np.ndarray]:
    """Some of a graph's tensors, maps with channels in front."""
    module = Trainable(graph).double().eval()
    found = module.tensors(torch.from_numpy(images.astype(np.int64)), wanted)
    return {name: value.numpy() for name, value in found.items()}


@torch.no_grad()
def _scores(network: OwnNetwork, images: np.ndarray) -> np.ndarray:
    made: np.ndarray = network.eval()(torch.from_numpy(images).float()).numpy()
    return made


def _results(network: OwnNetwork, images: np.ndarray) -> dict[str, np.ndarray]:
    """What every module gives that runs once, innermost first; without what Brevitas' layers are made of."""
    made: dict[str, list[np.ndarray]] = {}
    layers = tuple(f"{name}." for name, m in network.body.named_modules() if type(m).__module__.startswith("brevitas."))
    hooks = [
        module.register_forward_hook(
            lambda module, given, result, name=name: made.setdefault(name, []).append(_array(result))
        )
        for name, module in network.body.named_modules()
        if name and not name.startswith(layers)
    ]
    try:
        _scores(network, images)
    finally:
        for hook in hooks:
            hook.remove()
    once = {name: results[0] for name, results in made.items() if len(results) == 1}
    return dict(sorted(once.items(), key=lambda one: -one[0].count(".")))


def _array(result: Any) -> np.ndarray:
    value = getattr(result, "value", result)
    return value.detach().cpu().double().numpy() if isinstance(value, torch.Tensor) else np.zeros(0)


def _same(made: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether two arrays are equal up to a positive factor, but for a few values that floats round to another level."""
    if made.shape != wanted.shape or not np.ptp(wanted):
        return False
    factor = float((made * wanted).sum() / (wanted * wanted).sum())
    far = np.abs(made - factor * wanted) > _DIFFERENCE * np.abs(made).max()
    return factor > 0 and float(far.mean()) < 0.05
