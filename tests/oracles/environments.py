"""Environments of the judging programs: built once below `.oracles/`, built anew when their requirements change."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FOLDER = ROOT / ".oracles"

# What is installed behind the requirements file of the same name.
PROGRAMS = {
    "finn-plus": ("finn-plus", "1.6.1", ("--no-deps",)),
    "finn-base": ("finn-base", "0.0.3", ("--no-build-isolation",)),
}


class Refused(Exception):
    """A judging program could not be installed, or ended with an error; the message holds its last words."""


def environment(name: str) -> Path:
    """The interpreter of program `name`'s environment, which is built where it is missing or out of date."""
    folder, wanted = FOLDER / name, HERE / f"{name}.txt"
    program, version, options = PROGRAMS[name]
    stamp = hashlib.sha256(wanted.read_bytes() + f"{program}=={version} {sys.version}".encode()).hexdigest()
    python, ready = folder / "bin" / "python", folder / "ready"
    if not (ready.is_file() and ready.read_text() == stamp):
        print(f"building the environment of {program} {version}", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*install, "-r", str(wanted)], ROOT)
        _run([*install, *options, f"{program}=={version}"], ROOT)
        ready.write_text(stamp)
    return python


def judge(name: str, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Have program `name` do a job in `folder`, which is made; its answer.

    Raises:
        Refused: it ended with an error.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "job.json"
    file.write_text(json.dumps(job))
    script = HERE / f"in_{name.replace('-', '_')}.py"
    _run([str(environment(name)), "-W", "ignore", str(script), str(file)], folder)
    answer: dict[str, Any] = json.loads((folder / "answer.json").read_text())
    return answer


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused("\n".join((done.stderr or done.stdout).strip().splitlines()[-15:]))
