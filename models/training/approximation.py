"""Approximate sums of XNOR products that a network is trained with, so that it stands them later.

Local thresholding (JETCAS 2023, doi 10.1109/JETCAS.2023.3315561) and CapMin (Yayla et al., arXiv:2309.02111) change
what a layer gives forward; the gradient is that of exact sums (straight-through). What they make of a sum depends on
what the hardware stores: it negates weights in front of a negative gain, or inverts the bit behind it where a pool
stands between, pads bits with -1 where torch pads with 0 and adds a table back, and reads a window by kernel row,
kernel column and channel. All of that is done here as a compiled graph does it, so that both give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnnflow import Problem

from .. import parallel
from ..networks.layers import MapNorm, RowNorm
from ..networks.network import Network, NetworkSpec
from ..networks.signs import BinarySign, SurrogateSign
from .approximation_spec import Approximation
from .injection import Through

_AROUND = "only built-in chains of binary weights without scales, with signs behind norms, know approximate sums"


@dataclass(slots=True)
class _Link:
    """A hidden layer of a chain: weights, a pool or none, norm and sign; and what a forward pass leaves of them.

    Attributes:
        pooled: a pool stands between sums and norm, so that a negative gain inverts the bit.
        before: the hidden layer whose bits it reads; None: it reads the network's input.
        binary: it reads bits.
        flatten: stands between it and the map that it reads as a row; None elsewhere.
        map: (channels, height, width) of that map.
        given, weight, mean, var: input, weights, and the statistics that the norm takes.
    """

    name: str
    layer: nn.Conv2d | nn.Linear
    pool: nn.MaxPool2d | None
    norm: MapNorm | RowNorm
    sign: nn.Module
    before: _Link | None
    binary: bool
    flatten: nn.Flatten | None
    map: tuple[int, ...] = ()
    given: Tensor = field(default_factory=lambda: torch.zeros(0))
    weight: Tensor = field(default_factory=lambda: torch.zeros(0))
    mean: Tensor = field(default_factory=lambda: torch.zeros(0))
    var: Tensor = field(default_factory=lambda: torch.zeros(0))

    @property
    def pooled(self) -> bool:
        """Whether a negative gain inverts the bit."""
        return self.pool is not None

    @property
    def gains(self) -> Tensor:
        """(channels,) -1 where the norm's gain is negative, else +1."""
        return torch.where(self.norm.weight.detach() < 0, -1.0, 1.0)


@contextmanager
def approximated(network: nn.Module, how: Approximation) -> Iterator[list[str]]:
    """Within, the hidden layers of a network that read bits compute approximate sums, in training and in eval mode.

    Layers that read pixels, class scores, and layers that one segment covers (for lta) stay exact.

    Yields:
        Names of the layers that are approximate.

    Raises:
        Problem: a network of which it is not known what the hardware stores, or no layer that would be approximate.
    """
    if not how:
        yield []
        return
    links = _links(network)
    taken = [link for link in links if link.binary and not (how.lta and how.lta >= link.layer.weight[0].numel())]
    if not taken:
        what = "no hidden layer reads more bits than a segment has" if how.lta else "no hidden layer reads bits"
        raise Problem(what, key="lta" if how.lta else "capmin", hint="every sum would be exact")
    with ExitStack() as hooks:

        def on(module: nn.Module, hook: Callable[..., Any], before: bool = False) -> None:
            register = module.register_forward_pre_hook if before else module.register_forward_hook
            hooks.callback(register(hook).remove)

        for link in taken:
            if link.flatten is not None:
                on(link.flatten, lambda _m, given, link=link: setattr(link, "map", tuple(given[0].shape[1:])), True)
            quantizer = link.layer.weight_quant
            assert isinstance(quantizer, nn.Module)
            on(quantizer, lambda _m, _in, out, link=link: _keep(link, out.value))
            on(link.layer, lambda _m, given, link=link: setattr(link, "given", given[0].detach()), True)
            if how.capmin:
                on(link.layer, lambda _m, _in, out, link=link: Through.apply(out, _levelled(link, out, how)))
            else:
                on(link.norm, lambda _m, given, link=link: _measure(link, given[0].detach()), True)
                on(link.sign, lambda _m, _in, out, link=link: Through.apply(out, _decided(link, out, how)))
        yield [link.name for link in taken]


