"""What commands are given: graphs, arrays, JSON objects and the images of data sets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bnnflow import Problem

from ...transforms.ir.contract import InputContract
from ...transforms.ir.contract_text import parse_contract
from ...transforms.ir.graph import Graph
from ...transforms.passes.accept import with_contract
from ...transforms.reading.read import read
from ..results.costs import InputHeld
from ..run.files import explain
from ..run.folder import verify_recorded
from ..run.typed_json import from_json

if TYPE_CHECKING:
    from ...models.data.load import Dataset


def open_graph(path: Path, contract: InputContract | None = None) -> Graph:
    """Read a graph of any level; in a run folder, only as the run wrote it.

    Args:
        path: the file.
        contract: what its input holds, where the file does not say so.

    Raises:
        Problem: the file is missing, damaged, changed since it was written, holds what cannot be read, or contradicts
            the contract.
    """
    verify_file(path)
    graph = read(path)
    return graph if contract is None else with_contract(graph, contract)


def contract_of(text: str | None) -> InputContract | None:
    """What --input or model.input states; None for nothing."""
    return None if text is None else parse_contract(text)


def images_and_contract(given: Sequence[str] | None) -> tuple[Path | None, InputContract | None]:
    """The file of images and what the input holds, from the values of --input: one of each at most.

    Raises:
        Problem: a value is neither, or there are two of a kind.
    """
    files: list[Path] = []
    contracts: list[InputContract] = []
    for text in given or ():
        if text.lower().endswith(".npy") or Path(text).exists():
            files.append(Path(text))
            continue
        try:
            contracts.append(parse_contract(text))
        except Problem as problem:
            hint = f"there is no such file; {problem.hint}"
            raise Problem("this is neither a file of images nor what they hold", f"--input {text}", hint) from problem
    if len(files) > 1 or len(contracts) > 1:
        two = "files of images" if len(files) > 1 else "statements of what they hold"
        raise Problem(f"two {two}", "--input", "give one .npy file, and one such as pixels/255")
    return next(iter(files), None), next(iter(contracts), None)


def verify_file(path: Path) -> None:
    """Refuse an ONNX file that is not there or is a folder; in a run folder, one that is not as the run wrote it."""
    if not path.exists():
        raise Problem("there is no such file", str(path), "give the path of an .onnx file")
    if path.is_dir():
        raise Problem("this is a folder, not an ONNX file", str(path), "give the path of an .onnx file")
    verify_recorded(path)


def load_array(path: Path, what: str) -> np.ndarray:
    """A numeric array from an .npy file; nothing in it is executed.

    Raises:
        Problem: the file is missing, not an .npy file, cut off, or holds objects.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise Problem(f"there is no such {what} file", str(path), "give an .npy file") from None
    except OSError as error:
        raise explain(error, path) from error
    except (ValueError, EOFError) as error:
        hint = "it may be cut off; save numbers with numpy.save"
        raise Problem(f"the {what} is not an .npy file of numbers", str(path), hint) from error
    if not isinstance(loaded, np.ndarray) or loaded.ndim < 1:
        raise Problem(f"the {what} holds no list of values", str(path), "save one array with numpy.save")
    return loaded


def load_json(path: Path, what: str, how: str = 'write {"MVAU_hls_0": {"PE": 2, "SIMD": 4}}') -> dict[str, Any]:
    """A JSON object from a file.

    Args:
        path: of the file.
        what: it is, in words.
        how: one is made, for hints.

    Raises:
        Problem: the file is missing, holds no JSON object, a key twice in one object, or NaN or infinity, which JSON
            does not have.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in pairs:
            if key in made:
                raise Problem(f"the {what} has the key {key!r} twice in one object", str(path), "keep one of them")
            made[key] = value
        return made

    def number(text: str) -> float:
        if not isfinite(float(text)):
            raise Problem(f"the {what} holds {text}", str(path), "give finite numbers")
        return float(text)

    try:
        loaded = json.loads(
            path.read_text(encoding="utf-8-sig"), object_pairs_hook=once, parse_float=number, parse_constant=number
        )
    except FileNotFoundError:
        raise Problem(f"there is no such {what}", str(path), "give a .json file") from None
    except OSError as error:
        raise explain(error, path) from error
    except (ValueError, RecursionError) as error:
        raise Problem(f"the {what} is not JSON", str(path), str(error)) from error
    if not isinstance(loaded, dict):
        raise Problem(f"the {what} holds no object", str(path), how)
    return loaded


def test_images(name: str, folder: Path | None, limit: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Test images (N, C, H, W) uint8 and labels (N,) of a data set."""
    from ...models.data.load import load_dataset as load_data
    from ..run.places import cache_folder, data_places

    data = load_data(name, folder, data_places(), cache_folder())
    return data.test_images[:limit], data.test_labels[:limit]


def images_of_run(path: Path, limit: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Test images (N, C, H, W) uint8 and labels (N,) of the run that a graph's file belongs to.

    Raises:
        Problem: the file belongs to no run, so that nothing says which images it is for.
    """
    data = _dataset_of_run(path)
    return data.test_images[:limit], data.test_labels[:limit]


def _dataset_of_run(path: Path) -> Dataset:
    from ..recipe.objects import dataset
    from ..recipe.of_runs import recipe_of
    from ..run.folder import Run

    run = Run.find(path)
    if run is None:
        hint = "give --data digits, or --input X.npy with --labels L.npy"
        raise Problem("nothing says which images this network is for", str(path), hint)
    return dataset(recipe_of(run))


def training_images(name: str, folder: Path | None, path: Path, limit: int) -> np.ndarray:
    """The first training images (N, C, H, W) uint8 of a data set, or of the run that a graph's file belongs to.

    Raises:
        Problem: no data set is named, and the file belongs to no run.
    """
    from ..run.folder import Run

    if name:
        from ...models.data.load import load_dataset as load_data
        from ..run.places import cache_folder, data_places

        return load_data(name, folder, data_places(), cache_folder()).train_images[:limit]
    if Run.find(path) is None:
        what = "nothing says which training images popcounts are to be counted on"
        raise Problem(what, str(path), "give --calibration X.npy, or --data with a data set's own images")
    return _dataset_of_run(path).train_images[:limit]


def input_held(graph: Graph) -> InputHeld | None:
    """What a graph's input holds; None where it is not known, as for a network on floats."""
    contract = graph.input_contract
    return None if contract is None else from_json(InputHeld, contract.facts(graph.input_type))
