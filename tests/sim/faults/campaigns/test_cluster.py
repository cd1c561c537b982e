"""Campaigns on several processes and on a Dask cluster: the same figures, whoever dies on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bnnflow import CHECK_FAILED, TOOL_MISSING, Problem
from bnnflow.sim.faults import Campaign, Grid, Plan, Rates, Store, Subject, Workers
from bnnflow.sim.faults.campaigns import workers as module
from tests.places import ROOT
from tests.sim.faults.fault_graphs import cnn, pixels

distributed = pytest.importorskip("distributed", reason="pip install 'bnnflow[dask]'")


def campaign(store: Store, workers: Workers, maps: int = 30) -> Campaign:
    graph = cnn()
    images = pixels(1, graph, 200)
    subject = Subject(graph, images, np.arange(200) % 3)
    points = Grid([Rates.of(0.01), Rates.of(0.1)], layers=("all", "conv2")).points(graph)
    return Campaign(subject, points, Plan(maps), store, workers)


def start(*arguments: str) -> subprocess.Popen[bytes]:
    # Workers import the tests' network from nowhere: they get it with their tasks.
    return subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and two workers, each a process of its own; the first process is the scheduler."""
    file = tmp_path / "scheduler.json"
    quiet = ("--no-dashboard",)
    started = [start("distributed.cli.dask_scheduler", "--port", "0", "--scheduler-file", str(file), *quiet)]
    try:
        end = time.monotonic() + 60
        while not file.exists() and time.monotonic() < end:
            time.sleep(0.1)
        import json

        address = json.loads(file.read_text())["address"]
        for _ in range(2):
            started.append(start("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", *quiet))
        with distributed.Client(address, timeout="60s") as client:
            client.wait_for_workers(2, timeout=60)
        yield address, started
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
            process.wait()


def killer(store: Path, process: subprocess.Popen[bytes], after: int) -> threading.Thread:
    """Kills a process, as the system would, once so many trials are kept."""

    def work() -> None:
        import sqlite3

        end = time.monotonic() + 120
        while time.monotonic() < end:
            rows = sqlite3.connect(store).execute("SELECT count(*) FROM trials").fetchone()[0]
            if rows >= after:
                os.kill(process.pid, signal.SIGKILL)
                return
            time.sleep(0.01)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.mark.slow
def test_a_killed_dask_worker_changes_nothing(
    tmp_path: Path, cluster: tuple[str, list[subprocess.Popen[bytes]]]
) -> None:
    address, processes = cluster
    with Store() as alone:
        wanted = [one.facts() for one in campaign(alone, Workers()).run()]
    with Store(tmp_path / "f.sqlite") as store:
        thread = killer(tmp_path / "f.sqlite", processes[1], 20)
        found = [one.facts() for one in campaign(store, Workers(cluster=f"dask:{address}")).run()]
    thread.join(60)
    assert processes[1].wait(10) == -signal.SIGKILL, "one of two workers was killed in the midst of it"
    assert found == wanted


@pytest.mark.slow
def test_a_cluster_that_goes_away_is_a_problem_and_the_rest_is_done_later(
    tmp_path: Path, cluster: tuple[str, list[subprocess.Popen[bytes]]], golden: object
) -> None:
    address, processes = cluster
    with Store() as alone:
        wanted = [one.facts() for one in campaign(alone, Workers(), 60).run()]
    with Store(tmp_path / "f.sqlite") as store:
        killer(tmp_path / "f.sqlite", processes[0], 20)
        with pytest.raises(Problem) as found:
            campaign(store, Workers(cluster=f"dask:{address}"), 60).run()
        assert found.value.status == CHECK_FAILED
        golden("problems/faults_cluster_lost", f"{found.value.what.partition(':')[0]}\n{found.value.hint}")  # type: ignore[operator]
        seen: list[tuple[int, int]] = []
        again = [one.facts() for one in campaign(store, Workers(), 60).run(lambda *done: seen.append(done))]
    assert seen[0][0] >= 20, "what was gathered is kept"
    assert again == wanted


@pytest.mark.slow
def test_a_cluster_that_is_not_there(golden: object) -> None:
    with Store() as store, pytest.raises(Problem) as found:
        campaign(store, Workers(cluster="dask:tcp://127.0.0.1:9")).run()
    assert found.value.status == CHECK_FAILED
    golden("problems/faults_no_cluster", str(found.value))  # type: ignore[operator]


def test_missing_packages_have_status_3(monkeypatch: pytest.MonkeyPatch, golden: object) -> None:
    monkeypatch.setattr(module, "_package", lambda name, install: _missing(name, install))
    with Store() as store, pytest.raises(Problem) as found:
        campaign(store, Workers(cluster="ray")).run()
    assert found.value.status == TOOL_MISSING
    golden("problems/faults_no_joblib", str(found.value))  # type: ignore[operator]


def _missing(name: str, install: str) -> object:
    raise Problem(f"the package {name} is missing", "workers", install, TOOL_MISSING)
