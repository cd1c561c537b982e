"""Recipe files: reading with overrides, and writing."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_origin

from pydantic import ValidationError

from bnnflow import Problem

from ...models.files.trained_names import trained_files
from .errors import faults_of, map_faults
from .model import Model
from .origin import Origin, place_of
from .parts import is_part_file
from .positions import Fault, KeyPath, as_problem, parse_value, parse_yaml
from .prune import Prune
from .schema import Data, Recipe, Target
from .text import read_text
from .train import Train
from .unused import unused

_START_HINT = "`flow new` writes a recipe to start from"
_COMMENT_COLUMN = 42
PATHS = (
    *(("model", "onnx"), ("model", "trained"), ("model", "weights"), ("model", "dir")),
    *(
        ("data", "dir"),
        ("faults", "table"),
        ("faults", "undervolting"),
        ("faults", "placement"),
        ("target", "part"),
        ("prune", "budget", "part"),
    ),
)
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")


def load_recipe(path: Path, overrides: Sequence[str] = (), wishes: Sequence[str] = ()) -> Recipe:
    """Read a recipe file. Relative paths in it are from its folder, those of overrides from the present one.

    Args:
        path: a YAML file.
        overrides: `key.sub=value` strings that replace or add a key; the value is a YAML scalar or list, null takes the
            key out.
        wishes: the same, from options of a command that uses the keys itself: a build need not.

    Raises:
        Problem: the file cannot be read, is not YAML, or has keys or values that are not allowed, or keys that have no
            effect. The text gives file:line:column, the line with a caret, and a hint, for each of the faults.
    """
    text = read_text(path, "recipe", _START_HINT)
    data, source, faults = parse_yaml(text, str(path))
    if data is None:
        raise Problem("the recipe is empty", str(path), _START_HINT)
    if not isinstance(data, dict):
        raise Problem("a recipe is a mapping of keys to values", source.place_of(()), _START_HINT)
    for key in list(data):
        # A section whose keys are all commented out is null in YAML.
        if data[key] is None and key in Recipe.model_fields and key not in ("name", "seed"):
            data[key] = {}
    _from_folder(data, path.parent.absolute())
    mine = copy.deepcopy(data)
    origin = Origin(source, _override(data, overrides, faults))
    _override(data, wishes, faults)
    if not data.get("name"):
        data["name"] = re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("-._")[:100] or "model"
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            faults += [f for f in faults_of(detail, origin) if f not in faults]
        raise as_problem(faults, str(path)) from None
    void, made_void = _void(recipe, mine, origin)
    faults += [*void, *map_faults(recipe, origin)]
    if faults:
        raise as_problem(faults, str(path))
    recipe._origin = replace(origin, made_void=made_void)
    return recipe


def _void(recipe: Recipe, mine: dict[str, Any], origin: Origin) -> tuple[list[Fault], tuple[str, ...]]:
    """Keys without effect, as faults, and those of the file that only the overrides make so, as sentences.

    Args:
        recipe: with all overrides.
        mine: the data of the file alone.
        origin: of the recipe.
    """
    reasons = unused(recipe)
    try:
        alone = unused(Recipe.model_validate(mine)) if origin.overrides else reasons
    except ValidationError:
        alone = reasons
    faults, sentences = [], []
    for path, (why, repair) in reasons.items():
        what = f"{'.'.join(map(str, path))} has no effect: {why}"
        said = [key for key in origin.overrides if key[: len(path)] == path]
        if said:
            faults.append(Fault(what, place_of(said[0], origin), ", ".join(filter(None, ("leave it out", repair)))))
        elif _is_given(mine, path):
            if path in alone:
                hint = ", ".join(filter(None, ("remove the key", repair)))
                faults.append(Fault(what, place_of(path, origin, of_key=True), hint))
            else:
                sentences.append(what)
    return faults, tuple(sentences)


def _is_given(data: dict[str, Any], path: KeyPath) -> bool:
    """Whether a file says something at a key; null says nothing."""
    inner: Any = data
    for part in path:
        inner = inner.get(part) if isinstance(inner, dict) else None
    return inner is not None and inner != {}


def _from_folder(data: dict[str, Any], folder: Path) -> None:
    """Make relative paths absolute, as from this folder."""
    for path in PATHS:
        inner: Any = data
        for section in path[:-1]:
            inner = inner.get(section) if isinstance(inner, dict) else None
        key = path[-1]
        if isinstance(inner, dict) and isinstance(inner.get(key), str) and inner[key]:
            inner[key] = _absolute(path, inner[key], folder)


def _absolute(key: KeyPath, value: str, folder: Path) -> str:
    path = os.path.normpath(folder / Path(value).expanduser())
    if key[-1] == "part":
        return path if is_part_file(value) else value
    is_word = re.fullmatch(r"[\w-]+", value) and not os.path.exists(path)
    return value if key == ("model", "trained") and (is_word or value in trained_files()) else path


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
        value = _from_here(keys, value)
        inner = _section_of(data, keys[:-1])
        if inner is None:
            faults.append(Fault(f"'{'.'.join(keys[:-1])}' of the file is no section", f"-s {text}", "mend the file"))
            continue
        if not _is_free(keys) and (isinstance(value, dict) or isinstance(inner.get(keys[-1]), dict)):
            hint = f"set one key at a time: -s {key}.KEY=VALUE"
            faults.append(Fault(f"'{key}' is a section or would become one", f"-s {text}", hint))
            continue
        if value is None:
            # Nothing is said about this key any more.
            inner.pop(keys[-1], None)
            places = {path: said for path, said in places.items() if path != keys}
            if _exists(keys):
                continue
        inner[keys[-1]] = value
        places[keys] = text
    return places


def _from_here(keys: KeyPath, value: Any) -> Any:
    """The value of an override, with relative paths in it made absolute, as from the present folder."""
    nested: Any = value
    for key in reversed(keys):
        nested = {key: nested}
    _from_folder(nested, Path().absolute())
    for key in keys:
        nested = nested[key]
    return nested


def _section_of(data: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any] | None:
    """The section at a path, made where it is absent; None where something else stands there."""
    for key in keys:
        if data.get(key) is None:
            data[key] = {}
        if not isinstance(data[key], dict):
            return None
        data = data[key]
    return data


def _exists(keys: tuple[str, ...]) -> bool:
    """Whether a recipe has such a key."""
    section: Any = Recipe
    for key in keys:
        fields = getattr(section, "model_fields", {})
        if key not in fields:
            return False
        section = fields[key].annotation
    return True


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
    """The resolved recipe as YAML, in the schema's order, without keys that have no effect; `load_recipe` reads it."""
    if recipe.model.kind == "own":
        # Read from another folder, it is to find the user's module where this one does.
        recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"dir": recipe.folder})})
    lines = [key_value for key_value, _, void in _lines(recipe) if not void]
    kept = [a for a, b in zip(lines, [*lines[1:], "end:"], strict=True) if not (a.endswith(":") and b.endswith(":"))]
    return "".join(f"{line}\n" for line in kept)


