from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bnnflow import Problem
from bnnflow.flow.results.stages import NoResult
from bnnflow.flow.run.folder import Run, verify_recorded
from bnnflow.flow.run.typed_json import OPTIONAL

KILLED = """
import os, signal, sys
from pathlib import Path
from bnnflow.flow.run.folder import Run
run = Run.open(Path(sys.argv[1]), "")
def work():
    run.write("a.txt", "half")
    with run.temporary("b.onnx") as path:
        path.write_bytes(b"not finished")
        os.kill(os.getpid(), signal.SIGKILL)
run.stage("first", {"x": 1}, work, dict)
"""


@dataclass(frozen=True)
class Found:
    shape: tuple[int, int]
    x: int
    names: list[str] | None = field(default=None, metadata=OPTIONAL)


def build(folder: Path, calls: list[str], x: int = 1, force_from: str = "") -> Found:
    """Two stages, the second of which reads what the first wrote."""
    with Run.open(folder, "recipe", force_from) as run:

        def first() -> Found:
            calls.append("first")
            run.write("out/a.txt", "even" if x in (1, 3) else "odd")
            run.write("work/checkpoint.pt", b"scratch")
            return Found((1, 2), x)

        def second() -> NoResult:
            calls.append("second")
            with run.temporary("out/b.onnx") as path:
                assert path.suffix == ".onnx"
                path.write_bytes(run.path("out/a.txt").read_bytes() * 2)
            return NoResult()

        found = run.stage("first", {"x": x}, first, Found)
        run.stage("second", {"graphs": [run.path("out/a.txt")]}, second, NoResult)
        assert [done.name for done in run.timeline] == ["first", "second"]
    return found


def problem(action: Callable[[], object]) -> Problem:
    with pytest.raises(Problem) as caught:
        action()
    return caught.value


def test_only_what_changed_runs_again(tmp_path: Path) -> None:
    calls: list[str] = []
    fresh = build(tmp_path / "run", calls)
    assert fresh == build(tmp_path / "run", calls) == Found((1, 2), 1)
    assert calls == ["first", "second"]
    build(tmp_path / "run", calls, x=3)
    assert calls[2:] == ["first"], "the second stage depends on content, which is the same"
    build(tmp_path / "run", calls, x=2)
    assert calls[3:] == ["first", "second"]
    build(tmp_path / "run", calls, x=2, force_from="second")
    assert calls[5:] == ["second"]
    (tmp_path / "run/out/a.txt").unlink()
    build(tmp_path / "run", calls, x=2)
    assert calls[6:] == ["first"]
    assert Run.find(tmp_path / "run").check_files() == []  # type: ignore[union-attr]


def test_a_record_of_another_kind_is_as_none(tmp_path: Path) -> None:
    """As an earlier version left it: the stage runs again and says why; what depends on its files alone does not."""

    @dataclass(frozen=True)
    class Newer:
        shape: tuple[int, int]
        size: float

    with Run.open(tmp_path / "run", "") as run:
        assert run.stage("first", {}, lambda: Found((1, 2), 3), Found) == Found((1, 2), 3)
    for again in ("its record is of another version of bnnflow: size is missing", ""):
        with Run.open(tmp_path / "run", "") as run:
            assert run.stage("first", {}, lambda: Newer((1, 2), 0.5), Newer) == Newer((1, 2), 0.5)
            (done,) = run.timeline
            assert (done.skipped, done.again, done.result) == (not again, again, Newer((1, 2), 0.5))


