"""Every command that writes what it is asked to: refused before the work, never over what is no file."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bnnflow.flow.api import graphs as api_graphs
from bnnflow.flow.run import files as run_files
from bnnflow.flow.run.files import check_file, check_folder, explain, temporary_beside, write_whole
from tests.flow.commands.test_fault_commands import DATA, folder, said

Golden = Callable[[str, str], None]
__all__ = ["folder"]

# Command, and the ending of what it writes; the file's name comes last. "run" is no run: what is wrong with the
# output is said first, before anything is opened that takes time.
FILES: dict[str, tuple[list[str], str]] = {
    "new": (["new", "--force"], ".yaml"),
    "simulate": (["simulate", "net.onnx", *DATA, "--output"], ".npy"),
    "simulate_csv": (["simulate", "net.onnx", *DATA, "--output"], ".csv"),
    "faults_store": (["faults", "net.onnx", *DATA, "--rates", "0.1", "--maps", "2", "--store"], ".sqlite"),
    "save_map": (["faults", "net.onnx", "--rates", "0.1", "--save-map"], ".npz"),
    "save_map_csv": (["faults", "net.onnx", "--rates", "0.1", "--save-map"], ".csv"),
    "criticality": (["criticality", "net.onnx", *DATA, "--layer", "scores", "-o"], ".npz"),
    "sensitivity_csv": (["sensitivity", "net.onnx", *DATA, "--csv"], ".csv"),
    "sensitivity_plot": (["sensitivity", "net.onnx", *DATA, "--plot"], ".svg"),
    "study_plot": (["study", "r.yaml", "--plot"], ".png"),
    "study_markdown": (["study", "r.yaml", "--markdown"], ".md"),
    "rank_csv": (["rank", "r.yaml", "--csv"], ".csv"),
    "rank_plot": (["rank", "r.yaml", "--plot"], ".pdf"),
}
FOLDERS: dict[str, list[str]] = {
    "compile": ["compile", "net.onnx", "-o"],
    "prune": ["prune", "r.yaml", "-o"],
    "prune_planes": ["prune", "r.yaml", "--method", "planes", "--drop", "1", "-o"],
    "sensitivity_store": ["sensitivity", "net.onnx", *DATA, "--store"],
    "study_folder": ["study", "r.yaml", "--folder"],
}


def special(kind: str, ending: str) -> Path:
    """A path that no file may be written to."""
    path = Path(f"out{ending}")
    match kind:
        case "device":
            return Path("/dev/full")
        case "null":
            return Path("/dev/null")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "link":
            Path(f"kept{ending}").write_bytes(b"kept")
            path.symlink_to(f"kept{ending}")
        case "dangling":
            path.symlink_to(f"nowhere{ending}")
        case "device_by_link":
            path.symlink_to("/dev/full")
        case "long":
            return Path("x" * 300 + ending)
        case "below_a_file":
            return Path(f"x.npy/out{ending}")
        case "below_proc":
            return Path(f"/proc/out{ending}")
    return path


@pytest.mark.parametrize("command", FILES)
def test_no_command_writes_over_what_is_no_file(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, ending = FILES[command]
    for kind in ("device", "pipe", "folder", "link"):
        place = folder / kind
        place.mkdir()
        for name in ("net.onnx", "x.npy", "y.npy"):
            shutil.copy(folder / name, place)
        monkeypatch.chdir(place)
        path = special(kind, ending)
        before = path.lstat() if os.path.lexists(path) else None
        text = said(capsys, [*arguments, str(path)], 2)
        assert text.startswith("error: ") and "hint: " in text and "fault in bnnflow" not in text, text
        after = path.lstat() if os.path.lexists(path) else None
        assert (before and (before.st_ino, before.st_mode)) == (after and (after.st_ino, after.st_mode))
        assert not Path(f"nowhere{ending}").exists() and not list(place.glob(".tmp-*"))
        assert not Path(f"kept{ending}").exists() or Path(f"kept{ending}").read_bytes() == b"kept"


@pytest.mark.parametrize("command", [name for name in FILES if name != "new"])
def test_the_ending_says_the_format(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, _ = FILES[command]
    for name in ("out", "out.tar.gz"):
        text = said(capsys, [*arguments, name], 2)
        assert "format" in text and "end it in" in text
        assert not Path(name).exists()


@pytest.mark.parametrize("command", FOLDERS)
def test_no_folder_is_made_where_none_can_be(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("gone").symlink_to("nowhere")
    for name in ("/dev/full", "gone", "x.npy/sub"):
        text = said(capsys, [*FOLDERS[command], name], 2)
        assert "hint: " in text and "fault in bnnflow" not in text and "no run folder" not in text, text
    assert not Path("nowhere").exists()


def test_outputs_are_not_inputs(folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    kept = Path("x.npy").read_bytes()
    golden("problems/command_output_is_input", said(capsys, ["simulate", "net.onnx", *DATA, "--output", "x.npy"], 2))
    said(capsys, ["simulate", "net.onnx", *DATA, "--output", "sub/../y.npy"], 2)
    assert Path("x.npy").read_bytes() == kept and not Path("sub").exists()


def test_what_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch, golden: Golden) -> None:
    kinds = ("device", "null", "pipe", "folder", "link", "dangling", "device_by_link", "long", "below_a_file")
    for kind in (*kinds, "below_proc"):
        place = folder / kind
        place.mkdir()
        monkeypatch.chdir(place)
        shutil.copy(folder / "x.npy", place)
        path = special(kind, ".npz")
        with pytest.raises(run_files.Problem) as found:
            check_file(path)
        if kind not in ("long", "null"):
            golden(f"problems/output_{kind}", str(found.value))
        if kind != "below_proc":
            with pytest.raises(run_files.Problem):
                write_whole(path, b"new")
    for name in ("/dev/null", "/dev/full", "x.npy", "x.npy/sub", "/proc/sub", "y" * 300):
        with pytest.raises(run_files.Problem):
            check_folder(Path(name))
    with pytest.raises(run_files.Problem) as found:
        check_file(Path("out.jpg"), (".svg", ".png", ".pdf"))
    golden("problems/output_ending", str(found.value))


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO, errno.EFBIG, errno.ENAMETOOLONG]
)
def test_every_error_of_the_disk_is_the_users(
    number: int, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it comes from, the status is 2, and the old file stays."""

    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number), "disk")

    Path("bits.npz").write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(run_files.os, "replace", fails)
        for name in ("criticality", "save_map"):
            arguments, _ = FILES[name]
            assert explain(OSError(number, ""), Path("bits.npz")).what in said(capsys, [*arguments, "bits.npz"], 2)
    assert Path("bits.npz").read_bytes() == b"old" and not list(folder.glob(".tmp-*"))
    monkeypatch.setattr(api_graphs, "check_folder", fails)
    assert explain(OSError(number, ""), Path("disk")).what in said(capsys, ["compile", "net.onnx"], 2)


