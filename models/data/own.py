"""Images of the user's own: a folder of image files, an npz file, or a function."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from bnnflow import Problem

from ..npz import read_npz
from .dataset import Dataset, stratified

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".webp")
_LAYOUT = "the layout is FOLDER/train/CLASS/*.png and FOLDER/test/CLASS/*.png, or FOLDER/CLASS/*.png"
_KEYS = (("train_images", "x_train"), ("train_labels", "y_train"), ("test_images", "x_test"), ("test_labels", "y_test"))
_TEST_SHARE = 5


def load_folder(folder: Path) -> Dataset:
    """Read image files; a class is a subfolder, and labels are the classes in the order of their names.

    Without `train` and `test`, every class gives a fifth of its images to the test part, always the same. Images are
    grey where all of them are, else RGB.

    Raises:
        Problem: there are no images, classes differ between the parts, or sizes differ.
    """
    if not folder.is_dir():
        raise Problem("there is no such folder of images", str(folder), _LAYOUT)
    divided = (folder / "train").is_dir() and (folder / "test").is_dir()
    roots = [folder / "train", folder / "test"] if divided else [folder]
    classes = _classes(roots[0])
    if divided and _classes(roots[1]) != classes:
        what = f"train has the classes {', '.join(classes)}, test has {', '.join(_classes(roots[1]))}"
        raise Problem(what, str(folder), "give both the same subfolders")
    if len(classes) < 2:
        raise Problem(f"{len(classes)} subfolders with images; two classes are needed", str(roots[0]), _LAYOUT)
    total = hashlib.sha256()
    parts = [_images(root, classes, total) for root in roots]
    if not divided:
        x, y = parts[0]
        test = stratified(y, max(len(classes), len(y) // _TEST_SHARE))
        train = np.setdiff1d(np.arange(len(y)), test)
        parts = [(x[train], y[train]), (x[test], y[test])]
    if parts[0][0].shape[1:] != parts[1][0].shape[1:]:
        what = f"training images are {parts[0][0].shape[1:]}, test images {parts[1][0].shape[1:]}"
        raise Problem(what, str(folder), "bring all images to one size and one kind (grey or colour)")
    return Dataset("folder", classes, *parts[0], *parts[1], str(folder), {"images": total.hexdigest()})


def _classes(root: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in root.iterdir() if path.is_dir() and _files(path)))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _images(root: Path, classes: tuple[str, ...], total: Any) -> tuple[np.ndarray, np.ndarray]:
    from PIL import Image

    made, labels, first = [], [], None
    for label, name in enumerate(classes):
        for path in _files(root / name):
            content = path.read_bytes()
            total.update(f"{root.name}/{name}/{path.name}".encode() + hashlib.sha256(content).digest())
            try:
                with Image.open(io.BytesIO(content)) as opened:
                    mode = opened.mode
                    image = np.asarray(opened.convert("L" if mode in ("1", "L") else "RGB"))
            except Exception as error:  # each of pillow's readers has errors of its own
                raise Problem("not an image that can be read", str(path), "remove it, or save it again") from error
            if mode.startswith(("I", "F")):
                what = "pixels of more than 8 bits, which would be cut off at 255"
                raise Problem(what, str(path), "scale them to 0..255 and save it again")
            image = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
            first = first or (image.shape, path)
            if image.shape[1:] != first[0][1:]:
                what = (
                    f"this image is {image.shape[2]}x{image.shape[1]}, {first[1].name} is {first[0][2]}x{first[0][1]}"
                )
                raise Problem(what, str(path), "bring all images to one size")
            made.append(image)
            labels.append(label)
    channels = max(image.shape[0] for image in made)
    return np.stack([np.broadcast_to(image, (channels, *image.shape[1:])) for image in made]), np.array(labels)


def load_npz(path: Path) -> Dataset:
    """Read an npz file with train_images, train_labels, test_images, test_labels (or x_train, ...).

    Images are uint8, (N, C, H, W), (N, H, W) or (N, H, W, 3); `classes` (names) is optional.

    Raises:
        Problem: it cannot be read, or arrays are missing or do not fit.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Problem(f"the file cannot be read ({error.strerror or error})", str(path)) from error
    held = read_npz(content, path, "an npz file of numbers", "save it with numpy.savez")
    arrays = []
    for names in _KEYS:
        found = next((held[name] for name in names if name in held), None)
        if found is None:
            hint = f"it has: {', '.join(held) or 'nothing'}"
            raise Problem(f"the array {names[0]} (or {names[1]}) is missing", str(path), hint)
        arrays.append(found)
    classes = tuple(map(str, held["classes"])) if "classes" in held else ()
    return from_arrays("npz", arrays, classes, str(path), {path.name: hashlib.sha256(content).hexdigest()})


