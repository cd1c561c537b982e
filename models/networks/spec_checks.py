"""What a network's shape must fulfil; every fault is a Problem that names the field or the layer."""

from __future__ import annotations

from typing import get_args

from bnnflow import Problem

from . import shape_fields as shapes
from .shape_fields import ShapeFields, WeightLayer


def check_fields(spec: ShapeFields) -> None:
    """Words, ranges and lengths of the fields, and options that exclude each other."""
    _check_words(spec)
    if len(spec.input_shape) != 3 or min(spec.input_shape) < 1:
        raise Problem(f"{spec.input_shape} is not channels, height, width of at least 1 each", key="input_shape")
    if spec.classes < 2:
        raise Problem(f"{spec.classes} classes; at least 2 are needed", key="classes")
    for field in ("hidden", "channels", "kernels", "strides", "depths", "inner"):
        for index, value in enumerate(getattr(spec, field)):
            if value < 1:
                raise Problem(f"{value} is not a width or size of at least 1", where=f"{field}[{index}]", key=field)
    for field, low, high in (("weight_bits", 1, 8), ("act_bits", 1, 8), ("planes", 1, 8), ("join_bits", 2, 8)):
        if not low <= getattr(spec, field) <= high:
            raise Problem(f"{field} of {getattr(spec, field)}", key=field, hint=f"a whole number from {low} to {high}")
    if spec.padding not in (None, -1, 0, 1):
        raise Problem(f"padding with {spec.padding}", key="padding", hint="none, -1, 0 or 1")
    if spec.arch != "resnet" and (spec.inner or spec.units):
        raise Problem(f"{spec.arch} has no residual joins", key="inner" if spec.inner else "units", hint="leave it out")
    match spec.arch:
        case "mlp":
            _check_mlp(spec)
        case "cnn":
            _check_cnn(spec)
        case "resnet":
            _check_resnet(spec)
    _check_options(spec)


def _check_words(spec: ShapeFields) -> None:
    options = (
        ("arch", shapes.Arch),
        ("pool_order", shapes.PoolOrder),
        ("input", shapes.InputCode),
        ("head", shapes.Head),
        ("weight_scale", shapes.WeightScale),
        ("weight_kind", shapes.WeightKind),
        ("activation", shapes.Activation),
        ("estimator", shapes.Estimator),
        ("scores", shapes.Scores),
        ("join", shapes.Join),
        ("shortcut", shapes.Shortcut),
    )
    for field, allowed in options:
        value = getattr(spec, field)
        if value not in get_args(allowed):
            raise Problem(f"{value!r} is not one of {', '.join(get_args(allowed))}", key=field)


def _check_mlp(spec: ShapeFields) -> None:
    if spec.channels or spec.kernels or spec.pools or spec.strides:
        raise Problem("an mlp has no convolutions", "channels, kernels, pools", "leave them out, or set arch to cnn")
    if not spec.hidden:
        raise Problem("an mlp needs one hidden layer or more", key="hidden", hint="for example hidden: [64, 64, 64]")
    if spec.head != "dense":
        raise Problem(f"an mlp has no map for head {spec.head!r}", key="head", hint="leave it out, or set arch to cnn")


def _check_cnn(spec: ShapeFields) -> None:
    if not spec.channels:
        hint = "for example channels: [16, 32], kernels: [3, 3]"
        raise Problem("a cnn needs one convolution or more", key="channels", hint=hint)
    for field in ("kernels", "pools", "strides"):
        given = len(getattr(spec, field))
        if given != len(spec.channels) and (given or field == "kernels"):
            raise Problem(
                f"{given} {field} for {len(spec.channels)} channels", key=field, hint="give one to each layer"
            )
    for index, pool in enumerate(spec.pools):
        if pool not in (1, 2):
            raise Problem(f"a pool of {pool}", f"pools[{index}]", "1 is none, 2 is a 2x2 max pool", key="pools")
    if spec.head == "map":
        if spec.hidden:
            raise Problem("head 'map' has no dense layers", key="hidden", hint="use hidden: [], or head: average")
        if len(spec.channels) < 2:
            raise Problem(
                "head 'map' needs two convolutions or more", key="channels", hint="the last one gives the scores"
            )
        if spec.pools and spec.pools[-1] != 1:
            raise Problem(
                "head 'map' averages the last map and does not pool it", key="pools", hint="let the last be 1"
            )
    if spec.padding is not None:
        for index, kernel in enumerate(spec.kernels):
            if kernel % 2 == 0:
                hint = "use odd filters, or no padding"
                raise Problem(
                    f"a {kernel}x{kernel} filter cannot be padded evenly", f"kernels[{index}]", hint, key="kernels"
                )