def _links(network: nn.Module) -> list[_Link]:
    """The hidden layers of a chain, in order."""
    if not isinstance(network, Network) or not _is_plain(network.spec):
        raise Problem("what the hardware stores of this network is not known here", key="approximation", hint=_AROUND)
    spec = network.spec
    modules = list(network.layers.items())
    names = {id(layer): name for name, layer in network.weight_layers()}
    found: list[_Link] = []
    flatten: nn.Flatten | None = None
    for at, (_, module) in enumerate(modules):
        flatten = module if isinstance(module, nn.Flatten) else flatten
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        behind = [one for _, one in modules[at + 1 : at + 4]]
        pool = behind[0] if behind and isinstance(behind[0], nn.MaxPool2d) else None
        behind = behind[1:] if pool is not None else behind
        if len(behind) < 2:
            continue
        norm, sign = behind[:2]
        if not isinstance(norm, MapNorm | RowNorm) or not isinstance(sign, BinarySign | SurrogateSign):
            continue
        last = found[-1] if found else None
        binary = last is not None or spec.input != "bits8"
        found.append(_Link(names[id(module)], module, pool, norm, sign, last, binary, flatten))
        flatten = None
    if spec.padding in (-1, 1) and any(link.pool is not None for link in found):
        what = "a pool in front of a norm, and a border of -1 or +1, leave a negative gain on the sums"
        raise Problem(what, key="approximation", hint="set model.pool_order: after-sign, or padding: 0")
    return found


def _is_plain(spec: NetworkSpec) -> bool:
    """A chain whose weights, and signs behind norms, are -1 and +1."""
    weights = spec.weight_bits == 1 and spec.weight_scale == "none" and spec.weight_kind == "levels"
    return spec.is_chain and weights and spec.activation == "sign" and not spec.stochastic


def _keep(link: _Link, weight: Tensor) -> None:
    link.weight = weight.detach()


@torch.no_grad()
def _measure(link: _Link, x: Tensor) -> None:
    """Mean and variance that the norm takes: of the batch in training, else the running ones."""
    if not link.norm.training:
        assert link.norm.running_mean is not None and link.norm.running_var is not None
        link.mean, link.var = link.norm.running_mean, link.norm.running_var
        return
    rows = x.float().transpose(0, 1).flatten(1)
    if parallel.active():
        link.mean, link.var = parallel.moments(rows)
    else:
        link.mean, link.var = rows.mean(1), rows.var(1, correction=0)


def _whole_floats(x: Tensor) -> torch.autocast:
    """Within, sums are in float32, which holds whole numbers to 2^24, whatever the precision of training."""
    return torch.autocast(x.device.type, enabled=False)


def _stored(link: _Link) -> tuple[Tensor, Tensor, Tensor, tuple[int, ...]]:
    """What the hardware multiplies, and what a border's table adds.

    Returns:
        Inputs (images, places, fan-in) and weights (fan-in, channels) of -1 and +1, by kernel row, kernel column and
        channel; the sums of weights on a border of zeros, (places, channels), or (1, 1) of 0; and the output's map.
    """
    x, weight = link.given.float(), link.weight.float()
    signs = torch.ones_like(link.gains) if link.pooled else link.gains
    weight = weight * signs.reshape(-1, *(1,) * (weight.dim() - 1))
    if isinstance(link.layer, nn.Linear):
        if len(link.map) == 3:
            x, weight = (
                one.reshape(-1, *link.map).permute(0, 2, 3, 1).reshape(len(one), -1) for one in (x, weight)
            )  # fmt: skip
        return x[:, None], weight.T, weight.new_zeros(1, 1), ()
    around = int(link.layer.padding[0])
    border = weight.new_zeros(1, 1)
    if around:
        if link.before is not None and link.before.pooled:
            held = link.before.gains.reshape(1, -1, 1, 1)
            x, weight = x * held, weight * held
        outside = functional.pad(x.new_zeros(1, *x.shape[1:]), (around,) * 4, value=1.0)
        sums = functional.conv2d(outside, weight, None, link.layer.stride)
        border = sums[0].flatten(1).T.round()
        x = functional.pad(x, (around,) * 4, value=-1.0)
    (height, width), (down, right) = link.layer.kernel_size, link.layer.stride
    windows = x.permute(0, 2, 3, 1).unfold(1, height, down).unfold(2, width, right)
    size = (windows.shape[1], windows.shape[2])
    rows = windows.permute(0, 1, 2, 4, 5, 3).reshape(len(x), size[0] * size[1], -1)
    return rows, weight.permute(2, 3, 1, 0).flatten(0, 2), border, size


