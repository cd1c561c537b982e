"""The commands as a careless user would call them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from bnnflow import Problem
from bnnflow.flow.cli import app as cli
from tests.places import DATA
from tests.random_qonnx import Builder, random_network

Golden = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def said(capsys: pytest.CaptureFixture[str], arguments: list[str], status: int) -> str:
    """What a command prints as its error; asserts the exit status and that no traceback is shown."""
    capsys.readouterr()
    assert cli.run(arguments) == status
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return text


def saved(model: onnx.ModelProto, tmp_path: Path) -> str:
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    return str(path)


def float_weights() -> onnx.ModelProto:
    build = Builder(np.random.default_rng(0))
    build.add("Flatten", axis=1)
    build.add("Gemm", build.constant(np.random.default_rng(0).normal(size=(3, 16))), transB=1)
    return build.model((1, 4, 4), 3, annotate=True)


def unsupported() -> onnx.ModelProto:
    build = Builder(np.random.default_rng(0))
    build.add("Flatten", axis=1)
    build.add("Erf")
    build.add("Gemm", build.binary_weight(3, 16), transB=1)
    return build.model((1, 4, 4), 3, annotate=True)


def incompatible_join() -> onnx.ModelProto:
    """A shortcut of whole numbers beside one of multiples of 0.3 (Bi-Real style, without a shared quantizer)."""
    build = Builder(np.random.default_rng(0))
    build.add("Flatten", axis=1)
    build.add("Sub", build.constant(127.5))
    build.sign()
    left = build.last
    build.add("Gemm", build.binary_weight(16, 16), transB=1)
    build.add("Mul", build.constant(0.3))
    build.nodes.append(helper.make_node("Add", [left, build.last], ["joined"], name="join"))
    build.last = "joined"
    build.sign()
    build.add("Gemm", build.binary_weight(3, 16), transB=1)
    return build.model((1, 4, 4), 3, annotate=True)


def skipped() -> onnx.ModelProto:
    """A residual unit, around whose convolution the skip must hold lines."""
    build = Builder(np.random.default_rng(0))
    build.add("Sub", build.constant(127.5))
    build.sign()
    skip = build.last
    build.add("Conv", build.binary_weight(2, 2, 3, 3), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    build.sign()
    build.nodes.append(helper.make_node("Add", [skip, build.last], ["joined"], name="join"))
    build.last = "joined"
    build.add("Flatten", axis=1)
    build.add("Gemm", build.binary_weight(3, 2 * 64), transB=1)
    return build.model((2, 8, 8), 3, annotate=True)


def dilated() -> onnx.ModelProto:
    build = Builder(np.random.default_rng(0))
    build.add("Conv", build.binary_weight(4, 1, 3, 3), kernel_shape=[3, 3], dilations=[2, 2])
    build.sign()
    build.add("Flatten", axis=1)
    build.add("Gemm", build.binary_weight(3, 4 * 4), transB=1)
    return build.model((1, 6, 6), 3, annotate=True)


def unquantized_relu() -> onnx.ModelProto:
    build = Builder(np.random.default_rng(0))
    build.add("Flatten", axis=1)
    build.add("Gemm", build.binary_weight(4, 16), transB=1)
    build.add("Mul", build.constant(0.01))
    build.add("Add", build.constant(0.123))
    build.add("Relu")
    build.add("Gemm", build.binary_weight(3, 4), transB=1)
    return build.model((1, 4, 4), 3, annotate=True)


def falling_prelu() -> onnx.ModelProto:
    build = Builder(np.random.default_rng(0))
    build.add("Flatten", axis=1)
    build.add("Gemm", build.binary_weight(4, 16), transB=1)
    build.nodes.append(
        helper.make_node("PRelu", [build.last, build.constant([0.25, -0.1, 0.0, -2.0])], ["bent"], name="prelu")
    )
    build.last = "bent"
    build.sign()
    build.add("Gemm", build.binary_weight(3, 4), transB=1)
    return build.model((1, 4, 4), 3, annotate=True)


def hard_swish() -> onnx.ModelProto:
    build = Builder(np.random.default_rng(0))
    build.add("Flatten", axis=1)
    build.add("Gemm", build.binary_weight(4, 16), transB=1)
    build.add("HardSwish")
    build.sign()
    build.add("Gemm", build.binary_weight(3, 4), transB=1)
    model = build.model((1, 4, 4), 3, annotate=True)
    # HardSwish is an operator from there on.
    model.opset_import[0].version = 14
    return model


def no_layers() -> onnx.ModelProto:
    build = Builder(np.random.default_rng(0))
    build.add("Flatten", axis=1)
    build.add("Mul", build.constant(2.0))
    return build.model((1, 4, 4), 16, annotate=True)


def map_output() -> onnx.ModelProto:
    build = Builder(np.random.default_rng(0))
    build.add("Conv", build.binary_weight(4, 1, 4, 4), kernel_shape=[4, 4])
    return build.model((1, 4, 4), 4, annotate=True)


def broken_shapes() -> onnx.ModelProto:
    build = Builder(np.random.default_rng(0))
    build.add("Flatten", axis=1)
    build.add("Mul", build.constant(np.ones((3, 1))))
    build.add("Gemm", build.binary_weight(3, 16), transB=1)
    return build.model((1, 4, 4), 3, annotate=True)


REFUSED = [
    float_weights,
    unsupported,
    incompatible_join,
    dilated,
    unquantized_relu,
    falling_prelu,
    hard_swish,
    no_layers,
    map_output,
    broken_shapes,
]


@pytest.mark.parametrize("make", REFUSED)
@pytest.mark.parametrize("command", ["check", "estimate"])
def test_what_does_not_compile_is_refused_with_a_repair(
    make: Callable[[], onnx.ModelProto],
    command: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    golden: Golden,
) -> None:
    golden(f"problems/onnx_{make.__name__}", said(capsys, [command, saved(make(), tmp_path)], 2))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_cut_off_onnx_file(share: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = random_network(0, 1, 1).SerializeToString()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: int(len(content) * share)])
    text = said(capsys, ["simulate", str(path), "--data", "digits"], 2)
    assert "cut.onnx" in text
    assert "hint" in text


def test_a_damaged_onnx_file_never_shows_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Outside a run folder there is no checksum: a flipped bit may pass, fail cleanly, but not crash."""
    content = random_network(1, 1, 1).SerializeToString()
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.onnx"
    statuses = set()
    for _ in range(60):
        damaged = bytearray(content)
        damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        capsys.readouterr()
        statuses.add(cli.run(["check", str(path)]))
        assert "Traceback" not in capsys.readouterr().err
    assert statuses <= {0, 2}
    assert 2 in statuses


