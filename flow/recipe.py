"""The recipe: what `model.yaml` may say, its defaults and ranges.

Reading a recipe file is in `recipe_file`; this module holds the checked data alone.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from bnnflow import Problem

from .recipe_model import Model, map_sides
from .recipe_prune import Prune
from .recipe_section import Count, Rates, Section, Texts, cross_faults
from .recipe_train import Train
from .yaml_position import KeyPath, Source

__all__ = ["Model", "Prune", "Recipe", "Section", "Train", "load", "map_sides", "new_recipe", "schema"]

IMAGE_SIDE = {"digits": 8, "mnist": 28, "fashion-mnist": 28, "cifar10": 32, "speech-commands": 32}
DATA_SETS = (*IMAGE_SIDE, "folder", "npz")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a recipe was read: positions in its file, and the `-s` text of every overridden key.

    All origins are equal, so that recipes compare by what they say.
    """

    source: Source | None = field(default=None, compare=False)
    overrides: dict[KeyPath, str] = field(default_factory=dict, compare=False)


class Data(Section):
    """Which images to train and test on."""

    name: str = Field(
        description="data set: digits comes with bnnflow, `flow data` lists the others; or module:function",
        json_schema_extra={"examples": list(DATA_SETS)},
    )
    dir: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="folder of the files (npz: the file); null: the usual places"
    )
    train_images: Annotated[int, Field(ge=10, le=10_000_000)] | None = Field(
        default=None, description="use only the first so many; null: all"
    )
    test_images: Count | None = Field(default=None, description="use only the first so many; null: all")

    @model_validator(mode="after")
    def _is_known(self) -> Data:
        if self.name not in DATA_SETS and ":" not in self.name:
            near = difflib.get_close_matches(self.name.lower(), DATA_SETS, 1, 0.6)
            hint = f"did you mean '{near[0]}'?" if near else f"allowed: {', '.join(DATA_SETS)}, or module:function"
            raise cross_faults([(("name",), f"data.name: '{self.name}' is not allowed", hint)])
        if self.name in ("folder", "npz") and self.dir is None:
            what = f"data set '{self.name}' needs its path"
            raise cross_faults([((), what, "for example `dir: my-images`")])
        return self


class Ensemble(Section):
    """Several networks of one shape, joined by an integer vote."""

    members: Annotated[int, Field(ge=1, le=64)] = Field(default=1, description="number of networks; 1: no ensemble")
    method: Literal["bagging", "boosting"] = Field(
        default="bagging", description="bagging: bootstrap samples; boosting: harder images more often, and votes"
    )


class Target(Section):
    """The FPGA and the speed the hardware is folded for."""

    part: Annotated[str, Field(min_length=1, max_length=100)] = Field(
        default="xc7z020clg400-1", description="FPGA part number"
    )
    clock_mhz: Annotated[float, Field(ge=1, le=1000)] = Field(default=100.0, description="clock in MHz")
    fps: Annotated[float, Field(gt=0, le=1e9)] = Field(default=10_000.0, description="images a second to reach")


class Faults(Section):
    """Accuracy under faults of the hardware; every combination of targets, layers, models and so on is measured."""

    enabled: bool = Field(default=True, description="false: leave this stage out")
    rates: Rates = Field(default=(1e-4, 1e-3, 1e-2, 3e-2, 1e-1), description="bit error rates, each from 0 to 1")
    maps: Annotated[int, Field(ge=1, le=1000)] = Field(default=5, description="random fault maps at each rate")
    images: Count | None = Field(default=1000, description="test images at each map; null: all")
    targets: Texts = Field(
        default=("weights",),
        description="weights, thresholds, streams, fifos, accumulators, products; + joins memories",
    )
    layers: Texts = Field(default=("all",), description="all (at once), each (one by one), or names joined by +")
    models: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False, max_length=100)] = Field(
        default=(),
        description="such as flip, stuck-at-1, bit-line stuck-at-0, burst:4 flip, single; empty: flip, or asymmetric "
        "for a table with p01 and p10",
    )
    protections: Texts = Field(default=("none",), description="none, parity, secded-72-64, secded-39-32:x4, tmr")
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, le=2**32 - 1)], ...], Field(strict=False, max_length=100)] = (
        Field(default=(), description="of the maps; empty: the recipe's seed")
    )
    table: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="CSV of rates over temperature or voltage, in place of rates"
    )
    interval: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="as many maps as their mean takes to be known to +- this; null: maps alone",
    )
    max_maps: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=100, description="most maps at each rate, with interval"
    )
    fifo_depth: Annotated[int, Field(ge=1, le=1_000_000)] = Field(default=32, description="words of a FIFO")
    jobs: Annotated[int, Field(ge=1, le=4096)] = Field(default=1, description="processes that run maps")
    cluster: str = Field(default="", description="dask:tcp://HOST:PORT or ray; empty: this computer")


