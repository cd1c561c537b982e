"""Where in a network relevance is read: the output that stands for a layer's filters, and cuts through the network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bnnflow import Problem

from ..networks.plain import Bend, Border, PlainNetwork, Pooling, Quantizer, Scaling
from ..networks.twin import AnyNetwork, twin

# attributions by layer, what their sums miss by cut of the network, and what these should be, (N,)
Attributed = tuple[dict[str, Tensor], dict[str, Tensor], Tensor]

ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.Hardtanh,
    nn.Sigmoid,
    nn.Tanh,
    nn.GELU,
    nn.ELU,
    nn.SiLU,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.Softplus,
    Bend,
)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
POOLS = (nn.MaxPool2d, nn.AvgPool2d, Pooling)
_PASSED = (*POOLS, Scaling, Border)


@dataclass(frozen=True, slots=True)
class Tap:
    """The output of one call of a module.

    Args:
        path: name of the module in the twin.
        call: which call of a forward pass, from 0; a module may be used several times.
    """

    path: str
    call: int = 0


@dataclass(slots=True)
class Probe:
    """A twin and the places where it is read.

    Attributes:
        model: the twin, on the network's device.
        taps: for each hidden layer: the output of the sign or quantizer that is its only reader, through
            norms, products and pools; its own output where there is none, as in front of an integer join.
        cuts: outputs that every path from pixels to scores goes through, by name; attributions at a cut add up to the
            whole. Those of `taps` and joins that the network knows to be of its trunk.
        norms: the batch norm behind each layer, where there is one.
        order: paths of all modules without children, in running order, once a call.
    """

    model: PlainNetwork
    taps: dict[str, Tap]
    cuts: dict[str, Tap]
    norms: dict[str, nn.BatchNorm1d | nn.BatchNorm2d]
    order: tuple[str, ...]

    @staticmethod
    def of(network: AnyNetwork, sums: bool = True, precision: torch.dtype = torch.float64) -> Probe:
        """The probe of a network.

        Args:
            network: not changed.
            sums: the twin gives the last sums rather than scores, where one scale and shift turns them into scores.
            precision: float64 lets self-checks not drown in rounding.

        Raises:
            Problem: a layer whose filters are to be scored does not run exactly once a pass.
        """
        model = twin(network).to(precision)
        if sums:
            model.with_sums()
        taps, norms, order = _follow(model, list(model.hidden_layers()))
        cuts = {name: tap for name, tap in taps.items() if tap.path in model.trunk}
        cuts |= {name: Tap(path) for name, path in model.joins.items()}
        return Probe(model, taps, cuts, norms, order)

    def tensor(self, images: np.ndarray) -> Tensor:
        """Images as the twin takes them, (N, *input shape)."""
        weight = next(self.model.parameters())
        return torch.from_numpy(np.array(images)).to(weight.device, weight.dtype)

    @torch.no_grad()
    def tail(self, tap: Tap, x: Tensor) -> tuple[nn.Module, Tensor, Tap]:
        """A part of the twin that holds `tap`, what it is given for the images `x`, and the tap in it."""
        part, entry, path = self.model.tail(tap.path, x)
        return part, entry, Tap(path, tap.call)


@torch.no_grad()
def _follow(
    model: PlainNetwork, names: list[str]
) -> tuple[dict[str, Tap], dict[str, nn.BatchNorm1d | nn.BatchNorm2d], tuple[str, ...]]:
    """Taps and norms of the named layers, and the running order of all, from one forward pass."""
    events: list[tuple[Tap, nn.Module, tuple[Tensor, ...], Tensor]] = []
    calls: Counter[str] = Counter()

    def note(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if not any(output is x for x in inputs):  # as an Identity gives on what it reads
                events.append((Tap(path, calls[path]), module, inputs, output))
            calls[path] += 1

        return hook

    named = [*model.named_modules()]
    leaves = [(path, one) for path, one in named if isinstance(one, Quantizer) or not list(one.children())]
    handles = [module.register_forward_hook(note(path)) for path, module in leaves]
    weight = next(model.parameters())
    try:
        model(torch.zeros(1, *model.input_shape, device=weight.device, dtype=weight.dtype))
    finally:
        for handle in handles:
            handle.remove()
    taps, norms = {}, {}
    for name in names:
        places = [i for i, event in enumerate(events) if event[0].path == f"body.{model.paths[name]}"]
        if len(places) != 1:
            what = f"this layer runs {len(places)} times a pass, so that no one output stands for its filters"
            raise Problem(what, name, "give each use a layer of its own, or use criterion: latent, flips or random")
        place = places[0]
        taps[name] = events[place][0]
        while True:
            made = events[place][3]
            readers = [i for i, event in enumerate(events) if i > place and any(x is made for x in event[2])]
            if len(readers) != 1:
                break
            place = readers[0]
            tap, module = events[place][:2]
            if isinstance(module, NORMS) and name not in norms:
                norms[name] = module
            elif isinstance(module, (Quantizer, *ACTIVATIONS)):
                taps[name] = tap
            elif not isinstance(module, _PASSED):
                break
            if isinstance(module, Quantizer):
                break
    return taps, norms, tuple(event[0].path for event in events)


@contextmanager
def captured(
    model: nn.Module, taps: Mapping[str, Tap], change: Callable[[str, Tensor], Tensor] | None = None
) -> Iterator[dict[str, Tensor]]:
    """Within, one forward pass leaves the outputs at `taps` in the dict that is given.

    Args:
        model: runs within.
        taps: what to keep, by name.
        change: makes of a name and its output what the pass goes on with, and what is kept.
    """
    kept: dict[str, Tensor] = {}
    calls: Counter[str] = Counter()
    wanted = {(tap.path, tap.call): name for name, tap in taps.items()}

    def watch(path: str) -> Callable[..., Tensor | None]:
        def hook(_: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            name = wanted.get((path, calls[path]))
            calls[path] += 1
            if name is None:
                return None
            kept[name] = output if change is None else change(name, output)
            return kept[name]

        return hook

    handles = [model.get_submodule(path).register_forward_hook(watch(path)) for path in {t.path for t in taps.values()}]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()
