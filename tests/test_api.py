"""The Python API: its examples, what it loads, and that it says what the commands say."""

from __future__ import annotations

import doctest
import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bnnflow as bf
from bnnflow.flow.api.arguments import kinds_of, of_kind
from bnnflow.flow.cli import app as cli
from bnnflow.flow.run.tools import compiler_place, nextpnr_command, verilator_place, yosys_command
from bnnflow.flow.run.typed_json import to_json

IMAGES = np.zeros((20, 1, 8, 8), np.uint8)
RECIPE = """
data: {name: digits, train_images: 200, test_images: 100}
model: {arch: mlp, hidden: [16]}
train: {epochs: 1}
prune: {amount: 0.5, steps: 1, unit: 4, epochs: 0}
target: {fps: 1000}
faults: {rates: [0.1], maps: 2, images: 20}
speed: {enabled: false}
"""
MODULES = [
    importlib.import_module(f"bnnflow.flow.api.{name}")
    for name in (
        "runs",
        "graphs",
        "graph_hardware",
        "graph_pruning",
        "hardware",
        "parts",
        "faults",
        "plans",
        "approximation",
    )
]


class Finder(doctest.DocTestFinder):
    """Finds examples of functions behind the check of their arguments, too."""

    def _from_module(self, module: object, found: object) -> bool:
        return super()._from_module(module, inspect.unwrap(found) if inspect.isfunction(found) else found)  # type: ignore[misc]


