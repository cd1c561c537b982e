"""The recipe: what `model.yaml` may say, its defaults and ranges.

Reading a recipe file is in `file`; this module holds the checked data alone.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from bnnflow import Problem, __version__

from ...models.networks import zoo
from .approximation import ApproximateSums
from .fault_training import FaultTraining
from .model import SHAPES, Model, map_sides
from .origin import Origin, place_of
from .positions import KeyPath
from .prune import PARTS_OF_COST, Prune
from .section import Count, Rates, Section, Texts, Voltages, cross_faults
from .train import Train

__all__ = ["Model", "Prune", "Recipe", "Section", "Train", "map_sides", "schema"]

EPOCHS = 10
_YAML_FILE = r"\.[yY][aA]?[mM][lL]$"
IMAGE_SIDE = {"digits": 8, "mnist": 28, "fashion-mnist": 28, "cifar10": 32, "speech-commands": 32}
DATA_SETS = (*IMAGE_SIDE, "folder", "npz")


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

    part: Annotated[str, Field(min_length=1, max_length=4096)] = Field(
        default="xc7z020clg400-1", description="FPGA part number, board, or .yaml file of a part"
    )
    clock_mhz: Annotated[float, Field(ge=1, le=1000)] = Field(default=100.0, description="clock in MHz")
    fps: Annotated[float, Field(gt=0, le=1e9)] = Field(default=10_000.0, description="images per second to reach")
    cost_model: Literal["bnnflow", "exact", "finn"] = Field(
        default="bnnflow",
        description="what folds and counts: bnnflow, our own hardware's cost (exact for parts and units that it does "
        "not know); exact and finn, FINN's formulas",
    )


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
    protections: Texts = Field(
        default=("none",),
        description="such as none, parity, secded-39-32:x4, tmr; of single memories conv0.weights=tmr,secded-72-64",
    )
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, le=2**32 - 1)], ...], Field(strict=False, max_length=100)] = (
        Field(default=(), description="of the maps; empty: the recipe's seed")
    )
    table: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="CSV of rates over temperature or voltage, in place of rates"
    )
    voltages: Voltages = Field(
        default=(),
        description="volts at which block RAMs are undervolted, as measured on a board, in place of rates and models",
    )
    undervolting: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="measured board (.json or .csv); null: KC705-B, which comes with bnnflow"
    )
    placement: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="where block RAMs lie on it, by `flow placement`; null: drawn for each map"
    )
    interval: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="as many maps as their mean takes to be known to +- this; null: maps alone",
    )
    max_maps: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=100, description="most maps at each rate, with interval"
    )
    fifo_depth: Annotated[int, Field(ge=1, le=1_000_000)] = Field(default=32, description="words of a FIFO")
    metrics: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False, max_length=100)] = Field(
        default=(),
        description="beyond accuracy: changed (silent data corruption), classes (each true class), margin (of scores)",
    )
    equal: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False, max_length=100)] = Field(
        default=(),
        description="what pruned and unpruned have alike beyond rates: faults (as many), memory (with protections)",
    )
    certify: Annotated[int, Field(ge=0)] = Field(
        default=0, description="test images that harmless flips are certified on, as flow margins does; 0: none"
    )
    jobs: Annotated[int, Field(ge=1, le=4096)] = Field(default=1, description="processes that run maps")
    cluster: str = Field(default="", description="dask:tcp://HOST:PORT or ray; empty: this computer")


class Speed(Section):
    """Images a second of the network on this computer."""

    enabled: bool = Field(default=True, description="false: leave this stage out")
    images: Count = Field(default=1000, description="images to time")
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(default=1, description="processor threads")


class Rtl(Section):
    """The hardware as SystemVerilog."""

    enabled: bool = Field(default=True, description="false: leave this stage out")
    fifo: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=2, description="words of every FIFO, but for those that would cost rate"
    )
    control: bool = Field(
        default=False, description="AXI-Lite registers: identity, images, interval, stalls and fill of every stream"
    )
    sets: Annotated[int, Field(ge=0, le=256)] = Field(
        default=0, description="sets of weights and thresholds that the host can write in use; 0: they are constants"
    )
    protect: str = Field(
        default="",
        description="code of the memories, which corrects as they are read, such as secded-39-32, tmr; of single ones: "
        "conv0.weights=tmr,dense3=parity (a unit, or its weights or bounds), beside one without a name for all others",
    )
    scrub: bool = Field(
        default=True,
        description="correct memories row by row while no unit reads them, too, where their code corrects; false: only "
        "what is read",
    )
    primitives: Literal["generic", "xc7"] = Field(
        default="generic",
        description="xc7: popcounts of LUT6_2 and CARRY4, for Xilinx's 7 series alone, in fewer LUTs",
    )


class Cosim(Section):
    """The hardware simulated by Verilator, and compared word by word and cycle by cycle with the simulators."""

    when: Literal["never", "always", "auto"] = Field(
        default="never", description="auto: where Verilator and a C++ compiler are there"
    )
    images: Count = Field(default=20, description="test images to send through")
    stalls: Annotated[int, Field(ge=0, le=100)] = Field(
        default=2, description="further runs in which both ends stall at random"
    )


class Synth(Section):
    """The hardware mapped to an FPGA's cells by yosys, unit by unit: what pruning saves of it."""

    when: Literal["never", "always", "auto"] = Field(default="never", description="auto: where yosys is there")
    family: Literal["", "xc7", "xcup", "ecp5", "ice40", "gowin"] = Field(
        default="", description="FPGA family; empty: that of `target.part`"
    )
    whole: bool = Field(default=False, description="map each network as one netlist, too: minutes for large ones")
    jobs: Count = Field(default=1, description="netlists at a time")


