"""Weights that others saved for a torch module: state dicts of torch.save and safetensors files, in usual wrappings.

Nothing in a file is executed. Source of the safetensors format: its README (8 bytes of length, a JSON header, raw
tensors).
"""

from __future__ import annotations

import argparse
import difflib
import json
import math
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bnnflow import Problem

WRAPPERS = ("state_dict", "model_state_dict", "net", "model", "network")
PREFIXES = ("module.", "_orig_mod.")
_OURS = b"bnnflow1"
_PACKED = b"bnnpack1"
_SAVE = "save the weights alone: torch.save(model.state_dict(), FILE)"
_PLAIN_DATA: tuple[Any, ...] = (
    *(argparse.Namespace, np.dtype, type(np.float64(0).__reduce__()[1][0]), np.float64(0).__reduce__()[0]),
    *(type(np.dtype(name)) for name in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?")),
)
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def load_weights(module: nn.Module, path: Path) -> None:
    """Give a module the weights of a file, on the processor, in place.

    Args:
        module: whose state dict has the same names and shapes, but for `module.` (DataParallel) and `_orig_mod.`
            (torch.compile) in front of all names of the file.
        path: of torch.save or safetensors; a dict that holds the state dict under one of `WRAPPERS` will do.

    Raises:
        Problem: the file is absent, damaged, holds code or no weights, several networks, names or shapes that do not
            fit, or values that are not finite or that the module's number format cannot hold.
    """
    own = module.state_dict()
    given = _without_prefix(read_state(path), set(own))
    _check_shapes(own, given, path)
    _check_values(own, given, path)
    # One number may be a list of one.
    given = {name: v.reshape(own[name].shape) if name in own else v for name, v in given.items()}
    # Modules may take what their first state dict lacks (counters of old batch norms), or ask for more than it shows.
    result = module.load_state_dict(given, strict=False)
    if result.missing_keys or result.unexpected_keys:
        raise _names_differ(result.missing_keys, result.unexpected_keys, path)


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a file, out of its wrapping; tensors are on the processor.

    Raises:
        Problem: as `load_weights`, for what lies in the file alone.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except FileNotFoundError:
        raise Problem("there is no such file", str(path), "give a file of torch.save or .safetensors") from None
    except OSError as error:
        raise Problem(
            f"the weights cannot be read: {error.strerror}", str(path), "give a file of torch.save"
        ) from error
    if start[:8] in (_OURS, _PACKED):
        raise Problem("this is a whole network of bnnflow", str(path), "give it as `model: {trained: FILE}`")
    if path.suffix == ".safetensors" or start[8:] == b"{":
        return read_safetensors(path)
    return _unwrapped(_torch_load(path, start), path)


def _torch_load(path: Path, start: bytes) -> Any:
    if start[:2] != b"PK" and start[:1] != b"\x80":
        raise Problem("this is no file of torch.save or of safetensors", str(path), _SAVE)
    try:
        # Notes beside the weights may be numpy's numbers or a command line: plain data, all of them.
        with torch.serialization.safe_globals([*_PLAIN_DATA]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = "the file holds code beside numbers (a whole module, or other objects), which is never run"
        raise Problem(what, str(path), _SAVE) from error
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError, OSError, zipfile.BadZipFile) as error:
        raise Problem(
            "the weights cannot be read: the file is cut off or damaged", str(path), "copy it again"
        ) from error


def _unwrapped(loaded: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(loaded, Mapping):
        raise Problem(f"the file holds {type(loaded).__name__}, no state dict", str(path), _SAVE)
    if loaded and all(isinstance(value, Tensor) for value in loaded.values()):
        return {str(name): value for name, value in loaded.items()}
    inside = {name: value for name, value in loaded.items() if _is_state(value)}
    known = [name for name in inside if name in WRAPPERS]
    if len(known) > 1 or (not known and len(inside) > 1):
        names = ", ".join(map(repr, known or inside))
        raise Problem(f"the file holds several state dicts: {names}", str(path), "save the one that is meant alone")
    if inside:
        return dict(inside[known[0] if known else next(iter(inside))])
    keys = ", ".join(map(repr, list(loaded)[:8]))
    hint = f"a state dict, or a dict with one under {', '.join(WRAPPERS)}"
    raise Problem(f"there are no weights in the file, whose keys are {keys or 'none'}", str(path), hint)


def _is_state(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(one, Tensor) for one in value.values())


def _without_prefix(given: dict[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    """Names without what DataParallel and torch.compile put in front of all of them, as far as that fits better."""
    while not wanted & given.keys():
        prefix = next((one for one in PREFIXES if all(name.startswith(one) for name in given)), "")
        if not prefix:
            break
        given = {name.removeprefix(prefix): value for name, value in given.items()}
    return given


def _check_shapes(own: Mapping[str, Tensor], given: Mapping[str, Tensor], path: Path) -> None:
    unknown = [name for name in given if name not in own]
    absent = [name for name in own if name not in given]
    if unknown and absent:
        raise _names_differ(absent, unknown, path)
    for name, value in given.items():
        if name in own and own[name].shape != value.shape and (own[name].numel(), value.numel()) != (1, 1):
            what = f"{name} is {list(value.shape)} in the file, {list(own[name].shape)} in the network"
            raise Problem(what, str(path), "give `args` as the network was trained with, or another file")


def _names_differ(absent: list[str], unknown: list[str], path: Path) -> Problem:
    parts = []
    if absent:
        parts.append(f"the file has no {', '.join(absent[:3])}{f' and {len(absent) - 3} more' * (len(absent) > 3)}")
    if unknown:
        parts.append(
            f"the network has no {', '.join(unknown[:3])}{f' and {len(unknown) - 3} more' * (len(unknown) > 3)}"
        )
    near = [(name, *difflib.get_close_matches(name, unknown, 1, 0.6)) for name in absent[:3]]
    pairs = "; ".join(f"is {found[1]!r} of the file {found[0]!r}?" for found in near if len(found) > 1)
    return Problem("; ".join(parts), str(path), pairs or "was it saved for another class, or with other `args`?")


def _check_values(own: Mapping[str, Tensor], given: Mapping[str, Tensor], path: Path) -> None:
    for name, value in given.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            count = int((~value.isfinite()).sum())
            what = f"{count} of {value.numel():,} values of {name} are not finite numbers"
            raise Problem(what, str(path), "training diverged: train again with a lower learning rate")
        kind = own[name].dtype if name in own else value.dtype
        if kind != value.dtype and not torch.equal(value.to(kind).to(value.dtype), value):
            what = f"{name} is {str(value.dtype)[6:]}, and does not fit {str(kind)[6:]} without rounding"
            raise Problem(what, str(path), "convert it before saving: state = {k: v.float() for k, v in state.items()}")


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        Problem: it is cut off, or not of this format.
    """
    content = path.read_bytes()
    try:
        length = int.from_bytes(content[:8], "little")
        start = 8 + length
        if len(content) < start:
            raise ValueError("the header is cut off")
        header = json.loads(content[8:start])
        made = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            kind, shape, (first, last) = _DTYPES[entry["dtype"]], tuple(entry["shape"]), entry["data_offsets"]
            count = math.prod(shape)
            if not 0 <= first <= last <= len(content) - start or last - first != count * kind.itemsize:
                raise ValueError(f"{name} is not where the header says")
            raw = bytearray(content[start + first : start + last])
            made[name] = torch.frombuffer(raw, dtype=kind).reshape(shape) if count else torch.zeros(shape, dtype=kind)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        said = f"number format {error}" if isinstance(error, KeyError) else str(error)
        raise Problem(f"the safetensors file cannot be read: {said}", str(path), "copy it again") from error
    if not made:
        raise Problem("there are no tensors in the file", str(path), _SAVE)
    return made
