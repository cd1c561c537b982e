"""What the input of a foreign network holds, through the commands: stated, said by the network, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from bnnflow.flow.cli import app as cli

Golden = Callable[[str, str], None]


def _pixels(count: int = 40) -> torch.Tensor:
    return torch.randint(0, 256, (count, 1, 8, 8), generator=torch.Generator().manual_seed(3))


KINDS: dict[str, tuple[dict[str, Any], Callable[[torch.Tensor], torch.Tensor], str]] = {
    # Raw pixels into an 8-bit quantizer of step 1.
    "raw": ({"bit_width": 8, "signed": False, "scaling_init": 255.0}, lambda p: p.float(), "uint8"),
    # Images normalized outside of the network, into a sign and into 8 bits.
    "sign": ({}, lambda p: (p.float() / 255 - 0.5) / 0.5, "normalize(0.5,0.5)"),
    "signed": ({"bit_width": 8, "scaling_init": 1.0}, lambda p: (p.float() / 255 - 0.5) / 0.5, "normalize(0.5,0.5)"),
    "divided": ({"bit_width": 8, "signed": False, "scaling_init": 1.0}, lambda p: p.float() / 255, "pixels/255"),
}


@pytest.fixture(scope="module", params=KINDS)
def net(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, np.ndarray]:
    """A Brevitas network that was trained on what a kind makes of pixels: its name, folder, and class sums by torch."""
    import brevitas.nn as qnn
    from brevitas.export import export_qonnx
    from brevitas.quant import SignedBinaryActPerTensorConst as Act
    from brevitas.quant import SignedBinaryWeightPerTensorConst as Weight

    settings, prepare, _ = KINDS[request.param]
    first = qnn.QuantIdentity(scaling_impl_type="const", **settings) if settings else qnn.QuantIdentity(act_quant=Act)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        body = nn.Sequential(
            first,
            nn.Flatten(),
            qnn.QuantLinear(64, 24, bias=False, weight_quant=Weight),
            nn.BatchNorm1d(24),
            qnn.QuantIdentity(act_quant=Act),
            qnn.QuantLinear(24, 5, bias=False, weight_quant=Weight),
        )
        for _ in range(20):
            body(prepare(torch.randint(0, 256, (64, 1, 8, 8))))
        body.eval()
        folder = tmp_path_factory.mktemp(request.param)
        values = prepare(_pixels())
        with torch.no_grad():
            scores = body(values)
        export_qonnx(body, torch.zeros(1, 1, 8, 8), str(folder / "net.onnx"), dynamo=False)
    np.save(folder / "x.npy", values.numpy())
    np.save(folder / "px.npy", _pixels().numpy().astype(np.uint8))
    sums = np.rint(scores.numpy() / 0.1).astype(np.int64)
    np.save(folder / "l.npy", sums.argmax(1))
    return request.param, folder, sums


def ran(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> str:
    capsys.readouterr()
    assert cli.run([str(word) for word in arguments]) == status, capsys.readouterr()
    out, err = capsys.readouterr()
    return out if status == 0 else err


@pytest.mark.parametrize("said", [True, False])
def test_a_foreign_network_compiles_to_what_torch_computes(
    net: tuple[str, Path, np.ndarray], said: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Class sums of torch, from the floats that it was trained on and, where their meaning is said, from pixels."""
    kind, folder, sums = net
    text = KINDS[kind][2]
    option = ["--input", text] if said else []
    found = json.loads(ran(capsys, "compile", folder / "net.onnx", "-o", tmp_path, "--check", "--json", *option))
    assert found["passes"][-1]["name"] == "all, against floats" and found["passes"][-1]["compared"] > 0
    if said:
        assert (found["input"]["datatype"], found["input"]["source"]) == ("UINT8", "option")
    else:
        assert (found["input"]["datatype"], found["input"]["source"]) == ("FLOAT", "network")
        assert found["input"]["hardware"] == {"sign": "BIPOLAR", "signed": "INT8"}.get(kind, "UINT8")
    for level in ("1_integer", "2_xnor", "3_dataflow"):
        # Pixels need no word where the host leaves them as they are.
        for data in ["x.npy", "px.npy"] if said or kind == "raw" else ["x.npy"]:
            arguments = [tmp_path / f"{level}.onnx", "--input", folder / data, "--output", tmp_path / "y.npy"]
            made = json.loads(ran(capsys, "simulate", *arguments, "--json"))
            assert made["input"]["source"] == "file"
            scores = np.load(tmp_path / "y.npy")
            assert np.array_equal(np.rint(scores / np.float32(0.1)), sums)
    made = json.loads(ran(capsys, "simulate", folder / "net.onnx", "--input", folder / "px.npy", "--input", text,
                          "--labels", folder / "l.npy", "--json"))  # fmt: skip
    assert made["accuracy"] > 0.85, "but for ties of float scores"