@pytest.mark.parametrize("name", ["out/a.txt", "out/b.onnx"])
def test_a_flipped_bit_is_found(name: str, tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    calls: list[str] = []
    build(tmp_path / "run", calls)
    path = tmp_path / "run" / name
    verify_recorded(path)
    content = bytearray(path.read_bytes())
    content[1] ^= 4
    path.write_bytes(content)
    for action in (lambda: build(tmp_path / "run", calls), lambda: verify_recorded(path)):
        found = problem(action)
        assert found.status == 1
        golden(f"problems/run_damaged_{path.stem}", str(found))
    assert Run.find(path).check_files() == [f"{name} was changed or damaged since it was written"]  # type: ignore[union-attr]
    build(tmp_path / "run", calls, force_from="first")
    verify_recorded(path)


def test_a_damaged_manifest_is_refused(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    build(tmp_path / "run", [])
    path = tmp_path / "run/manifest.json"
    good = path.read_bytes()
    for bad in (good.replace(b'"x": 1', b'"x": 3'), good[:-40], good.replace(b"out/a.txt", b"../.a.txt")):
        assert bad != good
        path.write_bytes(bad)
        for action in (lambda: build(tmp_path / "run", []), lambda: verify_recorded(tmp_path / "run/out/a.txt")):
            golden("problems/run_manifest_damaged", str(problem(action)))


def test_a_kill_leaves_nothing_half_written(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert list(folder.rglob(".tmp-*"))
    assert not (folder / "b.onnx").exists()
    with Run.open(folder, "") as run:
        assert not list(folder.rglob(".tmp-*"))
        assert run.manifest["stages"] == {}
        run.stage("first", {"x": 1}, lambda: {"a": run.write("a.txt", "whole").name}, dict)
    assert Run.find(folder).check_files() == []  # type: ignore[union-attr]


def test_an_interrupted_stage_is_not_taken_for_done(tmp_path: Path) -> None:
    """Stop within a changed stage, then go back to the earlier recipe: its half-new files are not damage."""
    calls: list[str] = []
    build(tmp_path / "run", calls, x=1)
    with Run.open(tmp_path / "run", "recipe") as run:

        def stopped() -> NoResult:
            run.write("out/a.txt", "half of the new files")
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run.stage("first", {"x": 2}, stopped, NoResult)
    build(tmp_path / "run", calls, x=1)
    assert calls == ["first", "second", "first"]


def test_files_that_a_stage_no_longer_writes_go(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run", "") as run:
        for names in (["a", "b"], ["b"]):
            written = lambda names=names: Found((0, 0), 0, [run.write(n, n).name for n in names])  # noqa: E731
            run.stage("s", {"names": names}, written, Found)
        assert not run.path("a").exists()
        assert run.path("b").exists()
        run.forget("s")
        assert not run.path("b").exists()


def test_two_programs_do_not_share_a_folder(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    with Run.open(tmp_path / "run", ""):
        golden("problems/run_locked", str(problem(lambda: Run.open(tmp_path / "run", ""))))
    Run.open(tmp_path / "run", "").close()


def test_foreign_folders_are_left_alone(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/model.yaml").write_text("mine")
    (tmp_path / "file").write_text("mine")
    golden("problems/run_foreign_folder", str(problem(lambda: Run.open(tmp_path / "home", "theirs"))))
    golden("problems/run_file_in_the_way", str(problem(lambda: Run.open(tmp_path / "file", ""))))
    assert (tmp_path / "home/model.yaml").read_text() == "mine"
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "home/manifest.json").write_text(json.dumps({"name": "a web page"}))
    verify_recorded(tmp_path / "home/model.yaml")


@pytest.mark.parametrize("code", ["ENOSPC", "EACCES", "EROFS", "EDQUOT", "EIO"])
def test_disk_faults_leave_the_old_file(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: Callable[[str, str], None]
) -> None:
    with Run.open(tmp_path / "run", "") as run:
        run.write("a.txt", "old")

        def broken(handle: int) -> None:
            raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", broken)
            golden(f"problems/disk_{code.lower()}", str(problem(lambda: run.write("a.txt", "new"))))
        assert run.path("a.txt").read_text() == "old"
        assert not list(run.folder.rglob(".tmp-*"))


def test_a_failing_writer_leaves_nothing(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run", "") as run:

        def fail() -> None:
            with run.temporary("a.onnx") as path:
                path.write_bytes(b"half")
                raise RuntimeError("no")

        with pytest.raises(RuntimeError, match="no"):
            fail()
        assert sorted(p.name for p in run.folder.iterdir()) == [".lock", "manifest.json", "model.yaml"]
        for outside in ("../a", "/a", "a/../../b", ""):
            with pytest.raises(ValueError, match="inside"):
                run.write(outside, "")
