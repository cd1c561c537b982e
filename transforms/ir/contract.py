"""The input contract: what a graph's input holds, and how the data that people have become it.

A network is a function of floats; hardware takes integers. Between them stands a statement that no file of weights
holds: pixels as they are, pixels over 255, pixels normalized, signed features, or floats that the first quantizer
turns into integers on the host. It is stated by the user, by the file, or by the network's first operations, or
compilation is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from bnnflow import Problem

from .activations import limits, limits_of, slopes_of
from .ops import Affine, PiecewiseLinear, Quantize, Sign, Stairs
from .tensor import Array, TensorType, integer_range

HostOp = Affine | PiecewiseLinear | Quantize | Sign | Stairs
FLOAT = "FLOAT"
LAYOUTS = ("nchw", "nhwc")
MOST_BITS = 16
# Where ONNX files of ours hold the contract: an entry of metadata_props.
CONTRACT_KEY = "bnnflow.input"

EXAMPLES = 'pixels/255, uint8, "normalize(0.5,0.5)", int8, bipolar, "fixed<8,4>", or float'
_MEANINGS = (
    "pixels/255 for 8-bit pixels divided by 255 (torchvision's ToTensor), uint8 for pixels 0 to 255 as they are, "
    '"normalize(0.5,0.5)" for ToTensor and Normalize(mean, std), int8 or "int8/128" for signed data, bipolar for -1 '
    "and +1, float for any floats where the first quantizer runs on the host"
)
FIXED = re.compile(r"fixed\s*<\s*(\d+)\s*,\s*(-?\d+)\s*>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class InputContract:
    """What a graph's input means.

    Data (integers of `datatype`) become the network's inputs by `steps`: value = steps(data). Where `host` is not
    empty, the hardware does not take data but what `host`, which ends with the network's first quantizer, makes of the
    network's inputs: its whole numbers, before its scale.

    Attributes:
        datatype: FINN's name of the data's type, UINT8, INT8, BIPOLAR, FIXED<8,4> (integers over 2^4), ...; FLOAT where
            nothing is known of the data but that the network's inputs are floats.
        steps: from data to the network's inputs, one value or one per channel each.
        host: from the network's inputs to the graph's, on the host; empty where the graph takes the data itself.
        layout: "nchw" or "nhwc": order of the values of an image in an input without axes; "" where it has axes, or one
            channel.
        partial: the data are meant to use a part of the first quantizer's levels.
        source: who says so: option, recipe, file, annotation or network.
    """

    datatype: str
    steps: tuple[Affine, ...] = ()
    host: tuple[HostOp, ...] = ()
    layout: str = ""
    partial: bool = False
    source: str = field(default="", compare=False)

    @property
    def knows_data(self) -> bool:
        """Whether it is said what data look like, and not only what floats become."""
        return self.datatype != FLOAT

    @property
    def data_range(self) -> tuple[int, int, int]:
        """(low, high, step) of the data; AssertionError where they are unknown."""
        found = data_range(self.datatype)
        assert found is not None, "the data of this contract are unknown"
        return found

    @property
    def is_plain(self) -> bool:
        """Whether the graph's input, the network's input and the data are one and the same number."""
        return self.knows_data and not self.steps and not self.host

    def values(self, data: Array, kind: type[np.floating] = np.float64) -> Array:
        """The network's inputs of data, channels on the last axis; each step rounded as `kind` does."""
        made = np.asarray(data).astype(kind)
        for step in self.steps:
            made = made * step.scale.astype(kind) / step.divisor.astype(kind) + step.shift.astype(kind)
        return made

    def formula(self) -> str:
        """The network's inputs in terms of the data, as `contract_text.parse_contract` reads it."""
        text = "pixels" if self.datatype == "UINT8" and self.steps else self.datatype.lower()
        match = FIXED.fullmatch(self.datatype)
        # The first step of fixed-point numbers is what their type says.
        implied = int(match is not None and match[1] != match[2])
        for step in self.steps[implied:]:
            if np.any(step.scale != 1):
                text = f"{_operand(text)}*{_numbers(step.scale)}"
            if np.any(step.divisor != 1):
                text = f"{_operand(text)}/{_numbers(step.divisor)}"
            if np.any(step.shift != 0):
                text = f"{text}+{_numbers(step.shift)}" if np.any(step.shift > 0) else f"{text}-{_numbers(-step.shift)}"
        return ", ".join([text, *([self.layout] if self.layout else []), *(["partial"] if self.partial else [])])

    def describe(self, kind: TensorType) -> str:
        """One sentence for people; `kind` is the type of the graph's input."""
        said = {
            "option": "as --input says",
            "recipe": "as model.input says",
            "file": "as the file says",
            "annotation": "by the file's annotation",
            "network": "by the network's first operations",
            "images": "the images of the data set",
        }.get(self.source, "")
        ending = f" ({said})" if said else ""
        if self.host:
            data = f"{self.datatype}, x = {self.formula()}" if self.knows_data else "floats x"
            low, high = kind.range
            hardware = kind.datatype if kind.is_bipolar else f"{kind.datatype} from {low} to {high}"
            return f"{data}; the host gives the hardware {hardware}: {describe_host(self.host)}{ending}"
        if not self.knows_data:
            return f"floats x of any range{ending}"
        if self.is_plain:
            return f"{self.datatype} as they are{ending}"
        return f"{self.datatype}; the network's inputs are {self.formula()}{ending}"

    def facts(self, kind: TensorType) -> dict[str, object]:
        """As plain values for JSON: datatype, formula, host, layout, source, and the hardware's type and range."""
        return {
            "datatype": self.datatype,
            "formula": self.formula() if self.knows_data else None,
            "host": describe_host(self.host) if self.host else None,
            "hardware": kind.datatype,
            "range": None if kind.is_float else list(kind.range),
            "shape": list(kind.shape),
            "layout": self.layout or None,
            "source": self.source,
            "text": self.describe(kind),
        }

    def to_json(self) -> str:
        """The contract as one line of JSON, for files."""
        made: dict[str, object] = {"datatype": self.datatype}
        if self.steps:
            made["steps"] = [_op_json(step) for step in self.steps]
        if self.host:
            made["host"] = [_op_json(op) for op in self.host]
        if self.layout:
            made["layout"] = self.layout
        if self.partial:
            made["partial"] = True
        return json.dumps(made)


