"""Fetch a data set when the user asks for it: a Debian package, or a published file with a known checksum."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bnnflow import CHECK_FAILED, TOOL_MISSING, Problem

if TYPE_CHECKING:
    from ...models.data.load import DataSetPlace

_BLOCK = 1 << 20
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Remote:
    """One file of a data set.

    Args:
        url: where it is.
        md5: published checksum of the file; "" where none is published: the content is checked when it is read.
        unpack: a tar file whose members are laid into the data set's folder.
    """

    url: str
    md5: str = ""
    unpack: bool = False


_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
REMOTES: dict[str, tuple[Remote, ...]] = {
    "mnist": tuple(Remote(f"{_MNIST}{name}.gz") for name in _FILES),
    "cifar10": (
        Remote(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", unpack=True
        ),
    ),
    "speech-commands": (Remote("https://download.tensorflow.org/data/speech_commands_v0.02.tar.gz", unpack=True),),
}
PACKAGES = {"fashion-mnist": "dataset-fashion-mnist"}


def fetch(name: str, home: Path, say: Callable[[str], None]) -> Path:
    """Bring a data set to home/name.

    Args:
        name: of the data set.
        home: folder of all data sets.
        say: told of each file.

    Returns:
        Its folder.

    Raises:
        Problem: it cannot be fetched; the hint says what to do instead.
    """
    if name == "digits":
        raise Problem("digits comes with bnnflow", "flow data get", "use it as `data: {name: digits}`")
    if name not in REMOTES and name not in PACKAGES:
        known = ", ".join((*REMOTES, *PACKAGES))
        raise Problem(f"{name!r} is no data set that can be fetched", "flow data get", f"one of {known}")
    folder = home / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            if name in PACKAGES:
                _from_package(PACKAGES[name], folder, Path(scratch), say)
            for remote in REMOTES.get(name, ()):
                say(f"fetching {remote.url}")
                _from_web(remote, folder, Path(scratch))
    except OSError as error:
        raise Problem(f"the files cannot be written: {error.strerror}", str(folder), "check room and rights") from error
    return folder


def data_set_places(folder: Path | None) -> list[DataSetPlace]:
    """Where each data set is found, in `folder` or where data sets usually are, without reading it."""
    from ...models.data.load import survey_data_sets
    from ..run.places import data_places

    return survey_data_sets(folder, data_places())


def _from_web(remote: Remote, folder: Path, scratch: Path) -> None:
    path = scratch / remote.url.rpartition("/")[2]
    total = hashlib.md5(usedforsecurity=False)
    try:
        with urllib.request.urlopen(remote.url, timeout=_TIMEOUT_S) as source, path.open("wb") as target:
            while block := source.read(_BLOCK):
                total.update(block)
                target.write(block)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        what = f"{remote.url} cannot be reached: {getattr(error, 'reason', error)}"
        hint = f"without a network, copy the file here from another computer: {folder}"
        raise Problem(what, "flow data get", hint, TOOL_MISSING) from error
    if remote.md5 and total.hexdigest() != remote.md5:
        what = f"{path.name} has the md5 {total.hexdigest()}, not {remote.md5}"
        raise Problem(what, remote.url, "fetch it again", CHECK_FAILED)
    if not remote.unpack:
        shutil.move(path, folder / path.name)
        return
    try:
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, gzip.BadGzipFile, EOFError) as error:
        raise Problem(f"{path.name} is damaged: {error}", remote.url, "fetch it again", CHECK_FAILED) from error


def _from_package(package: str, folder: Path, scratch: Path, say: Callable[[str], None]) -> None:
    """Unpack a Debian package into the folder; nothing is installed."""
    by_hand = f"apt-get install {package}"
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise Problem("this is no Debian system", "flow data get", f"on Debian: {by_hand}", TOOL_MISSING)
    say(f"fetching Debian's package {package}")
    done = subprocess.run(["apt-get", "download", package], cwd=scratch, capture_output=True, text=True)
    found = list(scratch.glob("*.deb"))
    if done.returncode or not found:
        said = (done.stderr.strip().splitlines() or ["nothing was fetched"])[-1]
        raise Problem(f"apt-get download: {said}", "flow data get", f"as root: {by_hand}", TOOL_MISSING)
    subprocess.run(["dpkg-deb", "-x", str(found[0]), str(scratch / "content")], check=True)
    for path in sorted((scratch / "content").rglob("*-ubyte*")):
        shutil.move(path, folder / path.name)
