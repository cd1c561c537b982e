"""The shape of a network as plain data: no torch, checked when made."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from bnnflow import Problem

Arch = Literal["mlp", "cnn", "resnet"]
PoolOrder = Literal["before-norm", "after-sign"]
InputCode = Literal["bits8", "binary", "planes"]
Head = Literal["dense", "average", "map"]
WeightScale = Literal["none", "tensor", "channel"]
Activation = Literal["sign", "unit"]
Estimator = Literal["clip", "polynomial", "swish", "identity"]
Scores = Literal["one", "class", "none"]
Join = Literal["integer", "thresholded"]
Shortcut = Literal["pool", "conv"]


@dataclass(frozen=True, slots=True)
class WeightLayer:
    """One layer with weights as it lies in the network.

    Args:
        name: conv0, conv1, ..., short0, ... (shortcuts with weights), then dense0, dense1, ...
        kind: "conv" or "dense".
        inputs: input channels (conv) or features (dense).
        outputs: filters (conv) or neurons (dense).
        kernel: height and width of the filters; 1 for dense.
        pool: 2 where a 2x2 max pool follows, else 1.
        in_map, out_map: height and width before the layer, and after it and before its pool; (1, 1) for
            dense.
        stride, padding: of the convolution, the same in both directions.
        reads: what it multiplies: "bits" (two values), "pixels" (8 bits) or "integers" (anything else).
        source: the layer whose channels it reads, in the stream that other layers may be added to; "" for the image.
        stage: of the residual stream that its sums are added to; -1 where they are not joined.
    """

    name: str
    kind: Literal["conv", "dense"]
    inputs: int
    outputs: int
    kernel: int
    pool: int
    in_map: tuple[int, int]
    out_map: tuple[int, int]
    stride: int = 1
    padding: int = 0
    reads: Literal["bits", "pixels", "integers"] = "bits"
    source: str = ""
    stage: int = -1

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations for one image."""
        return self.weights * math.prod(self.out_map)

    @property
    def weights(self) -> int:
        """Number of weights."""
        return self.outputs * self.fan_in

    @property
    def fan_in(self) -> int:
        """Products that one sum adds up."""
        return self.inputs * self.kernel**2


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """The shape of a binary neural network, and what its numbers mean in hardware.

    Args:
        arch: "cnn" has convolutions and then dense layers, "mlp" dense layers alone, "resnet" stages of residual
            blocks.
        input_shape: channels, height, width of the images.
        classes: number of outputs, at least 2.
        hidden: neurons of each hidden dense layer; an mlp needs one or more.
        channels: filters of each convolution (cnn) or of each stage (resnet); empty for an mlp.
        kernels: filter size of each convolution of a cnn.
        pools: 1 (none) or 2 (2x2 max pool) for each convolution; empty means none anywhere.
        pool_order: the pools come before the batch norm (a maximum of integers), or after the sign (an OR of
            bits).
        input: "bits8" feeds (pixel - 128) / 128 as signed 8-bit numbers; "binary" feeds +1 where pixel >= 128
            else -1; "planes" feeds the `planes` highest bits of each pixel as channels of +1 and -1, so that the
            first layer is binary too (CBNN, arXiv:1802.00904).
        strides: of each convolution of a cnn; empty means 1 everywhere.
        padding: None pads nothing, so that a filter k shrinks the map by k - 1; -1, 0 and 1 pad (k - 1) // 2 cells
            of that value on each side. -1 and +1 are ordinary bits in hardware; 0 among bits is compiled to integer
            corrections near the edges. A padded cell of the first layer is 0 with "bits8", the grey of pixel 128.
        head: "dense" flattens the last map; "average" takes the mean of each of its channels, so that the dense
            layer behind it multiplies integers; "map" makes the last convolution give a map a class, whose means
            are the scores (no dense layer).
        weight_bits: 1: weights are +1 and -1. 2 to 8: signed integers times one scale.
        weight_scale: of 1-bit weights: "none" is 1; "tensor" and "channel" are mean |w| of the layer or of each
            filter (DoReFa, XNOR-Net). It ends in the thresholds and costs nothing in hardware.
        activation: "sign" gives +1 where x >= 0 else -1; "unit" gives act_bits-bit levels from 0 to 1 (DoReFa),
            with 1 bit 1 where x >= 0.5 else 0.
        act_bits: of "unit", 1 to 8.
        estimator: gradient of the sign in training: "clip" 1 where |x| <= 1; "polynomial" 2 - 2|x| there (Bi-Real
            Net); "swish" the derivative of SS_5(x) (BNN+); "identity" 1 everywhere.
        stochastic: signs of activations are drawn in training, +1 with probability clip((x + 1) / 2, 0, 1);
            the network that is exported is deterministic.
        scores: scale of the last sums: "one" positive scale and shift for all classes, "class" a batch norm with
            its own scale and shift a class, "none" the sums themselves.
        planes: of input "planes", 1 to 8.
        depths: resnet: blocks of two convolutions in each stage.
        join: resnet: "integer" adds accumulators (every convolution but the first two has its own shortcut, batch
            norm and sign stand in front of it: r + conv(sign(norm(r))), exact, streams of 9 to 16 bits);
            "thresholded" quantizes both branches to join_bits bits of one step, and their sum again: a
            saturating adder.
        join_bits: of "thresholded", 2 to 8.
        shortcut: resnet, where maps shrink: "pool" takes every second cell and repeats the channels, without
            weights; "conv" is a binary 1x1 convolution of stride 2.
        inner: resnet: filters of the convolutions whose results are not joined: the first of all (join "integer"),
            or the first of each block ("thresholded"); empty means as many as their stage has.
        units: resnet, join "integer": joined convolutions of each stage; empty means two a block, one less in the
            first stage, whose first convolution begins the stream.

    Raises:
        Problem: a size that is impossible or options that do not fit; the message names the layer or field.
    """

    arch: Arch
    input_shape: tuple[int, int, int]
    classes: int
    hidden: tuple[int, ...]
    channels: tuple[int, ...] = ()
    kernels: tuple[int, ...] = ()
    pools: tuple[int, ...] = ()
    pool_order: PoolOrder = "before-norm"
    input: InputCode = "bits8"
    strides: tuple[int, ...] = ()
    padding: int | None = None
    head: Head = "dense"
    weight_bits: int = 1
    weight_scale: WeightScale = "none"
    activation: Activation = "sign"
    act_bits: int = 1
    estimator: Estimator = "clip"
    stochastic: bool = False
    scores: Scores = "one"
    planes: int = 8
    depths: tuple[int, ...] = ()
    join: Join = "integer"
    join_bits: int = 4
    shortcut: Shortcut = "pool"
    inner: tuple[int, ...] = ()
    units: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        from .spec_checks import check_fields

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
        from .spec_checks import check_map

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


def inner_widths(spec: NetworkSpec) -> tuple[int, ...]:
    """Filters of a resnet's convolutions that are not joined, as wide as their stages."""
    if spec.join == "integer":
        return spec.channels[:1]
    return tuple(width for width, depth in zip(spec.channels, spec.depths, strict=True) for _ in range(depth))
