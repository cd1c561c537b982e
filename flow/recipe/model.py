"""The recipe's section `model`: a network by name or shape, a class of the user's, trained weights, or an ONNX file."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from bnnflow import Problem

from ...models.networks import zoo
from .positions import KeyPath
from .section import Kernels, Pools, Section, Widths, cross_faults

if TYPE_CHECKING:
    from ...transforms.ir.contract import InputContract

SHAPES = ("mlp", "cnn", "resnet")
INPUTS = ("bits8", "binary", "planes")
OWN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
OPTIONS = (
    *(
        "strides",
        "padding",
        "head",
        "weight_bits",
        "weight_scale",
        "weight_kind",
        "activation",
        "act_bits",
        "estimator",
    ),
    *("stochastic", "scores", "planes", "depths", "join", "join_bits", "shortcut"),
)
_RESIDUAL = ("join", "join_bits", "shortcut")
_OWN_KEYS = ("args", "weights", "dir")
Bits = Annotated[int, Field(ge=1, le=8)]

Faults = list[tuple[KeyPath, str, str]]


class Model(Section):
    """The network: one of `flow models`, a shape, a class of Brevitas layers, trained weights, or an ONNX file."""

    arch: str | None = Field(
        default=None,
        description="mlp, cnn, resnet, a name of `flow models`, or package.module:Class",
        json_schema_extra={"examples": [*SHAPES, *zoo.network_names()]},
    )
    onnx: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="a QONNX file in place of arch; it is not trained"
    )
    trained: str | None = Field(
        default=None,
        description="in place of arch: weights to start from, a name that `flow models` lists or a file of `flow pack` "
        "or weights.pt of a run; trained further only where train.epochs is given",
    )
    weights: Annotated[Path, Field(strict=False)] | None = Field(
        default=None,
        description="package.module:Class: file of its state dict (torch.save or .safetensors); trained further only "
        "where train.epochs is given",
    )
    dir: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="package.module:Class: folder of the module; null: the recipe's"
    )
    args: dict[str, Any] = Field(default={}, description="package.module:Class: keyword arguments of the class")
    width: Annotated[float, Field(gt=0, le=16)] = Field(
        default=1.0, description="`flow models`: factor of all filters and neurons, in multiples of 8"
    )
    input: str | None = Field(
        default=None,
        description="bits8: 8-bit pixels; binary: pixels as +1 or -1; planes: their bits; ONNX files and classes of "
        "yours: what pixels become before them: uint8 (0 to 255 as they are), pixels/255, normalize(0.5,0.5); null: as "
        "usual",
        json_schema_extra={"examples": [*INPUTS, "pixels/255", "uint8", "normalize(0.5,0.5)"]},
    )
    channels: Widths = Field(default=(), description="cnn: filters of each convolution; resnet: of each stage")
    kernels: Kernels = Field(default=(), description="cnn: kernel side of each convolution, or one number for all")
    pools: Pools = Field(default=(), description="cnn: max pool after each convolution; 1: none, 2: 2x2")
    pool_order: Literal["before-norm", "after-sign"] | None = Field(
        default=None, description="where max pools stand; null: before-norm, or as the network has it"
    )
    hidden: Widths = Field(default=(64,), description="neurons of each hidden dense layer")
    strides: Kernels | None = Field(default=None, description="cnn: stride of each convolution; null: 1")
    padding: Literal["none", -1, 0, 1] | None = Field(
        default=None, description="value around maps; none: a kernel k shrinks them by k - 1; null: as usual"
    )
    head: Literal["dense", "average", "map"] | None = Field(
        default=None, description="behind the last map: dense on all of it, on its sums, or a map a class"
    )
    weight_bits: Bits | None = Field(default=None, description="bits of weights; 1: +1 and -1")
    weight_scale: Literal["none", "tensor", "channel"] | None = Field(
        default=None, description="scale of binary weights: 1, or mean |w| of the layer or of each filter"
    )
    weight_kind: Literal["levels", "steps", "ternary"] | None = Field(
        default=None, description="ternary (2 bits): -1, 0, +1 by a threshold; steps: 2 bits or more, constant scale"
    )
    activation: Literal["sign", "unit"] | None = Field(
        default=None, description="+1 and -1, or act_bits-bit levels from 0 to 1"
    )
    act_bits: Bits | None = Field(default=None, description="bits of activation unit")
    estimator: Literal["clip", "polynomial", "swish", "identity"] | None = Field(
        default=None, description="gradient of the sign in training"
    )
    stochastic: bool | None = Field(default=None, description="draw the signs of activations in training")
    scores: Literal["one", "class", "none"] | None = Field(
        default=None, description="scale of the last sums: one for all, a batch norm per class, or none"
    )
    planes: Bits | None = Field(default=None, description="input planes: how many of the highest bits")
    depths: Kernels | None = Field(default=None, description="resnet: blocks of two convolutions in each stage")
    join: Literal["integer", "thresholded"] | None = Field(
        default=None, description="resnet: add sums as they are, or both branches in join_bits bits"
    )
    join_bits: Annotated[int, Field(ge=2, le=8)] | None = Field(default=None, description="bits of thresholded joins")
    shortcut: Literal["pool", "conv"] | None = Field(
        default=None, description="resnet, where maps shrink: without weights, or a binary 1x1 convolution"
    )

    @property
    def kind(self) -> Literal["shape", "zoo", "own", "onnx", "trained"]:
        """How the network is given."""
        if self.onnx is not None:
            return "onnx"
        if self.trained is not None:
            return "trained"
        assert self.arch is not None
        return "own" if ":" in self.arch else "shape" if self.arch in SHAPES else "zoo"

    def contract(self) -> InputContract | None:
        """What pixels become before an ONNX file or a class of the user's; None where the recipe does not say.

        Raises:
            Problem: it says nothing that is understood.
        """
        if self.input is None or self.kind not in ("onnx", "own"):
            return None
        from ...transforms.ir.contract_text import parse_contract

        return parse_contract(self.input, "recipe")

    @property
    def has_weights(self) -> bool:
        """Whether trained weights are given, so that training is not needed."""
        return self.trained is not None or self.weights is not None

    def options(self) -> dict[str, Any]:
        """The options that are given, as fields of `NetworkSpec`."""
        given = {key: getattr(self, key) for key in (*OPTIONS, "input", "pool_order")}
        given = {key: value for key, value in given.items() if value is not None}
        if given.get("padding") == "none":
            given["padding"] = None
        return given

    def given(self) -> dict[str, Any]:
        """The keys that say something about this kind of network, for a recipe that reads the same."""
        shape = {
            "mlp": {"hidden"},
            "cnn": {"channels", "kernels", "pools", "hidden"},
            "resnet": {"channels", "hidden"},
        }
        allowed = {"arch", "onnx", "trained", "input", "pool_order", *OPTIONS} | shape.get(self.arch or "", set())
        if self.kind == "zoo":
            allowed.add("width")
        if self.kind == "own":
            allowed |= {"args", "weights", "dir"}
        return {k: v for k, v in self.model_dump(mode="json").items() if k in allowed and v is not None}

    @model_validator(mode="before")
    @classmethod
    def _one_kernel_for_all(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        given = dict(given)
        channels = given.get("channels")
        layers = len(channels) if isinstance(channels, (list, tuple)) else 0
        for key, default in (("kernels", 3), ("pools", 1)):
            if given.get("arch") == "cnn" and given.get(key) is None:
                given[key] = [default] * layers
        if type(given.get("kernels")) is int:
            given["kernels"] = [given["kernels"]] * max(1, layers)
        if given.get("arch") == "resnet" and "hidden" not in given:
            given["hidden"] = []
        return given

    @model_validator(mode="after")
    def _fits_together(self) -> Model:
        faults = _faults(self)
        if faults:
            raise cross_faults(faults)
        return self


def _faults(model: Model) -> Faults:
    if model.onnx is not None:
        more = sorted(model.model_fields_set - {"onnx", "input"})
        return [((key,), f"an ONNX file has no {key}", "remove the key, or `onnx`") for key in more] + _contract(model)
    if model.trained is not None:
        more = sorted(model.model_fields_set - {"trained"})
        return [((key,), f"trained weights have their own {key}", "remove the key, or `trained`") for key in more]
    if model.arch is None:
        return [((), "the key 'model.arch' is missing", "for example `arch: cnn`; `flow models` lists networks")]
    match model.arch:
        case "mlp":
            return _mlp_faults(model) + _inputs(model)
        case "cnn":
            return _cnn_faults(model) + _inputs(model)
        case "resnet":
            faults = _foreign(model, ("kernels", "pools", "strides", "pool_order", "width", *_OWN_KEYS), "a resnet")
            return faults + _option_faults(model) + _inputs(model)
    if OWN.fullmatch(model.arch):
        return _foreign(model, (*zoo.SHAPE_KEYS, *OPTIONS, "pool_order", "width"), "a class of yours") + _contract(
            model
        )
    if model.arch in zoo.network_names():
        hint = "remove the key: the network gives it; `width` scales it"
        shape = [key for key in zoo.SHAPE_KEYS if key in model.model_fields_set and getattr(model, key)]
        own = [((key,), f"{model.arch} has its own {key}", hint) for key in shape]
        fields = zoo.zoo_row(model.arch).fields
        foreign: tuple[str, ...] = () if fields["arch"] == "resnet" else _RESIDUAL
        foreign += () if 2 in fields.get("pools", ()) else ("pool_order",)
        return own + _foreign(model, (*foreign, *_OWN_KEYS), model.arch) + _option_faults(model) + _inputs(model)
    return [(("arch",), *unknown_network(model.arch))]


def _contract(model: Model) -> Faults:
    """What is wrong with model.input where it says what pixels become."""
    try:
        contract = model.contract()
    except Problem as problem:
        return [(("input",), f"model.input: {problem.what}", problem.hint)]
    if contract is not None and contract.knows_data and contract.datatype != "UINT8":
        what = f"model.input: images are pixels from 0 to 255, not {contract.datatype}"
        return [(("input",), what, "use uint8, or a formula of pixels, such as pixels/255")]
    if contract is not None and not contract.knows_data:
        what = "model.input: float does not say how the pixels of images become floats"
        return [(("input",), what, "use a formula of pixels, such as pixels/255 or normalize(0.5,0.5)")]
    return []


def _inputs(model: Model) -> Faults:
    if model.input in (None, *INPUTS):
        return []
    what = f"model.input: '{model.input}' is not allowed"
    return [(("input",), what, f"allowed: {', '.join(INPUTS)}; other inputs are for ONNX files and classes of yours")]


def unknown_network(name: str) -> tuple[str, str]:
    """What is wrong with a network's name, and a hint."""
    known = (*SHAPES, *zoo.network_names())
    near = difflib.get_close_matches(name.lower().replace("_", "-"), known, 1, 0.6)
    listed = f"allowed: {', '.join(known)}, or package.module:Class"
    return f"model.arch: there is no network '{name}'", f"did you mean '{near[0]}'?" if near else listed


