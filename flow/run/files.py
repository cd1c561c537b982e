"""Files that are whole or not there: written to a temporary name, synced, moved into place.

Every file that a command is asked for goes through here: `check_file` and `check_folder` refuse, before the work, what
could not be written after it; `write_whole` and `temporary_beside` refuse the same once more.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import shutil
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bnnflow import Problem

if TYPE_CHECKING:
    from filelock import BaseFileLock

TEMPORARY = ".tmp-"
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
_FULL_BELOW_BYTES = 1 << 16
_counter = itertools.count()

_DISK = {
    errno.ENOSPC: (
        "the disk is full",
        "make room, then run the same command again; it resumes where it stopped",
    ),
    errno.EDQUOT: ("the disk quota is used up", "make room, then run the same command again"),
    errno.EFBIG: (
        "the file is larger than this system allows",
        "raise the limit (ulimit -f) or use another disk",
    ),
    errno.EACCES: ("no permission to write here", "change the folder's permissions, or give another folder"),
    errno.EPERM: ("no permission to write here", "change the folder's permissions, or give another folder"),
    errno.EROFS: ("the disk is read-only", "give a folder on another disk"),
    errno.ENOTDIR: ("a file stands where a folder should be", "give another folder"),
    errno.EISDIR: ("a folder stands where a file should be", "give another name"),
    errno.ELOOP: ("the links of this path lead in a circle", "give another folder"),
    errno.ENAMETOOLONG: ("the name is too long for this disk", "give a shorter folder or recipe name"),
    errno.EIO: ("the disk fails (input/output error)", "check the disk, then run the same command again"),
}


def explain(error: OSError, path: Path) -> Problem:
    """The Problem for a file error at `path`: full disk, missing permission and such, with what to do."""
    what, hint = _DISK.get(error.errno or 0, (f"the file cannot be used: {error.strerror or error}", ""))
    return Problem(what, str(path), hint)


def check_file(path: Path, endings: Sequence[str] = (), inputs: Sequence[Path | None] = ()) -> None:
    """Refuse a file to be written that cannot be, or that should not.

    Args:
        path: the file. Folders that are missing in front of it are made when it is written.
        endings: of its name, each of a format; none: any.
        inputs: files that the command reads.

    Raises:
        Problem: a name with another ending, a folder, device, pipe or link in its place, one of `inputs`, a folder
            that cannot be written, or a full disk.
    """
    _plain(path)
    if endings and path.suffix not in endings:
        said = repr(path.suffix) if path.suffix else "no ending"
        raise Problem(
            f"the name says no format that can be written: {said}", str(path), f"end it in {_either(endings)}"
        )
    if any(given is not None and _same(path, given) for given in inputs):
        raise Problem("the output would overwrite the input", str(path), "give another name")
    if path.exists() and not os.access(path, os.W_OK):
        raise Problem("the file is read-only", str(path), "give another name, or remove it")
    _writable(path.parent, path)


def check_folder(path: Path) -> None:
    """Refuse a folder for files that cannot be made or written; one that is there may hold files.

    Raises:
        Problem: something else stands in its place, it cannot be made or written, or the disk is full.
    """
    _writable(path, path)


def _either(endings: Sequence[str]) -> str:
    return endings[0] if len(endings) == 1 else f"{', '.join(endings[:-1])} or {endings[-1]}"


def _same(path: Path, other: Path) -> bool:
    try:
        return path.resolve() == other.resolve() or path.samefile(other)
    except OSError:
        return False


def _plain(path: Path) -> None:
    """Refuse what is there and is no ordinary file."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise explain(error, path) from error
    if stat.S_ISREG(mode):
        return
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    what = f"the output is {kinds.get(stat.S_IFMT(mode), 'a device')}, not a file"
    raise Problem(what, str(path), "give the name of a file; nothing else is overwritten")


