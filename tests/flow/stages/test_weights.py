"""`model: {arch: pkg:Class, weights: FILE}`: checkpoints as others leave them are taken as they are, or refused."""

from __future__ import annotations

import json
import pickle
import struct
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bnnflow import Problem
from bnnflow.flow.cli import app as cli
from bnnflow.models.files.checkpoint import load_weights, read_state

Golden = Callable[[str, str], None]
# After kuangliu/pytorch-cifar #153 and Xilinx/brevitas #104: a checkpoint of DataParallel on a GPU.
NETS = """
import torch, brevitas.nn as qnn
from brevitas.quant import SignedBinaryWeightPerTensorConst as W1, SignedBinaryActPerTensorConst as A1
class Net(torch.nn.Module):
    def __init__(self, width=32):
        super().__init__()
        pixels = qnn.QuantIdentity(bit_width=8, signed=False, scaling_impl_type="const", scaling_init=255.0)
        first = qnn.QuantLinear(64, width, bias=False, weight_quant=W1)
        self.body = torch.nn.Sequential(pixels, torch.nn.Flatten(), first, torch.nn.BatchNorm1d(width),
            qnn.QuantIdentity(act_quant=A1), qnn.QuantLinear(width, 10, bias=False, weight_quant=W1))
    def forward(self, x): return self.body(x)
"""
RECIPE = (
    'name: mine\r\nmodel: {arch: "nets:Net", weights: ckpt.pt}\r\ndata: {name: digits, test_images: 100}\r\n'
    "prune: {amount: 0.5, steps: 1, unit: 4, epochs: 1}\r\nfaults: {enabled: false}\r\nspeed: {enabled: false}\r\n"
    "verify: {images: 6}\r\n"
)


@pytest.fixture
def on_a_gpu() -> Iterator[None]:
    """Files say that their tensors lay on a GPU."""
    registry = torch.serialization._package_registry
    before = list(registry)
    torch.serialization.register_package(1, lambda storage: "cuda:0", lambda storage, location: None)
    yield
    registry[:] = before


def made(folder: Path) -> nn.Module:
    (folder / "nets.py").write_text(NETS)
    (folder / "recipe.yaml").write_bytes(RECIPE.encode())
    scope: dict[str, Any] = {}
    exec(NETS, scope)
    torch.manual_seed(7)
    network: nn.Module = scope["Net"]()
    network(torch.randint(0, 256, (64, 1, 8, 8)).float())
    return network.eval()


