"""`flow permute`: what it says of PEs is what `flow faults` makes of them, before and in the graph that it writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bnnflow as bf
from bnnflow import Problem
from bnnflow.flow.run.typed_json import to_json
from bnnflow.sim import reference
from bnnflow.transforms.ir.ops import Mvau
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.write import write
from tests.flow.commands.test_fault_commands import DATA, folder, network, said

Golden = Callable[[str, str], None]
__all__ = ["folder"]
BAD = ["--unit", "hidden", "--pe", "2", "--stuck", "1"]


def test_every_pe_of_every_unit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both bits; figures are those of campaigns on the images that judge."""
    found = json.loads(said(capsys, ["permute", "net.onnx", *DATA, "--json"]))
    assert (found["images"], found["judged"], found["clean"]) == (25, 25, 1.0) and "permuted" in found
    rows = {(row["unit"], row["stuck"]): row for row in found["units"]}
    assert list(rows) == [("hidden", 0), ("hidden", 1), ("scores", 0), ("scores", 1)]
    np.save("x1.npy", np.load("x.npy")[1::2])
    np.save("y1.npy", np.load("y.npy")[1::2])
    for (name, bit), row in rows.items():
        assert [one["pe"] for one in row["before"]] == list(range(row["pes"]))
        for one in row["before"]:
            judged = ["faults", "net.onnx", "--input", "x1.npy", "--labels", "y1.npy", "--rates", "1", "--json"]
            judged += ["--target", "streams", "--layers", name, "--model", f"pe:{one['pe']} stuck-at-{bit}"]
            ((series,),) = json.loads(said(capsys, judged))["series"].values()
            assert (series["mean"], series["changed"], series["maps"]) == (one["accuracy"], one["changed"], 1)
            assert (series["low"], series["high"]) == (one["low"], one["high"])
    assert rows["scores", 0]["spared"] is rows["scores", 0]["after"] is None
    assert rows["scores", 0]["reason"] == "they are the class scores" and rows["hidden", 0]["reason"] == ""
    assert len(rows["hidden", 1]["spared"]) == 4
    api = bf.permute("net.onnx", "x.npy", "y.npy")
    assert to_json(api) == found
    text = said(capsys, ["permute", "net.onnx", *DATA])
    assert all(word in text for word in ("hidden", "channels of scores stay", "25 others", "together"))
    alone = json.loads(said(capsys, ["permute", "net.onnx", *DATA, "--alone", "--by", "changed", "--json"]))
    assert (alone["together"], alone["by"]) == (False, "changed")


