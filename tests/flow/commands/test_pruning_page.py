"""The residual network of docs/pruning.md: what stands there runs, and what it says is refused is."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx

from bnnflow.flow.cli import app as cli
from bnnflow.models.data.load import load_dataset
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.inputs import image_inputs
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.write import write

PAGE = Path(__file__).parents[3] / "docs/pruning.md"
SECTION = re.search(r"### A residual network of your own.*?(?=\n## )", PAGE.read_text(), re.DOTALL)
assert SECTION is not None
PROGRAM, *BLOCKS = re.findall(r"```(?:python)?\n(.*?)```", SECTION[0], re.DOTALL)
COMMANDS, REFUSED = (block.splitlines() for block in BLOCKS)
Run = Callable[[str], tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's program has run."""
    made = tmp_path_factory.mktemp("page")
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        exec(compile(PROGRAM, str(PAGE), "exec"), {"__name__": "page"})
    return made


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A line of the page: its status and what it says."""
    monkeypatch.chdir(folder)

    def ran(line: str) -> tuple[int, str, str]:
        capsys.readouterr()
        words = shlex.split(line)
        assert words[0] == "flow"
        return (cli.run(words[1:]), *capsys.readouterr())

    return ran


@pytest.mark.slow
def test_every_command_runs(run: Run) -> None:
    assert [line.split()[1] for line in COMMANDS] == ["check", "rank", "prune", "prune", "prune", "compile", "estimate"]
    for line in COMMANDS:
        status, _, said = run(line)
        assert status == 0, f"{line}\n{said}"


def test_what_is_refused(run: Run, folder: Path) -> None:
    kept = (folder / "residual.onnx").read_bytes()
    assert len(REFUSED) == 9
    for line in REFUSED:
        command, _, reason = line.partition("#")
        status, out, said = run(command)
        assert status == 2 and not out and reason.strip() in said, f"{line}\n{said}"
    assert (folder / "residual.onnx").read_bytes() == kept


def test_joined_filters_go_together_and_qonnx_agrees_with_what_is_left(run: Run, folder: Path) -> None:
    """What shares a sum loses the same filters; qonnx gives the scores of what is left, brought to integers."""
    status, out, said = run(next(line for line in COMMANDS if "--epochs" in line) + " --json")
    assert status == 0, said
    found = json.loads(out)
    joined, alone = found["kept"].values()
    assert list(found["widths"].values()) == [8, 8] and joined == alone == 4
    assert found["different"] == 0 < found["compared"] and found["check"] <= 1e-9
    assert found["captum"]["completeness"] <= 1e-9
    graph = read(folder / "smaller.onnx")
    made = stages(graph)
    images = image_inputs(graph, load_dataset("digits").test_images[:8])
    scores = Simulator.of(next(stage.graph for stage in made if stage.level == "xnor")).scores(images)
    whole = made[1].graph
    model = ModelWrapper(write(whole))
    for image, wanted in zip(images, scores, strict=True):
        found = execute_onnx(model, {whole.input: image[None].astype(np.float32)})[whole.output]
        np.testing.assert_allclose(found[0], wanted, rtol=1e-5, atol=1e-4)