def _check_resnet(spec: ShapeFields) -> None:
    if not spec.channels or len(spec.depths) != len(spec.channels):
        hint = "give both one entry a stage, for example channels: [16, 32, 64], depths: [3, 3, 3]"
        raise Problem(f"{len(spec.depths)} depths for {len(spec.channels)} stages", key="depths", hint=hint)
    if spec.padding is None:
        raise Problem(
            "a resnet needs padding, so that maps fit where they are joined", key="padding", hint="use 0, -1 or 1"
        )
    if spec.kernels or spec.pools or spec.strides:
        raise Problem("a resnet has filters of 3x3 and no pools", "kernels, pools, strides", "leave them out")
    if spec.head == "map":
        raise Problem("a resnet ends in a dense layer", key="head", hint="use average or dense")
    if spec.activation != "sign":
        raise Problem("a resnet has activations of +1 and -1 alone", key="activation", hint="use sign")
    if spec.join == "integer" and not spec.has_unit_weights:
        hint = "use join: thresholded, or weights +1 and -1 without a scale"
        raise Problem("integer joins add sums of +1 and -1, which have no scale", key="join", hint=hint)
    for index, (before, after) in enumerate(zip(spec.channels, spec.channels[1:], strict=False)):
        if spec.shortcut == "pool" and after % before:
            hint = "make it a multiple, or use shortcut: conv"
            raise Problem(
                f"shortcut 'pool' repeats channels, but {after} is no multiple of {before}",
                f"channels[{index + 1}]",
                hint,
                key="channels",
            )
    _check_units(spec)
    sides = [side for side in spec.input_shape[1:] if side % 2 ** (len(spec.channels) - 1)]
    if sides:
        what = f"maps of side {sides[0]} cannot be halved {len(spec.channels) - 1} times"
        raise Problem(what, key="channels", hint="use fewer stages, or images of another size")


def _check_units(spec: ShapeFields) -> None:
    if spec.units and spec.join == "thresholded":
        raise Problem(
            "joins of whole blocks are counted by depths", key="units", hint="leave it out, or use join: integer"
        )
    if spec.units and (
        len(spec.units) != len(spec.channels) or min(spec.units[1:], default=1) < 1 or spec.units[0] < 0
    ):
        hint = "one number per stage, at least 1 in each but the first"
        raise Problem(f"units of {list(spec.units)} for {len(spec.channels)} stages", key="units", hint=hint)
    wanted = len(shapes.inner_widths(spec))
    if spec.inner and len(spec.inner) != wanted:
        what = f"{len(spec.inner)} widths for {wanted} convolutions that are not joined"
        raise Problem(what, key="inner", hint="give one to each, or none")


def _check_options(spec: ShapeFields) -> None:
    if spec.weight_bits > 1 and spec.weight_scale != "none":
        raise Problem(
            f"weights of {spec.weight_bits} bits have their own scale", key="weight_scale", hint="leave it out"
        )
    allowed = {"steps": range(2, 9), "ternary": (2,), "masked": (1,)}.get(spec.weight_kind, range(1, 9))
    if spec.weight_bits not in allowed:
        hint = f"set weight_bits: {allowed[0]}"
        raise Problem(f"weight_kind {spec.weight_kind!r} with {spec.weight_bits} bits", key="weight_bits", hint=hint)
    if spec.weight_kind != "levels" and spec.weight_scale != "none":
        raise Problem(f"weight_kind {spec.weight_kind!r} has the scale 1", key="weight_scale", hint="leave it out")
    if spec.activation == "sign" and spec.act_bits != 1:
        raise Problem(f"a sign has 1 bit, not {spec.act_bits}", key="act_bits", hint="use activation: unit")
    if spec.activation == "unit" and (spec.stochastic or spec.estimator != "clip"):
        raise Problem(
            "only activation 'sign' has another estimator or draws its signs", key="estimator", hint="use sign, clip"
        )


def check_map(layer: WeightLayer) -> None:
    """Whether a convolution and its pool fit on their map."""
    kernel, in_map, out_map = layer.kernel, layer.in_map, layer.out_map
    if min(out_map) < 1:
        raise Problem(
            f"a {kernel}x{kernel} filter does not fit into a map of {in_map[0]}x{in_map[1]}",
            where=layer.name,
            hint="use smaller filters, fewer pools or fewer layers",
        )
    if layer.pool == 2 and (out_map[0] % 2 or out_map[1] % 2):
        raise Problem(
            f"a 2x2 max pool needs a map of even size, this one is {out_map[0]}x{out_map[1]} "
            f"(a {kernel}x{kernel} filter on {in_map[0]}x{in_map[1]})",
            where=layer.name,
            hint="FINN's StreamingMaxPool takes whole windows alone: change the filter size or drop the pool",
        )