WRONG = {
    "raw": ("pixels/255", "normalize(0.5,0.5)", "int8", "bipolar"),
    "sign": ("pixels/255", "uint8", "pixels/255+1"),
    "signed": ("pixels/255", "uint8", "int8"),
    "divided": ("uint8", "normalize(0.5,0.5)", "int8/128", "int8"),
}


def test_what_cannot_be_meant_is_an_error_in_every_command(
    net: tuple[str, Path, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, folder, _ = net
    path = folder / "net.onnx"
    for text in WRONG[kind]:
        said = ran(capsys, "compile", path, "-o", tmp_path / "out", "--input", text, status=2)
        assert "the first quantizer gives" in said and ', partial"' in said
        assert not (tmp_path / "out").exists()
    text = WRONG[kind][0]
    for command in ("check", "estimate", "cycles", "speed"):
        assert "the first quantizer gives" in ran(capsys, command, path, "--input", text, status=2)
    for command in ("faults", "margins", "criticality"):
        assert "the first quantizer gives" in ran(capsys, command, path, "--input", text, "--data", "digits", status=2)
    ran(capsys, "estimate", path, "--input", f"{text}, partial")


def test_every_command_says_what_it_takes_the_input_for(
    net: tuple[str, Path, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    kind, folder, _ = net
    path, text = folder / "net.onnx", KINDS[kind][2]
    few: list[object] = ["--input", folder / "px.npy", "--labels", folder / "l.npy", "--images", "5"]
    calls: dict[str, list[object]] = {
        "check": [], "estimate": ["--fifo", "0"], "cycles": [], "speed": ["--images", "5"],
        "faults": [*few, "--rates", "0.1", "--maps", "2"], "margins": few, "criticality": few, "simulate": few,
    }  # fmt: skip
    for command, more in calls.items():
        assert "input 1x8x8: UINT8" in ran(capsys, command, path, "--input", text, *more), command
        found = json.loads(ran(capsys, command, path, "--input", text, *more, "--json"))
        assert found["input"]["datatype"] == "UINT8" and found["input"]["source"] == "option", command


REFUSED: dict[str, list[str]] = {
    "unknown": ["estimate", "plain.onnx"],
    "float_into_layer": ["estimate", "plain.onnx", "--input", "float"],
    "no_contract": ["estimate", "plain.onnx", "--input", "pixels over 255"],
    "channels": ["estimate", "plain.onnx", "--input", "pixels*[1,2,3]"],
    "neither_file": ["simulate", "plain.onnx", "--input", "absent"],
    "two_contracts": ["simulate", "plain.onnx", "--input", "x.npy", "--input", "uint8", "--input", "int8"],
    "contract_alone": ["simulate", "plain.onnx", "--input", "uint8"],
    "two_files": ["simulate", "plain.onnx", "--input", "x.npy", "--input", "y.npy"],
    "data_set": ["simulate", "plain.onnx", "--data", "digits"],
    "data_set_of_others": ["simulate", "plain.onnx", "--data", "digits", "--input", "int8"],
    "integers": ["simulate", "plain.onnx", "--input", "x.npy"],
    "contradicts": ["compile", "annotated.onnx", "--input", "pixels/255"],
    "annotation": ["check", "strange.onnx"],
    "recipe": ["check", "recipe.yaml", "--input", "uint8"],
    "one_output": ["simulate", "one.onnx", "--input", "x.npy", "--labels", "y.npy"],
    "one_output_faults": ["faults", "one.onnx", "--data", "digits"],
    "no_images": ["margins", "annotated.onnx"],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_nobody_says_is_asked_for(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = {"plain": ("", 3), "annotated": ("UINT8", 3), "strange": ("PIXELS", 3), "one": ("UINT8", 1)}
    for file, (datatype, classes) in files.items():
        onnx.save(_layer(datatype, classes), f"{file}.onnx")
    for file, values in {"x": np.zeros((2, 1, 8, 8), np.uint8), "y": np.zeros(2, np.int64)}.items():
        np.save(f"{file}.npy", values)
    Path("recipe.yaml").write_text("data: {name: digits}\nmodel: {arch: mlp}\n")
    golden(f"problems/input_{name}", ran(capsys, *REFUSED[name], status=2))


def _layer(datatype: str, classes: int) -> onnx.ModelProto:
    """A flattening and one layer of signs, without a quantizer in front."""
    from tests.transforms.onnx_files import Net

    net = Net((1, 8, 8), datatype)
    net.add("Flatten", axis=1)
    net.dense(classes, 64, bits=2)
    return net.model(shape=(1, classes))


@pytest.mark.parametrize("net", ["signed"], indirect=True)
def test_an_onnx_file_in_a_recipe_has_its_contract(
    net: tuple[str, Path, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run's files say it, so that every later command knows; without it, or with another, nothing is built."""
    _, folder, _ = net
    _ten_classes(folder / "net.onnx", tmp_path / "net.onnx")
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "data: {name: digits, train_images: 20, test_images: 20}\nmodel: {onnx: net.onnx}\nprune: {enabled: false}\n"
        "faults: {enabled: false}\nspeed: {enabled: false}\n"
    )
    run = ["build", recipe, "--run", tmp_path / "run", "--to", "schedule"]
    assert "it is not known how pixels become the floats" in ran(capsys, *run, status=2)
    assert "the first quantizer gives 128" in ran(capsys, *run, "-s", "model.input=pixels/255", status=2)
    assert "float does not say" in ran(capsys, *run, "-s", "model.input=float", status=2)
    assert "bits8" in ran(capsys, "check", recipe, "-s", "model.input=bits8", status=2)
    assert not (tmp_path / "run" / "base").exists()
    ran(capsys, *run, "-s", "model.input=normalize(0.5,0.5)")
    handed = json.loads((tmp_path / "run/base/finn/input.json").read_text())
    assert handed["formula"] == "(pixels/255-0.5)/0.5" and handed["hardware"] == "UINT8"
    made = json.loads(ran(capsys, "simulate", tmp_path / "run/base/network.onnx", "--data", "digits", "--json"))
    again = json.loads(ran(capsys, "simulate", tmp_path / "run/base/finn/dataflow.onnx", "--data", "digits", "--json"))
    assert made["confusion"] == again["confusion"] and made["input"]["source"] == "file"


def _ten_classes(source: Path, target: Path) -> None:
    """The file, its class sums twice behind each other, for ten classes."""
    model = onnx.load(source)
    out = model.graph.output[0]
    model.graph.node.append(onnx.helper.make_node("Concat", [out.name, out.name], ["twice"], axis=1))
    out.name = "twice"
    out.type.tensor_type.shape.dim[1].dim_value = 10
    onnx.save(model, target)
