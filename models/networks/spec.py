"""The shape of a network as plain data: no torch, checked when made."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from bnnflow import Problem

from .shape_fields import Arch, InputCode, PoolOrder, ShapeFields, WeightLayer, inner_widths
from .spec_checks import check_fields, check_map

__all__ = ["Arch", "InputCode", "NetworkSpec", "PoolOrder", "WeightLayer", "inner_widths"]


@dataclass(frozen=True, slots=True)
class NetworkSpec(ShapeFields):
    """The shape of a binary neural network; see `ShapeFields` for its fields.

    Raises:
        Problem: a size that is impossible or options that do not fit; the message names the layer or field.
    """

    def __post_init__(self) -> None:
        for field in ("input_shape", "hidden", "channels", "kernels", "pools", "strides", "depths", "inner", "units"):
            object.__setattr__(self, field, tuple(int(value) for value in getattr(self, field)))
        check_fields(self)
        self.layers()

    @property
    def is_chain(self) -> bool:
        """Every layer reads the layer before it and nothing else."""
        return self.arch != "resnet"

    def layers(self) -> tuple[WeightLayer, ...]:
        """The layers with weights from input to output.

        Raises:
            Problem: a filter is larger than its map, or a 2x2 pool gets a map of odd size.
        """
        if self.arch == "resnet":
            rows, inputs, size = residual_layers(self)
        else:
            rows, inputs, size = self._convolutions()
        if self.head != "map":
            inputs *= math.prod(size) if self.head == "dense" else 1
            for index, outputs in enumerate((*self.hidden, self.classes)):
                reads = self._reads(not rows) if index or self.head == "dense" else "integers"
                source = rows[-1].name if rows else ""
                row = WeightLayer(f"dense{index}", "dense", inputs, outputs, 1, 1, (1, 1), (1, 1))
                rows.append(replace(row, reads=reads, source=source))
                inputs = outputs
        return tuple(rows)

    def _convolutions(self) -> tuple[list[WeightLayer], int, tuple[int, int]]:
        """The convolutions of a chain, and the channels and the map behind them."""
        inputs, *image = self.input_shape
        inputs *= self.planes if self.input == "planes" else 1
        size = (image[0], image[1])
        rows: list[WeightLayer] = []
        count = len(self.channels)
        pools, strides = self.pools or (1,) * count, self.strides or (1,) * count
        channels = (*self.channels[:-1], self.classes) if self.head == "map" else self.channels
        for index, (outputs, kernel, pool, stride) in enumerate(
            zip(channels, self.kernels, pools, strides, strict=True)
        ):
            name, reads = f"conv{index}", self._reads(not index)
            row = self.convolution(name, inputs, outputs, kernel, size, stride, pool, reads)
            check_map(row)
            rows.append(replace(row, source=rows[-1].name if rows else ""))
            inputs, size = outputs, (row.out_map[0] // pool, row.out_map[1] // pool)
        return rows, inputs, size

    def convolution(
        self,
        name: str,
        inputs: int,
        outputs: int,
        kernel: int,
        size: tuple[int, int],
        stride: int = 1,
        pool: int = 1,
        reads: Literal["bits", "pixels", "integers"] = "bits",
    ) -> WeightLayer:
        """A convolution with this network's padding on a map of `size`."""
        around = 0 if self.padding is None else (kernel - 1) // 2
        out_map = ((size[0] + 2 * around - kernel) // stride + 1, (size[1] + 2 * around - kernel) // stride + 1)
        return WeightLayer(name, "conv", inputs, outputs, kernel, pool, size, out_map, stride, around, reads)

    def _reads(self, first: bool) -> Literal["bits", "pixels", "integers"]:
        if first:
            return "pixels" if self.input == "bits8" else "bits"
        return "bits" if self.activation == "sign" or self.act_bits == 1 else "integers"

    def macs(self) -> int:
        """Multiply-accumulate operations of all layers for one image."""
        return sum(layer.macs for layer in self.layers())

    def to_dict(self) -> dict[str, Any]:
        """The fields as numbers, strings and lists, fit for JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @staticmethod
    def from_dict(fields: dict[str, Any]) -> NetworkSpec:
        """The inverse of `to_dict`.

        Raises:
            Problem: a field is missing, unknown or impossible.
        """
        try:
            return NetworkSpec(**fields)
        except (TypeError, ValueError) as error:
            raise Problem(
                f"not a description of a network: {error}", hint="was it written by another version?"
            ) from error


def residual_layers(spec: NetworkSpec) -> tuple[list[WeightLayer], int, tuple[int, int]]:
    """The convolutions of a resnet in the order of execution, and the channels and the map behind them.

    A stem of 3x3, then blocks of two 3x3 convolutions; the first of each stage but the first has stride 2. A
    shortcut with weights ("conv") stands behind the convolution (join "integer") or block that it goes round.
    """
    pixels, *image = spec.input_shape
    first: Literal["bits", "pixels"] = "pixels" if spec.input == "bits8" else "bits"
    pixels *= spec.planes if spec.input == "planes" else 1
    by_units = spec.join == "integer"
    inner = iter(spec.inner or inner_widths(spec))
    outputs = next(inner) if by_units else spec.channels[0]
    rows = [spec.convolution("conv0", pixels, outputs, 3, (image[0], image[1]), reads=first)]
    rows[0] = replace(rows[0], stage=-1 if by_units else 0)
    last, size = rows[0], rows[0].out_map
    count, shortcuts = 1, 0
    for stage, (width, convolutions) in enumerate(zip(spec.channels, stage_convolutions(spec), strict=True)):
        for index in range(convolutions):
            shrinks = stage > 0 and index == 0
            joined = by_units or index % 2 == 1
            outputs = width if joined else next(inner)
            row = spec.convolution(f"conv{count}", last.outputs, outputs, 3, size, 2 if shrinks else 1)
            rows.append(replace(row, source=last.name, stage=stage if joined else -1))
            if shrinks:
                entry, entry_size = last, size
            last, size = rows[-1], row.out_map
            count += 1
            ends = index == (0 if by_units else 1)
            if stage > 0 and ends and spec.shortcut == "conv":
                row = spec.convolution(f"short{shortcuts}", entry.outputs, width, 1, entry_size, 2)
                rows.append(replace(row, source=entry.name, stage=stage))
                shortcuts += 1
    return rows, last.outputs, size


def stage_convolutions(spec: NetworkSpec) -> list[int]:
    """How many 3x3 convolutions each stage of a resnet has, the stem apart."""
    if spec.units:
        return [units + (stage == 0) for stage, units in enumerate(spec.units)]
    return [2 * depth for depth in spec.depths]