class Route(Section):
    """The hardware placed and routed by nextpnr, all of a network together: the clock that it runs at."""

    when: Literal["never", "always", "auto"] = Field(
        default="never", description="auto: where nextpnr is there, for parts that it places"
    )
    part: str = Field(default="", description="of Lattice ECP5 or iCE40; empty: `target.part`")
    # Grades of Lattice are numbers, which nobody puts in quotes.
    grade: Annotated[str, Field(strict=False, coerce_numbers_to_str=True)] = Field(
        default="", description="speed grade; empty: the slowest"
    )
    seeds: Annotated[int, Field(ge=1, le=100)] = Field(default=1, description="of the placer; the fastest counts")
    jobs: Count = Field(default=1, description="runs at a time")


class Verify(Section):
    """The bit-for-bit comparison of every stage with the one before."""

    images: Count | None = Field(default=None, description="test images to compare on; null: all")


class Recipe(Section):
    """A whole recipe. `load_recipe` reads one from a file and says where in the file a fault is."""

    name: Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9._-]*)?$", max_length=100)] = Field(
        default="", description="names the run folder; empty: the file's name"
    )
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(default=0, description="of everything random")
    data: Data
    model: Model
    train: Train = Train()
    fault_training: FaultTraining = FaultTraining()
    approximation: ApproximateSums = ApproximateSums()
    ensemble: Ensemble = Ensemble()
    prune: Prune = Prune()
    target: Target = Target()
    faults: Faults = Faults()
    rtl: Rtl = Rtl()
    cosim: Cosim = Cosim()
    synth: Synth = Synth()
    route: Route = Route()
    speed: Speed = Speed()
    verify: Verify = Verify()

    _origin: Origin = PrivateAttr(default_factory=lambda: Origin())

    @model_validator(mode="after")
    def _learning_rate_arrives(self) -> Recipe:
        train, epochs = self.train, self.epochs
        faults: list[tuple[KeyPath, str, str]] = []
        if epochs and train.warmup_epochs > epochs:
            what = f"a warm-up of {train.warmup_epochs} in {epochs} epochs: the learning rate is never reached"
            faults.append((("train", "warmup_epochs"), what, f"at most {epochs}"))
        if epochs and train.schedule == "step" and train.step_epochs >= epochs:
            what = f"steps of {train.step_epochs} in {epochs} epochs: the learning rate never falls"
            key = "step_epochs" if "step_epochs" in train.model_fields_set else "schedule"
            faults.append((("train", key), what, "give fewer, or set `schedule: constant`"))
        tuned = self.prune.epochs
        if tuned and self.prune.schedule == "step" and train.step_epochs >= tuned:
            what = f"steps of {train.step_epochs} in {tuned} epochs: the learning rate never falls"
            faults.append((("prune", "schedule"), what, "set train.step_epochs, or another schedule"))
        if faults:
            raise cross_faults(faults)
        return self

    @property
    def epochs(self) -> int:
        """Epochs of training: of the recipe, else 0 where weights are given and `EPOCHS` where not."""
        if self.train.epochs is not None:
            return self.train.epochs
        return 0 if self.model.has_weights or self.model.kind == "onnx" else EPOCHS

    @property
    def training_images(self) -> tuple[str, int | None]:
        """Which training images: their name, and how many at most."""
        return self.data.name, self.data.train_images

    @property
    def made_void(self) -> tuple[str, ...]:
        """One sentence for each key of the file that has no effect beside an override."""
        return self._origin.made_void

    def says(self, *keys: str) -> bool:
        """Whether the file or an override gives one of these keys (dotted paths), rather than leaving its default."""
        source = self._origin.source
        given = {*self._origin.overrides, *(source.keys if source is not None else ())}
        return any(tuple(key.split(".")) in given for key in keys)

    @property
    def folder(self) -> Path:
        """Where modules of the user's are looked for: `model.dir`, or the folder of the recipe file."""
        if self.model.dir is not None:
            return self.model.dir
        source = self._origin.source
        return Path(source.name).parent.absolute() if source is not None else Path()

    def problem(self, key: str, what: str, hint: str = "", status: int = 2) -> Problem:
        """A Problem at a key of the recipe file, for faults that only a later stage can find.

        Args:
            key: dotted path, such as `target.part`; the nearest key that the file gives is shown.
            what, hint, status: as for `Problem`.
        """
        return Problem(what, place_of(tuple(key.split(".")), self._origin), hint, status, key=key)

    @contextmanager
    def at(self, key: str, *, named: bool = False) -> Iterator[None]:
        """Within, a Problem is raised again at a key of the recipe, with its hint and status.

        Args:
            key: dotted path.
            named: its own place is said, too.
        """
        try:
            yield
        except Problem as problem:
            raise self.problem(
                key, problem.in_place if named else problem.what, problem.hint, problem.status
            ) from problem