def _foreign(model: Model, keys: tuple[str, ...], what: str) -> Faults:
    hint = "remove the key" + ("; give `args`" if ":" in (model.arch or "") else "")
    set_ = [
        key
        for key in dict.fromkeys(keys)
        if key in model.model_fields_set and getattr(model, key) not in (None, (), {})
    ]
    hints = {"weights": "remove the key, or `trained: FILE` in place of arch for weights of a run or of `flow pack`"}
    return [((key,), f"{what} has no {key}", hints.get(key, hint)) for key in set_]


def _mlp_faults(model: Model) -> Faults:
    faults: Faults = []
    for key in ("channels", "kernels", "pools"):
        if getattr(model, key):
            faults.append(((key,), f"an mlp has no {key}", "remove the key, or set `arch: cnn`"))
    if model.pool_order is not None:
        faults.append((("pool_order",), "an mlp has no pools", "remove the key, or set `arch: cnn`"))
    if not model.hidden:
        faults.append((("hidden",), "an mlp needs at least one hidden layer", "for example [64, 64]"))
    return (
        faults
        + _foreign(model, ("strides", "padding", "depths", *_RESIDUAL, "width", *_OWN_KEYS), "an mlp")
        + (_option_faults(model))
    )


def _cnn_faults(model: Model) -> Faults:
    layers = len(model.channels)
    if not layers:
        hint = "give the filters of each convolution, for example [16, 32]"
        return [(("channels",), "a cnn needs channels", hint)]
    faults: Faults = []
    for key in ("kernels", "pools", "strides"):
        value = getattr(model, key)
        if value is not None and len(value) != layers:
            given = len(value)
            what = f"{key} has {given} {'entry' if given == 1 else 'entries'}, channels has {layers}"
            faults.append(((key,), what, "give one entry for each convolution"))
    if model.pool_order is not None and 2 not in model.pools:
        faults.append((("pool_order",), "no convolution has a pool behind it", "remove the key, or set pools"))
    return faults + _foreign(model, ("depths", *_RESIDUAL, "width", *_OWN_KEYS), "a cnn") + _option_faults(model)