def from_function(name: str, function: Any) -> Dataset:
    """What a user's function gives: a `Dataset`, or train images, train labels, test images, test labels.

    Raises:
        Problem: it fails, or gives something else.
    """
    try:
        made = function()
    except Exception as error:
        raise Problem(f"the function fails: {error}", name) from error
    if isinstance(made, Dataset):
        arrays = [made.train_images, made.train_labels, made.test_images, made.test_labels]
        facts = (made.name, made.classes, made.source, made.files)
    elif isinstance(made, (tuple, list)) and len(made) == 4:
        arrays = [np.asarray(array) for array in made]
        facts = (name, (), name, {})
    else:
        hint = "give train images, train labels, test images, test labels, or a bnnflow Dataset"
        raise Problem(f"the function gives {type(made).__name__}, not four arrays", name, hint)
    # What it says of its files need not say all that it gives.
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return from_arrays(facts[0], arrays, facts[1], facts[2], {**facts[3], "arrays": total.hexdigest()})


def from_arrays(
    name: str, arrays: list[np.ndarray], classes: tuple[str, ...], source: str, files: dict[str, str]
) -> Dataset:
    """A data set of four arrays, checked."""
    train_x, train_y, test_x, test_y = arrays
    images = [_channels_first(x, source) for x in (train_x, test_x)]
    if images[0].shape[1:] != images[1].shape[1:]:
        raise Problem(f"training images are {images[0].shape[1:]}, test images {images[1].shape[1:]}", source)
    labels = [np.asarray(y) for y in (train_y, test_y)]
    for x, y in zip(images, labels, strict=True):
        if y.shape != (len(x),) or y.dtype.kind not in "iu" or not len(y):
            raise Problem(f"labels {y.shape} {y.dtype} for {len(x)} images", source, "give one whole number per image")
        if y.min() < 0:
            raise Problem(f"there is the label {y.min()}", source, "number the classes from 0")
    count = max(int(y.max()) for y in labels) + 1
    if count < 2:
        raise Problem("all images are of class 0", source, "give images of two classes or more")
    # Of one class more than there are images one is missing, however far the labels go.
    most = min(count, len(images[0]) + len(images[1]) + 1)
    missing = np.setdiff1d(np.arange(most), np.concatenate(labels))
    if len(missing) and not classes:
        hint = "number the classes from 0 on, without gaps, or give the names of all as classes"
        raise Problem(f"labels go up to {count - 1}, but no image is of class {missing[0]}", source, hint)
    if classes and len(classes) < count:
        raise Problem(f"{len(classes)} class names, but labels up to {count - 1}", source)
    names = classes or tuple(map(str, range(count)))
    train_labels, test_labels = (y.astype(np.int64) for y in labels)
    return Dataset(name, names, images[0], train_labels, images[1], test_labels, source, files)


def _channels_first(x: np.ndarray, source: str) -> np.ndarray:
    if x.dtype != np.uint8:
        raise Problem(f"images are {x.dtype}, not uint8", source, "give pixels from 0 to 255 as one byte each")
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and x.shape[3] in (1, 3) and x.shape[1] not in (1, 3):
        x = x.transpose(0, 3, 1, 2)
    if x.ndim != 4:
        raise Problem(f"images have the shape {x.shape}", source, "give (N, C, H, W), (N, H, W) or (N, H, W, 3)")
    return np.ascontiguousarray(x)