def _writable(folder: Path, path: Path) -> None:
    """Refuse `path` where its folder, or the nearest one that is there, takes no files."""
    there = folder.absolute()
    try:
        while not os.path.lexists(there):
            if len(os.fsencode(there.name)) > os.pathconf("/", "PC_NAME_MAX"):
                raise OSError(errno.ENAMETOOLONG, "")
            there = there.parent
        if not there.is_dir():
            raise OSError(errno.ENOTDIR, "")
        # Permission bits say little: of root, of read-only disks and of /proc.
        trial = there / _temporary("")
        try:
            os.close(os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        finally:
            trial.unlink(missing_ok=True)
        if _is_full(there):
            raise OSError(errno.ENOSPC, "")
    except FileNotFoundError:
        raise explain(OSError(errno.EACCES, ""), path) from None
    except OSError as error:
        raise explain(error, path) from error


def _temporary(suffix: str) -> str:
    return f"{TEMPORARY}{os.getpid()}-{next(_counter)}{suffix}"


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_whole(target: Path, content: bytes) -> None:
    """Write a file so that either the old or the whole new content is there, even after a power cut.

    Raises:
        Problem: the file cannot be written; the old file stays and nothing else is left.
    """
    with temporary_beside(target) as temporary:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)


def move_into_place(temporary: Path, target: Path) -> str:
    """Sync a finished temporary file and rename it; returns its sha256.

    Raises:
        OSError: as `os.replace`.
    """
    digest = sha256_of(temporary)
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, target)
    _sync_folder(target.parent)
    return digest


@contextmanager
def temporary_beside(target: Path) -> Iterator[Path]:
    """A temporary path in the target's folder, with its suffix; gone after the block, however it ends.

    Raises:
        Problem: the target is a folder, device, pipe or link; an OSError of the block, or any error of it on a full
            disk (libraries wrap OSError).
    """
    _plain(target)
    temporary = target.with_name(_temporary(target.suffix))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
    except OSError as error:
        raise explain(error, target) from error
    except Exception as error:
        if _is_full(target.parent):
            raise explain(OSError(errno.ENOSPC, ""), target) from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_whole_folder(target: Path, manifest: str, also: Collection[str] = ()) -> None:
    """Refuse a folder that `whole_folder` may not replace.

    Args:
        target: the folder; one that is not there or empty is free.
        manifest: a JSON file that every folder of this kind has; its "files" are the sha256 of all others by path.
        also: paths of other files that may be lost.

    Raises:
        Problem: it cannot be written, the command runs in it, or it holds a file that was not written so.
    """
    check_folder(target)
    if Path.cwd().is_relative_to(target.resolve()):
        raise Problem("the command runs in this folder", str(target), "give another folder")
    if not target.is_dir() or not any(target.iterdir()):
        return
    hint = "give another folder, or an empty one"
    try:
        recorded = dict(json.loads((target / manifest).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        raise Problem("this folder holds something else", str(target), hint) from None
    for path in sorted(target.rglob("*")):
        name = path.relative_to(target).as_posix()
        if (path.is_dir() and not path.is_symlink()) or name == manifest or name in also:
            continue
        if name not in recorded:
            raise Problem("this file is of someone else", str(path), hint)
        if path.is_symlink() or not path.is_file() or sha256_of(path) != recorded[name]:
            raise Problem("this file was changed since it was written", str(path), hint)


@contextmanager
def whole_folder(target: Path, manifest: str, also: Collection[str] = ()) -> Iterator[Path]:
    """A new folder beside `target` that takes its place when all is written; one that was there before goes.

    Args:
        target, manifest, also: as for `check_whole_folder`. Of a link the folder behind it is replaced.

    Raises:
        Problem: as for `check_whole_folder`, or it cannot be written.
    """
    check_whole_folder(target, manifest, also)
    target = target.resolve()
    temporary = target.parent / _temporary(target.name)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        old = target.parent / _temporary(target.name)
        if target.exists():
            target.rename(old)
        temporary.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise explain(error, target) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _FULL_BELOW_BYTES
    except OSError:
        return False


def _sync_folder(folder: Path) -> None:
    # The rename itself must reach the disk; some file systems cannot sync a folder.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def lock_folder(folder: Path) -> BaseFileLock:
    """Take the lock of a run folder, which `release` gives back.

    Raises:
        Problem: another program has it, or its file cannot be made.
    """
    from filelock import FileLock, Timeout

    path = folder / ".lock"
    # Whichever thread takes it, any other may give it back.
    lock = FileLock(path, timeout=0, mode=0o644, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        hint = "wait until it ends, or give another run folder"
        raise Problem("another program is building in this run folder", str(folder), hint) from None
    except OSError as error:
        # Some network file systems have no locks; building alone in a folder still works there.
        if error.errno not in _NO_LOCKS:
            raise explain(error, path) from error
    return lock