def data_range(datatype: str) -> tuple[int, int, int] | None:
    """(low, high, step) of the integers of a data type's name; None for floats and names that are none."""
    if match := FIXED.fullmatch(datatype):
        return integer_range(f"INT{match[1]}")
    return integer_range(datatype)


def annotated(datatype: str) -> InputContract | None:
    """The contract of a FINN annotation: integers as they are, fixed point as integers over a power of two.

    None for float types, which say nothing of the data.

    Raises:
        Problem: a type that is no data type of FINN, or too wide.
    """
    name = datatype.strip().upper()
    if name.startswith(("FLOAT", "SCALEDINT")) or name in ("", "BFLOAT16"):
        return None
    return of_datatype(name, "annotation")


def plain_contract(kind: TensorType) -> InputContract:
    """The contract of a graph whose input is integers, where nothing else is said."""
    return InputContract(kind.datatype, source="annotation")


def of_datatype(name: str, source: str) -> InputContract:
    """The contract of a data type's name alone.

    Raises:
        Problem: it is none, or wider than `MOST_BITS` where it is fixed point.
    """
    if match := FIXED.fullmatch(name):
        width, whole = int(match[1]), int(match[2])
        if not 2 <= width <= MOST_BITS or abs(whole) > 32:
            raise Problem(f"fixed-point numbers of {width} bits are not supported", name, f"use 2 to {MOST_BITS} bits")
        # FIXED<width, bits before the point>: integers over 2^(width - those).
        step = Affine(np.ones(1), np.zeros(1), np.array([2.0 ** (width - whole)]))
        steps = () if width == whole else (step,)
        return InputContract(f"FIXED<{width},{whole}>", steps, source=source)
    found = data_range(name)
    if found is None:
        raise Problem(
            f"there is no data type {name!r}",
            hint=f"types are UINT1 to UINT{MOST_BITS}, INT2 to "
            f"INT{MOST_BITS}, BIPOLAR, BINARY, TERNARY and FIXED<bits,bits before the point>",
        )
    return InputContract(name, source=source)


def _operand(text: str) -> str:
    return f"({text})" if re.search(r"[+*/-]", text) else text


def _numbers(values: Array) -> str:
    text = [np.format_float_positional(value, trim="-") for value in values]
    return text[0] if len(text) == 1 else f"[{', '.join(text)}]"


# -- on the host -----------------------------------------------------------------------------------


