"""A summary as a build of model.yaml leaves it, for the tests of the report."""

from __future__ import annotations

from typing import Any


def _layer(name: str, op: str, shape: str, figures: str, bottleneck: bool = False) -> dict[str, Any]:
    keys = ("pe", "simd", "cycles", "lut", "bram18", "weight_bits")
    return {
        "name": name,
        "op": op,
        "shape": shape,
        **dict(zip(keys, map(int, figures.split()), strict=True)),
        "bottleneck": bottleneck,
    }


def _curve(*mean: float) -> dict[str, list[float]]:
    return {
        "clean": 0.9639,
        "mean": list(mean),
        "low": [m - 0.02 for m in mean],
        "high": [min(1.0, m + 0.015) for m in mean],
    }


def _verified() -> dict[str, Any]:
    names = ("qonnx (onnxruntime)", "streamlined", "xnor-popcount", "dataflow")
    return {"images": 360, "stages": [{"stage": s, "values": 3600, "differences": 0} for s in names]}


def sample_summary() -> dict[str, Any]:
    """Both networks, pruning, faults and speed."""
    base = {
        "accuracy": 0.9639, "accuracy_hw": 0.9639, "weights": 13_712, "binary_macs": 83_000, "int8_macs": 5184,
        "neurons": 112, "cycles": 960, "latency_cycles": 2710, "fps": 104_166.7, "latency_us": 27.1, "lut": 6120,
        "bram18": 9, "weight_bits": 14_288,
        "layers": [
            _layer("conv1", "MVAU", "8x8x1 -> 6x6x16", "2 9 288 1420 1 144"),
            _layer("conv2", "MVAU", "6x6x16 -> 4x4x32", "4 18 960 2380 4 4608", True),
            _layer("pool2", "StreamingMaxPool", "4x4x32 -> 2x2x32", "1 1 20 140 0 0"),
            _layer("dense1", "MVAU", "128 -> 64", "1 16 512 1310 3 8192"),
            _layer("dense2", "MVAU", "64 -> 10", "1 2 320 870 1 640"),
        ],
    }  # fmt: skip
    pruned = {
        "accuracy": 0.9583, "accuracy_hw": 0.9583, "weights": 7400, "binary_macs": 40_200, "int8_macs": 2592,
        "neurons": 80, "cycles": 864, "latency_cycles": 2100, "fps": 115_740.7, "latency_us": 21.0, "lut": 4310,
        "bram18": 6, "weight_bits": 7712,
        "layers": [
            _layer("conv1", "MVAU", "8x8x1 -> 6x6x8", "1 9 288 890 1 72"),
            _layer("conv2", "MVAU", "6x6x8 -> 4x4x24", "3 9 864 1720 2 1728", True),
            _layer("pool2", "StreamingMaxPool", "4x4x24 -> 2x2x24", "1 1 20 110 0 0"),
            _layer("dense1", "MVAU", "96 -> 48", "1 12 384 960 2 4608"),
            _layer("dense2", "MVAU", "48 -> 10", "1 2 240 630 1 480"),
        ],
    }  # fmt: skip
    seconds = (0.1, 21.4, 16.2, 2.9, 0.6, 0.4, 3.1, 0.2, 0.1, 5.2, 4.0)
    names = ("data", "train", "prune", "export", "streamline", "lower", "verify", "schedule", "cost", "faults", "speed")
    return {
        "name": "model",
        "created": "2025-01-02T03:04:05+00:00",
        "bnnflow": "0.1.0",
        "data": {
            "name": "digits", "train": 1437, "test": 360, "classes": 10,
            "source": "UCI optical recognition of handwritten digits, scikit-learn's copy",
            "files": {"digits.npz": "3f" * 32},
        },
        "target": {"part": "xc7z020clg400-1", "clock_mhz": 100.0, "fps": 100_000.0, "lut": 53_200, "bram18": 280},
        "networks": {"base": base, "pruned": pruned},
        "verify": {"base": _verified(), "pruned": _verified()},
        "pruning": {
            "criterion": "deeplift",
            "steps": [
                {"kept": {"conv1": 16, "conv2": 24, "dense1": 56}, "accuracy_before": 0.91,
                 "accuracy_after": 0.9611, "check": 3.1e-7},
                {"kept": {"conv1": 8, "conv2": 24, "dense1": 48}, "accuracy_before": 0.83,
                 "accuracy_after": 0.9583, "check": 2.4e-7},
            ],
        },
        "faults": {
            "images": 360, "maps": 5, "rates": [1e-4, 1e-3, 1e-2, 3e-2, 1e-1],
            "networks": {
                "base": _curve(0.9636, 0.962, 0.951, 0.902, 0.553),
                "pruned": _curve(0.958, 0.955, 0.938, 0.861, 0.462),
            },
        },
        "speed": {
            "device": "AMD EPYC 7B13", "threads": 1,
            "rows": [
                {"engine": engine, "network": network, "images_per_second": rate}
                for engine, rates in (
                    ("torch (Brevitas)", (2910.4, 3320.1)), ("onnxruntime", (18_250.0, 24_100.0)),
                    ("bnnflow simulator", (412_000.0, 655_000.0)),
                )
                for network, rate in zip(("base", "pruned"), rates, strict=True)
            ],
        },
        "training": {
            "base": [
                {"loss": 2.1 * 0.72**e + 0.12, "accuracy": 0.97 - 0.5 * 0.6**e, "seconds": 2.1} for e in range(10)
            ]
        },
        "stages": [{"name": n, "seconds": s, "skipped": n == "data"} for n, s in zip(names, seconds, strict=True)],
        "versions": {"python": "3.11.7", "torch": "2.13.0", "brevitas": "0.13.4", "onnx": "1.22.0"},
        "sources": {
            "cost": "estimated (FINN formulas)", "accuracy": "measured on the test set", "speed": "measured",
        },
    }  # fmt: skip
