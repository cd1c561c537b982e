"""An input contract as people write it: pixels/255, normalize(0.5,0.5), int8/128, fixed<8,4>, float."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from bnnflow import Problem

from .contract import EXAMPLES, FIXED, FLOAT, MOST_BITS, InputContract, of_datatype
from .ops import Affine
from .tensor import Array

_WORDS = re.compile(r"\s*,\s*(partial|nchw|nhwc)\s*$", re.IGNORECASE)
_DATATYPE = re.compile(r"(u?int)(\d{1,2})$")


def parse_contract(text: str, source: str = "option") -> InputContract:
    """The contract that a text states.

    Data types (uint8, int8, uint4, bipolar, binary, ternary, fixed<8,4>; `pixels` is uint8), a formula of them
    ("pixels/255", "(pixels/255-0.5)/0.5", "int8*0.0078125"; one number, or a list with one per channel),
    "normalize(mean, std)" or "Normalize((0.485,0.456,0.406),(0.229,0.224,0.225))" of pixels over 255, or "float".
    Behind a comma may stand nchw or nhwc, and partial.

    Raises:
        Problem: it states none of these; the hint lists what does.
    """
    layout, partial, rest = "", False, text.strip()
    while match := _WORDS.search(rest):
        word, rest = match[1].lower(), rest[: match.start()]
        if word == "partial":
            partial = True
        elif layout and layout != word:
            raise Problem("nchw and nhwc exclude each other", f"input {text!r}", "give one of them")
        else:
            layout = word
    if re.fullmatch(r"float(32)?|quantizer", rest, re.IGNORECASE):
        return InputContract(FLOAT, layout=layout, partial=partial, source=source)
    try:
        # As a name that Python's grammar takes.
        tree = ast.parse(FIXED.sub(lambda m: f"fixed_{m[1]}_{m[2].replace('-', 'm')}", rest), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _not_understood(text) from None
    try:
        datatype, steps = _read(tree)
    except Problem as problem:
        raise Problem(problem.what, f"input {text!r}", problem.hint or f"for example {EXAMPLES}") from problem
    except (RecursionError, OverflowError, ZeroDivisionError):
        raise _not_understood(text) from None
    made = of_datatype(datatype, source)
    return replace(made, steps=(*made.steps, *_merged(steps)), layout=layout, partial=partial)


def _not_understood(text: str) -> Problem:
    return Problem("this does not say what the input holds", f"input {text!r}", f"for example {EXAMPLES}")


def _read(node: ast.expr) -> tuple[str, tuple[Affine, ...]]:
    """Data type and steps of an expression in which the data stand once."""
    match node:
        case ast.Name(id=name):
            return _datatype(name), ()
        case ast.Call(func=ast.Name(id=name)) if name.lower() == "normalize":
            return "UINT8", _normalize(node)
        case ast.UnaryOp(op=ast.UAdd(), operand=inner):
            return _read(inner)
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            datatype, steps = _read(inner)
            return datatype, (*steps, _step(scale=np.array([-1.0])))
        case ast.BinOp(left=left, op=op, right=right):
            first, second = _constant(left), _constant(right)
            if (first is None) == (second is None):
                raise Problem("the data must stand once in this formula, with numbers around them")
            datatype, steps = _read(left if first is None else right)
            number = second if first is None else first
            assert number is not None
            return datatype, (*steps, *_operation(op, number, data_first=first is None))
        case _:
            raise Problem("this is no formula of the data")


def _operation(op: ast.operator, number: Array, data_first: bool) -> tuple[Affine, ...]:
    match op:
        case ast.Mult():
            return (_step(scale=number),)
        case ast.Add():
            return (_step(shift=number),)
        case ast.Sub() if data_first:
            return (_step(shift=-number),)
        case ast.Sub():
            return (_step(scale=np.array([-1.0])), _step(shift=number))
        case ast.Div() if data_first:
            return (_step(divisor=number),)
        case _:
            raise Problem("only *, / by a number, + and - make the network's inputs of data")


def _step(scale: Array | None = None, shift: Array | None = None, divisor: Array | None = None) -> Affine:
    scale, divisor = (np.ones(1) if value is None else value for value in (scale, divisor))
    if np.any(scale == 0) or np.any(divisor == 0):
        raise Problem("a factor or divisor of 0 leaves nothing of the data")
    return Affine(scale, np.zeros(1) if shift is None else shift, divisor)


def _normalize(call: ast.Call) -> tuple[Affine, ...]:
    """torchvision's ToTensor and Normalize(mean, std): (pixels / 255 - mean) / std."""
    given = dict(zip(("mean", "std"), call.args, strict=False))
    given |= {str(word.arg): word.value for word in call.keywords}
    if len(call.args) + len(call.keywords) != 2 or set(given) != {"mean", "std"}:
        raise Problem("normalize takes a mean and a standard deviation", hint='for example "normalize(0.5,0.5)"')
    mean, std = (_constant(given[key]) for key in ("mean", "std"))
    if mean is None or std is None or np.any(std <= 0):
        raise Problem("mean and standard deviation must be numbers or lists of them, the latter above 0")
    return _step(divisor=np.array([255.0])), _step(shift=-mean), _step(divisor=std)


