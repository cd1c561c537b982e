"""What commands are given: graphs, arrays, JSON objects and the images of data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from bnnflow import Problem

from ..transforms.graph import Graph
from ..transforms.read import read
from .run_files import explain
from .runs import verify_recorded


def open_graph(path: Path) -> Graph:
    """Read a graph of any level; in a run folder, only as the run wrote it.

    Raises:
        Problem: the file is missing, damaged, changed since it was written, or holds what cannot be read.
    """
    verify_file(path)
    return read(path)


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


def load_json(path: Path, what: str) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        Problem: the file is missing, or holds no JSON object.
    """
    try:
        loaded = json.loads(path.read_text())
    except FileNotFoundError:
        raise Problem(f"there is no such {what}", str(path), "give a .json file") from None
    except OSError as error:
        raise explain(error, path) from error
    except ValueError as error:
        raise Problem(f"the {what} is not JSON", str(path), str(error)) from error
    if not isinstance(loaded, dict):
        raise Problem(f"the {what} holds no object", str(path), 'write {"MVAU_hls_0": {"PE": 2, "SIMD": 4}}')
    return loaded


def test_images(name: str, folder: Path | None, limit: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Test images (N, C, H, W) uint8 and labels (N,) of a data set."""
    from ..models.data.load import load as load_data
    from .places import cache_folder, data_places

    data = load_data(name, folder, data_places(), cache_folder())
    return data.test_images[:limit], data.test_labels[:limit]


def feed(graph: Graph, images: np.ndarray) -> np.ndarray:
    """Stored pixels (N, C, H, W) as the graph's input wants them: over 255 where it takes floats, laid out as it is."""
    wanted, shape = graph.input_type.shape, images.shape[1:]
    if wanted != shape:
        if wanted == (*shape[1:], shape[0]):
            images = np.moveaxis(images, 1, -1)
        elif wanted == (int(np.prod(shape)),):
            images = images.reshape(len(images), -1)
    return images / np.float64(255) if graph.input_type.is_float else images


def remark(graph: Graph) -> str:
    """What is assumed about a graph's input; empty where the file says it."""
    if graph.input_type.is_float:
        return "the file does not say what its float input holds; data sets are given as pixels over 255"
    return ""