def test_the_graph_for_a_bad_pe(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It gives the same scores, costs the same, and under the fault what was said; hardware is written of it."""
    words = ["permute", "net.onnx", *DATA, *BAD, "-o", "p.onnx"]
    found = json.loads(said(capsys, [*words, "--json"]))
    (row,), made = found["units"], found["permuted"]
    assert made["path"] == "p.onnx" and [one["pe"] for one in row["before"]] == [2]
    assert sorted(made["order"][2::4]) == row["spared"] and row["after"]["accuracy"] >= row["before"][0]["accuracy"]
    old, new = read(Path("net.onnx")), read(Path("p.onnx"))
    images = np.load("x.npy")
    before, after = reference.run(old, images), reference.run(new, images)
    assert np.array_equal(before["scores"], after["scores"])
    assert np.array_equal(before["hidden"][..., made["order"]], after["hidden"])
    assert made["tensors"] == 3 and made["values"] == sum(before[name].size for name in old.types)
    estimates = [json.loads(said(capsys, ["estimate", name, "--json"])) for name in ("net.onnx", "p.onnx")]
    assert estimates[0] == {**estimates[1], "name": estimates[0]["name"]}
    np.save("x1.npy", images[1::2])
    np.save("y1.npy", np.load("y.npy")[1::2])
    judged = ["faults", "p.onnx", "--input", "x1.npy", "--labels", "y1.npy", "--rates", "1", "--target", "streams"]
    judged += ["--layers", "hidden", "--model", "pe:2 stuck-at-1", "--json"]
    ((series,),) = json.loads(said(capsys, judged))["series"].values()
    assert (series["mean"], series["changed"]) == (row["after"]["accuracy"], row["after"]["changed"])
    assert "hw" in said(capsys, ["rtl", "p.onnx", "-o", "hw"])
    text = said(capsys, words)
    assert all(word in text for word in ("p.onnx", "PE 2 stuck at 1", "with channels", "old ones in that order"))
    once = bf.permute("net.onnx", "x.npy", "y.npy", units=["hidden"], pe=2, stuck=1, output="q.onnx")
    assert to_json(once) == {**found, "permuted": {**made, "path": "q.onnx"}}
    assert Path("q.onnx").read_bytes() == Path("p.onnx").read_bytes()


def test_a_graph_is_folded_first(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is not is refused; --pe-simd folds it, and one PE everywhere leaves nothing to choose."""
    graph = network()
    nodes = [
        replace(node, op=replace(node.op, pe=1, simd=1)) if isinstance(node.op, Mvau) else node for node in graph.nodes
    ]
    Path("flat.onnx").write_bytes(write(graph.with_nodes(tuple(nodes))).SerializeToString())
    with pytest.raises(Problem, match="not folded"):
        bf.permute("flat.onnx", "x.npy", "y.npy")
    found = json.loads(said(capsys, ["permute", "flat.onnx", *DATA, "--pe-simd", "1,1", "--stuck", "0", "--json"]))
    assert [row["reason"] for row in found["units"]] == ["its one PE computes all of them", "they are the class scores"]
    found = json.loads(said(capsys, ["permute", "flat.onnx", *DATA, "--pe-simd", "4,1", "--stuck", "0", "--json"]))
    assert [row["pes"] for row in found["units"]] == [4, 4]


REFUSED = {
    "unit": ["--unit", "hiden"],
    "pe_of_all": ["--pe", "1"],
    "pe_of_two": ["--pe", "1", "--unit", "hidden", "--unit", "scores"],
    "pe": ["--unit", "hidden", "--pe", "4"],
    "negative": ["--unit", "hidden", "--pe", "-1"],
    "stuck": ["--stuck", "2"],
    "by": ["--by", "margin"],
    "output_of_all": ["-o", "p.onnx"],
    "output_of_both": ["--unit", "hidden", "--pe", "1", "-o", "p.onnx"],
    "ending": [*BAD, "-o", "p.json"],
    "over_the_input": [*BAD, "-o", "net.onnx"],
    "scores": ["--unit", "scores", "--pe", "0", "--stuck", "0", "-o", "p.onnx"],
    "few_images": ["--images", "3"],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    golden(f"problems/command_permute_{name}", said(capsys, ["permute", "net.onnx", *DATA, *REFUSED[name]], 2))
    assert not Path("p.onnx").exists()


def test_labels_are_needed(folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    golden("problems/command_permute_labels", said(capsys, ["permute", "net.onnx", *DATA[:2]], 2))


def test_channels_three_times(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The front by campaigns on the graphs that are written; all channels three times lose nothing to any one PE."""
    words = ["replicate", "net.onnx", *DATA, "--unit", "hidden"]
    found = json.loads(said(capsys, [*words, "--json"]))
    assert [(row["channels"], row["rows"]) for row in found["front"]] == [(0, 16), (2, 20), (4, 24), (8, 32), (16, 48)]
    bare, *others = found["front"]
    assert bare["voter_worst"] is None and bare["tensors"] == 0 and found["stuck"] == [0, 1]
    assert others[-1]["worst"]["accuracy"] == others[-1]["mean"] == found["clean"] == 1.0
    assert bare["worst"]["accuracy"] < 1.0 and all(row["tensors"] == 3 and row["values"] for row in others)
    assert all(row["lut"] > bare["lut"] for row in others)
    assert sorted(found["critical"]) == list(range(16))
    np.save("x1.npy", np.load("x.npy")[1::2])
    np.save("y1.npy", np.load("y.npy")[1::2])
    for row in others:
        one = json.loads(said(capsys, [*words, "--channels", str(row["channels"]), "-o", "v.onnx", "--json"]))
        assert one["front"] == [bare, row] and one["output"] == "v.onnx"
        judged = ["faults", "v.onnx", "--input", "x1.npy", "--labels", "y1.npy", "--rates", "1", "--target", "streams"]
        for layer, pes, worst in (("hidden", 4, row["worst"]), ("hidden_vote", row["voter_pes"], row["voter_worst"])):
            models = [word for pe in range(pes) for bit in (0, 1) for word in ("--model", f"pe:{pe} stuck-at-{bit}")]
            (series,) = json.loads(said(capsys, [*judged, "--layers", layer, *models, "--json"]))["series"].values()
            assert min(each["mean"] for each in series) == worst["accuracy"]
            if layer == "hidden":
                assert np.mean([each["mean"] for each in series]) == pytest.approx(row["mean"])
        assert "hw" in said(capsys, ["rtl", "v.onnx", "-o", f"hw{row['channels']}"])
    assert to_json(bf.replicate("net.onnx", "x.npy", "y.npy", unit="hidden")) == found
    text = said(capsys, [*words, "--stuck", "1", "--by", "changed", "--channels", "4"])
    assert all(word in text for word in ("replicated", "voter", "stuck at 1", "by changed", "fitted to synthesis"))


REPLICATE_REFUSED = {
    "unit": ["--unit", "hiden"],
    "scores": ["--unit", "scores"],
    "channels": ["--unit", "hidden", "--channels", "3"],
    "too_many": ["--unit", "hidden", "--channels", "18"],
    "output_of_many": ["--unit", "hidden", "-o", "v.onnx"],
    "clock": ["--unit", "hidden", "--clock-mhz", "200"],
    "part": ["--unit", "hidden", "--part", "zynk"],
    "few_images": ["--unit", "hidden", "--images", "2"],
}


@pytest.mark.parametrize("name", REPLICATE_REFUSED)
def test_what_replication_refuses(name: str, folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    words = ["replicate", "net.onnx", *DATA, *REPLICATE_REFUSED[name]]
    golden(f"problems/command_replicate_{name}", said(capsys, words, 2))


def test_channels_that_cost_no_more_stay(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A graph that was permuted for a PE is not permuted again for it."""
    said(capsys, ["permute", "net.onnx", *DATA, *BAD, "-o", "p.onnx"])
    again = json.loads(said(capsys, ["permute", "p.onnx", *DATA, *BAD, "-o", "q.onnx", "--json"]))
    assert again["permuted"]["order"] == list(range(16)) and again["units"][0]["spared"] == [2, 6, 10, 14]
    assert again["units"][0]["after"] == {
        key: again["units"][0]["before"][0][key] for key in again["units"][0]["after"]
    }
    assert str(read(Path("q.onnx"))).partition("\n")[2] == str(read(Path("p.onnx"))).partition("\n")[2]