def _segment_sums(rows: Tensor, weight: Tensor, size: int) -> Iterator[tuple[Tensor, int]]:
    """Of each segment's products in turn, (images, places, channels), and how many these are."""
    for start in range(0, len(weight), size):
        part = weight[start : start + size]
        yield rows[..., start : start + size] @ part, len(part)


@torch.no_grad()
def _levelled(link: _Link, exact: Tensor, how: Approximation) -> Tensor:
    """The layer's sums with segments read by few levels, of the shape of the exact ones."""
    low, high = how.levels
    with _whole_floats(exact):
        rows, weight, border, _ = _stored(link)
        total = border.expand(rows.shape[1], weight.shape[1]) - len(weight)
        for sums, length in _segment_sums(rows, weight, how.array):
            # 2 p - length, with p as it is read
            total = total + sums.clamp_(2 * low - length, 2 * high - length).add_(length)
    if not link.pooled:
        total = total * link.gains
    return total.transpose(1, 2).reshape(exact.shape).to(exact.dtype)


@torch.no_grad()
def _decided(link: _Link, exact: Tensor, how: Approximation) -> Tensor:
    """The bits by local thresholds, as -1 and +1 of the sign's shape."""
    with _whole_floats(exact):
        rows, weight, border, size = _stored(link)
        fan_in, gains = len(weight), link.gains
        # A sum of -1 and +1 with its border is 2 p - fan-in + border for p products of +1.
        least = torch.ceil((_thresholds(link, fan_in) + fan_in - border.double()) / 2).clamp(0, fan_in + 1).long()
        votes = torch.zeros(1, dtype=torch.int16, device=exact.device)
        for number, (sums, length) in enumerate(_segment_sums(rows, weight, how.lta)):
            local = _local(least, fan_in, number, length, how)
            votes = votes + (sums >= (2 * local - length).to(sums.dtype))
    bits = 2 * votes > -(-fan_in // how.lta)
    made = torch.where(bits, 1.0, -1.0).transpose(1, 2).to(exact.dtype)
    if not size:
        return made.reshape(exact.shape)
    made = made.reshape(*made.shape[:2], *size)
    if link.pool is not None:
        made = functional.max_pool2d(made, link.pool.kernel_size, link.pool.stride)
        made = made * gains.to(made.dtype).reshape(1, -1, 1, 1)
    return made


def _local(least: Tensor, fan_in: int, number: int, length: int, how: Approximation) -> Tensor:
    """The least popcounts at which a segment, counted from 0, votes, of those of whole sums; int64."""
    if how.balanced:
        limit, start = 2 * least - 1, number * how.lta
        above = (limit * (start + length) + fan_in * (number + 2)) // (2 * fan_in)
        below = (limit * start + fan_in * (number + 1)) // (2 * fan_in)
        local = torch.where(least > 0, (above - below).clamp(0, length), 0)
    else:
        local = (2 * least * length + fan_in) // (2 * fan_in)
    return torch.where(least > fan_in, length + 1, local)


def _thresholds(link: _Link, fan_in: int) -> Tensor:
    """The least whole sums of stored weights at which the stored bit is set: (channels,) float64."""
    norm = link.norm
    gain, bias, mean = (one.detach().double() for one in (norm.weight, norm.bias, link.mean))
    edge = mean - bias * (link.var.double() + norm.eps).sqrt() / gain
    falls = torch.floor(edge) + 1 if link.pooled else torch.ceil(-edge)
    threshold = torch.where(gain < 0, falls, torch.ceil(edge))
    beyond = 2.0 * fan_in
    # A gain of 0 leaves the sign of the bias.
    return torch.where(gain == 0, torch.where(bias >= 0, -beyond, beyond), threshold).nan_to_num(nan=-beyond)