def schema() -> dict[str, Any]:
    """The JSON schema of a recipe, for editors; every key has a description, and names are enumerated."""
    made = copy.deepcopy(key_schema())
    _name_words(made["$defs"])
    return made


@cache
def key_schema() -> dict[str, Any]:
    """The JSON schema of types and ranges, without the names that are checked beside them."""
    made = Recipe.model_json_schema()
    kernels = made["$defs"]["Model"]["properties"]["kernels"]
    either = {key: kernels.pop(key) for key in ("items", "maxItems", "type") if key in kernels}
    kernels["anyOf"] = [either["items"], either]
    for section in made["$defs"].values():
        section["description"] = re.sub(r"\s+", " ", section["description"])
    for key in made["properties"].values():
        if "$ref" in key:
            key["description"] = made["$defs"][key["$ref"].rpartition("/")[2]]["description"]
    about = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:bnnflow:recipe:{__version__}"}
    return {**about, **made, "title": "bnnflow recipe"}


def _name_words(sections: dict[str, Any]) -> None:
    """Give keys whose names are checked beside the types the words they may hold, so that editors see misspelt ones."""
    from ...build import parts
    from ...models.files.trained_names import trained_files
    from ...models.relevance.criteria import CRITERIA, REDUCTIONS
    from .methods.filters import AUTO

    def either(section: str, key: str, words: Sequence[str], *patterns: str) -> None:
        node = sections[section]["properties"][key]
        kinds = node.get("anyOf", [node])
        text = next(one for one in kinds if one.get("type") == "string")
        limits = {name: text.pop(name) for name in list(text) if name in ("type", "minLength", "maxLength")}
        choice: list[dict[str, Any]] = [{"enum": list(words)}] if words else []
        choice += [{"type": "string", "pattern": pattern, **limits} for pattern in patterns]
        others = [one for one in kinds if one is not text]
        node["anyOf"] = [*choice, *others]

    module = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
    either("Data", "name", DATA_SETS, module)
    either("Model", "arch", (*SHAPES, *zoo.network_names()), module)
    either("Model", "trained", tuple(trained_files()), r"[/.]")
    method = f"({'|'.join(CRITERIA)})(:({'|'.join(REDUCTIONS)}))?"
    either("Prune", "criterion", (AUTO, *CRITERIA), rf"^\s*{method}\s*$", r"^\s*borda\s*\(.*,.*\)\s*$")
    either("FaultTraining", "guide", ("", *CRITERIA), rf"^\s*{method}\s*$", r"^\s*borda\s*\(.*,.*\)\s*$")
    either("Target", "part", (), _any_case(parts.part_names()), f"{_any_case(parts.board_names())}$", _YAML_FILE)
    properties = sections["Prune"]["properties"]
    for key, more in (("objective", ("all",)), ("budget", ("part", "fps"))):
        properties[key]["propertyNames"] = {"enum": [*PARTS_OF_COST, *more]}


def _any_case(names: Sequence[str]) -> str:
    """A pattern, as editors know them, for text that begins with one of the names in letters of any size."""
    return f"^({'|'.join(''.join(f'[{c}{c.upper()}]' if c.isalpha() else c for c in name) for name in names)})"
