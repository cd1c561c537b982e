"""The stages of `flow build` in order, for a command line that imports none of them."""

from __future__ import annotations

STAGE_NAMES = (
    *("data", "train", "prune", "export", "streamline", "lower"),
    *("verify", "schedule", "cost", "rtl", "cosim", "synth", "route", "faults", "speed", "report"),
)

WEIGHTS = "weights.pt"
FLIPS = "flips.npz"
QONNX = "network.onnx"
FOLDED = "intermediate_models/4_folded.onnx"
HARDWARE = "rtl"
LEVEL_FILES = {
    "network": QONNX,
    "integer": "intermediate_models/1_integer.onnx",
    "xnor": "intermediate_models/2_xnor.onnx",
    "dataflow": "intermediate_models/3_dataflow.onnx",
}
