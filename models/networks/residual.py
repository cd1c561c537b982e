"""Residual networks whose joins are exact in integers; the two kinds of join are described in `spec`."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from .layers import Kit, MapNorm
from .spec import WeightLayer


class Repeat(nn.Module):
    """Every second cell of a map, its channels repeated: a shortcut without weights where maps shrink."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(1, 2)
        self.times = times

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, times * C, H / 2, W / 2)."""
        x = self.pool(x)
        return torch.cat([x] * self.times, 1) if self.times > 1 else x


class ResidualSum(nn.Module):
    """The sum of two maps; a module of its own so that tools see where a sum is made."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Two tensors of one shape to that shape."""
        return x + y


class IntegerJoin(nn.Module):
    """r + conv(sign(norm(r))): sums are added as they are, as wide as they get.

    In hardware: one stream of integers is duplicated; one copy goes through thresholds and a binary convolution,
    then both are added (AddStreams). Where the map shrinks, the other copy loses every second cell and repeats its
    channels, or is a binary 1x1 convolution of the same bits.

    Source: Liu et al., Bi-Real Net, arXiv:1808.00278 (there with float numbers behind a batch norm).
    """

    def __init__(self, layers: OrderedDict[str, nn.Module], shortcut: OrderedDict[str, nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self.shortcut = nn.ModuleDict(shortcut)
        self.add = ResidualSum()

    def forward(self, r: Tensor) -> Tensor:
        """(N, C, H, W) integers to integers."""
        bits = y = r
        for name, module in self.layers.items():
            y = module(y)
            if name.startswith("sign"):
                bits = y
        other = r
        for name, module in self.shortcut.items():
            other = module(bits if name.startswith("short") else r)
        joined: Tensor = self.add(y, other)
        return joined


class ThresholdedJoin(nn.Module):
    """quantize(branch + shortcut) with both quantized to the same few bits: a saturating adder.

    The branch is conv, norm, sign, conv, norm, quantizer on the signs of the stream; the shortcut is the stream
    itself, or where the map shrinks every second cell with repeated channels, or a binary 1x1 convolution with its
    own norm and quantizer. In hardware: multi-thresholds to k bits, AddStreams to k + 1, multi-thresholds to k.
    """

    def __init__(
        self, layers: OrderedDict[str, nn.Module], shortcut: OrderedDict[str, nn.Module], of_bits: bool, join: nn.Module
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self.shortcut = nn.ModuleDict(shortcut)
        self.of_bits = of_bits
        self.join = join
        self.add = ResidualSum()

    def forward(self, r: Tensor) -> Tensor:
        """(N, C, H, W) k-bit numbers to k-bit numbers of the same step."""
        bits = y = r
        for index, module in enumerate(self.layers.values()):
            y = module(y)
            if index == 0:
                bits = y
        other = bits if self.of_bits else r
        for module in self.shortcut.values():
            other = module(other)
        joined: Tensor = self.join(self.add(y, other))
        return joined


def residual_modules(rows: list[WeightLayer], kit: Kit) -> tuple[OrderedDict[str, nn.Module], int]:
    """The convolutions of a resnet with all that is between them, up to the last sign, and the number of norms."""
    build = _Builder(kit)
    made: OrderedDict[str, nn.Module] = OrderedDict()
    stem, *rest = rows
    made.update(build.convolution(stem, first=True))
    if kit.spec.join == "integer":
        made.update(build.norm_sign(stem.outputs))
        made.update(build.convolution(rest[0]))
        inputs = rest[0].outputs
        for index, (row, short) in enumerate(_pairs(rest[1:])):
            body = OrderedDict([*build.norm_sign(inputs).items(), *build.convolution(row).items()])
            other: OrderedDict[str, nn.Module] = OrderedDict()
            if short is not None:
                other[short.name] = kit.weights(short)
            elif row.stride == 2:
                other["repeat"] = Repeat(row.outputs // inputs)
            made[f"block{index}"] = IntegerJoin(body, other)
            inputs = row.outputs
    else:
        made[f"norm{build.norms}"] = build.norm(stem.outputs)
        made["quant"] = kit.join()
        inputs = stem.outputs
        rows_of_blocks = _pairs(rest)
        for index in range(0, len(rows_of_blocks), 2):
            (first, _), (second, short) = rows_of_blocks[index : index + 2]
            made[f"block{index // 2}"] = build.thresholded(inputs, first, second, short)
            inputs = second.outputs
    last = build.norm_sign(inputs) if kit.spec.join == "integer" else OrderedDict(sign=kit.activation())
    made.update(last)
    return made, build.norms


def _pairs(rows: list[WeightLayer]) -> list[tuple[WeightLayer, WeightLayer | None]]:
    """Each convolution with the shortcut that stands behind it, if there is one."""
    pairs: list[tuple[WeightLayer, WeightLayer | None]] = []
    for row in rows:
        if row.name.startswith("short"):
            pairs[-1] = (pairs[-1][0], row)
        else:
            pairs.append((row, None))
    return pairs


class _Builder:
    """Numbers norms and signs through the network."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.norms = 0

    def norm(self, channels: int) -> nn.Module:
        self.norms += 1
        return MapNorm(channels)

    def norm_sign(self, channels: int) -> OrderedDict[str, nn.Module]:
        index = self.norms
        return OrderedDict([(f"norm{index}", self.norm(channels)), (f"sign{index}", self.kit.activation())])

    def convolution(self, row: WeightLayer, first: bool = False) -> OrderedDict[str, nn.Module]:
        spec = self.kit.spec
        border = spec.padding in (-1, 1) and (not first or spec.input != "bits8")
        made: OrderedDict[str, nn.Module] = OrderedDict()
        if border:
            made[f"pad{row.name.removeprefix('conv')}"] = nn.ConstantPad2d(row.padding, float(spec.padding or 0))
        made[row.name] = self.kit.weights(row, border)
        return made

    def thresholded(
        self, inputs: int, first: WeightLayer, second: WeightLayer, short: WeightLayer | None
    ) -> ThresholdedJoin:
        kit = self.kit
        body: OrderedDict[str, nn.Module] = OrderedDict(entry=kit.activation())
        body.update(self.convolution(first))
        body.update(self.norm_sign(first.outputs))
        body.update(self.convolution(second))
        body[f"norm{self.norms}"] = self.norm(second.outputs)
        body["quant"] = kit.join()
        other: OrderedDict[str, nn.Module] = OrderedDict()
        if short is not None:
            other[short.name] = kit.weights(short)
            other[f"norm{self.norms}"] = self.norm(short.outputs)
            other["quant"] = kit.join()
        elif first.stride == 2:
            other["repeat"] = Repeat(second.outputs // inputs)
        return ThresholdedJoin(body, other, short is not None, kit.join())
