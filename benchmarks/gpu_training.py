"""A training step of CNV on a GPU: its time, its bits, what it learns, and a training as long as there is time.

    python benchmarks/gpu_training.py --out FOLDER [--data FOLDER] [--train-minutes M] [--parts steps,bits] [--rehearse]

`--data`: a folder of cifar10_*.npz (those whose names have "test" are tested on); without it images are drawn.
`--rehearse`: the same on the processor, tiny. Each part's figures are printed and written to FOLDER/PART.json when it
ends; a part that fails or outlasts its limit is said, and the next one goes on.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from bnnflow.models.data.cifar import _from_npz
from bnnflow.models.files.pack import pack_network
from bnnflow.models.files.packed_file import Provenance, write_packed
from bnnflow.models.files.saved import save_network
from bnnflow.models.networks.network import Network, NetworkSpec
from bnnflow.models.networks.zoo import zoo_spec
from bnnflow.models.training import train as training
from bnnflow.models.training.batchnorm import reestimate
from bnnflow.models.training.evaluate import accuracy, digest, predict
from bnnflow.models.training.feed import HostFeed
from bnnflow.models.training.train import train
from bnnflow.models.training.train_spec import TrainSpec

BATCH = 256
CNV = zoo_spec("cnv", (3, 32, 32), 10)
RECIPE = TrainSpec(76, BATCH, 0.015, 0, warmup_epochs=3, augment="crop-flip", device="cuda")
VGG = zoo_spec("vgg-small", (3, 32, 32), 10, padding=0, estimator="polynomial")
LONG = {
    "cnv": (CNV, RECIPE),
    "vgg-small": (VGG, replace(RECIPE, learning_rate=0.003, precision="bfloat16")),
}
LIMITS = {"steps": 100, "bits": 90, "learning": 50, "evaluation": 40}


class Stop(Exception):
    """Interrupts a training."""


@dataclass(frozen=True)
class Setting:
    """What the parts work on."""

    shape: NetworkSpec
    spec: TrainSpec
    images: np.ndarray
    labels: np.ndarray
    held: tuple[np.ndarray, np.ndarray]
    out: Path
    minutes: float
    tiny: bool
    name: str = "cnv"

    def network(self, seed: int = 0) -> Network:
        """Untrained."""
        return Network(self.shape, seed)

    def part(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The first images, and their labels; a sixteenth of them where the setting is tiny."""
        count = max(40, count // 16) if self.tiny else count
        return self.images[:count], self.labels[:count]


@contextmanager
def way(name: str) -> Iterator[None]:
    """Within, training goes a way: "host" (batches of the processor, each step waited for), "eager" (batches of the
    device) or "graph" (the one that is taken by itself)."""
    with ExitStack() as stack:
        if name in ("host", "eager"):
            stack.enter_context(mock.patch.object(training, "can_be_replayed", return_value=False))
        if name == "host":
            stack.enter_context(mock.patch.object(training, "make_feed", HostFeed))
            stack.enter_context(mock.patch.object(training, "_LOOK", 1))
        yield


def steps(setting: Setting) -> dict[str, Any]:
    """Milliseconds a step, of whole epochs: everything that training does but checkpoints."""
    rows: dict[str, Any] = {}
    for precision in ("float32", "bfloat16"):
        for name in ("graph", "eager", "host"):
            epochs = 2 if setting.tiny else 5 if name == "graph" else 3
            spec = replace(setting.spec, epochs=epochs, warmup_epochs=1, precision=precision)
            row = f"{precision} {name}"
            rows[row] = tried(lambda name=name, spec=spec: epoch_times(setting, spec, name))  # type: ignore[misc]
            say(row, rows[row])
    if not setting.tiny:
        for precision in ("float32", "bfloat16"):
            spec = replace(setting.spec, precision=precision)
            rows[f"kernels, {precision}"] = tried(lambda spec=spec: kernels(setting, spec))  # type: ignore[misc]
    return rows


def epoch_times(setting: Setting, spec: TrainSpec, name: str) -> dict[str, Any]:
    """Of a training that goes the way `name`."""
    images, labels = setting.part(50 * BATCH)
    count = -(-len(images) // spec.batch)
    with way(name):
        history = train(setting.network(), images, labels, spec)
    seconds = [row["seconds"] for row in history]
    return {
        "ms a step, median of the later epochs": round(1e3 * statistics.median(seconds[1:]) / count, 3),
        "ms a step, least": round(1e3 * min(seconds[1:]) / count, 3),
        "first epoch, s": round(seconds[0], 3),
        "losses": [row["loss"] for row in history],
    }


def tried(what: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What it gives, or how it failed; a time limit goes through."""
    try:
        return what()
    except TimeoutError:
        raise
    except Exception as error:
        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {error}"}


def kernels(setting: Setting, spec: TrainSpec) -> dict[str, Any]:
    """Milliseconds of single replays by events, and where the time of 20 goes, by kernel."""
    from torch.profiler import ProfilerActivity, profile

    images, labels = setting.part(20 * BATCH)
    kept: list[Any] = []
    replayed = training.Replayed

    def keep(update: Any) -> Any:
        kept.append(replayed(update))
        return kept[-1]

    times: list[float] = []
    table: list[tuple[str, float, int]] = []

    def look(step: int, _total: int, _metrics: dict[str, float]) -> None:
        """At the end of an epoch the network is still where the recording knows it."""
        if step % 20 or times:
            return
        (graph,) = kept[0]._recorded.values()
        for _ in range(20):
            graph[2]()
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(201)]
        marks[0].record()
        for mark in marks[1:]:
            graph[2]()
            mark.record()
        torch.cuda.synchronize()
        times.extend(a.elapsed_time(b) for a, b in pairwise(marks))
        tried(lambda: by_kernel(graph[2]))

    def by_kernel(replay: Callable[[], None]) -> dict[str, Any]:
        with profile(activities=[ProfilerActivity.CUDA]) as seen:
            for _ in range(20):
                replay()
            torch.cuda.synchronize()
        found = [(row.key[:110], row.self_device_time_total / 20e3, row.count // 20) for row in seen.key_averages()]
        table.extend(sorted(found, key=lambda row: -row[1])[:25])
        return {}

    with mock.patch.object(training, "Replayed", keep):
        train(setting.network(), images, labels, replace(spec, epochs=1, warmup_epochs=0), progress=look)
    made = {
        "ms a replay, median of 200": round(statistics.median(times), 4),
        "ms a replay, least": round(min(times), 4),
        "GPU memory, GB": round(torch.cuda.max_memory_allocated() / 1e9, 2),
        "ms by kernel": {f"{name} x{count}": round(ms, 4) for name, ms, count in table},
    }
    say(f"replay, {spec.precision}", {key: value for key, value in made.items() if key != "ms by kernel"})
    for name, ms, count in table[:12]:
        print(f"    {ms:8.4f} ms x{count:<4} {name}", flush=True)
    return made


def bits(setting: Setting) -> dict[str, Any]:
    """Whether two runs, and one that was interrupted and resumed, end in the same bits; two sizes of batch."""
    made: dict[str, Any] = {}
    kinds: dict[str, dict[str, Any]] = {
        "adam float32": {},
        "adam bfloat16": {"precision": "bfloat16"},
        "sgd": {"optimizer": "sgd", "momentum": 0.9},
        "bop e5m2": {"optimizer": "bop", "momentum_format": "e5m2"},
        "drawn weights, eager": {"weight_sign": "stochastic"},
    }
    for name, options in kinds.items():
        spec = replace(setting.spec, epochs=3, warmup_epochs=1, **options)
        made[name] = tried(lambda spec=spec: repeated(setting, spec))  # type: ignore[misc]
        say(name, made[name])
    return made


def repeated(setting: Setting, spec: TrainSpec) -> dict[str, Any]:
    """Of one kind of training."""
    images, labels = setting.part(1021)
    checkpoint = setting.out / "checkpoint.pt"
    checkpoint.unlink(missing_ok=True)

    def run(stop: int = 0, path: Path | None = None) -> str:
        network = setting.network()

        def progress(_done: int, _total: int, metrics: dict[str, float]) -> None:
            if metrics["epoch"] == stop:
                raise Stop

        try:
            history = train(network, images, labels, spec, path, progress)
        except Stop:
            return "stopped"
        return digest(network) + str([row["loss"] for row in history])

    first = run()
    made = {"twice": run() == first, "resumed": run(2, checkpoint) == "stopped" and run(0, checkpoint) == first}
    checkpoint.unlink(missing_ok=True)
    return made


def learning(setting: Setting) -> dict[str, Any]:
    """Accuracy on held-out images after 3 epochs, by both ways, of three seeds."""
    images, labels = setting.part(10_000)
    made: dict[str, Any] = {}
    for name in ("graph", "eager"):
        found = []
        for seed in range(1 if setting.tiny else 3):
            network = setting.network(seed)
            with way(name):
                train(network, images, labels, replace(setting.spec, epochs=3, warmup_epochs=1, seed=seed))
            network.to(training.device_of(setting.spec.device))
            reestimate(network, images[:2000], "crop-flip", seed)
            found.append(round(accuracy(network, *setting.held), 4))
        made[name] = found
        say(name, found)
    return made


def evaluation(setting: Setting) -> dict[str, Any]:
    """Seconds of predicting and of measuring norms, and how much the batch changes the scores."""
    network = setting.network()
    images, _ = setting.part(10_000)
    network.to(training.device_of(setting.spec.device))
    made: dict[str, Any] = {}
    for name, batch in (("by itself", None), ("100 at a time", 100)):
        reestimate(network, images[:100], batch=batch)
        began = time.perf_counter()
        reestimate(network, images, batch=batch)
        norms = time.perf_counter() - began
        began = time.perf_counter()
        scores = predict(network, images, batch, quick=True)
        made[name] = {"norms, s": round(norms, 3), "predict, s": round(time.perf_counter() - began, 3)}
        made[name]["classes"] = np.bincount(scores.argmax(1), minlength=10).tolist()
        say(name, made[name])
    return made


def long(setting: Setting) -> dict[str, Any]:
    """The recipe's training with as many epochs as fit, from scratch; the weights are written."""
    images, labels = setting.images, setting.labels
    trial = train(setting.network(), images, labels, replace(setting.spec, epochs=3, warmup_epochs=0))
    epoch = statistics.median(row["seconds"] for row in trial[1:])
    epochs = 3 if setting.tiny else max(3, int(setting.minutes * 60 * 0.95 / epoch))
    say("training", f"{epochs} epochs of {len(images)} images, {epoch:.3f} s each")
    network = setting.network()

    def progress(_done: int, _total: int, metrics: dict[str, float]) -> None:
        shown.append(metrics)

    shown: list[dict[str, float]] = []
    began = time.perf_counter()
    history: list[dict[str, float]] = []
    try:
        history = train(network, images, labels, replace(setting.spec, epochs=epochs), progress=progress)
    finally:  # whatever there is when the time is over is written
        seconds = time.perf_counter() - began
        network.to(training.device_of(setting.spec.device))
        reestimate(network, images, setting.spec.augment, 0, most=10_000)
        right = accuracy(network, *setting.held)
        network.to("cpu")
        save_network(network, setting.out / f"{setting.name}-weights.pt")
        # a bit per weight: small enough to be fetched from anywhere
        about = Provenance("", "cifar10", 0, epochs, seconds, "", right, len(setting.held[0]), "base", {})
        write_packed(pack_network(network, about), setting.out / f"{setting.name}.bnn")
        (setting.out / f"{setting.name}-history.json").write_text(json.dumps(history or shown[-1:]))
    last = history[-1] if history else shown[-1]
    return {"epochs": epochs, "images": len(images), "seconds": seconds, "last": last, "held-out accuracy": right}


def say(name: str, figures: object) -> None:
    """A line of a part's figures."""
    print(f"  {name}: {json.dumps(figures)}", flush=True)


def attempt(name: str, part: Callable[[Setting], dict[str, Any]], setting: Setting, limit: float) -> None:
    """Run a part, within so many seconds, and write what it found."""

    def ring(*_: object) -> None:
        raise TimeoutError(f"longer than {limit:.0f} s")

    print(f"{name} ...", flush=True)
    began = time.perf_counter()
    signal.signal(signal.SIGALRM, ring)
    signal.alarm(max(1, int(limit)))
    try:
        made = part(setting)
    except Exception as error:
        traceback.print_exc()
        made = {"failed": f"{type(error).__name__}: {error}"}
    finally:
        signal.alarm(0)
    made["part took, s"] = round(time.perf_counter() - began, 2)
    (setting.out / f"{name}.json").write_text(json.dumps(made, indent=1))
    print(f"{name}: {made['part took, s']} s", flush=True)


def drawn(count: int, shape: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of ten patterns, much noise upon them, and which pattern it is."""
    patterns = np.random.default_rng(0).integers(0, 256, (10, shape[0], -(-shape[1] // 4), -(-shape[2] // 4)))
    patterns = patterns.repeat(4, 2).repeat(4, 3)[:, :, : shape[1], : shape[2]]
    rng = np.random.default_rng([seed, 1])
    labels = rng.integers(0, 10, count).astype(np.uint8)
    noise = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
    return (patterns[labels] * 0.25 + noise * 0.75).astype(np.uint8), labels


def data(folder: Path | None, shape: tuple[int, ...], tiny: bool) -> tuple[Any, Any, tuple[np.ndarray, np.ndarray]]:
    """Images and labels to train on, and some that are held out."""
    if folder is None:
        images, labels = drawn(2000 if tiny else 20_000, shape, 0)
        return images, labels, drawn(200 if tiny else 2000, shape, 1)
    parts = {path.name: _from_npz(path.read_bytes(), path) for path in sorted(folder.glob("cifar10_*.npz"))}
    tested = [part for name, part in parts.items() if "test" in name]
    rest = [part for name, part in parts.items() if "test" not in name]
    images, labels = (np.concatenate([part[index] for part in rest]) for index in (0, 1))
    if tested:
        return images, labels, tested[0]
    return images[:-1000], labels[:-1000], (images[-1000:], labels[-1000:])


def main() -> None:
    """Run the parts that are asked for."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--train-minutes", type=float, default=0.0)
    arguments.add_argument("--train", choices=LONG, default="cnv")
    arguments.add_argument("--parts", default=",".join(LIMITS))
    arguments.add_argument("--rehearse", action="store_true")
    given = arguments.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    shape, spec = LONG[given.train]
    if given.rehearse:
        torch.set_num_threads(1)
        # pixels of CIFAR-10's shape, a few channels
        shape = replace(CNV, channels=(8, 8, 8, 8, 8, 8), hidden=(16, 16))
        spec = replace(RECIPE, device="cpu", batch=64)
        print(f"a rehearsal on the processor, torch {torch.__version__}", flush=True)
    else:
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    setting = Setting(
        shape,
        spec,
        *data(given.data, shape.input_shape, given.rehearse),
        given.out,
        given.train_minutes,
        given.rehearse,
        given.train,
    )
    print(f"{len(setting.images)} images{'' if given.data else ', drawn'}", flush=True)
    parts = {"steps": steps, "bits": bits, "learning": learning, "evaluation": evaluation}
    for name in filter(None, given.parts.split(",")):
        attempt(name, parts[name], setting, LIMITS[name])
    if given.train_minutes:
        attempt("long", long, setting, given.train_minutes * 60 + 15)


if __name__ == "__main__":
    sys.exit(main())
