"""The files of a design: the same every time, memories as FINN and faults have them, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnnflow import Problem
from bnnflow.build.rtl.design import design
from bnnflow.build.rtl.modules import Module, latencies, module_of
from bnnflow.build.rtl.words import checksum, from_words, to_words, word_bytes
from bnnflow.sim.faults.injection.layout import from_memory, memories, memory
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import NO_BOUNDS, Mvau, SlidingWindow, StreamingConcat
from bnnflow.transforms.ir.tensor import TensorType, signed_bits
from bnnflow.transforms.streams import Stream, streams_of

from ...hardware_graphs import GRAPHS


def changed(graph: Graph, kind: type, **fields: object) -> Graph:
    """The graph with fields of its first unit of a kind replaced."""
    first = next(node for node in graph.nodes if isinstance(node.op, kind))
    new = replace(first, op=replace(first.op, **fields))  # type: ignore[type-var]
    return graph.with_nodes(tuple(new if node is first else node for node in graph.nodes))


@pytest.mark.parametrize("name", GRAPHS)
def test_the_same_bytes_every_time(name: str) -> None:
    graph = GRAPHS[name]()
    one, two = design(graph, 2, {}, 100.0), design(graph, 2, {}, 100.0)
    assert dict(one.files) == dict(two.files)
    deeper = design(graph, 3, {}, 100.0)
    assert deeper.digest != one.digest
    manifest = json.loads(one.files["manifest.json"])
    assert manifest["sha256"] == one.digest
    assert one.digest[:16] in one.files[f"{one.name}.sv"]
    assert [each["name"] for each in manifest["streams"]] == [each.name for each in streams_of(graph).streams]
    assert set(one.fifos.values()) == {each.name for each in streams_of(graph).streams}
    assert {each["name"]: each["latency"] for each in manifest["units"]} == latencies(graph)


def test_primitives_change_popcounts_alone() -> None:
    graph = GRAPHS["convolutions"]()
    one, two = (design(graph, 2, {}, 100.0, primitives=primitives) for primitives in ("generic", "xc7"))
    assert one.digest != two.digest and one.fifos == two.fifos and one.modules == two.modules
    assert [json.loads(each.files["manifest.json"])["primitives"] for each in (one, two)] == ["generic", "xc7"]
    top, other = (each.files[f"{each.name}.sv"].split("\n", 1)[1] for each in (one, two))
    assert top == other
    changed = {path for path in one.files if one.files[path] != two.files[path]}
    assert changed == {f"{one.name}.sv", "library/bnnflow_equal.sv", "files.f", "README.md", "manifest.json"}
    # Models of primitives are for simulators.
    models = {"simulation/LUT6_2.sv", "simulation/CARRY4.sv"}
    assert models <= set(two.files) and not models & set(two.files["files.f"].split())
    assert {path for path in two.files if path.endswith(".sv")} == models | set(two.files["files.f"].split())


@pytest.mark.parametrize("name", GRAPHS)
def test_memories_are_those_of_faults(name: str) -> None:
    """Word for word and bit for bit what `sim/faults` lays faults into, but for matrices that are logic."""
    graph = GRAPHS[name]()
    made = design(graph, 2, {}, 100.0)
    found = 0
    for each in memories(graph, ("weights", "thresholds")):
        if made.modules[each.layer].unrolled is not None:
            assert not any(each.layer in path for path in made.files)
            continue
        kind = "weights" if each.kind == "weights" else "bounds"
        lines = made.files[f"memories/{each.layer}_{kind}.hex"].split()
        held = [[int(line, 16) >> place & 1 for place in range(each.width)] for line in lines]
        assert np.array_equal(held, each.words(graph.node(each.layer).op))
        found += 1
    assert found


def test_what_is_unrolled_and_what_only_seems_to_be() -> None:
    """A weight of -128 is none of -1, 0 and +1, though eight bits have no 128; bounds may be any numbers."""
    weight = np.array([[1, -1, 0], [0, 1, 1]], np.int8)
    bounds = np.array([[-(2**40), 1, 2**40], [0, 1, 2**33]])

    def made(weight: np.ndarray) -> Module:
        op = Mvau(weight, bounds, False, 0, 2, 3)
        kind = TensorType((3,), 0, 1)
        return module_of(Node("a", op, ("x",)), Graph("one", "x", kind, (Node("a", op, ("x",)),), "a").types)

    unrolled = made(weight).unrolled
    assert unrolled is not None
    assert [row.bounds for row in unrolled.neurons] == [(0, 2, 3), (0, 1, 3)]
    assert [(row.columns, row.plus, row.less) for row in unrolled.neurons] == [((0, 1), 1, 1), ((1, 2), 3, 0)]
    weight[0, 0] = -128
    assert made(weight).name == "bnnflow_mvau"


@given(
    st.integers(-40, 40), st.integers(0, 80), st.sampled_from([1, 2]), st.integers(1, 9), st.integers(1, 4), st.data()
)
def test_words_and_back(low: int, span: int, step: int, width: int, words: int, data: st.DataObject) -> None:
    kind = TensorType((width * words,), low, low + span - span % step, step)
    stream = Stream("a -> b", "a", "b", width, words, kind)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    values = low + step * rng.integers(0, span // step + 1, (3, width * words))
    sent = to_words(values, stream)
    assert sent.shape == (3, words, word_bytes(stream))
    assert np.array_equal(from_words(sent, stream), values)
    # The sum sees which word stands where: two that differ and change places change it.
    flat = values.reshape(-1, width)
    if (different := np.argwhere((flat != flat[0]).any(1))).size:
        other = flat.copy()
        other[[0, different[0, 0]]] = other[[different[0, 0], 0]]
        assert checksum(other.reshape(values.shape), stream) != checksum(values, stream)


@given(st.integers(-(2**40), 2**40), st.integers(0, 2**40))
def test_signed_bits_are_as_few_as_hold_both(low: int, span: int) -> None:
    bits, high = signed_bits(low, low + span), low + span
    assert -(1 << bits - 1) <= low and high < 1 << bits - 1
    assert bits == 1 or low < -(1 << bits - 2) or high >= 1 << bits - 2


def test_words_that_a_part_of_a_concatenation_does_not_fill_are_refused() -> None:
    with pytest.raises(Problem, match="SIMD 4 does not divide"):
        changed(GRAPHS["residual"](), StreamingConcat, simd=4)


def test_what_has_no_hardware_is_refused_by_name() -> None:
    graph = GRAPHS["convolutions"]()
    for broken, said in (
        (changed(graph, SlidingWindow, simd=2, parallel_window=1), "parallel_window"),
        (changed(graph, Mvau, ram_style="ultra"), "UltraRAM"),
        (changed(graph, Mvau, runtime_writeable_weights=1), "written while it runs"),
        (changed(graph, Mvau, mem_mode="external"), "come from outside"),
    ):
        with pytest.raises(Problem, match=said) as raised:
            design(broken, 2, {}, 100.0)
        assert "operation 't" in raised.value.where and raised.value.hint
    with pytest.raises(Problem, match="has 0 words"):
        design(graph, 0, {}, 100.0)


@pytest.mark.parametrize(("low", "high"), [(-1, 0), (0, 1), (-2, 1), (-4, 3)])
def test_a_bit_stands_for_minus_and_plus_one_alone(low: int, high: int) -> None:
    """Other weights of two values have two bits, or are told apart, in hardware and where faults are laid."""
    weight = np.array([[low, high, high, low], [high, low, low, high]], np.int8)
    op = Mvau(weight, NO_BOUNDS, False)
    assert np.array_equal(from_memory(op, memory(op)).weight, weight)
    graph = Graph("net", "x", TensorType((4,), 0, 3), (Node("layer", op, ("x",)),), "layer")
    module = module_of(graph.nodes[0], graph.types)
    bits, lines = int(module.parameters["WBITS"]), module.memories["weights"].words
    stored = np.array([int(line, 16) for line in lines])
    assert np.array_equal(stored - ((stored >> (bits - 1)) << bits), weight.reshape(-1)) and bits > 1
