"""Networks of the user's own: a class of Brevitas layers, an ONNX file, and what is said when they do not fit."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from bnnflow import Problem
from bnnflow.flow.cli import app as cli
from bnnflow.flow.commands.fetch import fetch
from bnnflow.flow.recipe.file import load_recipe
from bnnflow.flow.run import processes
from bnnflow.models.networks.own import OwnNetwork, OwnSpec, code_digest
from bnnflow.transforms.reading.read import files_of, read
from tests.random_qonnx import DOMAIN, Builder

Golden = Callable[[str, str], None]
NET = '''
"""A network of the user's."""
import torch
from brevitas.nn import QuantConv2d, QuantIdentity, QuantLinear, QuantReLU
from torch import nn


class MyNet(nn.Module):
    def __init__(self, width=4, head=10):
        super().__init__()
        kind = {"bias": False, "weight_bit_width": 2}
        self.image = QuantIdentity(bit_width=8, return_quant_tensor=True)
        self.first = QuantConv2d(1, width, 3, padding=1, stride=2, **kind)
        self.norm = nn.BatchNorm2d(width)
        self.act = QuantReLU(bit_width=2, return_quant_tensor=True)
        self.second = QuantConv2d(width, width, 3, padding=1, **kind)
        self.scores = QuantLinear(width * 16, head, **kind)

    def forward(self, x):
        x = self.act(self.norm(self.first(self.image(x))))
        x = self.act(self.second(x)) + x
        return self.scores(torch.flatten(getattr(x, "value", x), 1))


class FloatNet(MyNet):
    def forward(self, x):
        return torch.sin(super().forward(x)) @ torch.ones(10, 10)


class HeadFirst(MyNet):
    """Its score layer is made before the others, and one more never runs."""

    def __init__(self):
        super().__init__()
        for name in ("scores", "first", "second"):
            module = self._modules.pop(name)
            self._modules[name] = module
        self.unused = QuantLinear(3, 2, bias=False)


class TwoResults(MyNet):
    def forward(self, x):
        scores = super().forward(x)
        return scores, scores.argmax(1)


class Beside(MyNet):
    def forward(self, x):
        scores = super().forward(x)
        return (scores, scores) if self.training else scores


class Softened(MyNet):
    def forward(self, x):
        return torch.nn.functional.log_softmax(super().forward(x), dim=1)


class Softer(MyNet):
    def __init__(self):
        super().__init__()
        self.end = nn.Softmax(dim=-1)

    def forward(self, x):
        return self.end(super().forward(x))


class Number:
    pass