class Speed(Section):
    """Images a second of the network on this computer."""

    enabled: bool = Field(default=True, description="false: leave this stage out")
    images: Count = Field(default=1000, description="images to time")
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(default=1, description="processor threads")


class Verify(Section):
    """The bit-for-bit comparison of every stage with the one before."""

    images: Count | None = Field(default=None, description="test images to compare on; null: all")


class Recipe(Section):
    """A whole recipe. `load` reads one from a file and says where in the file a fault is."""

    name: Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9._-]*)?$", max_length=100)] = Field(
        default="", description="names the run folder; empty: the file's name"
    )
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(default=0, description="of everything random")
    data: Data
    model: Model
    train: Train = Train()
    ensemble: Ensemble = Ensemble()
    prune: Prune = Prune()
    target: Target = Target()
    faults: Faults = Faults()
    speed: Speed = Speed()
    verify: Verify = Verify()

    _origin: Origin = PrivateAttr(default_factory=lambda: Origin())

    def dump(self) -> str:
        """The resolved recipe as YAML: every key, in the schema's order; `load` gives it back."""
        from .recipe_file import dump

        return dump(self)

    @property
    def folder(self) -> Path:
        """The folder of the recipe file, where modules of the user's are looked for; "." without a file."""
        source = self._origin.source
        return Path(source.name).parent.absolute() if source is not None else Path()

    def problem(self, key: str, what: str, hint: str = "", status: int = 2) -> Problem:
        """A Problem at a key of the recipe file, for faults that only a later stage can find.

        Args:
            key: dotted path, such as `target.part`; the nearest key that the file gives is shown.
            what, hint, status: as for `Problem`.
        """
        from .recipe_errors import place_of

        return Problem(what, place_of(tuple(key.split(".")), self._origin), hint, status)


def load(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file.

    Args:
        path: a YAML file.
        overrides: `key.sub=value` strings that replace or add a key; the value is a YAML scalar or list.

    Raises:
        Problem: the file cannot be read, is not YAML, or has keys or values that are not allowed. The
            text gives file:line:column, the line with a caret, and a hint, for each of the faults.
    """
    from .recipe_file import load

    return load(path, overrides)


def schema() -> dict[str, Any]:
    """The JSON schema of a recipe, for editors; every key has a description."""
    made = Recipe.model_json_schema()
    kernels = made["$defs"]["Model"]["properties"]["kernels"]
    either = {key: kernels.pop(key) for key in ("items", "maxItems", "type") if key in kernels}
    kernels["anyOf"] = [either["items"], either]
    for section in made["$defs"].values():
        section["description"] = re.sub(r"\s+", " ", section["description"])
    for key in made["properties"].values():
        if "$ref" in key:
            key["description"] = made["$defs"][key["$ref"].rpartition("/")[2]]["description"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "bnnflow recipe"}


def new_recipe(arch: Literal["mlp", "cnn"] | str = "cnn") -> str:
    """The text of a commented recipe on the digits data: every key with a good value, one line each.

    Raises:
        Problem: the architecture is not known.
    """
    from .recipe_file import commented

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
    return commented(recipe)
