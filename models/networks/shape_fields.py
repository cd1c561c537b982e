"""The fields of a network's shape, and the words that they may hold: plain data, unchecked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Arch = Literal["mlp", "cnn", "resnet"]
PoolOrder = Literal["before-norm", "after-sign"]
InputCode = Literal["bits8", "binary", "planes"]
Head = Literal["dense", "average", "map"]
WeightScale = Literal["none", "tensor", "channel"]
WeightKind = Literal["levels", "steps", "ternary", "masked"]
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
class ShapeFields:
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
            filter (DoReFa, XNOR-Net). It is absorbed into the thresholds and costs nothing in hardware.
        weight_kind: "levels" as weight_bits says; "steps" the same with 2 bits or more and a constant scale, whole
            multiples from -1 to 1; "ternary" (2 bits) -1, 0 and +1, 0 where |w| <= 0.7 mean |w| of the layer (TWN,
            arXiv:1605.04711); "masked" (1 bit) -1 and +1, and 0 where the latent weight is 0: a synapse that is gone.
        activation: "sign" gives +1 where x >= 0 else -1; "unit" gives act_bits-bit levels from 0 to 1 (DoReFa),
            with 1 bit 1 where x >= 0.5 else 0.
        act_bits: of "unit", 1 to 8.
        estimator: gradient of the sign in training: "clip" 1 where |x| <= 1; "polynomial" 2 - 2|x| there (Bi-Real
            Net); "swish" the derivative of SS_5(x) (BNN+); "identity" 1 everywhere.
        stochastic: signs of activations are drawn in training, +1 with probability clip((x + 1) / 2, 0, 1);
            the network that is exported is deterministic.
        scores: scale of the last sums: "one" positive scale and shift for all classes, "class" a batch norm with
            its own scale and shift per class, "none" the sums themselves.
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
    weight_kind: WeightKind = "levels"

    @property
    def has_unit_weights(self) -> bool:
        """Weights are -1, +1 and perhaps 0, and nothing else."""
        return self.weight_scale == "none" and (self.weight_bits == 1 or self.weight_kind == "ternary")


def inner_widths(spec: ShapeFields) -> tuple[int, ...]:
    """Filters of a resnet's convolutions that are not joined, as wide as their stages."""
    if spec.join == "integer":
        return spec.channels[:1]
    return tuple(width for width, depth in zip(spec.channels, spec.depths, strict=True) for _ in range(depth))
