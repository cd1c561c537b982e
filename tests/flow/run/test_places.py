"""Where things are kept, and who may build in a run folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from bnnflow import Problem
from bnnflow.flow.run import files, places

KEEPS = """
import bnnflow.flow
from bnnflow.sim.engine.kernels.llvm import native
from bnnflow.sim.engine.kept import kept_in
print(kept_in())
native()
"""


def test_the_users_folders_are_those_of_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BNNFLOW_DATA", raising=False)
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    assert (places.data_home(), places.cache_folder()) == (
        tmp_path / "XDG_DATA_HOME" / "bnnflow",
        tmp_path / "XDG_CACHE_HOME" / "bnnflow",
    )
    assert places.data_places() == ()
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert places.cache_folder() == tmp_path / ".cache" / "bnnflow"
    assert places.data_home() == tmp_path / ".local" / "share" / "bnnflow"
    monkeypatch.setenv("BNNFLOW_DATA", str(tmp_path / "mine"))
    assert places.data_home() == tmp_path / "mine"


def test_kernels_are_kept_in_the_cache_of_the_system(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", KEEPS], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path / "cache" / "bnnflow")
    assert [path.suffix for path in (tmp_path / "cache" / "bnnflow").iterdir()] == [".bin"]
    assert not (tmp_path / "home").exists()


def test_the_simulator_alone_keeps_nothing() -> None:
    code = "from bnnflow.sim.engine.kept import kept_in; print(kept_in())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"


def test_one_program_builds_in_a_folder(tmp_path: Path) -> None:
    held = files.lock_folder(tmp_path)
    with pytest.raises(Problem) as caught:
        files.lock_folder(tmp_path)
    assert "another program is building" in str(caught.value)
    code = "import sys, pathlib; from bnnflow.flow.run.files import lock_folder; lock_folder(pathlib.Path(sys.argv[1]))"
    other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert "another program is building" in other.stderr
    thread = Thread(target=held.release)
    thread.start()
    thread.join()
    files.lock_folder(tmp_path).release()


def test_a_folder_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(Problem) as caught:
        files.lock_folder(tmp_path)
    assert ".lock" in str(caught.value)
