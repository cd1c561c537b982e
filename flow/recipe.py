"""The recipe: what `model.yaml` may say, its defaults and ranges.

Reading a recipe file is in `recipe_file`; this module holds the checked data alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from bnnflow import Problem

from .yaml_position import KeyPath, Source

IMAGE_SIDE = {"digits": 8, "mnist": 28, "fashion-mnist": 28}

Count = Annotated[int, Field(ge=1, le=10_000_000)]
Batch = Annotated[int, Field(ge=2, le=65_536)]
Rate = Annotated[float, Field(gt=0, le=1)]
# YAML gives lists; strict mode would refuse to make tuples of them.
Widths = Annotated[tuple[Annotated[int, Field(ge=1, le=65_536)], ...], Field(strict=False, max_length=64)]
Kernels = Annotated[tuple[Annotated[int, Field(ge=1, le=16)], ...], Field(strict=False, max_length=64)]
Pools = Annotated[tuple[Annotated[int, Field(ge=1, le=2)], ...], Field(strict=False, max_length=64)]
Rates = Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(strict=False, min_length=1, max_length=100)]


Texts = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False, min_length=1, max_length=100)]


class Section(BaseModel):
    """A frozen part of the recipe; unknown keys and silent type changes are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a recipe was read: positions in its file, and the `-s` text of every overridden key.

    All origins are equal, so that recipes compare by what they say.
    """

    source: Source | None = field(default=None, compare=False)
    overrides: dict[KeyPath, str] = field(default_factory=dict, compare=False)


class Data(Section):
    """Which images to train and test on."""

    name: Literal["digits", "mnist", "fashion-mnist"] = Field(description="data set; digits (8x8) comes with bnnflow")
    dir: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="folder of the IDX files; null: the usual places"
    )
    train_images: Annotated[int, Field(ge=10, le=10_000_000)] | None = Field(
        default=None, description="use only the first so many; null: all"
    )
    test_images: Count | None = Field(default=None, description="use only the first so many; null: all")


class Model(Section):
    """The network's shape; no layer pads, so a kernel k shrinks the map by k - 1."""

    arch: Literal["mlp", "cnn"] = Field(description="mlp (dense layers) or cnn (convolutions, then dense)")
    input: Literal["bits8", "binary"] = Field(
        default="bits8", description="bits8: 8-bit pixels; binary: pixels as +1 or -1"
    )
    channels: Widths = Field(default=(), description="cnn: filters of each convolution")
    kernels: Kernels = Field(default=(), description="cnn: kernel side of each convolution, or one number for all")
    pools: Pools = Field(default=(), description="cnn: max pool after each convolution; 1: none, 2: 2x2")
    pool_order: Literal["before-norm", "after-sign"] = Field(
        default="before-norm", description="cnn: where the max pool stands"
    )
    hidden: Widths = Field(default=(64,), description="neurons of each hidden dense layer")

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
        return given

    @model_validator(mode="after")
    def _fits_together(self) -> Model:
        faults = _cnn_faults(self) if self.arch == "cnn" else _mlp_faults(self)
        if faults:
            raise _cross_faults(faults)
        return self


class Train(Section):
    """Training of the unpruned network (Adam, cosine schedule)."""

    epochs: Annotated[int, Field(ge=1, le=10_000)] = Field(default=10, description="passes over the training images")
    batch: Batch = Field(default=100, description="images per step")
    learning_rate: Rate = Field(default=0.003, description="of the first step; falls to 0 along a cosine")
    threads: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None, description="processor threads; null: as many as there are cores"
    )