def describe_host(host: Sequence[HostOp]) -> str:
    """What the host computes, in one line: x*2-1, then +1 where it is at least 0, else -1."""
    text, parts = "x", []
    for op in host:
        match op:
            case Affine(scale, shift, divisor):
                text = _operand(text) if text != "x" else text
                text += f"*{_short(scale)}" if np.any(scale != 1) else ""
                text += f"/{_short(divisor)}" if np.any(divisor != 1) else ""
                text += f"+{_short(shift)}" if np.any(shift != 0) else ""
                text = text.replace("+-", "-")
            case PiecewiseLinear():
                text = _activation(op, text)
            case Quantize(scale, low, high, rounding):
                inner = f"{_operand(text)}/{_short(scale)}" if np.any(scale != 1) else text
                how = {"ROUND": "round", "HALF_ODD": "round half to odd", "ROUND_TO_ZERO": "trunc"}
                parts.append(f"clip({how.get(rounding, rounding.lower())}({inner}), {low}, {high})")
            case Sign(zero):
                middle = "" if zero else ", 0 at 0"
                parts.append(f"+1 where {text} {'>=' if zero else '>'} 0, else -1{middle}")
            case Stairs(bounds):
                parts.append(f"number of the {bounds.shape[1]} thresholds that {text} reaches")
    return "; ".join(parts) or text


def _activation(op: PiecewiseLinear, text: str) -> str:
    ends = limits_of(op)
    if ends is not None:
        low, high = (
            default if end is None else _short(end) for end, default in zip(ends, ("-inf", "inf"), strict=True)
        )
        return f"clip({text}, {low}, {high})"
    slopes = slopes_of(op)
    if slopes is not None:
        return f"leaky_relu({text}, {_short(slopes)})"
    return f"piecewise({text}, slopes {_short(op.slopes.reshape(-1))} from {_short(op.knots.reshape(-1))} on)"


def _short(values: Array) -> str:
    if values.size > 4:
        return f"[{values.size} values]"
    text = [f"{value:.9g}" for value in values]
    return text[0] if len(text) == 1 else f"[{', '.join(text)}]"


# -- in files --------------------------------------------------------------------------------------

_OPS: dict[str, Callable[..., HostOp]] = {
    cls.__name__: cls for cls in (Affine, PiecewiseLinear, Quantize, Sign, Stairs)
}


def _op_json(op: HostOp) -> dict[str, object]:
    made: dict[str, object] = {"op": type(op).__name__}
    for key in (entry.name for entry in fields(op)):
        value = getattr(op, key)
        # JSON has no infinity; as text, Python reads it back.
        made[key] = _plain(value.tolist()) if isinstance(value, np.ndarray) else _plain(value)
    return made


def _plain(value: object) -> object:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value


def contract_of_json(text: str) -> InputContract:
    """The contract that `to_json` wrote, its source being the file.

    Raises:
        Problem: it is none.
    """
    try:
        given = json.loads(text)
        steps, host = (tuple(_op(item) for item in given.pop(key, [])) for key in ("steps", "host"))
        made = InputContract(**given, steps=steps, host=host, source="file")  # type: ignore[arg-type]
        valid = (
            (made.datatype == FLOAT or data_range(made.datatype) is not None)
            and all(isinstance(step, Affine) for step in steps)
            and made.layout in ("", *LAYOUTS)
            and isinstance(made.partial, bool)
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Problem("the input contract of this file cannot be read", text[:80], "compile again") from error
    if not valid:
        raise Problem("the input contract of this file cannot be read", text[:80], "compile again")
    return made


def _op(item: dict[str, object]) -> HostOp:
    name = str(item.pop("op"))
    if name == "Clip":
        # What earlier files call the limits of an activation.
        return limits(float(str(item["low"])), float(str(item["high"])))
    cls = _OPS[name]
    kinds = {entry.name: entry.type for entry in fields(cls)}  # type: ignore[arg-type]
    values: dict[str, object] = {}
    for key, value in item.items():
        if kinds[key] == "Array":
            values[key] = np.array(value, dtype=object).astype(np.float64)
        else:
            values[key] = float(value) if isinstance(value, str) and kinds[key] == "float" else value
            if isinstance(value, list):
                values[key] = tuple(value)
    made: HostOp = cls(**values)
    return made


def choices() -> str:
    """What may be given with --input, and what each would mean."""
    return f"say it with --input (model.input in a recipe): {_MEANINGS}"
