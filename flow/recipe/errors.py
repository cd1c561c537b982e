"""What is wrong with a recipe, in plain words: pydantic's errors with their place, and a hint for each."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

from pydantic_core import ErrorDetails

from .origin import Origin, place_of
from .positions import Fault, KeyPath
from .schema import IMAGE_SIDE, Recipe, key_schema, map_sides


def faults_of(detail: ErrorDetails, origin: Origin) -> Iterator[Fault]:
    """Turn one of pydantic's errors into our words, at its place."""
    path: KeyPath = tuple(detail["loc"])
    if path and path[-1] == "str" and detail["type"] == "string_type":
        # A number or a text: what is wrong with the number is told.
        return
    if path and path[-1] == "constrained-float":
        path = path[:-1]
    if detail["type"] == "cross_faults":
        for key, what, hint in detail["ctx"]["faults"]:
            yield Fault(what, place_of((*path, *key), origin), hint)
        return
    dotted = ".".join(str(part) for part in path if isinstance(part, str))
    if detail["type"] == "missing":
        hint = _section_hint(path) if _properties(path) else f"allowed: {allowed(path)}"
        yield Fault(f"the key '{dotted}' is missing", place_of(path[:-1], origin, of_key=True), hint)
        return
    if detail["type"] == "extra_forbidden":
        yield _unknown_key(path, origin)
        return
    value = detail["input"]
    what = f"{dotted}: {_shown(value)} {_complaint(detail['type'])}"
    hint = _near_value(path, value) or f"allowed: {allowed(path)}"
    yield Fault(what, place_of(path, origin), hint)


def _complaint(kind: str) -> str:
    match kind:
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal" | "finite_number":
            return "is out of range"
        case "int_type" | "int_from_float" | "int_parsing":
            return "is not a whole number"
        case "float_type":
            return "is not a number"
        case "bool_type":
            return "is neither true nor false"
        case "string_type" | "path_type":
            return "is not text"
        case "tuple_type":
            return "is not a list"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "is not a section with keys"
        case "too_short" | "string_too_short":
            return "is too short"
        case "too_long" | "string_too_long":
            return "is too long"
        case _:
            return "is not allowed"


def _unknown_key(path: KeyPath, origin: Origin) -> Fault:
    section = ".".join(str(part) for part in path[:-1])
    key = str(path[-1])
    known = _properties(path[:-1])
    elsewhere = [f"{name}.{key}" for name in Recipe.model_fields if key in _properties((name,)) and name != section]
    near = difflib.get_close_matches(key, known, 1, 0.6)
    if near:
        hint = f"did you mean '{near[0]}'?"
    elif elsewhere:
        hint = f"did you mean '{elsewhere[0]}'?"
    else:
        hint = f"known keys: {', '.join(known)}"
    what = f"unknown key '{key}'" + (f" in {section}" if section else "")
    return Fault(what, place_of(path, origin, of_key=True), hint)


def _node(path: KeyPath) -> dict[str, Any]:
    """The JSON schema of the value at `path` ({}: there is none); a list position gives the entry's."""
    root = key_schema()
    node: dict[str, Any] = root
    for part in path:
        if "$ref" in node:
            node = root["$defs"][node["$ref"].rpartition("/")[2]]
        if isinstance(part, int):
            lists = [node, *node.get("anyOf", [])]
            node = next((one["items"] for one in lists if "items" in one), {})
        else:
            others = node.get("additionalProperties", {})
            node = node.get("properties", {}).get(part, others if isinstance(others, dict) else {})
    return node


def _properties(path: KeyPath) -> tuple[str, ...]:
    """The keys of the section at `path`, if there is one; without the schema, which takes long to make."""
    section: Any = Recipe
    for part in path:
        fields = getattr(section, "model_fields", {})
        section = fields[part].annotation if part in fields else None
    return tuple(getattr(section, "model_fields", ()))


def _section_hint(path: KeyPath) -> str:
    first = {"data": "data: {name: digits}", "model": "model: {arch: mlp, hidden: [64, 64]}"}
    return f"for example `{first.get(str(path[-1]), '')}`"


def allowed(path: KeyPath) -> str:
    """What the value at `path` may be, in plain words."""
    keys = _properties(path)
    if keys:
        return f"a section with the keys {', '.join(keys)}"
    return _describe(_node(path))


def _describe(node: dict[str, Any]) -> str:
    """A JSON schema of a scalar or list in plain words, such as `a whole number from 1 to 10000`."""
    if "examples" in node:
        return ", ".join(map(str, node["examples"]))
    if "anyOf" in node:
        return " or ".join(_describe(one) for one in node["anyOf"])
    if "enum" in node:
        return ", ".join(map(str, node["enum"]))
    low, above, high = (node.get(key) for key in ("minimum", "exclusiveMinimum", "maximum"))
    bounds = f" above {above:g}" if above is not None else f" from {low:.10g}" if low is not None else ""
    bounds += "" if high is None else f"{' up' if above is not None else ''} to {high:.10g}"
    match node.get("type"):
        case "integer":
            return f"a whole number{bounds}"
        case "number":
            return f"a number{bounds}"
        case "boolean":
            return "true or false"
        case "null":
            return "null"
        case "object":
            return "a mapping of names to values"
        case "array":
            some = "of one or more entries" if node.get("minItems") else "that may be empty"
            return f"a list {some}, each {_describe(node['items'])}"
        case _ if "pattern" in node:
            return "small letters a-z, digits, '.', '_' and '-', at most 100, a letter or digit first"
        case _ if node.get("format") == "path":
            return "a path"
        case _:
            return "text"


def _near_value(path: KeyPath, value: object) -> str:
    """`did you mean ...?` for a misspelt word, a word for true or false, or a number in quotes."""
    node = _node(path)
    if not isinstance(value, str):
        return ""
    if node.get("type") == "boolean":
        words = {"yes": "true", "on": "true", "no": "false", "off": "false"}
        word = words.get(value.lower(), value.lower())
        return f"did you mean {word}?" if word in ("true", "false") else ""
    near = difflib.get_close_matches(value.lower(), [str(one) for one in node.get("enum", [])], 1, 0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    kinds = {one.get("type") for one in (node, *node.get("anyOf", []))}
    if kinds & {"integer", "number"} and re.fullmatch(r"[-+]?\d+(\.\d*)?(e[-+]?\d+)?", value):
        return f"write {value} without quotes"
    return ""


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def map_faults(recipe: Recipe, origin: Origin) -> list[Fault]:
    """The convolution that is larger than the feature map it reads, if there is one."""
    if recipe.model.arch != "cnn" or recipe.data.name not in IMAGE_SIDE:
        return []
    sides = map_sides(recipe.model, IMAGE_SIDE[recipe.data.name])
    if sides[-1] >= 1:
        return []
    layer, side = len(sides) - 1, sides[-2]
    kernel, pool = recipe.model.kernels[layer - 1], recipe.model.pools[layer - 1]
    needs = f"a {kernel}x{kernel} kernel" + (f" and a {pool}x{pool} pool" if pool > 1 else "")
    what = f"convolution {layer} reads a {side}x{side} map, too small for {needs}"
    sizes = " -> ".join(map(str, sides[:-1]))
    hint = f"map sides on {recipe.data.name}: {sizes}; use fewer layers, smaller kernels or pools of 1"
    key: KeyPath = ("model", "kernels", layer - 1)
    if origin.source is not None and ("model", "kernels") not in origin.source.keys:
        key = ("model", "channels", layer - 1)
    return [Fault(what, place_of(key, origin), hint)]
