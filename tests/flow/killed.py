"""Builds that are killed: SIGKILL just before the n-th file is moved into place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# Importing torch and Brevitas takes longer than a small build: it is done once, and each build is a fork.
_SCRIPT = """
import json, os, signal, sys
import bnnflow.models.files.export, bnnflow.models.prune.schedule, bnnflow.models.files.saved
import bnnflow.models.training.train, bnnflow.flow.show.report
from bnnflow.flow.cli import app as cli

def build(left, arguments):
    replace = os.replace
    def deadly(source, target):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
    os.replace = deadly
    os._exit(cli.run(arguments))

recipe, folders = sys.argv[1], json.loads(sys.argv[2])
statuses = []
for moment, folder in folders.items():
    child = os.fork()
    if not child:
        build(int(moment), ["build", recipe, "--run", folder])
    statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(statuses))
"""


def killed(recipe: Path, folders: Mapping[int, Path]) -> list[int]:
    """Exit status, -9 where it was killed, of a build of a recipe into each folder; by the moment, from 1."""
    command = [sys.executable, "-c", _SCRIPT, str(recipe), json.dumps({m: str(path) for m, path in folders.items()})]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    statuses: list[int] = json.loads(done.stdout.splitlines()[-1])
    return statuses
