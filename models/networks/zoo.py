"""Networks of the literature by name; each is a `NetworkSpec` that compiles exactly."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bnnflow import Problem

from .spec import NetworkSpec

UNIT = 8
SHAPE_KEYS = ("hidden", "channels", "kernels", "pools", "strides", "depths")


@dataclass(frozen=True, slots=True)
class Row:
    """One network of the zoo.

    Args:
        name: as in `model: {arch: name}`.
        what: layers in words.
        source: where the network comes from.
        data: a data set that it is trained on, and that set's image shape.
        fields: fields of its `NetworkSpec` at full width.
    """

    name: str
    what: str
    source: str
    data: str
    shape: tuple[int, int, int]
    fields: dict[str, Any]


def _mlp(width: int) -> dict[str, Any]:
    return {"arch": "mlp", "hidden": (width,) * 3, "input": "binary"}


def _vgg(channels: tuple[int, ...], pools: tuple[int, ...], hidden: tuple[int, ...]) -> dict[str, Any]:
    kernels = (3,) * len(channels)
    return {"arch": "cnn", "channels": channels, "kernels": kernels, "pools": pools, "hidden": hidden, "padding": 0}


_MNIST, _CIFAR = (1, 28, 28), (3, 32, 32)
_SIX = (128, 128, 256, 256, 512, 512)
_FINN = "Umuroglu et al., FINN, arXiv:1612.07119"
_YAYLA = "Buschjäger et al., DATE 2021; Yayla"
_HUBARA = "Hubara et al., Binarized Neural Networks, NIPS 2016"
_HE = "He et al., arXiv:1512.03385; joins after Liu et al., Bi-Real Net, arXiv:1808.00278"

ROWS: tuple[Row, ...] = (
    Row("tfc", "dense 64-64-64", _FINN, "mnist", _MNIST, _mlp(64)),
    Row("sfc", "dense 256-256-256", _FINN, "mnist", _MNIST, _mlp(256)),
    Row("lfc", "dense 1024-1024-1024", _FINN, "mnist", _MNIST, _mlp(1024)),
    Row(
        "cnv",
        "conv 64-64-P-128-128-P-256-256, dense 512-512; no padding, pools after the sign",
        _FINN,
        "cifar10",
        _CIFAR,
        _vgg((64, 64, 128, 128, 256, 256), (1, 2, 1, 2, 1, 1), (512, 512))
        | {"padding": None, "pool_order": "after-sign"},
    ),
    Row(
        "fashcnn",
        "conv 64-P-64-P, dense 2048 (VGG3)",
        _YAYLA,
        "fashion-mnist",
        _MNIST,
        _vgg((64, 64), (2, 2), (2048,)),
    ),
    Row(
        "vgg7",
        "conv 128-128-P-256-256-P-512-512-P, dense 1024",
        _YAYLA,
        "cifar10",
        _CIFAR,
        _vgg(_SIX, (1, 2) * 3, (1024,)),
    ),
    Row(
        "vgg-small",
        "conv 128-128-P-256-256-P-512-512-P",
        "Zhang et al., LQ-Nets, arXiv:1807.10029",
        "cifar10",
        _CIFAR,
        _vgg(_SIX, (1, 2) * 3, ()),
    ),
    Row(
        "alexnet-small",
        "conv 128-128-P-256-256-P-512-512-P, dense 1024-1024",
        _HUBARA,
        "cifar10",
        _CIFAR,
        _vgg(_SIX, (1, 2) * 3, (1024, 1024)),
    ),
    Row(
        "vgg16",
        "conv 64x2-P-128x2-P-256x3-P-512x3-P-512x3-P; pools after the sign",
        "Simonyan and Zisserman, arXiv:1409.1556, for CIFAR-10",
        "cifar10",
        _CIFAR,
        _vgg(
            (64, 64, 128, 128, 256, 256, 256, *(512,) * 6),
            (1, 2, 1, 2, 1, 1, 2, 1, 1, 2, 1, 1, 2),
            (),
        )
        | {"pool_order": "after-sign"},
    ),
    Row(
        "nin",
        "conv 192(5x5)-160-96-P-192(5x5)-192-192-P-192(3x3)-192-classes, average of maps; a scale per filter",
        "Rastegari et al., XNOR-Net, arXiv:1603.05279 (network in network)",
        "cifar10",
        _CIFAR,
        {
            "arch": "cnn",
            "channels": (192, 160, 96, 192, 192, 192, 192, 192, UNIT),
            "kernels": (5, 1, 1, 5, 1, 1, 3, 1, 1),
            "pools": (1, 1, 2, 1, 1, 2, 1, 1, 1),
            "hidden": (),
            "padding": 0,
            "head": "map",
            "weight_scale": "channel",
        },
    ),
    Row(
        "resnet20",
        "conv 16, stages of 3 blocks of 16, 32, 64; integer joins, shortcuts without weights",
        _HE,
        "cifar10",
        _CIFAR,
        {
            "arch": "resnet",
            "channels": (16, 32, 64),
            "depths": (3, 3, 3),
            "hidden": (),
            "padding": 0,
            "head": "average",
        },
    ),
    Row(
        "resnet18",
        "conv 64, stages of 2 blocks of 64, 128, 256, 512; integer joins, binary 1x1 shortcuts",
        _HE,
        "cifar10",
        _CIFAR,
        {
            "arch": "resnet",
            "channels": (64, 128, 256, 512),
            "depths": (2, 2, 2, 2),
            "hidden": (),
            "padding": 0,
            "head": "average",
            "shortcut": "conv",
        },
    ),
    Row(
        "kws-cnn",
        "conv 64-64-P-128-128-P, dense 256, for 32x32 log-mel features",
        "ours",
        "speech-commands",
        (1, 32, 32),
        _vgg((64, 64, 128, 128), (1, 2, 1, 2), (256,)),
    ),
)


def network_names() -> tuple[str, ...]:
    """The names of all rows."""
    return tuple(row.name for row in ROWS)


def zoo_row(name: str) -> Row:
    """The row called `name`.

    Raises:
        Problem: there is none; the hint names the closest.
    """
    found = next((row for row in ROWS if row.name == name), None)
    if found is None:
        known = (*network_names(), "mlp", "cnn", "resnet")
        close = difflib.get_close_matches(name.lower().replace("_", "-"), known, 1, 0.5)
        listed = f"networks are: {', '.join(known)}, or package.module:Class"
        raise Problem(
            f"unknown network {name!r}",
            key="model.arch",
            hint=f"did you mean {close[0]!r}? {listed}" if close else listed,
        )
    return found


def zoo_spec(
    name: str,
    input_shape: tuple[int, int, int],
    classes: int,
    width: float = 1.0,
    **options: Any,
) -> NetworkSpec:
    """The network `name` for images of `input_shape`.

    Args:
        name: one of `network_names()`.
        input_shape: channels, height, width.
        classes: number of outputs.
        width: factor of all filters and hidden neurons; they become multiples of 8, at least 8.
        options: other fields of `NetworkSpec`; they replace the network's own.

    Raises:
        Problem: the network is unknown, or does not fit the images or options.
    """
    fields = {"hidden": (), **zoo_row(name).fields, **options}
    scaled: Callable[[int], int] = lambda size: max(UNIT, int(size * width / UNIT + 0.5) * UNIT)  # noqa: E731
    for key in ("hidden", "channels"):
        fields[key] = tuple(scaled(size) for size in fields.get(key, ()))
    return NetworkSpec(input_shape=input_shape, classes=classes, **fields)


@dataclass(frozen=True, slots=True)
class Figures:
    """Sizes of a network.

    Args:
        weights: number of weights.
        binary_macs, integer_macs: products of an image whose other factor has two values, and all others (8-bit
            pixels, sums of maps).
        accumulators: bits of the narrowest and the widest signed sum of a layer.
        memory: bytes of all weights, without thresholds.
    """

    weights: int
    binary_macs: int
    integer_macs: int
    accumulators: tuple[int, int]
    memory: int


def figures(spec: NetworkSpec) -> Figures:
    """Sizes that follow from the shape alone; sums are as wide as all products of one sign make them."""
    rows = spec.layers()
    binary = sum(row.macs for row in rows if row.reads == "bits")
    widths = [(row.fan_in * _greatest(spec, row.reads)).bit_length() + 1 for row in rows]
    if spec.arch == "resnet" and spec.join == "integer":
        joined = [row.fan_in for row in rows if row.kind == "conv"][1:]
        widths.append(sum(joined).bit_length() + 1)
    weights = sum(row.weights for row in rows)
    bits = weights * spec.weight_bits
    return Figures(weights, binary, spec.macs() - binary, (min(widths), max(widths)), -(-bits // 8))


def _greatest(spec: NetworkSpec, reads: str) -> int:
    """The greatest magnitude of a factor, in steps, times that of a weight."""
    weight = 1 if spec.weight_bits == 1 else 2 ** (spec.weight_bits - 1)
    if reads == "pixels":
        return 128 * weight
    if reads == "integers" and spec.head == "average":
        maps = [row for row in spec.layers() if row.kind == "conv"][-1]
        area = (maps.out_map[0] // maps.pool) * (maps.out_map[1] // maps.pool)
        return area * weight
    return weight * (2**spec.act_bits - 1 if spec.activation == "unit" else 1)
