"""Files that are whole or not there: written to a temporary name, synced, moved into place."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bnnflow import Problem

TEMPORARY = ".tmp-"
_FULL_BELOW_BYTES = 1 << 16
_counter = itertools.count()

_DISK = {
    errno.ENOSPC: (
        "the disk is full",
        "make room, then run the same command again; it goes on where it stopped",
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
    errno.ENAMETOOLONG: ("the name is too long for this disk", "give a shorter folder or recipe name"),
    errno.EIO: ("the disk fails (input/output error)", "check the disk, then run the same command again"),
}


def explain(error: OSError, path: Path) -> Problem:
    """The Problem for a file error at `path`: full disk, missing permission and such, with what to do."""
    what, hint = _DISK.get(error.errno or 0, (f"the file cannot be used: {error.strerror or error}", ""))
    return Problem(what, str(path), hint)


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
        Problem: an OSError of the block, or any error of it on a full disk (libraries wrap OSError).
    """
    temporary = target.with_name(f"{TEMPORARY}{os.getpid()}-{next(_counter)}-{target.name}")
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


def lock_folder(folder: Path) -> int:
    """Take the lock of a run folder; closing the handle that is returned releases it.

    Raises:
        Problem: another program has it, or its file cannot be made.
    """
    path = folder / ".lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise explain(error, path) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        hint = "wait until it ends, or give another run folder"
        raise Problem("another program is building in this run folder", str(folder), hint) from None
    except OSError:
        # Some network file systems have no locks; building alone in a folder still works there.
        pass
    return handle
