"""Channels that are computed three times: the same integers, and one wrong copy is outvoted; refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnflow import Problem
from bnnflow.sim import reference
from bnnflow.sim.verify import Level, verify
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import Mvau
from bnnflow.transforms.ir.tensor import TensorType
from bnnflow.transforms.passes.replicate import ReplicateChannels, check_count, counts, why_not
from tests.sim.faults.fault_graphs import cnn, dense, mlp, pixels
from tests.transforms.passes.test_permute import doubled

Golden = Callable[[str, str], None]


def unit(seed: int, rows: int, pe: int, low: int = 0) -> Graph:
    """A unit whose results are `low` or one more, read by one that gives scores."""
    rng = np.random.default_rng(seed)
    first = replace(dense(seed, rows, 12, pe=pe, simd=4), act_val=low)
    second = Mvau(rng.integers(-3, 4, (3, rows)).astype(np.int8), np.zeros((0, 0), np.int64), False)
    nodes = (Node("hidden", first, ("x",)), Node("scores", second, ("hidden",)))
    return Graph("unit", "x", TensorType((12,), 0, 1), nodes, "scores")


@given(st.integers(0, 50), st.sampled_from([(8, 4), (12, 3), (12, 6), (10, 5), (16, 8)]), st.sampled_from([0, -1, 2]))
@settings(max_examples=30, deadline=None)
def test_one_wrong_copy_is_outvoted(seed: int, sizes: tuple[int, int], low: int) -> None:
    """The same tensors; then one PE after another gives the opposite of all its results, or one of two constants."""
    rows, pe = sizes
    graph, rng = unit(seed, rows, pe, low), np.random.default_rng(seed)
    op = graph.node("hidden").op
    assert isinstance(op, Mvau)
    images = pixels(seed, graph, 30)
    old = reference.run(graph, images)
    for count in counts(op):
        chosen = np.sort(rng.permutation(rows)[:count])
        made = ReplicateChannels("hidden", chosen)(graph)
        (found,) = verify([Level("old", graph), Level("replicated", made.graph, made.equivalences)], images)
        assert found.tensors == len(graph.types) and graph.types["hidden"] == made.graph.types["hidden_vote"]
        many, vote = made.graph.node("hidden").op, made.graph.node("hidden_vote").op
        assert isinstance(many, Mvau) and isinstance(vote, Mvau) and (many.pe, many.simd) == (pe, 4)
        assert len(many.weight) == rows + 2 * count
        # One voter keeps up with the unit.
        assert vote.weight.size // (vote.pe * vote.simd) <= many.weight.size // (many.pe * many.simd)
        copies = reference.run(made.graph, images)["hidden"]
        lanes = copies.reshape(len(images), -1, pe)
        assert len({lane.tobytes() for lane in many.weight.reshape(-1, pe, 12).swapaxes(0, 1)}) == pe
        for bad in range(pe):
            for wrong in (low, low + 1, 2 * low + 1 - lanes[..., bad]):
                broken = lanes.copy()
                broken[..., bad] = wrong
                voted = reference.apply(vote, broken.reshape(copies.shape))
                assert np.array_equal(voted[..., chosen], old["hidden"][..., chosen])
                # What is not replicated is what its one PE gives.
                singles = np.setdiff1d(np.arange(rows), chosen)
                assert np.array_equal(voted[..., singles], broken.reshape(copies.shape)[..., 3 * count :])


def test_in_a_network_with_windows_and_flattening() -> None:
    graph = cnn()
    made = ReplicateChannels("conv2", [0, 2, 5])(graph)
    (found,) = verify([Level("old", graph), Level("new", made.graph, made.equivalences)], pixels(0, graph, 20))
    assert found.tensors == len(graph.types) and made.graph.node("flat").inputs == ("conv2_vote",)
    taken = replace(graph, nodes=tuple(replace(node, name="conv2_vote") if node.name == "flat" else
                                       replace(node, inputs=("conv2_vote",)) if node.name == "fc" else node
                                       for node in graph.nodes))  # fmt: skip
    assert "conv2_vote_" in ReplicateChannels("conv2", [0, 2, 5])(taken).graph.types


def test_no_two_pes_compute_the_same() -> None:
    """Three PEs of nothing but copies, or rows of one step, would be one PE to synthesis."""
    assert counts(dense(0, 6, 4, pe=3)) == [3] and counts(dense(0, 3, 4, pe=3)) == []
    # 2 of 4 channels on 4 PEs: 0 0 0 1, then 1 1 2 3.
    assert counts(dense(0, 4, 4, pe=4)) == [4]
    for number, said in ((2, "would compute the same"), (0, "0 of 4"), (5, "5 of 4")):
        with pytest.raises(Problem, match=said):
            check_count(dense(0, 4, 4, pe=4), number, "")
    with pytest.raises(Problem, match="8 PEs do not divide 18 rows") as found:
        check_count(dense(0, 16, 4, pe=8), 1, "")
    assert found.value.hint == "give 4"
    with pytest.raises(Problem) as found:
        check_count(dense(0, 16, 4, pe=8), 9, "")
    assert found.value.hint == "give 8 or 12"


REFUSED = {
    "sums": (mlp, "d2", [0]),
    "numbers": (cnn, "conv0", [0]),
    "no_mvau": (cnn, "bit", [0]),
    "two_pes": (lambda: unit(0, 8, 2), "hidden", [0]),
    "no_rows": (lambda: unit(0, 3, 3), "hidden", [0]),
    "output": (lambda: replace(unit(0, 8, 4), nodes=unit(0, 8, 4).nodes[:1], output="hidden"), "hidden", [0]),
    "unknown": (doubled, "z", [0]),
    "count": (lambda: unit(0, 8, 4), "hidden", [0, 1, 2]),
    "none": (lambda: unit(0, 8, 4), "hidden", []),
    "twice": (lambda: unit(0, 8, 4), "hidden", [1, 1]),
    "beyond": (lambda: unit(0, 8, 4), "hidden", [1, 8]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, golden: Golden) -> None:
    make, layer, channels = REFUSED[name]
    with pytest.raises(Problem) as found:
        ReplicateChannels(layer, channels)(make())
    golden(f"problems/replicate_{name}", f"{found.value}\n")
    if name not in ("count", "none", "twice", "beyond"):
        assert why_not(make(), layer) in found.value.what