CASES = {
    "no_recipe": (["build", "nowhere.yaml"], 2),
    "no_graph": (["simulate", "nowhere.onnx", "--data", "digits"], 2),
    "no_input": (["simulate", "GRAPH"], 2),
    "no_npy": (["simulate", "GRAPH", "--input", "nowhere.npy"], 2),
    "not_npy": (["simulate", "GRAPH", "--input", "GRAPH"], 2),
    "nan_input": (["simulate", "GRAPH", "--input", "nan.npy"], 2),
    "no_images": (["simulate", "GRAPH", "--input", "none.npy"], 2),
    "scalar_input": (["simulate", "GRAPH", "--input", "scalar.npy"], 2),
    "several_arrays": (["simulate", "GRAPH", "--input", "several.npz"], 2),
    "output_folder": (["simulate", "GRAPH", "--input", "x.npy", "--output", "full"], 2),
    "label_values": (["simulate", "GRAPH", "--input", "x.npy", "--labels", "halves.npy"], 2),
    "input_and_data": (["simulate", "GRAPH", "--data", "digits", "--labels", "halves.npy"], 2),
    "from_after_to": (["build", "r.yaml", "--from", "report", "--to", "data"], 2),
    "build_onnx": (["build", "GRAPH"], 2),
    "few_images": (["build", "r.yaml", "-s", "data.train_images=2"], 2),
    "label_count": (["simulate", "GRAPH", "--input", "x.npy", "--labels", "x.npy"], 2),
    "unknown_data": (["simulate", "GRAPH", "--data", "cifar"], 2),
    "wrong_size": (["simulate", "GRAPH", "--data", "digits"], 2),
    "missing_data": (["simulate", "GRAPH", "--data", "mnist", "--data-dir", "."], 2),
    "bad_rates": (["faults", "GRAPH", "--rates", "often"], 2),
    "rate_range": (["faults", "GRAPH", "--data", "digits", "--rates", "2"], 2),
    "empty_folding": (["estimate", "GRAPH", "--folding", "empty.json"], 2),
    "channels_last": (["simulate", "GRAPH", "--input", "last.npy"], 2),
    "no_run": (["show", "."], 2),
    "no_such_stage": (["build", "r.yaml", "--from", "trian"], 2),
    "target_too_fast": (["estimate", "GRAPH", "--fps", "1e9"], 1),
    "target_part": (["estimate", "GRAPH", "--part", "xc7z02"], 2),
    "new_exists": (["new", "r.yaml"], 2),
    "bad_arch": (["new", "other.yaml", "--arch", "rnn"], 2),
    "check_sizes": (["check", "r.yaml", "-s", "model.kernels=[3, 2]"], 2),
    "check_target": (["check", "r.yaml", "-s", "target.fps=50000000"], 1),
    "run_is_a_file": (["build", "r.yaml", "--run", "r.yaml"], 2),
    "not_a_run": (["build", "r.yaml", "--run", "full"], 2),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    monkeypatch.chdir(tmp_path)
    graph = saved(random_network(3, 1, 1, image="raw"), tmp_path)
    shape = (4, *[d.dim_value for d in onnx.load(graph).graph.input[0].type.tensor_type.shape.dim][1:])
    np.save("x.npy", np.zeros(shape, np.uint8))
    np.save("nan.npy", np.full(shape, np.nan, np.float32))
    np.save("none.npy", np.zeros((0, *shape[1:]), np.uint8))
    np.save("scalar.npy", np.float32(1))
    np.save("last.npy", np.zeros((4, *shape[2:], shape[1]), np.uint8))
    Path("empty.json").write_text("{}")
    np.savez("several.npz", a=np.zeros(3), b=np.zeros(3))
    np.save("halves.npy", np.full(4, 0.5))
    Path("r.yaml").write_text("data: {name: digits}\nmodel: {arch: cnn, channels: [8, 8], pools: [1, 2]}\n")
    Path("full").mkdir()
    Path("full/thesis.txt").write_text("mine")
    arguments, status = CASES[name]
    text = said(capsys, [graph if word == "GRAPH" else word for word in arguments], status)
    golden(f"problems/command_{name}", text)


def test_no_permission_in_the_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    """Tests may run as root, whom no permission stops; so the refusal of the system is played."""
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text("data: {name: digits}\nmodel: {arch: mlp}\n")

    made = Path.mkdir

    def refused(self: Path, *args: Any, **kwargs: Any) -> None:
        if self.name == "locked":
            raise PermissionError(13, "Permission denied")
        made(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refused)
        text = said(capsys, ["build", "r.yaml", "--run", "locked"], 2)
    golden("problems/command_no_permission", text)


def test_the_parsers_own_complaints_have_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean 'build'" in said(capsys, ["bild"], 2)
    assert "No such option" in said(capsys, ["schema", "--colour"], 2)
    assert cli.run(["--version"]) == 0


def test_our_own_faults_have_status_70(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from bnnflow.flow.recipe import schema as recipe

    def broken() -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(recipe, "schema", broken)
    assert "fault in bnnflow" in said(capsys, ["schema"], 70)
    with pytest.raises(ZeroDivisionError):
        cli.run(["--debug", "schema"])
    assert cli.run(["--debug", "check", "nowhere.onnx"]) == 2, "a traceback does not change the status"


def test_a_missing_package_has_status_3(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from bnnflow.flow.recipe import schema as recipe

    def absent() -> None:
        raise ModuleNotFoundError("No module named 'captum'", name="captum")

    monkeypatch.setattr(recipe, "schema", absent)
    assert "flow doctor" in said(capsys, ["schema"], 3)


def test_check_says_where_every_operator_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    path = saved(random_network(1, 1, 1, "before-norm", "binary"), tmp_path)
    capsys.readouterr()
    assert cli.run(["check", path, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["operators"]
    ends = [(row["operator"], row["ends_in"]) for row in rows if row["ends_in"]]
    assert ("Conv", "MVAU conv0") in ends
    assert ("BatchNormalization", "thresholds of MVAU conv0") in ends
    assert ("Sub", "thresholds of Thresholding sign0") in ends, "the input's sign has thresholds of its own"
    assert ("Add", "class scores, on the host") in ends or ("Mul", "class scores, on the host") in ends


def test_new_writes_a_recipe_that_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arch in ("cnn", "mlp"):
        path = str(tmp_path / f"{arch}.yaml")
        assert cli.run(["new", path, "--arch", arch]) == 0
        assert cli.run(["check", path]) == 0
        assert "compiles to dataflow units" in capsys.readouterr().out


@pytest.mark.skipif(not (DATA / "qonnx_zoo").is_dir(), reason="the QONNX zoo's networks are not at hand")
def test_a_network_that_others_trained(capsys: pytest.CaptureFixture[str]) -> None:
    """TFC_1W1A of the QONNX model zoo on MNIST's 10,000 test images, and its cost."""
    import json

    graph = [str(DATA / "qonnx_zoo" / "TFC_1W1A.onnx"), "--input", "pixels/255"]
    assert cli.run(["check", *graph]) == 0
    capsys.readouterr()
    assert cli.run(["simulate", *graph, "--data", "mnist", "--data-dir", str(DATA / "mnist"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["images"], found["accuracy"]) == (10_000, 0.9296)
    assert cli.run(["estimate", *graph, "--fps", "100000", "--clock-mhz", "200", "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert cost["weights"] == 59_008
    assert cost["fps"] >= 100_000
    assert cli.run(["cycles", *graph, "--fps", "100000", "--clock-mhz", "200", "--fifo", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["interval_cycles"] == cost["cycles"]


def test_cycles_of_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = saved(random_network(3, 1, 1, image="raw"), tmp_path)
    assert cli.run(["cycles", graph, "--images", "2"]) == 0
    assert "simulated word by word" in capsys.readouterr().out
    said(capsys, ["cycles", graph, "--fps", "1e9"], 1)


def test_cycles_of_a_network_that_deadlocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The figures are those with the depths that are named, and these make it run."""
    import json

    graph = saved(skipped(), tmp_path)
    assert cli.run(["cycles", graph, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["deadlock"]["fifo"] in found["deadlock"]["enough"]
    (tmp_path / "depths.json").write_text(json.dumps(found["deadlock"]["enough"]))
    assert cli.run(["cycles", graph, "--fifo-depths", str(tmp_path / "depths.json"), "--json"]) == 0
    mended = json.loads(capsys.readouterr().out)
    assert mended["deadlock"] is None and mended["interval_cycles"] == found["interval_cycles"]
    assert cli.run(["cycles", graph]) == 1
    assert "the figures above and below are those with" in capsys.readouterr().out


def test_problem_prints_what_where_and_hint() -> None:
    assert str(Problem("it broke", "here", "mend it")) == "it broke\n  at: here\n  hint: mend it"
    assert str(Problem("it broke")) == "it broke"


def test_simulate_writes_scores_as_text_and_tapped_tensors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    from bnnflow.sim import reference
    from bnnflow.transforms.reading.read import read

    model = random_network(3, 1, 1)
    graph, path = read(model), saved(model, tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (7, *graph.input_type.shape)).astype(np.uint8)
    wanted = reference.run(graph, images)
    np.save(tmp_path / "x.npy", images)
    np.save(tmp_path / "y.npy", wanted[graph.output].argmax(axis=1))
    arguments = ["simulate", path, "--input", str(tmp_path / "x.npy"), "--labels", str(tmp_path / "y.npy"), "--json"]
    capsys.readouterr()
    tapped = graph.nodes[1].name
    assert cli.run([*arguments, "--threads", "2", "--tap", tapped, "--output", str(tmp_path / "s.csv")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert np.array_equal(np.loadtxt(tmp_path / "s.csv", delimiter=","), wanted[graph.output])
    assert np.array_equal(np.load(tmp_path / f"s.{tapped}.npy"), wanted[tapped])
    assert found["accuracy"] == 1 and np.trace(np.array(found["confusion"])) == 7


def test_a_tensor_that_the_graph_has_not(tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    model = random_network(3, 1, 1)
    path = saved(model, tmp_path)
    np.save(
        tmp_path / "x.npy", np.zeros((1, *[d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]))
    )
    arguments = ["simulate", path, "--input", str(tmp_path / "x.npy")]
    golden(
        "problems/command_no_tensor", said(capsys, [*arguments, "--tap", "x", "--output", str(tmp_path / "s.npy")], 2)
    )
    golden("problems/command_tap_without_output", said(capsys, [*arguments, "--tap", "x"], 2))