# A run first: the other examples read it.
EXAMPLES = [test for module in MODULES for test in Finder().find(module) if test.examples]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe, its run, its network and images."""
    made = tmp_path_factory.mktemp("api")
    (made / "model.yaml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        bf.build("model.yaml", last="export")
    (made / "net.onnx").write_bytes((made / "runs/model/base/network.onnx").read_bytes())
    return made


@pytest.fixture
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def digits(inside: Path) -> tuple[np.ndarray, np.ndarray]:
    from bnnflow.flow.graphs.inputs import test_images

    return test_images("digits", None, 20)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name.rpartition("api.")[2])
def test_example(example: doctest.DocTest, digits: tuple[np.ndarray, np.ndarray]) -> None:
    if example.name.endswith(("cosim", "activity")) and (verilator_place() is None or compiler_place() is None):
        pytest.skip("Verilator or a C++ compiler is not installed")
    if example.name.endswith(("synth", "route")) and yosys_command() is None:
        pytest.skip("yosys is not installed")
    if example.name.endswith("route") and nextpnr_command("nextpnr-ice40") is None:
        pytest.skip("nextpnr is not installed")
    example.globs = {"bf": bf, "g": bf.load("net.onnx"), "x": digits[0], "y": digits[1]}
    told: list[str] = []
    failed = doctest.DocTestRunner().run(example, out=told.append, clear_globs=False).failed
    assert not failed, "".join(told)


def test_every_function_has_an_example() -> None:
    shown = {example.name.rpartition(".")[2] for example in EXAMPLES}
    functions = [name for name in bf.__all__ if inspect.isfunction(getattr(bf, name)) and name != "visible"]
    methods = [name for name, _ in inspect.getmembers(bf.LoadedGraph, inspect.isfunction) if name[0] != "_"]
    assert {*functions, *methods, "build"} <= shown


def test_the_page_names_what_there_is() -> None:
    text = (Path(__file__).parent.parent / "docs" / "api.md").read_text()
    named = set(re.findall(r"\bbf\.(\w+)", text))
    assert named <= {*bf.__all__, "__all__"}
    assert {name for name in bf.__all__ if name.islower() and name not in ("visible", "__version__")} <= named
    assert {"compile", "simulate", "estimate", "cycles"} <= set(re.findall(r"\bg\.(\w+)\(", text))


def test_it_says_what_the_commands_say(
    digits: tuple[np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("x.npy", digits[0])
    np.save("y.npy", digits[1])

    def said(*words: str) -> object:
        capsys.readouterr()
        assert cli.run([*words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    g = bf.load("net.onnx")
    assert said("estimate", "net.onnx", "--fps", "1000") == _plain(g.estimate(fps=1000))
    assert said("estimate", "net.onnx") == _plain(g.estimate())
    assert said("cycles", "net.onnx", "--fps", "1000") == _plain(g.cycles(fps=1000))
    assert said("check", "net.onnx") == _plain(bf.check("net.onnx"))
    found = said("simulate", "net.onnx", "--input", "x.npy", "--labels", "y.npy")
    assert isinstance(found, dict)
    mine = g.simulate("x.npy", "y.npy")
    assert found == _plain(mine)
    assert np.array_equal(mine.scores, g.simulate(*digits).scores)
    for words, pruned in (
        (["--data", "digits"], g.prune("other.onnx", data="digits", amount=0.5, unit=4)),
        (["--input", "x.npy", "--labels", "y.npy"], g.prune("other.onnx", *digits, amount=0.5, unit=4)),
    ):
        told = said("prune", "net.onnx", *words, "--amount", "0.5", "--unit", "4", "-o", "other.onnx")
        assert isinstance(told, dict)
        assert {**told, "seconds": 0} == {**to_json(pruned), "seconds": 0}
    words = ["--rates", "0.1,0.3", "--maps", "2", "--input", "x.npy", "--labels", "y.npy"]
    assert said("faults", "net.onnx", *words) == _plain(bf.faults("net.onnx", *digits, rates=[0.1, 0.3], maps=2))


def _plain(value: object) -> object:
    return json.loads(json.dumps(to_json(value)))


def test_importing_it_loads_nothing() -> None:
    code = (
        "import sys, bnnflow as bf; bf.load, bf.build, bf.rank, bf.prune, bf.compare, bf.LoadedGraph;"
        "assert not {'torch', 'brevitas', 'numpy', 'onnx', 'pydantic', 'typer'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("first", ["import bnnflow.build.cost", "import bnnflow as bf; bf.build", "pass"])
def test_build_is_a_function_and_a_package(first: str) -> None:
    """Whichever is asked for first."""
    code = (
        f"{first}\nimport bnnflow as bf\nassert callable(bf.build)\n"
        "import bnnflow.build.parts as parts\nassert bf.build.parts is parts\n"
        "from bnnflow.build import cost\nassert bf.build.cost is cost\n"
        "try: bf.build('nowhere.yaml')\nexcept bf.Problem as problem: assert 'no such recipe' in str(problem)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = bf.nothing  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "call",
    [
        lambda g: g.compile("zlib"),
        lambda g: g.simulate(),
        lambda g: g.simulate(np.zeros((2, 3, 3))),
        lambda g: g.simulate(np.zeros((2, 1, 8, 8), np.uint8), [1]),
        lambda g: g.simulate(data="nothing"),
        lambda g: g.estimate(part="zx81"),
        lambda g: g.estimate(cost_model="best"),
        lambda g: g.estimate(fps=-1),
        lambda g: g.estimate(clock_mhz=0),
        lambda g: g.simulate(data="digits", threads=0),
        lambda g: bf.load("nowhere.onnx"),
        lambda g: bf.check("model.yaml", changes={"train.epochz": 1}),
        lambda g: bf.build("model.yaml", last="nowhere"),
        lambda g: bf.rank("runs/model", "best"),
        lambda g: bf.rank("runs/model", count=0),
        lambda g: bf.prune("runs/model", amuont=0.5),
        lambda g: bf.prune("net.onnx", amount=0.5),
        lambda g: g.prune("smaller.onnx", amount=0.5),
        lambda g: g.prune("smaller.onnx", data="digits", amount=0),
        lambda g: g.prune("smaller.onnx", data="digits", amount=0.95),
        lambda g: g.prune("smaller.onnx", data="digits", criterion="deeplift"),
        lambda g: g.prune("smaller.onnx", labels=np.zeros(4, int), data="digits"),
        lambda g: g.prune("smaller.onnx", np.zeros((4, 1, 8, 8), np.uint8), data="digits"),
        lambda g: g.prune("smaller.onnx", np.zeros((4, 1, 8, 8), np.uint8), np.zeros(3, int)),
        lambda g: g.prune("net.onnx", data="digits"),
        lambda g: bf.compare("nowhere"),
        lambda g: bf.faults("net.onnx", rates=[2], data="digits"),
        lambda g: bf.faults("net.onnx", labels=np.zeros(3)),
        lambda g: bf.faults("net.onnx", data="digits", interval=2),
        lambda g: bf.faults("net.onnx", data="digits", maps=0),
    ],
)
def test_what_cannot_be_is_a_problem(call: object, inside: Path) -> None:
    assert callable(call)
    with pytest.raises(bf.Problem):
        call(bf.load("net.onnx"))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: bf.faults("net.onnx", rates=[2]), "allowed: a number, 0 to 1"),
        (lambda: bf.faults("net.onnx", rates=0.1), "give [0.1]"),
        (lambda: bf.faults("net.onnx", targets="weights"), "give ['weights']"),
        (lambda: bf.faults("net.onnx", maps=2.5), "2.5 is not a whole number"),
        (lambda: bf.load("net.onnx").estimate(fps="fast"), "'fast' is not a number"),
        (lambda: bf.load("net.onnx").estimate(fps=True), "True is not a number"),
        (lambda: bf.load("net.onnx").estimate(clock_mhz=2000), "allowed: a number, 1 to 1,000"),
        (lambda: bf.load("net.onnx").simulate(IMAGES, count=-1), "allowed: a whole number, 1 or more"),
        (lambda: bf.load("net.onnx").simulate(IMAGES, count=True), "count: True is not a whole number"),
        (lambda: bf.load("net.onnx").simulate(iter(IMAGES)), "give a numpy array"),
        (lambda: bf.load("net.onnx").simulate([[1, 2], [3]]), "images"),
        (lambda: bf.load(b"net.onnx"), "is not a path"),
        (lambda: bf.load("net.onnx", input=3), "input: 3 is not text"),
        (lambda: bf.faults(bf.load("net.onnx"), IMAGES), "is not a path"),
        (lambda: bf.faults("net.onnx", IMAGES, rates=[]), "the list is empty"),
        (lambda: bf.faults("net.onnx", IMAGES, maps=np.int64(-2)), "allowed: a whole number, 1 to 1,000"),
        (lambda: bf.faults("net.onnx", IMAGES, jobs=0), "allowed: a whole number, 1 to 4,096"),
        (lambda: bf.criticality("net.onnx", IMAGES, layers="dense0"), "give ['dense0']"),
        (lambda: bf.protect("net.onnx", IMAGES, rate=0), "allowed: a number, above 0 to 1"),
        (lambda: bf.approximate("net.onnx", IMAGES, levels=(1,)), "give 2"),
        (lambda: bf.approximate("net.onnx", IMAGES, lta=[8], balanced=1), "balanced: 1 is not true or false"),
        (lambda: bf.compare(["runs/model"]), "is not a path"),
        (lambda: bf.check("model.yaml", changes="train.epochs=3"), "give ['train.epochs=3']"),
        (lambda: bf.faults("net.onnx", IMAGES, progress=3), "progress: 3 is not a function"),
        (lambda: bf.check("model.yaml", changes={"train.epochs": object()}), "is no value of a recipe"),
    ],
)
def test_what_no_command_line_could_give_is_refused_too(call: Callable[[], object], said: str, inside: Path) -> None:
    with pytest.raises(bf.Problem) as caught:
        call()
    assert said in str(caught.value) and caught.value.status == 2


@pytest.mark.parametrize(
    ("call", "void"),
    [
        (lambda g: g.simulate(IMAGES, data_dir="data"), "data_dir changes nothing without data"),
        (lambda g: g.prune("p.onnx", IMAGES, batch=3, distill=0.5), "batch, distill change nothing without epochs"),
        (lambda g: g.prune_by("synapses", "p.onnx", IMAGES, batch=3), "batch changes nothing without epochs"),
        (lambda g: g.rank("latent", IMAGES, shares=[0.3]), "shares changes nothing without chance"),
        (lambda g: g.cosim(IMAGES, data_dir="data"), "data_dir changes nothing without data"),
        (lambda g: bf.check("net.onnx", changes={"train.epochs": 3}), "changes changes nothing in a network"),
        (lambda g: bf.rank("runs/model", "latent", shares=[0.3]), "shares changes nothing without chance"),
        (lambda g: bf.compare_hardware("runs/model", jobs=2), "jobs changes nothing without synth"),
        (lambda g: bf.approximate("net.onnx", IMAGES, lta=[8], draws=2), "draws changes nothing without confusion or"),
        (lambda g: bf.approximate("net.onnx", IMAGES, capmin=[8], balanced=True), "balanced changes nothing without"),
        (lambda g: bf.attack("net.onnx", IMAGES, part="xc7z020"), "part changes nothing without fps"),
        (lambda g: bf.faults("net.onnx", IMAGES, part="zx81"), "part changes nothing without fps"),
        (lambda g: bf.faults("net.onnx", IMAGES, fps=1, pe_simd="1,1"), "fps and pe_simd contradict each other"),
        (lambda g: bf.faults("net.onnx", IMAGES, jobs=2, cluster="ray"), "jobs and cluster contradict each other"),
        (lambda g: bf.faults("net.onnx", IMAGES, max_maps=9), "max_maps changes nothing without interval"),
        (lambda g: bf.faults("net.onnx", IMAGES, error=0.1), "error changes nothing without the model 'single'"),
        (lambda g: bf.faults("net.onnx", IMAGES, models=["single"], rates=[0.1]), "rates changes nothing for single"),
        (lambda g: bf.faults("net.onnx", IMAGES, fifo_depth=4), "fifo_depth changes nothing without the target"),
        (lambda g: bf.faults("net.onnx", IMAGES, placement="p.json"), "placement changes nothing where nothing is"),
        (
            lambda g: bf.faults("net.onnx", IMAGES, rates=[0.1], models=["undervolting:0.55"]),
            "rates changes nothing for",
        ),
        (
            lambda g: bf.faults("net.onnx", IMAGES, targets=["streams"], device="cpu-torch"),
            "device changes nothing for",
        ),
    ],
)
def test_what_would_change_nothing_is_refused(call: Callable[[object], object], void: str, inside: Path) -> None:
    with pytest.raises(bf.Problem) as caught:
        call(bf.load("net.onnx"))
    assert void in str(caught.value) and caught.value.status == 2


def test_numbers_of_numpy_iterators_and_lists_are_what_they_hold(digits: tuple[np.ndarray, np.ndarray]) -> None:
    torch = pytest.importorskip("torch")
    g, (images, labels) = bf.load("net.onnx"), digits
    whole = g.simulate(images, labels)
    for x, y in ((images.tolist(), tuple(labels)), (torch.tensor(images), torch.tensor(labels))):
        assert g.simulate(x, y, count=np.int64(20)).accuracy == whole.accuracy
    drawn = bf.faults("net.onnx", images, labels, rates=[0.25, 0.5], maps=2, seed=3)
    rates, seed = np.array([0.25, 0.5], np.float32), np.uint8(3)
    assert to_json(bf.faults("net.onnx", images, labels, rates=rates, maps=np.int8(2), seed=seed)) == to_json(drawn)
    assert to_json(bf.faults("net.onnx", images, labels, rates=iter([0.25, 0.5]), maps=2, seed=3)) == to_json(drawn)
    changes = {"train.epochs": np.int64(1), "faults.rates": np.array([0.5]), "speed.enabled": np.bool_(False)}
    assert bf.check("model.yaml", changes=changes).problem is None
    assert bf.prune("runs/model", amount=np.float32(0.5), steps=np.int8(1), epochs=0, unit=4).kept == {"dense0": 8}
    one = bf.criticality("net.onnx", images, layers=(name for name in ["dense0"]), count=2)
    assert [row.layer for row in one.layers] == ["dense0"]


def test_every_argument_of_the_api_is_checked() -> None:
    """Each function reads its arguments by their annotations, of which each is one that can be checked."""
    functions = [
        getattr(bf, name) for name in bf.__all__ if inspect.isfunction(getattr(bf, name)) and name != "visible"
    ]
    methods = [one for name, one in inspect.getmembers(bf.LoadedGraph, inspect.isfunction) if name[0] != "_"]
    for function in [*functions, *methods, importlib.import_module("bnnflow.flow.api.runs").build]:
        assert hasattr(function, "__wrapped__"), function
        inner = inspect.unwrap(function)
        parameters = inspect.signature(inner).parameters
        kinds = kinds_of(inner, parameters)
        settings = {name for name, one in parameters.items() if one.kind is inspect.Parameter.VAR_KEYWORD}
        assert {*kinds, *settings, "self"} >= {*parameters}
        for name, kind in kinds.items():
            if parameters[name].default is not inspect.Parameter.empty:
                assert to_json(of_kind(name, parameters[name].default, kind)) == to_json(parameters[name].default)
            else:
                with pytest.raises(bf.Problem):
                    of_kind(name, object(), kind)


def test_a_graph_is_shown_in_a_line(inside: Path) -> None:
    assert "\n" not in repr(bf.load("net.onnx"))
