"""The packed simulator on an NVIDIA GPU: its kernels against the card's limits, CNV as a whole, faults, `flow speed`.

    PYTHONPATH=src python benchmarks/gpu_engine.py --out FOLDER [--parts check,peaks,...] [--images 4000] [--rehearse]

The limit of population counts: 16 results of popc.b32 a clock on each multiprocessor (compute capability 9.0; CUDA C++
Programming Guide, "Arithmetic Instructions", table of the throughput of native arithmetic instructions), 32 binary
products each. It is measured, too, and the limit that shares are of is the larger of both. Every part writes what it
found to FOLDER/gpu_engine.json and prints it as it goes. `--rehearse` runs on the processor, by the kernels as the
tests compile them, on tiny sizes, and says nothing of speed.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import signal
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from graphs import network

from bnnflow.flow.device.cuda_driver import Driver, Launcher
from bnnflow.flow.device.cuda_kernels import CudaKernels
from bnnflow.flow.device.engine import torch_simulator
from bnnflow.sim.engine.kernels.words import NumpyKernels
from bnnflow.sim.engine.packing import Window
from bnnflow.sim.engine.plan import Planner
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.engine.values import Value
from bnnflow.sim.faults import Point, Rates, Subject, memories
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.ops import Mvau

# (height, width, channels), kernel, filters; conv0 reads bytes.
LAYERS = {
    "conv0": ((32, 32, 3), 3, 64),
    "conv1": ((30, 30, 64), 3, 64),
    "conv2": ((14, 14, 64), 3, 128),
    "conv3": ((12, 12, 128), 3, 128),
    "conv4": ((5, 5, 128), 3, 256),
    "conv5": ((3, 3, 256), 3, 256),
    "dense0": ((1, 1, 256), 1, 512),
    "dense1": ((1, 1, 512), 1, 512),
}
TILES: tuple[dict[str, int], ...] = (
    {"PLACES": 16, "TILES": 2},
    {"PLACES": 8, "TILES": 1},
    {"PLACES": 32, "TILES": 4},
    {"PLACES": 16, "TILES": 2, "STEPS": 8},
    {"PLACES": 16, "TILES": 2, "UNROLL": 1},
)
SECONDS = {"check": 60, "peaks": 40, "layers": 60, "network": 60, "int8": 30, "speed": 60, "faults": 60}

PEAKS = r"""
struct Peak { int rounds, seed; int *made; };