'''
RECIPE = """\
data: {{name: digits, train_images: 200, test_images: 40}}
model: {model}
train: {train}
prune: {{enabled: false}}
target: {{fps: 1000}}
faults: {{rates: [0.01], maps: 1, images: 20}}
speed: {{images: 20}}
verify: {{images: 6}}
"""


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def recipe(tmp_path: Path, model: str) -> Path:
    (tmp_path / "mynets.py").write_text(NET)
    path = tmp_path / "net.yaml"
    train = "{}" if "onnx: " in model else "{epochs: 1, batch: 50, threads: 1, device: cpu}"
    path.write_text(RECIPE.format(model=model, train=train))
    return path


def ran(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    capsys.readouterr()
    assert cli.run(list(arguments)) == status, capsys.readouterr().err
    said = capsys.readouterr()
    return said.err if status else said.out


def test_a_class_of_the_users_and_then_its_onnx_file_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recipe(tmp_path, "{arch: 'mynets:MyNet', args: {width: 4}}")
    assert '"compiles": true' in ran(capsys, "check", str(path), "--json")
    run = tmp_path / "run"
    summary = json.loads(ran(capsys, "build", str(path), "--run", str(run), "--json"))
    stages = summary["verify"]["base"]["stages"]
    assert all(row["differences"] == 0 for row in stages) and stages[0]["stage"] == "torch (Brevitas)"
    assert set(summary["networks"]) == {"base"} and summary["speed"]["rows"]

    assert load_recipe(run / "model.yaml").model == load_recipe(path, [f"model.dir={tmp_path}"]).model

    exported = run / "base" / "network.onnx"
    second = recipe(tmp_path, f"{{onnx: {exported}}}")
    again = json.loads(ran(capsys, "build", str(second), "--run", str(tmp_path / "run2"), "--json"))
    assert again["networks"]["base"]["accuracy_hw"] == summary["networks"]["base"]["accuracy_hw"]
    assert "torch (Brevitas)" not in {row["stage"] for row in again["verify"]["base"]["stages"]}
    assert (tmp_path / "run2" / "base" / "network.onnx").read_bytes() == exported.read_bytes()
    assert '"compiles": true' in ran(capsys, "check", str(second), "--json")


@pytest.mark.parametrize("name", ["Softened", "Softer"])
def test_scores_in_front_of_a_softmax_are_compared(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe(tmp_path, f"{{arch: 'mynets:{name}'}}")
    found = json.loads(ran(capsys, "build", str(path), "--run", str(tmp_path / "run"), "--to", "verify", "--json"))
    rows = found["base"]["stages"]
    assert rows[0]["stage"] == "torch (Brevitas)" and all(row["differences"] == 0 for row in rows)


def test_a_module_that_gives_more_in_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    path = recipe(tmp_path, "{arch: 'mynets:Beside'}")
    golden("problems/model_own_beside", ran(capsys, "build", str(path), "--run", str(tmp_path / "run"), status=2))


def network_file(
    path: Path, *, kind: int = onnx.TensorProto.FLOAT, batch: int | str = 1, levels: bool = False, end: str = ""
) -> None:
    """A network of ten classes for digits, in a file; a number of images is in its reshape, too."""
    build = Builder(np.random.default_rng(0))
    if kind != onnx.TensorProto.FLOAT:
        build.add("Cast", to=onnx.TensorProto.FLOAT)
    build.add("Sub", build.constant(127.5))
    if levels:
        bounds = np.array([[-60.0, 0.0, 60.0]])
        build.add("MultiThreshold", build.constant(bounds), domain=DOMAIN, out_dtype="INT3", out_bias=-1.5)
    else:
        build.sign()
    if isinstance(batch, int):
        build.add("Reshape", build.constant([batch, 64], np.int64))
    else:
        build.add("Flatten", axis=1)
    build.add("Gemm", build.binary_weight(10, 64), transB=1)
    if end:
        build.add(end, axis=-1, **({"keepdims": 0} if end == "ArgMax" else {}))
    model = build.model((1, 8, 8), 10, annotate=kind == onnx.TensorProto.FLOAT)
    if end == "ArgMax":
        del model.graph.output[:]
        model.graph.output.append(onnx.helper.make_tensor_value_info(build.last, onnx.TensorProto.INT64, [1]))
    given, made = model.graph.input[0].type.tensor_type, model.graph.output[0].type.tensor_type
    given.elem_type = kind
    for one in (given, made):
        if isinstance(batch, str):
            one.shape.dim[0].dim_param = batch
        else:
            one.shape.dim[0].dim_value = batch
    onnx.save(model, path)


@pytest.mark.parametrize(
    "settings",
    [
        {"batch": "N"},
        {"kind": onnx.TensorProto.UINT8},
        {"kind": onnx.TensorProto.INT32, "batch": "N"},
        {"kind": onnx.TensorProto.DOUBLE},
        {"levels": True},
        {"batch": 4},
        {"end": "Softmax", "batch": "N"},
        {"end": "LogSoftmax"},
        {"end": "ArgMax", "batch": "N"},
    ],
    ids=["open_batch", "uint8", "int32", "double", "thresholds", "four", "softmax", "log_softmax", "argmax"],
)
def test_onnx_files_of_any_input_batch_and_end_are_judged(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """onnxruntime and qonnx take what the file says, and agree with us."""
    network_file(tmp_path / "net.onnx", **settings)
    path = recipe(tmp_path, "{onnx: net.onnx, input: uint8}")
    found = json.loads(ran(capsys, "build", str(path), "--run", str(tmp_path / "run"), "--to", "verify", "--json"))
    rows = found["base"]["stages"]
    assert {"onnxruntime on QONNX", "qonnx on network"} <= {row["stage"] for row in rows}
    assert all(row["differences"] == 0 for row in rows)
    assert "onnxruntime" in ran(capsys, "speed", str(tmp_path / "net.onnx"), "--input", "uint8", "--images", "5")


def test_a_build_starts_with_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    """`flow check` says so, too, and before any stage."""
    network_file(tmp_path / "net.onnx")
    ran(capsys, "compile", str(tmp_path / "net.onnx"), "-o", str(tmp_path))
    for level in ("integer", "xnor", "dataflow"):
        file = next(tmp_path.glob(f"?_{level}.onnx")).name
        path = recipe(tmp_path, f"{{onnx: {file}}}")
        text = ran(capsys, "check", str(path), status=2)
        assert text == ran(capsys, "build", str(path), "--run", str(tmp_path / "run"), status=2)
    golden("problems/model_onnx_level", text)


def test_a_changed_class_is_trained_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recipe(tmp_path, "{arch: 'mynets:MyNet'}")
    arguments = ("build", str(path), "--run", str(tmp_path / "run"), "--to", "train")
    ran(capsys, *arguments)
    before = (tmp_path / "run" / "manifest.json").read_text()
    ran(capsys, *arguments)
    source = tmp_path / "mynets.py"
    key = json.loads(before)["stages"]["train"]["key"]
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["stages"]["train"]["key"] == key
    source.write_text(NET + "# changed\n")
    ran(capsys, *arguments)
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["stages"]["train"]["key"] != key


@pytest.mark.parametrize("how", ["from parts import tail", "import parts", "import lib.more", "from lib import more"])
def test_code_that_a_class_is_made_of_is_part_of_it(tmp_path: Path, how: str) -> None:
    """Modules that its module imports, and these again; libraries and other files are not."""
    folder = tmp_path / how.replace(" ", "_").replace(".", "_")
    (folder / "lib").mkdir(parents=True)
    name = f"nets_{folder.name}"
    (folder / f"{name}.py").write_text(f"import json\n{how}\n" + NET)
    (folder / "parts.py").write_text("def tail():\n    from lib import more\n")
    (folder / "lib" / "__init__.py").write_text("")
    (folder / "lib" / "more.py").write_text("from . import deep\n")
    (folder / "lib" / "deep.py").write_text("import numpy\n")
    (folder / "other.py").write_text("")
    # What it may import is looked at and not run.
    ran = f"\nif __name__ == '__main__':\n    from script{folder.name} import run\n    import old{folder.name}.more\n"
    with (folder / f"{name}.py").open("a") as file:
        file.write(ran)
    (folder / f"script{folder.name}.py").write_text("raise SystemExit(0)\n")
    (folder / f"old{folder.name}.py").write_text("print 'no Python 3'\n")
    spec = OwnSpec(f"{name}:MyNet", {}, (1, 8, 8), 10, str(folder))
    try:
        first = code_digest(spec)
        (folder / "other.py").write_text("# changed\n")
        assert code_digest(spec) == first
        for changed in (folder / "lib" / "deep.py", folder / f"script{folder.name}.py"):
            before = code_digest(spec)
            changed.write_text(changed.read_text() + "# changed\n")
            assert code_digest(spec) != before
    finally:
        for gone in [key for key in sys.modules if key.partition(".")[0] in ("parts", "lib", name)]:
            del sys.modules[gone]
        sys.path.remove(str(folder))


SIGNS = """
import torch
from brevitas.nn import QuantConv2d, QuantIdentity, QuantLinear
from brevitas.quant import SignedBinaryActPerTensorConst, SignedBinaryWeightPerTensorConst
from torch import nn


class Signs(nn.Module):
    def __init__(self):
        super().__init__()
        kind = {"bias": False, "weight_quant": SignedBinaryWeightPerTensorConst}
        self.first = QuantConv2d(1, 4, 3, stride=2, **kind)
        self.norm = nn.BatchNorm2d(4)
        self.sign = QuantIdentity(bit_width=1, act_quant=SignedBinaryActPerTensorConst)
        self.scores = QuantLinear(36, 10, **kind)

    def forward(self, x):
        return self.scores(torch.flatten(self.sign(self.norm(self.first(x - 100.0))), 1))
"""


@pytest.mark.parametrize("weights", [False, True], ids=["trained", "weights_given"])
def test_a_changed_class_is_built_as_if_it_were_new(
    weights: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the checkpoint of the one before is continued nor its network taken, though the weights may be the same.

    What changes is the class that the recipe's inherits from, in another file.
    """
    path = recipe(tmp_path, "{arch: 'heirs:Heir'" + (", weights: w.pt}" if weights else "}"))
    (tmp_path / "heirs.py").write_text("from signs import Signs\n\n\nclass Heir(Signs):\n    pass\n")
    made = []
    for source, run in ((SIGNS, "run"), (SIGNS.replace("100.0", "10.0"), "run"), ("", "fresh")):
        for name in ("heirs", "signs"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        if source:
            (tmp_path / "signs.py").write_text(source)
        importlib.invalidate_caches()
        if weights and not made:
            path.write_text(path.read_text().replace("epochs: 1", "epochs: 0"))
            network = OwnNetwork(OwnSpec("signs:Signs", {}, (1, 8, 8), 10, str(tmp_path)))
            torch.save(network.body.state_dict(), tmp_path / "w.pt")
        folder = tmp_path / run
        ran(capsys, "build", str(path), "--run", str(folder), "--to", "export", "-s", "prune.enabled=false")
        made.append(str(read(folder / "base" / "network.onnx")))
    assert made[1] == made[2] != made[0]


def test_what_is_said_of_the_input_is_a_part_of_the_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network_file(tmp_path / "net.onnx")
    path, run = recipe(tmp_path, "{onnx: net.onnx, input: uint8}"), tmp_path / "run"
    found = []
    for said in ("uint8", "uint8, partial", "uint8"):
        ran(capsys, "build", str(path), "--run", str(run), "--to", "export", "-s", f"model.input={said}")
        found.append(read(run / "base" / "network.onnx").contract)
    assert [one is not None and one.partial for one in found] == [False, True, False]


def test_weights_beside_an_onnx_file_are_a_part_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The run has them in its own file, and other ones make its stages run again."""
    network_file(tmp_path / "whole.onnx", kind=onnx.TensorProto.UINT8)
    path, run = recipe(tmp_path, "{onnx: net.onnx}"), tmp_path / "run"
    named, found, wanted = [], [], []
    for sign in (1, -1):
        model = onnx.load(tmp_path / "whole.onnx")
        weight = next(one for one in model.graph.initializer if list(one.dims) == [10, 64])
        weight.raw_data = (sign * np.frombuffer(weight.raw_data, np.float32)).tobytes()
        # What is there already is appended to.
        (tmp_path / "net.data").unlink(missing_ok=True)
        onnx.save_model(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
        named.append((tmp_path / "net.onnx").read_bytes())
        ran(capsys, "build", str(path), "--run", str(run), "--to", "streamline")
        found.append(replace(read(run / "base" / "network.onnx"), name=""))
        wanted.append(replace(read(tmp_path / "net.onnx"), name=""))
    assert named[0] == named[1]
    assert list(map(str, found)) == list(map(str, wanted)) and str(found[0]) != str(found[1])
    assert files_of(run / "base" / "network.onnx") == [run / "base" / "network.onnx"]


PROBLEMS = {
    "own_no_class": "{arch: 'mynets:Number'}",
    "own_no_module": "{arch: 'absent_nets:Net'}",
    "own_arguments": "{arch: 'mynets:MyNet', args: {depth: 3}}",
    "own_two_results": "{arch: 'mynets:TwoResults'}",
    "own_scores": "{arch: 'mynets:MyNet', args: {head: 7}}",
    "own_operators": "{arch: 'mynets:FloatNet'}",
    "zoo_unknown": "{arch: resnet-20}",
    "zoo_no_guess": "{arch: xyzzy}",
    "zoo_own_shape": "{arch: tfc, hidden: [32]}",
    "zoo_padding": "{arch: mlp, padding: 0}",
    "zoo_option": "{arch: resnet20, weight_scale: channel}",
    "zoo_small_images": "{arch: cnv}",
    "onnx_and_arch": "{onnx: net.onnx, arch: mlp}",
    "onnx_missing": "{onnx: absent.onnx}",
    "no_arch": "{width: 2}",
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_what_does_not_fit_is_refused_before_training(
    name: str, tmp_path: Path, golden: Golden, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe(tmp_path, PROBLEMS[name])
    golden(f"problems/model_{name}", ran(capsys, "check", str(path), status=2))


TRAIN = {
    "format_without_bop": "{momentum_format: e5m2}",
    "bad_format": "{optimizer: bop, momentum_format: e9m2}",
    "patience": "{patience: 3}",
    "parts": "{batch: 8, accumulate: 8}",
    "unknown_loss": "{loss: cross_entropy}",
}


@pytest.mark.parametrize("name", TRAIN)
def test_training_options_that_do_not_fit(name: str, tmp_path: Path, golden: Golden) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(f"data: {{name: digits}}\nmodel: {{arch: tfc}}\ntrain: {TRAIN[name]}\n")
    with pytest.raises(Problem) as caught:
        load_recipe(path)
    golden(f"problems/train_{name}", str(caught.value))


def test_bop_on_scaled_weights_is_refused_at_its_key(
    tmp_path: Path, golden: Golden, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe(tmp_path, "{arch: tfc, weight_scale: tensor}")
    arguments = ("build", str(path), "--run", str(tmp_path / "run"), "--to", "train", "-s", "train.optimizer=bop")
    golden("problems/train_bop_on_scales", ran(capsys, *arguments, status=2))


def test_data_sets_are_listed_and_fetching_explains_itself(
    tmp_path: Path, golden: Golden, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BNNFLOW_DATA", str(tmp_path))
    assert "speech_commands_v0.02.tar.gz" in ran(capsys, "data")
    golden("problems/fetch_unknown", ran(capsys, "data", "get", "cifar", status=2))
    golden("problems/fetch_digits", ran(capsys, "data", "get", "digits", status=2))
    golden("problems/fetch_action", ran(capsys, "data", "fetch", status=2))

    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(Problem) as caught:
        fetch("cifar10", tmp_path, lambda _: None)
    assert caught.value.status == 3
    golden("problems/fetch_offline", str(caught.value))
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(Problem) as caught:
        fetch("fashion-mnist", tmp_path, lambda _: None)
    golden("problems/fetch_no_debian", str(caught.value))


def test_the_zoo_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in json.loads(ran(capsys, "models", "--json"))["networks"]}
    weights = {  # counted from the published layer lists
        "fashcnn": 6_480_448, "vgg7": 12_973_440, "alexnet-small": 14_022_016, "vgg16": 14_715_584,
        "resnet20": 268_336, "cnv": 1_542_848, "tfc": 59_008,
    }  # fmt: skip
    assert {name: rows[name]["weights"] for name in weights} == weights
    assert rows["cnv"]["binary_macs"] + rows["cnv"]["integer_macs"] == 59_461_376
    assert "resnet20" in ran(capsys, "models", "--width", "0.5")


def test_one_process_is_alone() -> None:
    assert processes.count() == 1
    with processes.join_processes() as leads:
        assert leads
        processes.call("train")


def test_layers_are_in_the_order_in_which_they_run(tmp_path: Path) -> None:
    (tmp_path / "mynets.py").write_text(NET)
    network = OwnNetwork(OwnSpec("mynets:HeadFirst", {}, (1, 8, 8), 10, str(tmp_path)))
    assert [name for name, _ in network.weight_layers()] == ["unused", "first", "second", "scores"]
