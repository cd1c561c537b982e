"""Frozen dataclasses to JSON and back, and the JSON schema of what comes of it.

A field with `metadata=OPTIONAL` is left out of JSON where it is None; all others are always there. The mapping in a
field with `metadata=BESIDE` has its keys beside the other fields: for what has a name of its own, such as a network, or
what a method adds. A field with `metadata=APART` is for callers from Python alone.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")

OPTIONAL = {"json": "left out where it is None"}
BESIDE = {"json": "keys beside the other fields"}
APART = {"json": "not in it"}
_PLAIN: dict[object, tuple[str, tuple[type, ...]]] = {
    str: ("string", (str,)),
    bool: ("boolean", (bool,)),
    int: ("integer", (int,)),
    float: ("number", (float, int)),
    type(None): ("null", (type(None),)),
}


class Misfit(ValueError):
    """A JSON value that is not of a type; says where and why."""


def to_json(value: object) -> Any:
    """Dataclasses and tuples as the dicts and lists that JSON has; other values as they are."""
    if is_dataclass(value) and not isinstance(value, type):
        made: dict[str, Any] = {}
        for one in fields(value):
            held = getattr(value, one.name)
            if one.metadata == APART:
                continue
            if one.metadata == BESIDE:
                made |= to_json(held)
            elif held is not None or one.metadata != OPTIONAL:
                made[one.name] = to_json(held)
        return made
    if isinstance(value, Mapping):
        return {key: to_json(held) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(held) for held in value]
    return value


def from_json(kind: type[T], value: object) -> T:
    """The dataclass, or a container of such, that `to_json` made a value of; arrays become what the type says.

    Raises:
        Misfit: a key is missing or unknown, or a value of another type; nothing is converted.
    """
    return typing.cast("T", _read(kind, value, ""))


def extended(kind: type[T], value: object, **more: object) -> T:
    """A dataclass that has the fields of another, and more."""
    assert is_dataclass(value)
    return kind(**{one.name: getattr(value, one.name) for one in fields(value)} | more)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(kind: Any, value: object, where: str) -> object:
    if kind is Any or kind is object:
        return value
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _read_one_of(arguments, value, where)
    if origin is Literal:
        return value if value in arguments else _refuse(where, f"is none of {', '.join(map(repr, arguments))}")
    if kind in _PLAIN:
        name, classes = _PLAIN[kind]
        fits = isinstance(value, classes) and (kind is bool or not isinstance(value, bool))
        return value if fits else _refuse(where, f"is no {name}")
    if is_dataclass(kind):
        return _read_fields(kind, value, where)
    if issubclass(origin, Mapping):
        if not isinstance(value, dict):
            _refuse(where, "is no object")
        held = arguments[1] if arguments else Any
        return {key: _read(held, one, f"{where}.{key}") for key, one in value.items()}
    if issubclass(origin, Sequence):
        if not isinstance(value, list):
            _refuse(where, "is no array")
        listed = [_read(held, one, f"{where}[{i}]") for i, (held, one) in enumerate(_pairs(arguments, value, where))]
        return tuple(listed) if origin is tuple else listed
    raise TypeError(f"{kind} is not a type of JSON")


def _pairs(arguments: tuple[Any, ...], values: list[object], where: str) -> Iterator[tuple[Any, object]]:
    """The entries of an array, each with its type: all the same, but for tuples of a length."""
    if len(arguments) == 1 or arguments[1:] == (...,):
        return ((arguments[0], one) for one in values)
    if len(arguments) != len(values):
        _refuse(where, f"has {len(values)} entries, not {len(arguments)}")
    return zip(arguments, values, strict=True)


def _read_one_of(kinds: tuple[Any, ...], value: object, where: str) -> object:
    reasons = []
    for kind in kinds:
        try:
            return _read(kind, value, where)
        except Misfit as misfit:
            # Of "X or nothing", what is wrong with X is said.
            if kind is not type(None):
                reasons.append(misfit)
    if len(reasons) == 1:
        raise reasons[0]
    return _refuse(where, f"fits none of {len(reasons)} forms")


def _read_fields(kind: Any, value: object, where: str) -> object:
    if not isinstance(value, dict):
        _refuse(where, "is no object")
    rest, made = dict(value), {}
    for one in fields(kind):
        if one.metadata in (BESIDE, APART):
            continue
        if one.name in rest:
            made[one.name] = _read(_hints(kind)[one.name], rest.pop(one.name), f"{where}.{one.name}")
        elif one.metadata != OPTIONAL:
            _refuse(f"{where}.{one.name}", "is missing")
    for one in fields(kind):
        if one.metadata == BESIDE:
            made[one.name], rest = _read(_hints(kind)[one.name], rest, where), {}
    for key in rest:
        _refuse(f"{where}.{key}", "is not known")
    return kind(**made)


def _refuse(where: str, what: str) -> typing.NoReturn:
    raise Misfit(f"{where.lstrip('.') or 'it'} {what}")


def json_schema(kind: type) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a dataclass; descriptions are its docstrings'."""
    defined: dict[str, Any] = {}
    whole = _schema(kind, defined)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **whole,
        "$defs": dict(sorted(defined.items())),
    }


def _schema(kind: Any, defined: dict[str, Any]) -> dict[str, Any]:
    if kind is Any or kind is object:
        return {}
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(one, defined) for one in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind][0]}
    if isinstance(kind, type) and is_dataclass(kind):
        name = kind.__name__
        if name not in defined:
            defined[name] = {}
            defined[name] = _schema_of_fields(kind, defined)
        return {"$ref": f"#/$defs/{name}"}
    if issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(arguments[1] if arguments else Any, defined)}
    if len(arguments) == 1 or arguments[1:] == (...,):
        return {"type": "array", "items": _schema(arguments[0], defined)}
    entries = [_schema(one, defined) for one in arguments]
    return {"type": "array", "prefixItems": entries, "items": False, "minItems": len(entries)}


def _schema_of_fields(kind: Any, defined: dict[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    more: Any = False
    for one in fields(kind):
        if one.metadata == APART:
            continue
        made = _schema(_hints(kind)[one.name], defined)
        if one.metadata == BESIDE:
            more = made["additionalProperties"] or True
            continue
        text = _description(kind, one)
        said[one.name] = made | ({"description": text} if text else {})
    needed = [one.name for one in fields(kind) if not one.metadata]
    text = (kind.__doc__ or "").partition("\n\n")[0]
    return {
        "description": " ".join(text.split()),
        "type": "object",
        "properties": said,
        "required": needed,
        "additionalProperties": more,
    }


def _description(kind: Any, one: Field[Any]) -> str:
    """What the section Attributes of the class or of one above says of a field; "a, b: text" is of both."""
    for above in kind.__mro__:
        section = (above.__doc__ or "").partition("Attributes:\n")[2]
        for names, text in re.findall(r"^ {8}(\w+(?:, \w+)*): (.*(?:\n {9,}.*)*)", section, re.MULTILINE):
            if one.name in names.split(", "):
                return " ".join(text.split())
    return ""
