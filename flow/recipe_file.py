"""Recipe files: reading with overrides, and writing."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_origin

from pydantic import ValidationError

from bnnflow import Problem

from .recipe import Origin, Recipe
from .recipe_errors import faults_of, map_faults
from .yaml_position import Fault, KeyPath, as_problem, parse, parse_value

MAX_BYTES = 1 << 20
_START_HINT = "`flow new` writes a recipe to start from"
_COMMENT_COLUMN = 42
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")


def load(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read, override and check a recipe file; see `recipe.load`."""
    text = _read(path)
    data, source, faults = parse(text, str(path))
    if data is None:
        raise Problem("the recipe is empty", str(path), _START_HINT)
    if not isinstance(data, dict):
        raise Problem("a recipe is a mapping of keys to values", source.place_of(()), _START_HINT)
    for key in list(data):
        # A section whose keys are all commented out is null in YAML.
        if data[key] is None and key in Recipe.model_fields and key not in ("name", "seed"):
            data[key] = {}
    origin = Origin(source, _override(data, overrides, faults))
    if not data.get("name"):
        data["name"] = re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("-._")[:100] or "model"
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            faults += [f for f in faults_of(detail, origin) if f not in faults]
        raise as_problem(faults, str(path)) from None
    faults += map_faults(recipe, origin)
    if faults:
        raise as_problem(faults, str(path))
    recipe._origin = origin
    return recipe


def _read(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise Problem("no such recipe file", str(path), _near_files(path)) from None
    except IsADirectoryError:
        raise Problem("this is a folder, not a recipe file", str(path), "name a .yaml file in it") from None
    except OSError as error:
        what = f"the recipe cannot be read: {error.strerror}"
        raise Problem(what, str(path), "check the path and its permissions") from None
    if len(raw) > MAX_BYTES:
        raise Problem("the file is larger than 1 MiB, so it is not a recipe", str(path), _START_HINT)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        where = f"{path}:{line}:{column}"
        what = f"the byte 0x{raw[error.start]:02x} is not UTF-8 text"
        raise Problem(what, where, "save the file as UTF-8; is this a recipe?") from None


def _near_files(path: Path) -> str:
    try:
        names = sorted(p.name for p in path.parent.iterdir() if p.suffix in (".yaml", ".yml"))
    except OSError:
        return _START_HINT
    near = difflib.get_close_matches(path.name, names, 1, 0.6)
    return f"did you mean '{path.parent / near[0]}'?" if near else _START_HINT


def _override(data: dict[str, Any], overrides: Sequence[str], faults: list[Fault]) -> dict[KeyPath, str]:
    places: dict[KeyPath, str] = {}
    for text in overrides:
        key, equals, value_text = text.partition("=")
        keys = tuple(part.strip() for part in key.split("."))
        if not equals or not all(keys):
            faults.append(Fault("an override is key=value", f"-s {text}", "for example -s train.epochs=3"))
            continue
        try:
            value = parse_value(value_text)
        except Problem as problem:
            faults.append(Fault(problem.what, f"-s {text}", problem.hint))
            continue
        inner = data
        for part in keys[:-1]:
            if not isinstance(inner.get(part), dict):
                inner[part] = {}
            inner = inner[part]
        if not _is_free(keys) and (isinstance(value, dict) or isinstance(inner.get(keys[-1]), dict)):
            hint = f"set one key at a time: -s {key}.KEY=VALUE"
            faults.append(Fault(f"'{key}' is a section or would become one", f"-s {text}", hint))
            continue
        inner[keys[-1]] = value
        places[keys] = text
    return places


def _is_free(keys: tuple[str, ...]) -> bool:
    """Whether a key holds a mapping with keys of the user's choice, which is replaced as a whole."""
    section: Any = Recipe
    for key in keys:
        fields = getattr(section, "model_fields", {})
        section = fields[key].annotation if key in fields else None
    return get_origin(section) is dict


def _plain(recipe: Recipe) -> dict[str, Any]:
    data = recipe.model_dump(mode="json")
    data["model"] = recipe.model.given()
    return data


def dump(recipe: Recipe) -> str:
    """The resolved recipe as YAML; see `Recipe.dump`."""
    return "".join(f"{key_value}\n" for key_value, _ in _lines(recipe))


def commented(recipe: Recipe) -> str:
    """The recipe as YAML text with each section's and each key's description beside it."""
    text = "# A bnnflow recipe, for `flow build`. On the command line, -s train.epochs=3 changes a key.\n"
    for key_value, description in _lines(recipe):
        if key_value.endswith(":"):
            text += f"\n# {description}\n{key_value}\n"
        else:
            text += f"{key_value.ljust(_COMMENT_COLUMN)}  # {description}\n"
    return text


def _lines(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Each `key: value` line, and each `section:` line, with its description."""
    for key, value in _plain(recipe).items():
        field = Recipe.model_fields[key]
        if not isinstance(value, dict):
            yield f"{key}: {_scalar(value)}", field.description or ""
            continue
        section = field.annotation
        assert section is not None
        yield f"{key}:", " ".join((section.__doc__ or "").split())
        for name, inner in value.items():
            yield f"  {name}: {_scalar(inner)}", section.model_fields[name].description or ""


def _scalar(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case dict():
            return "{" + ", ".join(f"{_scalar(key)}: {_scalar(inner)}" for key, inner in value.items()) + "}"
        case list():
            return f"[{', '.join(_scalar(one) for one in value)}]"
        case float() if value == int(value) and abs(value) < 1e15:
            return str(int(value))
        case str() if not _PLAIN.fullmatch(value) or value.lower() in ("null", "true", "false"):
            return json.dumps(value)
        case _:
            return str(value)
