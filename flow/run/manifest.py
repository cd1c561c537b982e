"""The manifest of a run folder: what it says, its seal, and what makes one unusable."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bnnflow import CHECK_FAILED, Problem, __version__

from .files import explain

MANIFEST = "manifest.json"
_FORMAT = 1
_PACKAGES = ("brevitas", "captum", "numpy", "onnx", "onnxruntime", "qonnx", "torch")


@dataclass(frozen=True, slots=True)
class StageTime:
    """A stage of this session.

    Attributes:
        name: its name.
        seconds: of its last run.
        skipped: whether it was up to date.
        result: what it found.
        again: why a stage that is up to date ran again nevertheless; empty where it did not.
    """

    name: str
    seconds: float
    skipped: bool
    result: object
    again: str = ""


def new_manifest() -> dict[str, Any]:
    """The manifest of a run that has no stages yet."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "format": _FORMAT,
        "created": created,
        "versions": {},
        "files": {},
        "unfinished": {},
        "stages": {},
    }


def versions() -> dict[str, str]:
    """Versions of bnnflow, Python and the packages that results depend on, and the platform."""
    found = {"bnnflow": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def seal(body: Mapping[str, Any]) -> str:
    """The sha256 of a manifest without its own seal; a flipped bit in it does not go unseen."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def is_ours(path: Path) -> bool:
    """Whether the file at `path` is, or was before some damage, a run's manifest."""
    try:
        content = path.read_bytes() if path.is_file() else b""
    except OSError:
        return False
    if (path.parent / "model.yaml").is_file() and (path.parent / "base" / "network.onnx").is_file():
        return path.is_file()
    return any(mark in content for mark in (b'"bnnflow"', b'"unfinished"', b'"stages"'))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and check the manifest of a run folder.

    Raises:
        Problem: it cannot be read, was changed or damaged (status 1), or is of another format.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        body = {key: value for key, value in manifest.items() if key != "sha256"}
        sealed = manifest["sha256"] == seal(body)
    except OSError as error:
        raise explain(error, path) from error
    except (ValueError, AttributeError, KeyError, RecursionError):
        sealed = False
    if not sealed:
        hint = "move the run folder away and build again"
        raise Problem("the run's manifest was changed or damaged", str(path), hint, status=CHECK_FAILED)
    if manifest.get("format") != _FORMAT:
        raise Problem("the run folder was made by another version of bnnflow", str(path), "give a new run folder")
    lists: Sequence[Any] = [manifest["files"], *manifest["unfinished"].values()]
    lists = [*lists, *(stage["files"] for stage in manifest["stages"].values())]
    if not all(is_inside(relative) for names in lists for relative in names):
        raise Problem("the run's manifest names files outside the run folder", str(path), status=CHECK_FAILED)
    return dict(manifest)


def is_inside(relative: object) -> bool:
    """Whether `relative` names a file inside the run folder: no leading `/`, no `.`, `..` or empty part."""
    if not isinstance(relative, str) or not relative or "\\" in relative or "\0" in relative:
        return False
    return not relative.startswith("/") and not {"", ".", ".."} & set(relative.split("/"))


def stage_key(name: str, inputs: Mapping[str, Any], digest: Callable[[Path], str]) -> str:
    """The sha256 of a stage's name, this version, and all that the stage depends on.

    Args:
        name: of the stage.
        inputs: a Path, or a list of Paths, counts by `digest`; everything else is JSON and counts by value.
        digest: of a file's content.
    """
    plain: dict[str, Any] = {}
    for key, value in inputs.items():
        listed = [value] if isinstance(value, Path) else value
        if isinstance(listed, (list, tuple)) and listed and all(isinstance(one, Path) for one in listed):
            plain[key] = [digest(one) for one in listed]
        else:
            plain[key] = value
    text = json.dumps([name, __version__, plain], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def damaged(path: Path, stage: str = "") -> Problem:
    """The Problem of a file, of a stage or of none, that is not as it was written (status 1)."""
    what = f"{path.name} was changed or damaged since it was written"
    hint = f"build the recipe again with --from {stage}" if stage else "build the recipe again"
    return Problem(what, str(path), hint, status=CHECK_FAILED)
