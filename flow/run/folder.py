"""The run folder: stages that resume, files that are whole or not there, and their checksums."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from bnnflow import Problem

from .files import TEMPORARY, explain, lock_folder, move_into_place, sha256_of, temporary_beside, write_whole
from .manifest import (
    MANIFEST,
    StageTime,
    damaged,
    is_inside,
    is_ours,
    new_manifest,
    read_manifest,
    seal,
    stage_key,
    versions,
)
from .typed_json import Misfit, from_json, to_json

T = TypeVar("T")

if TYPE_CHECKING:
    from filelock import BaseFileLock

RECIPE = "model.yaml"
SCRATCH = "work"


class Run:
    """A run folder and its manifest. Use `Run.open` to build in it, `Run.find` to look at one.

    The manifest records, for every finished stage, a key over all that the stage depends on, the sha256 of
    every file it wrote, its facts and its seconds. Files under `work/` (checkpoints) are not recorded.

    Attributes:
        folder: the run folder.
        manifest: the content of manifest.json; read it, do not change it.
        timeline: the stages of this session so far, in order.
    """

    def __init__(
        self,
        folder: Path,
        manifest: dict[str, Any],
        lock: BaseFileLock | None = None,
        force_from: str = "",
        fixed: Collection[str] = (),
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.timeline: list[StageTime] = []
        self._lock = lock
        self._force_from = force_from
        self._fixed = fixed
        self._forcing = False
        self._written: dict[str, str] | None = None

    @classmethod
    def open(cls, folder: Path, recipe_text: str | None, force_from: str = "", fixed: Collection[str] = ()) -> Run:
        """Create or reopen a run folder, lock it, and sweep what a killed program left half-written.

        Args:
            folder: the run folder; new, empty, or an earlier run.
            recipe_text: the resolved recipe, written to `model.yaml` in the folder; None leaves what is there.
            force_from: the stage from which on nothing is skipped; empty: skip all that is up to date.
            fixed: stages that are not done with other inputs where they are done already.

        Raises:
            Problem: the folder cannot be written, is not a run folder, is in use by another program, or
                its manifest is damaged (status 1).
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            found = {entry.name for entry in folder.iterdir()}
        except (FileExistsError, NotADirectoryError):
            raise Problem("a file stands where the run folder should be", str(folder), "give another folder") from None
        except OSError as error:
            raise explain(error, folder) from error
        foreign = sorted(name for name in found if not name.startswith((".lock", TEMPORARY)))
        if foreign and MANIFEST not in found:
            hint = f"it holds {foreign[0]} but no {MANIFEST}; give a new or empty folder"
            raise Problem("this is not a run folder", str(folder), hint)
        lock = lock_folder(folder)
        try:
            manifest = read_manifest(folder) if MANIFEST in found else new_manifest()
            manifest["versions"] = versions()
            run = cls(folder, manifest, lock, force_from, fixed)
            for left in folder.rglob(f"{TEMPORARY}*"):
                left.unlink(missing_ok=True)
            if recipe_text is not None:
                run.write(RECIPE, recipe_text)
            run._save()
        except OSError as error:
            lock.release()
            raise explain(error, folder) from error
        except BaseException:
            lock.release()
            raise
        return run

    @classmethod
    def find(cls, path: Path) -> Run | None:
        """The run that a file or folder belongs to, for reading only; None where it belongs to none.

        Raises:
            Problem: the run's manifest is damaged (status 1).
        """
        path = path.absolute()
        for folder in (path, *path.parents):
            if is_ours(folder / MANIFEST):
                return cls(folder, read_manifest(folder))
        return None

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def path(self, relative: str) -> Path:
        """The path of a file in the run folder; `relative` uses `/` and stays inside the folder."""
        if not is_inside(relative):
            raise ValueError(f"{relative!r} is not a path inside the run folder")
        return self.folder / relative

    def write(self, relative: str, content: bytes | str) -> Path:
        """Write a file whole or not at all (temporary name, fsync, rename) and record its sha256.

        Raises:
            Problem: the disk is full, permission is missing, or the disk fails; the earlier file stays.
        """
        target = self.path(relative)
        data = content.encode() if isinstance(content, str) else content
        write_whole(target, data)
        self._record(relative, hashlib.sha256(data).hexdigest())
        return target

    @contextmanager
    def temporary(self, relative: str) -> Iterator[Path]:
        """A temporary path, with the same suffix, for a function that writes a file itself.

        It is moved to `relative` and recorded when the block ends well, and deleted when it does not.

        Raises:
            Problem: as for `write`.
        """
        target = self.path(relative)
        with temporary_beside(target) as temporary:
            yield temporary
            digest = move_into_place(temporary, target)
        self._record(relative, digest)

    def stage(self, name: str, inputs: Mapping[str, Any], work: Callable[[], T], kind: type[T]) -> T:
        """Do a stage's work, unless an earlier session did it with the same inputs and left all its files.

        Args:
            name: the stage's name, the same in every run.
            inputs: all that the work depends on. A Path (or a list of Paths) counts by the content of the
                file; everything else must be JSON and counts by value.
            work: writes its files through `write` and `temporary`, and returns its result, without NaN.
            kind: of the result. A record that is not of this kind, of another version of it, is as none.

        Returns:
            the result, as JSON gives it back, whether the work was done now or earlier.

        Raises:
            Problem: a recorded file was changed or damaged since it was written (status 1), a file cannot be
                written, or a fixed stage has other inputs. What `work` raises goes through; the stage is then not
                recorded.
        """
        key = self._key(name, inputs)
        self._forcing = self._forcing or name == self._force_from
        known, again = self.manifest["stages"].get(name), ""
        if known is not None and known["key"] != key and name in self._fixed:
            what = f"with this the stage {name!r} would be done anew, and what it made replaced"
            raise Problem(what, str(self.folder), "leave it out, or `flow build` a recipe of its own")
        if known is not None and known["key"] == key and not self._forcing and self._is_whole(name):
            try:
                found = from_json(kind, known["facts"])
            except Misfit as misfit:
                again = f"its record is of another version of bnnflow: {misfit}"
            else:
                self.timeline.append(StageTime(name, known["seconds"], True, found))
                return found
        stale = self._begin(name)
        self._written = {}
        started = time.monotonic()
        try:
            facts = json.loads(json.dumps(to_json(work()), allow_nan=False))
            found = from_json(kind, facts)
            seconds = round(time.monotonic() - started, 3)
            written = self._written
        finally:
            self._written = None
        turn = 1 + max(self.turns().values(), default=0)
        record = {"key": key, "turn": turn, "seconds": seconds, "files": written, "facts": facts}
        self.manifest["stages"][name] = record
        del self.manifest["unfinished"][name]
        self._save()
        for relative in stale - set(self._records()):
            self.path(relative).unlink(missing_ok=True)
        self.timeline.append(StageTime(name, seconds, False, found, again))
        return found

    def forget(self, name: str) -> None:
        """Drop a stage that the recipe no longer has: its record and its files."""
        stale = self._begin(name)
        del self.manifest["unfinished"][name]
        self._save()
        for relative in stale - set(self._records()):
            self.path(relative).unlink(missing_ok=True)

    def changed_since(self, name: str) -> list[str]:
        """Stages that were done anew, left out or interrupted since one was done whose facts say of what (`done`)."""
        record = self.manifest["stages"].get(name)
        made = self.turns() if record is None else record["facts"].get("done", self.turns())
        now = self.turns()
        changed = {other for other in {*made, *now} - {name} if made.get(other) != now.get(other)}
        return sorted(changed | set(self.manifest["unfinished"]))

    def turns(self) -> dict[str, int]:
        """In which order stages were last done, over all sessions: ascending numbers by their names."""
        return {name: record.get("turn", 0) for name, record in self.manifest["stages"].items()}

    def check_files(self) -> list[str]:
        """Compare every recorded file with its sha256.

        Returns:
            one line for each file that is missing or differs, sorted; empty when all is well.
        """
        faults = []
        for relative, digest in sorted(self._records().items()):
            found = self._digest(relative)
            if found is None:
                faults.append(f"{relative} is missing")
            elif found != digest:
                faults.append(f"{relative} was changed or damaged since it was written")
        return faults

    def verify(self, path: Path) -> None:
        """Refuse a file of this folder that is not what was written here; what is none passes.

        Raises:
            Problem: the file differs from the sha256 in the manifest (status 1).
        """
        if not path.is_file():
            return
        relative = path.absolute().relative_to(self.folder).as_posix()
        digest = self._digest(relative)
        for name, stage in self.manifest["stages"].items():
            if stage["files"].get(relative, digest) != digest:
                raise damaged(path, name)
        if self.manifest["files"].get(relative, digest) != digest:
            raise damaged(path)

    def holds(self, relative: str) -> bool:
        """Whether a file was written here, be it still there or not."""
        return relative in self._records()

    def _records(self) -> dict[str, str]:
        files = dict(self.manifest["files"])
        for stage in self.manifest["stages"].values():
            files.update(stage["files"])
        return files

    def _record(self, relative: str, digest: str) -> None:
        if relative.split("/")[0] == SCRATCH:
            return
        if self._written is None:
            self.manifest["files"][relative] = digest
            return
        session = {done.name for done in self.timeline}
        for name, stage in list(self.manifest["stages"].items()):
            if relative in stage["files"]:
                if name in session:
                    raise ValueError(f"two stages write {relative}; the first is {name}")
                del self.manifest["stages"][name]
        self._written[relative] = digest

    def _digest(self, relative: str) -> str | None:
        try:
            return sha256_of(self.path(relative))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise explain(error, self.path(relative)) from error

    def _is_whole(self, name: str) -> bool:
        """All the stage's files exist and are as they were written; False when one is missing."""
        whole = True
        for relative, digest in self.manifest["stages"][name]["files"].items():
            found = self._digest(relative)
            if found is not None and found != digest:
                raise damaged(self.path(relative), name)
            whole = whole and found is not None
        return whole

    def _begin(self, name: str) -> set[str]:
        """Note that the stage is about to overwrite its files, so that a kill leaves no record that lies."""
        earlier = self.manifest["stages"].pop(name, {"files": {}})["files"]
        stale = sorted({*earlier, *self.manifest["unfinished"].get(name, [])})
        self.manifest["unfinished"][name] = stale
        self._save()
        return set(stale)

    def _key(self, name: str, inputs: Mapping[str, Any]) -> str:
        return stage_key(name, inputs, self._input_digest)

    def _input_digest(self, path: Path) -> str:
        try:
            digest = sha256_of(path)
        except OSError as error:
            raise explain(error, path) from error
        if path.is_relative_to(self.folder):
            relative = path.relative_to(self.folder).as_posix()
            for name, stage in self.manifest["stages"].items():
                if stage["files"].get(relative, digest) != digest:
                    raise damaged(path, name)
        return digest

    def _save(self) -> None:
        body = {key: value for key, value in self.manifest.items() if key != "sha256"}
        self.manifest = {**body, "sha256": seal(body)}
        write_whole(self.folder / MANIFEST, (json.dumps(self.manifest, indent=1) + "\n").encode())


def verify_recorded(path: Path) -> None:
    """Refuse a file of a run folder that is not what the run wrote; files outside a run folder pass.

    Raises:
        Problem: the file differs from the sha256 in the manifest, or the manifest is damaged (status 1).
    """
    run = Run.find(path)
    if run is not None:
        run.verify(path)
