"""DeepLIFT by Captum on the plain copy of a network, with the rescale rule registered for signs and quantizers.

Captum takes one layer at a time and follows a module once a pass; `deep_lift` takes all layers in one pass and any
number of calls. Both rescale alike but for max pools: Captum gives all of a window's change to its winners, and to
cells that did not change the gradient of the first image of the batch. So attributions in front of a pool differ;
both add up. Where windows overlap, Captum gives a cell that wins several the change of one of them, and where an input
changes by less than 1e-10, none at all: its sums then miss the change, so such networks are not held against it.

Source: Kokhlikyan et al., Captum, arXiv:2009.07896.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from captum.attr import DeepLift, LayerDeepLift
from captum.attr._core.deep_lift import SUPPORTED_NON_LINEAR, nonlinear
from torch import Tensor, nn

from bnnflow import CHECK_FAILED, Problem

from ..networks.plain import Quantizer
from ..networks.twin import AnyNetwork
from .deep_lift import TOLERANCE, deeplift
from .sample import CaptumCheck, Sample
from .taps import ACTIVATIONS, Attributed, Probe

IMAGES = 4
_LEAST = 1e-10
"""Captum's `eps`: what changes by less has for it not changed."""
_RULED = (Quantizer, nn.MaxPool2d, *ACTIVATIONS)


def captum_deeplift(probe: Probe, x: Tensor, base: Tensor, target: Tensor) -> Attributed:
    """Captum's `LayerDeepLift` at every tap, and its `DeepLift` at the pixels; arguments and result as `deeplift`.

    Raises:
        Problem: as `_refuse`.
    """
    _refuse(probe, x, base)
    for module in probe.model.modules():
        if isinstance(module, _RULED):
            SUPPORTED_NON_LINEAR.setdefault(type(module), nonlinear)
    parts, misses = {}, {}
    x, base = x.detach().requires_grad_(), base.detach()
    with warnings.catch_warnings(), _inputs_of_their_own(probe.model):
        warnings.simplefilter("ignore", UserWarning)  # on hooks that it sets and removes
        for name, tap in {**probe.taps, **probe.cuts}.items():
            method = LayerDeepLift(probe.model, probe.model.get_submodule(tap.path))
            if name not in probe.cuts:
                parts[name] = method.attribute(x, base, target=target).detach()
                continue
            found, missed = method.attribute(x, base, target=target, return_convergence_delta=True)
            parts[name], misses[name] = found.detach(), missed.detach()
        _, missed = DeepLift(probe.model).attribute(x, base, target=target, return_convergence_delta=True)
    with torch.no_grad():
        change = (probe.model(x) - probe.model(base)).gather(1, target[:, None])[:, 0]
    return {name: parts[name] for name in probe.taps}, {"pixels": missed.detach(), **misses}, change


def captum_check(network: AnyNetwork, sample: Sample, images: int = IMAGES) -> CaptumCheck:
    """Captum's DeepLIFT on the first images of a sample, held against `deeplift`.

    Args:
        network: its eval mode is analysed; it is not changed.
        sample: of which the first `images` are taken.
        images: at least 1.

    Returns:
        What was found; where Captum cannot follow the network, why not.

    Raises:
        Problem: Captum's attributions miss the change of the label's sum, or differ from those of `deeplift` at a
            layer that no pool follows, by more than 1e-3 of max(1, |change|).
    """
    probe = Probe.of(network)
    some = sample.first(images)
    x, base = probe.tensor(some.images), probe.tensor(some.baselines)
    target = torch.from_numpy(some.labels.astype("int64")).to(x.device)
    try:
        _refuse(probe, x, base)
    except Problem as problem:
        return CaptumCheck(0, None, None, (), f"{problem.where}: {problem.what}")
    theirs, misses, change = captum_deeplift(probe, x, base, target)
    ours = deeplift(probe, x, base, target)[0]
    size = change.abs().clamp(min=1.0)
    alike = tuple(name for name in probe.taps if not _before_pool(probe, name))
    missed = {name: float((miss.abs() / size).max()) for name, miss in misses.items()}
    apart = {name: float(((theirs[name] - ours[name]).abs().flatten(1).amax(1) / size).max()) for name in alike}
    for figures, what in ((missed, "miss the change of the logit"), (apart, "differ from those in one pass")):
        for name, figure in figures.items():
            if not figure <= TOLERANCE:
                said = f"the attributions of Captum's DeepLift {what} by {figure:.2g} of it"
                raise Problem(said, name, "use criterion: random, and report this network as a bug", CHECK_FAILED)
    return CaptumCheck(len(some.images), max(missed.values()), max(apart.values(), default=None), alike)


@torch.no_grad()
def _refuse(probe: Probe, x: Tensor, base: Tensor) -> None:
    """Refuse networks that Captum does not follow.

    Raises:
        Problem: a module that is not linear runs more than once a pass, its windows overlap, or what it reads changes
            by so little that Captum sees no change.
    """
    ruled = {path: one for path, one in probe.model.named_modules() if isinstance(one, _RULED)}
    runs = Counter(probe.order)
    for path, module in ruled.items():
        where, hint = probe.model.label(path), "use criterion: deeplift, which follows all"
        if runs[path] > 1:
            raise Problem(f"this module runs {runs[path]} times, and Captum follows one call of it", where, hint)
        if isinstance(module, nn.MaxPool2d) and any(a > b for a, b in zip(*_windows(module), strict=True)):
            raise Problem("windows of this pool overlap, and Captum follows one window of a cell", where, hint)
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {path: [] for path in ruled}
    handles = [
        module.register_forward_hook(lambda _m, inputs, output, path=path: seen[path].append((inputs[0], output)))
        for path, module in ruled.items()
    ]
    try:
        probe.model(x)
        probe.model(base)
    finally:
        for handle in handles:
            handle.remove()
    for path, calls in seen.items():
        if len(calls) == 2 and not isinstance(ruled[path], nn.MaxPool2d):
            (one, made), (other, wanted) = calls
            if bool((((one - other).abs() < _LEAST) & (made != wanted)).any()):
                what = f"changes of less than {_LEAST:g} are told apart here, which Captum takes for none"
                raise Problem(what, probe.model.label(path), "use criterion: deeplift, which follows all")


def _windows(pool: nn.MaxPool2d) -> tuple[tuple[int, int], tuple[int, int]]:
    """Kernel, as far as it reaches, and stride."""
    kernel, stride, gap = (
        (value, value) if isinstance(value, int) else (value[0], value[1])
        for value in (pool.kernel_size, pool.stride, pool.dilation)
    )
    return (gap[0] * (kernel[0] - 1) + 1, gap[1] * (kernel[1] - 1) + 1), stride


@contextmanager
def _inputs_of_their_own(model: nn.Module) -> Iterator[None]:
    """Within, modules that are not linear never read the tensor itself that another of them gave.

    Captum hangs the rule of a module to the tensor that it reads, behind the one that notes the gradient of the module
    that gave it: a sign with a pool directly behind it would get a gradient to which the pool's rule was not applied.
    """

    def copied(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(x.clone() for x in inputs)

    handles = [m.register_forward_pre_hook(copied) for m in model.modules() if isinstance(m, _RULED)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _before_pool(probe: Probe, name: str) -> bool:
    tap = probe.taps[name]
    place = [i for i, path in enumerate(probe.order) if path == tap.path][tap.call]
    return any(isinstance(probe.model.get_submodule(path), nn.MaxPool2d) for path in probe.order[place + 1 :])