def _datatype(name: str) -> str:
    lower = name.lower()
    if lower in ("pixels", "pixel"):
        return "UINT8"
    if lower.startswith("fixed_"):
        width, whole = lower.split("_")[1:]
        return f"FIXED<{width},{whole.replace('m', '-')}>"
    match = _DATATYPE.fullmatch(lower)
    if match and not (2 if match[1] == "int" else 1) <= int(match[2]) <= MOST_BITS:
        raise Problem(f"data of {int(match[2])} bits are not supported", hint=f"use up to {MOST_BITS} bits")
    if match or lower in ("bipolar", "binary", "ternary"):
        return lower.upper()
    raise Problem(f"there is no data type {name!r}")


_ARITHMETIC: dict[type[ast.operator], Callable[[Array, Array], Array]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}


def _constant(node: ast.expr) -> Array | None:
    """A number or list of numbers as float64, (channels,) or (1,); None where the data stand in it."""
    match node:
        case ast.Constant(value=value) if isinstance(value, (int, float)) and not isinstance(value, bool):
            made = np.array([float(value)])
        case ast.List(elts=items) | ast.Tuple(elts=items) if items:
            parts = [_constant(item) for item in items]
            if any(part is None or part.size != 1 for part in parts):
                raise Problem("a list holds one number per channel")
            made = np.concatenate([part for part in parts if part is not None])
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            found = _constant(inner)
            if found is None:
                return None
            made = -found
        case ast.BinOp(left=left, op=op, right=right):
            first, second = _constant(left), _constant(right)
            if first is None or second is None:
                return None
            compute = _ARITHMETIC.get(type(op))
            if compute is None:
                raise Problem("only +, -, *, / and ** compute numbers")
            with np.errstate(all="ignore"):
                made = compute(first, second)
        case _:
            return None
    if not np.all(np.isfinite(made)):
        raise Problem("a number of this formula is not finite")
    return np.asarray(made, np.float64)


def _merged(steps: Sequence[Affine]) -> tuple[Affine, ...]:
    """The same steps in as few operations as round alike: a product, its division and a sum are one."""
    made: list[Affine] = []
    for step in steps:
        if made:
            last = made[-1]
            if not last.shift.any() and np.all(step.scale == 1):
                if np.all(last.divisor == 1):
                    made[-1] = Affine(last.scale, step.shift, step.divisor)
                    continue
                if np.all(step.divisor == 1):
                    made[-1] = Affine(last.scale, step.shift, last.divisor)
                    continue
        made.append(step)
    return tuple(made)