def test_a_checkpoint_of_data_parallel_on_a_gpu_is_taken_as_it_is(
    tmp_path: Path, on_a_gpu: None, capsys: pytest.CaptureFixture[str]
) -> None:
    network = made(tmp_path)
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"net": state, "acc": 91.2, "epoch": 17}, tmp_path / "ckpt.pt")
    assert b"cuda:0" in (tmp_path / "ckpt.pt").read_bytes()
    run = tmp_path / "run"
    assert cli.run(["build", str(tmp_path / "recipe.yaml"), "--run", str(run), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert not summary["training"]["base"]
    for one in ("base", "pruned"):
        assert all(row["differences"] == 0 for row in summary["verify"][one]["stages"])
    assert summary["pruning"]["kept"] == {"dense0": 16}
    assert summary["networks"]["pruned"]["weight_bits"] < summary["networks"]["base"]["weight_bits"]
    images = torch.randint(0, 241, (50, 1, 8, 8))
    np.save(tmp_path / "x.npy", images.numpy().astype(np.uint8))
    arguments = ["simulate", str(run / "base/network.onnx"), "--input", str(tmp_path / "x.npy")]
    assert cli.run([*arguments, "--output", str(tmp_path / "y.npy")]) == 0
    # Weights are +-0.1: as integers, all are equal.
    wanted, found = (10 * scores for scores in (network(images.float()).detach().numpy(), np.load(tmp_path / "y.npy")))
    np.testing.assert_allclose(wanted, np.rint(wanted), atol=1e-4)
    np.testing.assert_array_equal(np.rint(found), np.rint(wanted))
    # Moved, it is the same run; another checkpoint is another network.
    moved = run.rename(tmp_path / "moved")
    assert cli.run(["show", str(moved)]) == 0
    turned = {name: -value if name.endswith("2.weight") else value for name, value in state.items()}
    torch.save({"net": turned}, tmp_path / "ckpt.pt")
    assert cli.run(["build", str(moved / "model.yaml"), "--run", str(moved), "--to", "train", "--json"]) == 0
    assert (
        json.loads((moved / "manifest.json").read_text())["stages"]["train"]["facts"]["accuracy"]
        != (summary["networks"]["base"]["accuracy"])
    )


def test_images_that_are_held_out_are_a_part_of_pruning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Weights that are taken as they are stay the same whatever training would keep out; what judges pruning is not."""
    torch.save(made(tmp_path).state_dict(), tmp_path / "ckpt.pt")
    found = []
    for run, share in (("run", 0.1), ("run", 0.3), ("fresh", 0.3)):
        keys = ("-s", "prune.max_loss=100", "-s", f"train.validation={share}", "-s", "prune.batch=200")
        arguments = ("build", str(tmp_path / "recipe.yaml"), "--run", str(tmp_path / run), "--to", "prune", "--json")
        assert cli.run([*arguments, *keys]) == 0
        found.append(json.loads(capsys.readouterr().out)["held_out_accuracy"])
    assert found[0] != found[1] == found[2]


def module() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def safetensors(state: dict[str, torch.Tensor], path: Path) -> None:
    """The documented format, written here."""
    names = {torch.float32: "F32", torch.int64: "I64", torch.float16: "F16"}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    raw = b""
    for name, value in state.items():
        content = value.numpy().tobytes()
        offsets = [len(raw), len(raw) + len(content)]
        header[name] = {"dtype": names[value.dtype], "shape": list(value.shape), "data_offsets": offsets}
        raw += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw)


WRAPPED: dict[str, Callable[[dict[str, torch.Tensor]], Any]] = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3, "arch": "net"},
    "model": lambda state: {"model": state, "lr": 0.1},
    "compiled": lambda state: {"_orig_mod." + name: value for name, value in state.items()},
    "both": lambda state: {"net": {"module._orig_mod." + name: value for name, value in state.items()}},
    "half": lambda state: {name: value.half() if value.is_floating_point() else value for name, value in state.items()},
    "notes": lambda state: {"net": state, "acc": np.float64(0.9), "best": np.int64(3), "args": Namespace(lr=0.1)},
    "old": lambda state: {name: value for name, value in state.items() if "num_batches" not in name},
}


@pytest.mark.parametrize("name", [*WRAPPED, "safetensors"])
def test_usual_wrappings(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    source, path = module().half().float(), tmp_path / "w.pt"
    if name == "safetensors":
        path = tmp_path / "w.safetensors"
        safetensors(source.state_dict(), path)
    else:
        torch.save(WRAPPED[name](source.state_dict()), path)
    target = module()
    load_weights(target, path)
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value)


class Whole:
    """Something that only code can make again."""


def _bad(name: str, path: Path) -> None:
    state = module().state_dict()
    renamed = {name.replace("0.", "fc.") if name == "0.bias" else name: value for name, value in state.items()}
    match name:
        case "missing":
            torch.save({key: value for key, value in state.items() if key != "0.weight"}, path)
        case "unexpected":
            torch.save({**state, "2.weight": torch.zeros(2)}, path)
        case "renamed":
            torch.save({"0.weights" if key == "0.weight" else key: value for key, value in renamed.items()}, path)
        case "shape":
            torch.save({**state, "0.weight": torch.zeros(2, 4)}, path)
        case "module":
            torch.save(module(), path)
        case "code":
            path.write_bytes(pickle.dumps({"net": Whole()}))
        case "cut":
            torch.save(state, path)
            path.write_bytes(path.read_bytes()[:-200])
        case "text":
            path.write_text("weights")
        case "nan":
            torch.save({**state, "0.bias": torch.tensor([1.0, float("nan")])}, path)
        case "double":
            torch.save({**state, "0.bias": torch.tensor([0.1, 0.2], dtype=torch.float64)}, path)
        case "several":
            torch.save({"model": state, "state_dict": state}, path)
        case "ema":
            torch.save({"student": state, "teacher": state}, path)
        case "no_weights":
            torch.save({"epoch": 3, "optimizer": {"lr": 0.1}}, path)
        case "list":
            torch.save([1, 2], path)
        case "safetensors_cut":
            safetensors(state, path)
            path.write_bytes(path.read_bytes()[:-4])
        case "safetensors_format":
            text = json.dumps({"a": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}).encode()
            path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0")


BAD = (
    *("missing", "unexpected", "renamed", "shape", "module", "code", "cut", "text", "nan", "double", "several", "ema"),
    *("no_weights", "list", "safetensors_cut", "safetensors_format", "absent"),
)


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(name: str, tmp_path: Path, golden: Golden) -> None:
    path = tmp_path / "w.pt"
    _bad(name, path)
    before = module()
    with pytest.raises(Problem) as caught:
        load_weights(before, path)
    golden(f"problems/weights_{name}", str(caught.value))


def test_a_run_s_own_file_is_named_as_such(tmp_path: Path, golden: Golden) -> None:
    from bnnflow.models.files.trained_names import trained_files

    with pytest.raises(Problem) as caught:
        read_state(trained_files()["tfc-mnist"])
    golden("problems/weights_ours", caught.value.what + "\n" + caught.value.hint)


def test_the_place_is_the_key_of_the_recipe(tmp_path: Path, golden: Golden, capsys: pytest.CaptureFixture[str]) -> None:
    network = made(tmp_path)
    state = dict(network.state_dict())
    del state["body.2.weight"]
    torch.save(state, tmp_path / "ckpt.pt")
    assert cli.run(["check", str(tmp_path / "recipe.yaml")]) == 2
    golden("problems/weights_recipe", capsys.readouterr().err)


OWN_LOAD = NETS.replace(
    "    def forward",
    '        self.load_state_dict(torch.load(__file__.replace("nets.py", "own.pt"))["net"])\n    def forward',
)


def test_a_class_that_loads_its_own_weights_is_taken_without_an_epoch(tmp_path: Path) -> None:
    network = made(tmp_path)
    (tmp_path / "nets.py").write_text(OWN_LOAD)
    recipe = 'model: {arch: "nets:Net"}\r\ndata: {name: digits}\r\ntrain: {epochs: 0}\r\nprune: {enabled: false}\r\n'
    (tmp_path / "recipe.yaml").write_bytes(recipe.encode())
    accuracies = []
    for turn in (1, -1):
        state = dict(network.state_dict())
        state["body.5.weight"] = turn * state["body.5.weight"]
        torch.save({"net": state}, tmp_path / "own.pt")
        run = tmp_path / "run"
        arguments = ["build", str(tmp_path / "recipe.yaml"), "--run", str(run), "--to", "train", "--json"]
        assert cli.run(arguments) == 0
        accuracies.append(json.loads((run / "manifest.json").read_text())["stages"]["train"]["facts"]["accuracy"])
    assert accuracies[0] != accuracies[1]
