"""A group whose channels several layers make side by side; whatever ranks it, each of them keeps one."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bnnflow.flow.cli import app as cli
from bnnflow.flow.pruning.chance import ALL, against_chance
from bnnflow.flow.pruning.sensitivity import Candidates, measured_curves
from bnnflow.models.prune.structure import MaskedGroup, MaskedStructure
from bnnflow.transforms.channels import channel_groups
from bnnflow.transforms.ir.contract_text import parse_contract
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import Add, Affine, Concat, Dense, Sign
from bnnflow.transforms.ir.tensor import TensorType
from bnnflow.transforms.passes.accept import with_contract
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.network import write_network

IMAGES = np.random.default_rng(4).integers(0, 256, (80, 12)).astype(np.uint8)
LABELS = np.arange(80) % 3


def branches() -> Graph:
    """Layers of six neurons side by side, added to one of twelve; a norm and a sign behind each, then the scores."""
    rng = np.random.default_rng(6)
    nodes = []
    for name, width in (("a", 6), ("b", 6), ("c", 12)):
        weight, ones = rng.choice([-1, 1], (width, 12)).astype(np.int8), np.ones(width)
        nodes += [
            Node(name, Dense(weight), ("x",)),
            Node(f"{name}_mean", Affine(ones, -128.0 * weight.sum(1)), (name,)),
            Node(f"{name}_norm", Affine(rng.choice([-1.0, 1.0], width), 0.2 * ones, 250.0 * ones), (f"{name}_mean",)),
            Node(f"{name}_sign", Sign(), (f"{name}_norm",)),
        ]
    nodes += [
        Node("both", Concat(), ("a_sign", "b_sign")),
        Node("sum", Add(), ("c_sign", "both")),
        Node("scores", Dense(rng.choice([-1, 1], (3, 12)).astype(np.int8)), ("sum",)),
    ]
    graph = Graph("branches", "x", TensorType((12,), 0, 255), tuple(nodes), "scores")
    return with_contract(graph, parse_contract("uint8"))


def test_chance_and_sensitivity_leave_a_channel_of_each() -> None:
    graph = branches()
    (group,) = (one for one in channel_groups(graph) if not one.reason)
    assert {name: len(rows) for name, rows in group.rows.items()} == {"a": 6, "b": 6, "c": 12}
    candidates = Candidates.of(graph, IMAGES, IMAGES, LABELS)
    # Everything that the second layer makes is ranked below all else.
    scores = {"a": np.arange(12.0)[::-1]}
    (cell,) = against_chance(candidates, {"one-sided": scores}, [0.9], 4, 0)
    assert cell.group == ALL and cell.accuracy["one-sided"] == candidates({"a": np.array([0, 6])})
    (curve,) = measured_curves(candidates, scores, 1, 1, [0.5, 0.75, 0.95], None).values()
    assert curve.removed == (0, 6, 9)
    assert curve.accuracy[1:] == (
        candidates({"a": np.array([0, 1, 2, 3, 4, 6])}),
        candidates({"a": np.array([0, 1, 6])}),
    )


@pytest.mark.parametrize("criterion", ["reconstruction", "random"])
def test_a_file(criterion: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.onnx").write_bytes(write_network(branches()).SerializeToString())
    np.save(tmp_path / "x.npy", IMAGES)
    words = ["prune", str(tmp_path / "net.onnx"), "--input", str(tmp_path / "x.npy"), "--amount", "0.9", "--unit", "1"]
    for seed in range(6):
        output = tmp_path / f"{seed}.onnx"
        assert cli.run([*words, "--seed", str(seed), "--criterion", criterion, "-o", str(output), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["kept"] == {"a": 2}
        assert sorted(node.op.weight.shape for node in read(output).nodes if isinstance(node.op, Dense)) == [
            (1, 12),
            (1, 12),
            (2, 12),
            (3, 2),
        ]


def test_a_module_of_the_users() -> None:
    """The scores that pruning decides by already say so."""

    network = SimpleNamespace(spec=SimpleNamespace(unread={"next": (0, 1)}))
    rows = {"one": np.arange(4), "other": np.arange(4, 8)}
    structure = MaskedStructure((MaskedGroup("one", 8, rows, {"next": np.arange(8)}),), {})
    given = {"one": np.array([0.0, 0.0, 5.0, 4.0]), "other": np.array([1.0, 3.0, 2.0, 0.0])}
    made = structure.scores(network, given)["one"]  # type: ignore[type-var]
    # Channels 0 and 1 are gone; 2 (of "one") and 5 (of "other") come before 3.
    assert np.argsort(-made, kind="stable").tolist() == [0, 3, 1, 4, 2, 5]
