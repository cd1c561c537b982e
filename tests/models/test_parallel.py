"""Two processes compute what one computes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = """\
data: {name: digits, train_images: 256, test_images: 20}
model: {arch: cnn, channels: [8, 8], kernels: 3, pools: [2, 1], hidden: [16]}
train: {epochs: 3, batch: 64, learning_rate: 0.002, threads: 1, device: cpu}
prune: {enabled: false}
"""


def curve(tmp_path: Path, name: str, *launcher: str) -> list[float]:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "net.yaml").write_text(RECIPE)
    command = [sys.executable, "-m", *launcher, "bnnflow", "build", "net.yaml", "--to", "train"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=folder)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((folder / "runs" / "net" / "manifest.json").read_text())
    return [row["loss"] for row in manifest["stages"]["train"]["facts"]["history"]]


THREADS = """\
from pathlib import Path
from unittest import mock
from bnnflow.flow.run import processes

with mock.patch.object(processes, "count", lambda: 2), processes.join_processes():
    import brevitas.nn

    during = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
after = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
print(sum("gloo" in name for name in during), sum("gloo" in name for name in after))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are read from /proc")
def test_no_thread_of_a_group_outlives_it() -> None:
    """One that does ends the process with an abort, once in seven times on a busy machine."""
    alone = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "RANK": "0", "WORLD_SIZE": "1"}
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, env=os.environ | alone)
    assert done.returncode == 0, done.stderr
    during, after = map(int, done.stdout.split())
    assert during > 0 and after == 0


@pytest.mark.slow
def test_two_processes_follow_the_loss_curve_of_one(tmp_path: Path) -> None:
    """To 2 percent in each epoch: sums are rounded in another order, which moves a weight's sign now and then."""
    torchrun = ("torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m")
    alone, together = curve(tmp_path, "one"), curve(tmp_path, "two", *torchrun)
    assert together == pytest.approx(alone, rel=0.02)
    assert together[-1] < together[0]