class Prune(Section):
    """Removal of whole filters and neurons, least relevant first, then fine-tuning."""

    enabled: bool = Field(default=True, description="false: build the unpruned network only")
    criterion: Literal["deeplift", "random"] = Field(default="deeplift", description="how relevance is scored")
    amount: Annotated[float, Field(ge=0, le=0.9)] = Field(
        default=0.25, description="share of each layer to remove, in all"
    )
    steps: Annotated[int, Field(ge=1, le=100)] = Field(
        default=2, description="rounds of scoring, removing, fine-tuning"
    )
    unit: Annotated[int, Field(ge=1, le=256)] = Field(default=8, description="remove in multiples, for a legal folding")
    images: Count = Field(default=256, description="training images that are scored")
    epochs: Annotated[int, Field(ge=0, le=10_000)] = Field(default=2, description="fine-tuning passes after each round")
    batch: Batch = Field(default=100, description="images per fine-tuning step")
    learning_rate: Rate = Field(default=0.001, description="of fine-tuning")


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
    models: Texts = Field(
        default=("flip",), description="such as flip, stuck-at-1, bit-line stuck-at-0, burst:4 flip, single"
    )
    protections: Texts = Field(default=("none",), description="none, parity, secded-72-64, secded-39-32:x4, tmr")
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, le=2**32 - 1)], ...], Field(strict=False, max_length=100)] = (
        Field(default=(), description="of the maps; empty: the recipe's seed")
    )
    table: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="CSV of rates over temperature or voltage, in place of rates"
    )
    interval: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="more maps until the mean is known to +- this accuracy; null: maps alone"
    )
    max_maps: Annotated[int, Field(ge=1, le=100_000)] = Field(default=100, description="maps at each rate at most")
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

    def problem(self, key: str, what: str, hint: str = "", status: int = 2) -> Problem:
        """A Problem at a key of the recipe file, for faults that only a later stage can find.

        Args:
            key: dotted path, such as `target.part`; the nearest key that the file gives is shown.
            what, hint, status: as for `Problem`.
        """
        from .recipe_faults import place_of

        return Problem(what, place_of(tuple(key.split(".")), self._origin), hint, status)


def _cross_faults(faults: list[tuple[KeyPath, str, str]]) -> PydanticCustomError:
    """The error for keys that do not fit together: carries (key, what, hint) for each."""
    return PydanticCustomError("cross_faults", "keys that do not fit together", {"faults": faults})


def _mlp_faults(model: Model) -> list[tuple[KeyPath, str, str]]:
    faults: list[tuple[KeyPath, str, str]] = []
    for key in ("channels", "kernels", "pools"):
        if getattr(model, key):
            faults.append(((key,), f"an mlp has no {key}", "remove the key, or set `arch: cnn`"))
    if model.pool_order != "before-norm":
        faults.append((("pool_order",), "an mlp has no pools", "remove the key, or set `arch: cnn`"))
    if not model.hidden:
        faults.append((("hidden",), "an mlp needs at least one hidden layer", "for example [64, 64]"))
    return faults


def _cnn_faults(model: Model) -> list[tuple[KeyPath, str, str]]:
    layers = len(model.channels)
    if not layers:
        return [
            (
                ("channels",),
                "a cnn needs channels",
                "give the filters of each convolution, for example [16, 32]",
            )
        ]
    faults: list[tuple[KeyPath, str, str]] = []
    for key in ("kernels", "pools"):
        given = len(getattr(model, key))
        if given != layers:
            what = f"{key} has {given} {'entry' if given == 1 else 'entries'}, channels has {layers}"
            faults.append(((key,), what, "give one entry for each convolution"))
    return faults


def map_sides(model: Model, side: int) -> list[int]:
    """Side of the square feature map: of the image, then after each convolution with its pool.

    A convolution without padding gives side - kernel + 1; a pool of 2 halves that, rounded down.
    A value below 1 means that the layer does not fit; the list ends there.
    """
    sides = [side]
    for kernel, pool in zip(model.kernels, model.pools, strict=True):
        sides.append((sides[-1] - kernel + 1) // pool)
        if sides[-1] < 1:
            break
    return sides


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
        model=Model.model_validate({"arch": arch, **shape}),
        train=Train(epochs=60, learning_rate=0.005, threads=1),
        prune=Prune(epochs=20, learning_rate=0.003),
        target=Target(fps=100_000.0),
    )
    return commented(recipe)