def test_a_full_disk_for_what_is_printed(folder: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w") as full:
        program = [sys.executable, "-m", "bnnflow", "ops", "--json"]
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, env=os.environ)
    assert done.returncode == 2 and "the disk is full" in done.stderr and "Traceback" not in done.stderr


def test_names_as_long_as_the_disk_allows(tmp_path: Path) -> None:
    """The temporary name is no longer than the file's own."""
    path = tmp_path / ("x" * 251 + ".npz")
    check_file(path, (".npz",))
    write_whole(path, b"1")
    with temporary_beside(path) as temporary:
        assert temporary.suffix == ".npz"
    assert path.read_bytes() == b"1"


def test_checks_leave_nothing_behind(tmp_path: Path) -> None:
    check_file(tmp_path / "a" / "b" / "out.csv", (".csv",))
    check_folder(tmp_path / "a" / "b")
    (tmp_path / "there").mkdir()
    (tmp_path / "by").symlink_to("there")
    check_folder(tmp_path / "by")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["by", "there"]


def test_a_folder_of_hardware_is_replaced_only_as_it_was_written(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, golden: Golden
) -> None:
    """Not what was changed in it, nor what someone put there, nor a project with a list of files of its own."""
    command = ["rtl", "net.onnx", "--fps", "1000", "-o"]
    said(capsys, [*command, "hw"])
    first = {path: path.read_bytes() for path in sorted(Path("hw").rglob("*")) if path.is_file()}
    Path("hw/difference.vcd").write_text("of a difference that was")
    said(capsys, [*command, "hw"])
    assert {path: path.read_bytes() for path in sorted(Path("hw").rglob("*")) if path.is_file()} == first
    Path("link").symlink_to("hw")
    said(capsys, [*command, "link"])
    assert Path("link").is_symlink() and Path("hw/files.f").is_file() and not list(folder.glob(".tmp-*"))
    monkeypatch.chdir("hw")
    golden("problems/folder_of_the_command", said(capsys, ["rtl", "../net.onnx", "-o", "."], 2))
    monkeypatch.chdir("..")
    with Path("hw/files.f").open("a") as file:
        file.write("mine.sv\n")
    golden("problems/folder_with_a_changed_file", said(capsys, [*command, "hw"], 2))
    assert Path("hw/files.f").read_text().endswith("mine.sv\n")
    Path("hw/files.f").write_bytes(first[Path("hw/files.f")])
    Path("hw/library/mine.sv").write_text("module mine; endmodule\n")
    golden("problems/folder_with_a_foreign_file", said(capsys, [*command, "hw"], 2))
    for name, text in {"files.f": "a.sv\n", "a.sv": "module a; endmodule\n", "manifest.json": "[]"}.items():
        Path("project").mkdir(exist_ok=True)
        Path("project", name).write_text(text)
    golden("problems/folder_of_something_else", said(capsys, [*command, "project"], 2))
    assert Path("project/a.sv").is_file() and not list(folder.glob(".tmp-*"))
