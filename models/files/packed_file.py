"""The files under models/trained: a trained network with one bit a binary weight, read without torch or pickle."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bnnflow import Problem

from ..store import load_sealed, save_sealed
from .trained_names import SUFFIX

__all__ = ["SUFFIX", "PackedNetwork", "Provenance", "is_packed", "read_about", "read_packed", "write_packed"]

_MAGIC = b"bnnpack1"
_KINDS = ("bits", "sizes", "others")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a trained network comes from.

    Attributes:
        recipe: the resolved recipe as YAML text, without folders of the machine.
        data: name of the data set.
        seed: of the recipe.
        epochs: epochs of all members together; of the unpruned network.
        seconds: their wall time.
        machine: processor or GPU that it was trained on.
        accuracy: on the test images, 0 to 1.
        test_images: how many.
        network: "base" or "pruned".
        versions: of bnnflow, torch and so on.
    """

    recipe: str
    data: str
    seed: int
    epochs: int
    seconds: float
    machine: str
    accuracy: float
    test_images: int
    network: str = "base"
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PackedNetwork:
    """A network as arrays.

    Args:
        spec: its shape, as `spec.to_dict()` gives it.
        provenance: where it comes from.
        bits: for each binary weight tensor, by its name in the state dict, `numpy.packbits` of w >= 0.
        sizes: for each of them the magnitude of its weights, (1,) float32.
        others: all other tensors as they are.
    """

    spec: dict[str, Any]
    provenance: Provenance
    bits: Mapping[str, np.ndarray]
    sizes: Mapping[str, np.ndarray]
    others: Mapping[str, np.ndarray]


def write_packed(packed: PackedNetwork, path: Path) -> None:
    """Write an npz archive with its sha256 in front, whole or not at all; equal networks give equal bytes."""
    about = {"spec": packed.spec, "provenance": asdict(packed.provenance)}
    text = json.dumps(about, sort_keys=True, allow_nan=False).encode()
    arrays = {"about": np.frombuffer(text, np.uint8)}
    for kind in _KINDS:
        arrays |= {f"{kind}/{name}": tensor for name, tensor in sorted(getattr(packed, kind).items())}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    save_sealed(buffer.getvalue(), _MAGIC, path)


def read_packed(path: Path) -> PackedNetwork:
    """Read what `write_packed` wrote.

    Raises:
        Problem: the file is absent, damaged, or not of this kind.
    """
    spec, provenance, stored = _open(path)
    parts: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in _KINDS}
    with stored:
        for name in stored.files:
            kind, _, tensor = name.partition("/")
            if kind in parts:
                parts[kind][tensor] = stored[name]
    return PackedNetwork(spec, provenance, **parts)


def read_about(path: Path) -> tuple[dict[str, Any], Provenance]:
    """The shape's fields and the provenance alone.

    Raises:
        Problem: as `read_packed`.
    """
    spec, provenance, stored = _open(path)
    stored.close()
    return spec, provenance


def is_packed(path: Path) -> bool:
    """Whether the file begins as one of this kind does."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def _open(path: Path) -> tuple[dict[str, Any], Provenance, np.lib.npyio.NpzFile]:
    if not path.is_file():
        raise Problem("there is no such file", str(path), "`flow models` lists trained networks")
    content = load_sealed(_MAGIC, path)
    if content is None:
        raise Problem("not a packed network, or damaged", str(path), "copy it again; `flow pack RUN` writes such files")
    stored = np.load(io.BytesIO(content), allow_pickle=False)
    about = json.loads(stored["about"].tobytes())
    try:
        return dict(about["spec"]), Provenance(**about["provenance"]), stored
    except (KeyError, TypeError) as error:
        what = "this packed network was written by another version"
        raise Problem(what, str(path), "train it again, and `flow pack RUN`") from error
