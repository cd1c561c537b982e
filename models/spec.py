"""The shape of a network as plain data: no torch, checked when made."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from bnnflow import Problem

Arch = Literal["mlp", "cnn"]
PoolOrder = Literal["before-norm", "after-sign"]
InputCode = Literal["bits8", "binary"]


@dataclass(frozen=True, slots=True)
class WeightLayer:
    """One layer with binary weights as it lies in the network.

    Args:
        name: conv0, conv1, ... then dense0, dense1, ...
        kind: "conv" (stride 1, no padding) or "dense".
        inputs: input channels (conv) or features (dense).
        outputs: filters (conv) or neurons (dense).
        kernel: height and width of the filters; 1 for dense.
        pool: 2 where a 2x2 max pool follows, else 1.
        in_map, out_map: height and width before the layer, and after it and before its pool; (1, 1) for
            dense.
    """

    name: str
    kind: Literal["conv", "dense"]
    inputs: int
    outputs: int
    kernel: int
    pool: int
    in_map: tuple[int, int]
    out_map: tuple[int, int]

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations for one image."""
        return self.outputs * self.inputs * self.kernel**2 * math.prod(self.out_map)


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """The shape of a binary neural network.

    Args:
        arch: "cnn" has convolutions and then dense layers, "mlp" dense layers alone.
        input_shape: channels, height, width of the images.
        classes: number of outputs, at least 2.
        hidden: neurons of each hidden dense layer; an mlp needs one or more.
        channels: filters of each convolution; empty for an mlp.
        kernels: filter size of each convolution.
        pools: 1 (none) or 2 (2x2 max pool) for each convolution; empty means none anywhere.
        pool_order: whether the pools come before the batch norm or after the sign.
        input: "bits8" feeds (pixel - 128) / 128 as signed 8-bit numbers, "binary" feeds +1 where pixel >=
            128 else -1.

    Raises:
        Problem: a size that is impossible; the message names the layer and the sizes.
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

    def __post_init__(self) -> None:
        for field in ("input_shape", "hidden", "channels", "kernels", "pools"):
            object.__setattr__(self, field, tuple(int(value) for value in getattr(self, field)))
        _check_fields(self)
        self.layers()

    def layers(self) -> tuple[WeightLayer, ...]:
        """The layers with weights from input to output.

        Raises:
            Problem: a filter is larger than its map, or a 2x2 pool gets a map of odd size.
        """
        inputs, *image = self.input_shape
        size = (image[0], image[1])
        rows: list[WeightLayer] = []
        pools = self.pools or (1,) * len(self.channels)
        for index, (outputs, kernel, pool) in enumerate(zip(self.channels, self.kernels, pools, strict=True)):
            name = f"conv{index}"
            out_map = (size[0] - kernel + 1, size[1] - kernel + 1)
            _check_map(name, kernel, pool, size, out_map)
            rows.append(WeightLayer(name, "conv", inputs, outputs, kernel, pool, size, out_map))
            inputs, size = outputs, (out_map[0] // pool, out_map[1] // pool)
        inputs *= math.prod(size)
        for index, outputs in enumerate((*self.hidden, self.classes)):
            rows.append(WeightLayer(f"dense{index}", "dense", inputs, outputs, 1, 1, (1, 1), (1, 1)))
            inputs = outputs
        return tuple(rows)

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


def _check_fields(spec: NetworkSpec) -> None:
    options = (("arch", Arch), ("pool_order", PoolOrder), ("input", InputCode))
    for field, allowed in options:
        value = getattr(spec, field)
        if value not in get_args(allowed):
            raise Problem(f"{value!r} is not one of {', '.join(get_args(allowed))}", where=field)
    if len(spec.input_shape) != 3 or min(spec.input_shape) < 1:
        raise Problem(f"{spec.input_shape} is not channels, height, width of at least 1 each", where="input_shape")
    if spec.classes < 2:
        raise Problem(f"{spec.classes} classes; at least 2 are needed", where="classes")
    for field in ("hidden", "channels", "kernels"):
        for index, value in enumerate(getattr(spec, field)):
            if value < 1:
                raise Problem(f"{value} is not a width or size of at least 1", where=f"{field}[{index}]")
    if spec.arch == "mlp":
        if spec.channels or spec.kernels or spec.pools:
            raise Problem(
                "an mlp has no convolutions", "channels, kernels, pools", "leave them out, or set arch to cnn"
            )
        if not spec.hidden:
            raise Problem("an mlp needs one hidden layer or more", "hidden", "for example hidden: [64, 64, 64]")
    elif not spec.channels:
        raise Problem(
            "a cnn needs one convolution or more",
            "channels",
            "for example channels: [16, 32], kernels: [3, 3]",
        )
    if len(spec.kernels) != len(spec.channels):
        raise Problem(
            f"{len(spec.kernels)} kernels for {len(spec.channels)} channels",
            "kernels",
            "give one to each layer",
        )
    if spec.pools and len(spec.pools) != len(spec.channels):
        raise Problem(f"{len(spec.pools)} pools for {len(spec.channels)} channels", "pools", "give one to each layer")
    for index, pool in enumerate(spec.pools):
        if pool not in (1, 2):
            raise Problem(f"a pool of {pool}", f"pools[{index}]", "1 is none, 2 is a 2x2 max pool")


def _check_map(name: str, kernel: int, pool: int, in_map: tuple[int, int], out_map: tuple[int, int]) -> None:
    if min(out_map) < 1:
        raise Problem(
            f"a {kernel}x{kernel} filter does not fit into a map of {in_map[0]}x{in_map[1]}",
            where=name,
            hint="use smaller filters, fewer pools or fewer layers",
        )
    if pool == 2 and (out_map[0] % 2 or out_map[1] % 2):
        raise Problem(
            f"a 2x2 max pool needs a map of even size, this one is {out_map[0]}x{out_map[1]} "
            f"(a {kernel}x{kernel} filter on {in_map[0]}x{in_map[1]})",
            where=name,
            hint="FINN's StreamingMaxPool takes whole windows alone: change the filter size or drop the pool",
        )