def _option_faults(model: Model) -> Faults:
    """Options that another option makes void."""
    row = zoo.zoo_row(model.arch).fields if model.arch in zoo.network_names() else {}
    given = model.options()
    faults: Faults = []
    rules = (("planes", "input", "bits8", "planes"), ("join_bits", "join", "integer", "thresholded"))
    for key, switch, default, wanted in rules:
        if key in given and (now := given.get(switch, row.get(switch, default))) != wanted:
            what, repair = f"{key} has no effect: {switch} is {now}", f"remove the key, or set `{switch}: {wanted}`"
            faults.append(((key,), what, repair))
    return faults


def map_sides(model: Model, side: int) -> list[int]:
    """Side of the square feature map: of the image, then after each convolution with its pool.

    A convolution without padding and stride gives side - kernel + 1; a pool of 2 halves that, rounded down.
    A value below 1 means that the layer does not fit; the list ends there.
    """
    sides = [side]
    padded = model.padding not in (None, "none")
    strides = model.strides or (1,) * len(model.kernels)
    for kernel, pool, stride in zip(model.kernels, model.pools, strides, strict=True):
        around = 2 * ((kernel - 1) // 2) if padded else 0
        sides.append(((sides[-1] + around - kernel) // stride + 1) // pool)
        if sides[-1] < 1:
            break
    return sides