def commented(recipe: Recipe, first: str = "") -> str:
    """The recipe as YAML text with each section's and each key's description beside it.

    Keys that have no effect beside the others are comments.

    Args:
        recipe: what to write.
        first: lines to begin with.
    """
    text = first + "# A bnnflow recipe, for `flow build`. On the command line, -s train.epochs=3 changes a key.\n"
    for key_value, description, void in _lines(recipe):
        if key_value.endswith(":"):
            text += f"\n# {description}\n{key_value}\n"
        else:
            line = f"  # {key_value.lstrip()}" if void else key_value
            text += f"{line.ljust(_COMMENT_COLUMN)}  # {description}\n"
    return text


def new_recipe(arch: Literal["mlp", "cnn"] | str = "cnn", first: str = "") -> str:
    """The text of a commented recipe on the digits data: every key with a good value, one line each.

    Args:
        arch: kind of network.
        first: lines to begin with.

    Raises:
        Problem: the architecture is not known.
    """
    if arch not in ("mlp", "cnn"):
        raise Problem(f"unknown architecture '{arch}'", "", "one of mlp, cnn")
    shape = {"channels": (32, 64), "pools": (1, 2), "hidden": (128,)} if arch == "cnn" else {"hidden": (64, 64)}
    # Digits are few (1,437 images), so that many epochs take seconds; one thread is fastest on nets this small.
    recipe = Recipe(
        data=Data(name="digits"),
        model=Model.model_validate({"arch": arch, "input": "bits8", **shape}),
        train=Train(epochs=60, learning_rate=0.005, threads=1),
        prune=Prune(epochs=20, learning_rate=0.003),
        target=Target(fps=100_000.0),
    )
    return commented(recipe, first)


def _lines(recipe: Recipe) -> Iterator[tuple[str, str, bool]]:
    """Each `key: value` line, and each `section:` line, with its description and whether it has no effect."""
    void = unused(recipe)
    for key, value in _plain(recipe).items():
        field = Recipe.model_fields[key]
        if not isinstance(value, dict):
            yield f"{key}: {_scalar(value)}", field.description or "", False
            continue
        section = field.annotation
        assert section is not None
        yield f"{key}:", " ".join((section.__doc__ or "").split()), False
        for name, inner in value.items():
            if isinstance(inner, dict) and (key, name) not in void:
                inner = {part: one for part, one in inner.items() if (key, name, part) not in void}
            yield f"  {name}: {_scalar(inner)}", section.model_fields[name].description or "", (key, name) in void


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