extern "C" __global__ void popc(const Peak p) {
    unsigned x[16];
    for (int k = 0; k < 16; ++k) x[k] = threadIdx.x * 77 + k;
#pragma unroll 4
    for (int i = 0; i < p.rounds; ++i)
#pragma unroll
        for (int k = 0; k < 16; ++k) x[k] = __popc(x[k] ^ p.seed);
    int sum = 0;
    for (int k = 0; k < 16; ++k) sum += x[k];
    p.made[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

#define PRODUCTS(name, text, KIND)                                                                              \
    extern "C" __global__ void name(const Peak p) {                                                             \
        int c[8][4] = {};                                                                                       \
        KIND a = threadIdx.x * 77 + p.seed, b = threadIdx.x * 13 + p.seed;                                      \
        for (int i = 0; i < p.rounds; ++i)                                                                      \
            _Pragma("unroll") for (int k = 0; k < 8; ++k) asm volatile(text                                     \
                "{%0,%1,%2,%3}, {%4,%5,%4,%5}, {%6,%6}, {%0,%1,%2,%3};"                                         \
                : "+r"(c[k][0]), "+r"(c[k][1]), "+r"(c[k][2]), "+r"(c[k][3]) : "r"(a), "r"(b), "r"(a));         \
        int sum = 0;                                                                                            \
        for (int k = 0; k < 32; ++k) sum += c[k / 4][k % 4];                                                    \
        p.made[blockIdx.x * blockDim.x + threadIdx.x] = sum;                                                    \
    }
PRODUCTS(tensor_and, "mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc ", unsigned)
PRODUCTS(tensor_xor, "mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.xor.popc ", unsigned)
PRODUCTS(tensor_int8, "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 ", unsigned)
"""
# What a thread of each kernel makes in a round: products of bits, or of bytes.
A_ROUND = {"popc": 16 * 32, "tensor_and": 8 * 16 * 8 * 8, "tensor_xor": 8 * 16 * 8 * 8, "tensor_int8": 8 * 16 * 8}


class Peak(ctypes.Structure):
    """`struct Peak`."""

    _fields_ = (("rounds", ctypes.c_int), ("seed", ctypes.c_int), ("made", ctypes.c_void_p))


@dataclass
class Bench:
    """What is run on, and what was found."""

    out: Path
    images: int
    rehearse: bool
    found: dict[str, Any] = field(default_factory=dict)
    drivers: dict[tuple[tuple[str, int], ...], Launcher] = field(default_factory=dict)
    folder: Path = Path()

    @property
    def device(self) -> torch.device:
        """Where tensors lie."""
        return torch.device("cpu" if self.rehearse else "cuda")

    def launcher(self, **macros: int) -> Launcher:
        """The kernels of the simulator with some tile sizes."""
        key = tuple(sorted(macros.items()))
        if key not in self.drivers:
            if self.rehearse:
                from tests.cuda_host import Host, library

                self.drivers[key] = Host(library(self.folder, *(f"-D{k}={v}" for k, v in key)), (9, 0))
            else:
                start = time.perf_counter()
                driver = Driver.found(**macros)
                assert driver is not None, "NVRTC or the driver cannot be loaded"
                print(f"  kernels compiled for {macros} in {time.perf_counter() - start:.2f} s", flush=True)
                self.drivers[key] = driver
        return self.drivers[key]

    def kernels(self, tensor_cores: bool, **macros: int) -> CudaKernels:
        """The simulator's kernels with some tile sizes."""
        sizes = {key.lower(): value for key, value in macros.items() if key in ("PLACES", "TILES")}
        return CudaKernels(self.device, 2**20, self.launcher(**macros), tensor_cores, **sizes)

    def simulator(self, graph: Graph, tensor_cores: bool) -> Simulator:
        """The engine as users get it, or with population counts."""
        if not self.rehearse and tensor_cores:
            return torch_simulator(graph, "cuda")
        kernels = self.kernels(tensor_cores)
        return Simulator(graph, "cuda", 1, kernels, Planner(graph, kernels, (graph.output,)).steps(), 16_384)

    def wait(self) -> None:
        """Until the GPU is done."""
        if not self.rehearse:
            torch.cuda.synchronize()

    def seconds(self, run: Callable[[], object], calls: int = 10, rounds: int = 7) -> float:
        """Of one call on the GPU: median over replays of a graph of several calls."""
        if self.rehearse:
            start = time.perf_counter()
            run()
            return time.perf_counter() - start
        run()
        self.wait()
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            for _ in range(calls):
                run()
        taken = []
        for _ in range(rounds):
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            captured.replay()
            last.record()
            last.synchronize()
            taken.append(first.elapsed_time(last) / 1e3 / calls)
        return median(taken)

    def wall(self, run: Callable[[], object], rounds: int = 7) -> float:
        """Seconds of one call, all in all: median after one to warm up."""
        run()
        taken = []
        for _ in range(1 if self.rehearse else rounds):
            self.wait()
            start = time.perf_counter()
            run()
            self.wait()
            taken.append(time.perf_counter() - start)
        return median(taken)

    def note(self, part: str, values: dict[str, Any]) -> None:
        """Keep and write what a part found."""
        self.found.setdefault(part, {}).update(values)
        (self.out / "gpu_engine.json").write_text(json.dumps(self.found, indent=1))

    @property
    def limit(self) -> float:
        """Binary products per second by population counts; of an H100 at 1,980 MHz where none was measured."""
        return float(self.found.get("peaks", {}).get("limit", 16 * 132 * 1.98e9 * 32))


def check(bench: Bench) -> None:
    """Random layers of awkward sizes: the same bits as numpy, in every tile size, on tensor cores and without."""
    rng = np.random.default_rng(0)
    numpy, wrong, checked = NumpyKernels(), 0, 0
    shapes = [
        ((7, 6, c), k, f, s) for c, f in ((1, 3), (64, 64), (70, 130), (200, 65)) for k, s in ((1, 1), (3, 1), (3, 2))
    ]
    shapes += [((1, 1, c), 1, f, 1) for c, f in ((256, 512), (5000, 70), (31, 1))] + [((3, 3, 640), 3, 5, 1)]
    for size, kernel, filters, stride in shapes[:6] if bench.rehearse else shapes:
        window = Window(*size, (kernel, kernel), (stride, stride))
        count = 2 if bench.rehearse else 37
        weight = rng.integers(0, 2, (filters, kernel, kernel, size[2])).astype(np.uint8)
        classes = rng.integers(0, 3, (window.rows, window.columns))
        bounds = window.fan_in // 2 + rng.integers(-5, 6, (3, filters))
        bits = rng.integers(0, 2**64, (count, *size[:2], window.words), dtype=np.uint64)
        if size[2] % 64:
            bits[..., -1] &= np.uint64(2 ** (size[2] % 64) - 1)
        shift, near = rng.integers(-50, 50, filters), rng.integers(-3000, 3000, filters)
        bytes_ = rng.integers(0, 256, (count, *size)).astype(np.uint8)
        signed = rng.integers(-128, 128, weight.shape).astype(np.int8)
        calls = {
            "bits": (lambda on: on.xnor_bits(window, weight, bounds, classes), bits),  # noqa: B023
            "bits, one class": (lambda on: on.xnor_bits(window, weight, bounds[:1], 0 * classes), bits),  # noqa: B023
            "sums": (lambda on: on.xnor_sums(window, weight, -3, shift), bits),  # noqa: B023
            "bits of bytes": (lambda on: on.dot_bits(window, signed, 0, near), bytes_),  # noqa: B023
            "sums of bytes": (lambda on: on.dot_sums(window, signed, 0), bytes_),  # noqa: B023
            "pool": (lambda on: on.pool(window), bits),  # noqa: B023
        }
        for what, (make, x) in calls.items():
            wanted = np.asarray(make(numpy)(x))
            for macros in TILES[:1] if bench.rehearse else TILES:
                for cores in (True, False):
                    made = make(bench.kernels(cores, **macros))(x).cpu().numpy()
                    made = made.view(np.uint64) if wanted.dtype == np.uint64 else made
                    checked += 1
                    if not np.array_equal(made.reshape(wanted.shape), wanted):
                        wrong += 1
                        print(f"  DIFFERS: {what}, {macros} {size} kernel {kernel} {filters} filters, cores {cores}")
    print(f"random layers: {wrong} of {checked} differ from numpy's", flush=True)
    bench.note("check", {"layers": checked, "wrong": wrong})


def clock() -> float | None:
    """MHz of the multiprocessors, as nvidia-smi says."""
    command = ["nvidia-smi", "--query-gpu=clocks.sm", "--format=csv,noheader,nounits"]
    try:
        return float(subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.split()[0])
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return None


def peaks(bench: Bench) -> None:
    """What the card counts and multiplies in registers alone, and by formula."""
    if bench.rehearse:
        return
    driver = Driver.found(PEAKS, tuple(A_ROUND))
    assert driver is not None
    card = torch.cuda.get_device_properties(0)
    blocks, threads = 8 * card.multi_processor_count, 256
    made = torch.empty(blocks * threads, dtype=torch.int32, device="cuda")
    rates = {}
    for name, products in A_ROUND.items():
        peak = Peak(2000, 12345, made.data_ptr())

        def run(name: str = name, peak: Peak = peak) -> None:
            driver.launch(name, (blocks, 1), peak, threads)

        rates[name] = blocks * threads * peak.rounds * products / bench.seconds(run, 2)
    for _ in range(60):
        driver.launch("popc", (blocks, 1), Peak(8000, 12345, made.data_ptr()), threads)
    mhz = clock()
    bench.wait()
    formula = 16 * card.multi_processor_count * (mhz or 1980) * 1e6 * 32
    limit = max(formula, rates["popc"])
    facts = {"card": card.name, "multiprocessors": card.multi_processor_count, "mhz": mhz, "formula": formula}
    print(f"{card.name}, {card.multi_processor_count} multiprocessors, {mhz} MHz while counting")
    print(
        f"popcount limit by formula 16 x {card.multi_processor_count} x clock x 32: {formula / 1e12:.1f} T products/s"
    )
    for name, rate in rates.items():
        print(f"  {name:<12} {rate / 1e12:>9.1f} T products/s, {rate / limit:.2f} of the popcount limit", flush=True)
    bench.note("peaks", {**facts, "rates": rates, "limit": limit})


def layers(bench: Bench) -> None:
    """Every layer of CNV over tile sizes."""
    rng, count = np.random.default_rng(0), 1 if bench.rehearse else bench.images
    print(f"{'layer':<8}{'kernel':<8}{'tiles':<42}{'us':>9}{'T products/s':>14}{'of popc limit':>14}")
    for name, (size, kernel, filters) in LAYERS.items():
        window = Window(*size, (kernel, kernel), (1, 1))
        products = count * window.rows * window.columns * filters * window.fan_in
        classes, rows = np.zeros((window.rows, window.columns), np.int64), []
        for macros in TILES[:1] if bench.rehearse else TILES:
            for cores in (True, False):
                kernels = bench.kernels(cores, **macros)
                if name == "conv0":
                    if cores:
                        continue
                    weight = rng.choice(np.array([-1, 1], np.int8), (filters, kernel, kernel, size[2]))
                    run = kernels.dot_bits(window, weight, 0, rng.integers(-99, 99, filters))
                    x = torch.randint(0, 256, (count, *size), dtype=torch.uint8, device=bench.device)
                else:
                    weight = rng.integers(0, 2, (filters, kernel, kernel, size[2])).astype(np.uint8)
                    run = kernels.xnor_bits(window, weight, np.full((1, filters), window.fan_in // 2), classes)
                    shape = (count, size[0], size[1], window.words)
                    x = torch.randint(-(2**63), 2**63 - 1, shape, dtype=torch.int64, device=bench.device)
                taken = bench.seconds(lambda: run(x))  # noqa: B023
                how, rate = "dp4a" if name == "conv0" else "tensor" if cores else "popc", products / taken
                tiles = ", ".join(f"{k} {v}" for k, v in macros.items())
                share = rate / bench.limit
                print(f"{name:<8}{how:<8}{tiles:<42}{1e6 * taken:>9.1f}{rate / 1e12:>14.2f}{share:>14.3f}", flush=True)
                rows.append({"kernel": how, **macros, "seconds": taken, "products_per_second": rate, "share": share})
        bench.note("layers", {name: rows})


def whole(bench: Bench) -> None:
    """CNV from pixels to scores."""
    graph = network("CNV")
    binary = sum(n.op.weight.size * np.prod(graph.types[n.name].shape[:-1]) for n in graph.nodes if _is_binary(n.op))
    limit = bench.limit / binary
    print(f"CNV: {binary / 1e6:.2f} M binary products per image; popcount limit {limit:,.0f} images/s")
    for count in (3,) if bench.rehearse else (bench.images, 4 * bench.images):
        images = np.random.default_rng(0).integers(0, 256, (count, *graph.input_type.shape)).astype(np.uint8)
        wanted = Simulator.of(graph).scores(images)
        for cores in (True, False):
            engine = bench.simulator(graph, cores)
            how = f"{'tensor' if cores else 'popc'}, {count} images"
            differ = int(np.count_nonzero(engine.scores(images) != wanted))
            taken = bench.wall(lambda: engine.scores(images))  # noqa: B023
            facts: dict[str, Any] = {"images": count, "block": engine.block, "differ": differ, "scores": wanted.size}
            facts |= {"images_per_second": count / taken, "share": count / taken / limit}
            print(f"{how}, block {engine.block}: {differ} of {wanted.size} class sums differ")
            print(f"  numpy to numpy {count / taken:,.0f} images/s, {count / taken / limit:.3f} of the popcount limit")
            x = torch.from_numpy(images).to(bench.device)
            native = [step for step in engine.steps if step.native]

            def on_device(native: Any = native, x: Any = x) -> None:
                values = {graph.input: Value(graph.input_type, None, x)}
                for step in native:
                    values[step.makes] = step.run(*(values[name] for name in step.reads))

            taken = bench.wall(on_device)
            facts |= {"on_device": count / taken, "on_device_share": count / taken / limit}
            print(f"  on the device alone {count / taken:,.0f} images/s, {count / taken / limit:.3f} of the limit")
            values, steps = {graph.input: Value(graph.input_type, None, x)}, {}
            for step in native:
                read = [values[name] for name in step.reads]
                values[step.makes] = step.run(*read)
                taken = bench.wall(lambda: step.run(*read), 5)  # noqa: B023
                steps["+".join(step.covers)] = taken
            facts["steps"] = steps
            print("  ms a step: " + ", ".join(f"{name} {1e3 * taken:.2f}" for name, taken in steps.items()))
            taken = bench.wall(lambda: torch.from_numpy(images).to(bench.device), 5)  # noqa: B023
            print(f"  images to the device {1e3 * taken:.2f} ms; one image alone ", end="")
            facts["to_device"], facts["latency"] = taken, bench.wall(lambda: engine.scores(images[:1]), 30)  # noqa: B023
            print(f"{1e3 * facts['latency']:.3f} ms", flush=True)
            bench.note("network", {how: facts})


def _is_binary(op: object) -> bool:
    return isinstance(op, Mvau) and op.xnor


def int8(bench: Bench) -> None:
    """The products alone on bytes, by the library that torch calls; unfolding, thresholds and packing not counted."""
    if bench.rehearse:
        return
    count = 1000
    for name, (size, kernel, filters) in list(LAYERS.items())[1:]:
        window = Window(*size, (kernel, kernel), (1, 1))
        places = count * window.rows * window.columns
        x = torch.randint(-1, 2, (places, window.fan_in), dtype=torch.int8, device="cuda")
        w = torch.randint(-1, 2, (filters, window.fan_in), dtype=torch.int8, device="cuda")
        try:
            taken = bench.seconds(lambda: torch._int_mm(x, w.t()), 5)  # noqa: B023
        except RuntimeError as error:
            print(f"  {name}: {error}")
            continue
        rate = places * filters * window.fan_in / taken
        print(
            f"{name:<8} {count} images {1e6 * taken:>9.1f} us, {rate / 1e12:.1f} T products/s, "
            f"{rate / bench.limit:.3f} of the popcount limit"
        )
        bench.note("int8", {name: {"images": count, "seconds": taken, "products_per_second": rate}})


def speed(bench: Bench) -> None:
    """The rows of `flow speed` without Brevitas and the QONNX file."""
    from bnnflow.flow.graphs.speed import network_rows
    from bnnflow.flow.run.typed_json import to_json

    graph = network("CNV")
    images = np.random.default_rng(0).integers(0, 256, (bench.images, *graph.input_type.shape)).astype(np.uint8)
    start = time.perf_counter()
    rows, missing = network_rows(None, graph, images[:20] if bench.rehearse else images, 1)
    taken = time.perf_counter() - start
    for row in rows:
        print(
            f"  {row.engine}: {row.images_per_second:,.0f} images/s, {row.latency_ms:.3f} ms, on "
            f"{row.images} of {row.asked} images, {row.compared} compared, {row.inexact or 'exact'}"
        )
    print(f"flow speed's rows in {taken:.1f} s", flush=True)
    bench.note("speed", {"seconds": taken, "rows": to_json(rows), "missing": to_json(missing)})


def faults(bench: Bench) -> None:
    """Trials of a fault campaign on the device and on the processor: the same outcomes."""
    graph = network("CNV")
    count = 2 if bench.rehearse else 1000
    images = np.random.default_rng(0).integers(0, 256, (count, *graph.input_type.shape)).astype(np.uint8)
    labels = np.arange(count) % 10
    here = Subject(graph, images, labels)
    there = Subject(graph, images, labels, lambda graph: bench.simulator(graph, True))
    names = [memory.layer for memory in memories(graph)]
    wrong, trials, times = 0, 0, {}
    for layers_ in [(name,) for name in (names[1:2] if bench.rehearse else names)] + [()]:
        point = Point("weights", layers_, "flip", Rates.of(1e-2))
        wanted, made = ([subject.trial(point, trial) for trial in range(3)] for subject in (here, there))
        wrong, trials = wrong + sum(a != b for a, b in zip(wanted, made, strict=True)), trials + 3
        mine, other = (bench.wall(lambda s=s, p=point: s.trial(p, 3), 3) for s in (there, here))
        times["+".join(layers_) or "all"] = {"device": mine, "processor": other}
        print(
            f"  faults in {layers_ or 'all'}: {1e3 * mine:.2f} ms a trial, processor {1e3 * other:.2f} ms", flush=True
        )
    print(f"{wrong} of {trials} outcomes differ")
    bench.note("faults", {"wrong": wrong, "trials": trials, "times": times})


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in what takes longer."""

    def stop(number: int, frame: object) -> None:
        raise TimeoutError(f"longer than {seconds} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def main() -> None:
    """Run the parts, each on its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--parts", default=",".join(SECONDS))
    parser.add_argument("--rehearse", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    parts = {"check": check, "peaks": peaks, "layers": layers, "network": whole, "int8": int8, "speed": speed}
    parts["faults"] = faults
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(given.out, given.images, given.rehearse, folder=Path(folder))
        for name in given.parts.split(","):
            print(f"\n== {name}", flush=True)
            start = time.perf_counter()
            try:
                with limited(SECONDS[name]):
                    parts[name](bench)
            except Exception as error:
                traceback.print_exc()
                bench.note("failed", {name: f"{type(error).__name__}: {error}"[:2000]})
            bench.note("seconds", {name: time.perf_counter() - start})
            print(f"-- {name} took {time.perf_counter() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main()
