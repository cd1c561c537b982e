"""Registers, memories that a host writes, and such as correct their errors: simulated by Verilator.

What a memory is read as is said by `sim/faults`, what registers count by `sim/pipeline`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnnflow import CHECK_FAILED, Problem
from bnnflow.build.cosim.verilator import Program, Stalls, Tools, build
from bnnflow.build.memories import words_hex
from bnnflow.build.parts import Part
from bnnflow.build.rtl import control as registers
from bnnflow.build.rtl.control import writes
from bnnflow.build.rtl.modules import latencies
from bnnflow.flow.graphs.control import PORTS, HardwareChoices, codes_of, memory_codes, writable
from bnnflow.flow.graphs.cosimulation import Checks, cosimulated
from bnnflow.flow.graphs.hardware import Hardware, constants_left, hardware_of, refuse_too_large, told
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.faults.injection.layout import KINDS, Memory, memories
from bnnflow.sim.faults.injection.protect import Protection
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import Mvau, Thresholding
from bnnflow.transforms.ir.tensor import Array, TensorType

from ...hardware_graphs import GRAPHS

MANY = 24


@dataclass(frozen=True, slots=True)
class Made:
    """Hardware, its program, its files, and images."""

    hardware: Hardware
    program: Program
    folder: Path
    images: Array

    @property
    def graph(self) -> Graph:
        return self.hardware.graph

    def outputs(self, graph: Graph) -> Array:
        source = self.hardware.design.leave.source
        found = dict(Simulator.of(graph).tensors(self.images, [source]))[source]
        return found.reshape(len(self.images), -1)

    @property
    def values(self) -> Array:
        return np.moveaxis(self.images, 1, -1) if self.graph.channels_first else self.images

    def protection(self, memory: Memory) -> Protection:
        code = memory_codes(self.graph, self.hardware.asked.protect).get(f"{memory.layer}.{PORTS[memory.kind]}")
        return Protection() if code is None else Protection(code)

    def mends(self, memory: Memory) -> bool:
        assert self.hardware.control is not None
        rows = self.hardware.control.coded.get((memory.layer, PORTS[memory.kind]))
        return rows is not None and rows.coding.mends

    def stored(self, memory: Memory) -> Array:
        return self.protection(memory).encode(memory, memory.words(self.graph.node(memory.layer).op))

    def store(self, memory: Memory, *sets: Array) -> None:
        """Rows of every set, or of all sets alike, into the file that the program reads when it starts."""
        path = self.folder / "memories" / f"{memory.layer}_{PORTS[memory.kind]}.hex"
        held = len(path.read_text().split()) // len(sets[0])
        rows = np.concatenate(sets if len(sets) > 1 else sets * held)
        path.write_text("\n".join(words_hex(rows.astype(np.int64), 1)) + "\n")
        assert len(rows) == held * len(sets[0])

    @property
    def sets(self) -> int:
        return max(each.sets for each in self.hardware.design.host_memories)


# Weights and bounds of a unit in different codes, one of them in none, and a unit in none.
SETS = ("convolutions", "secded-39-32,t2.bounds=parity,t4.weights=tmr,t10.bounds=none,t11=none", 2)
TMR = ("integers", "tmr", 1)
# A build each: slow. Constants beside what is read a cycle later, too.
PARITY = pytest.param(("ternary", "parity:x2,t1.weights=none,t3.bounds=none", 0), marks=pytest.mark.slow)
ZEROS = pytest.param(("integers", "secded-72-64:x4:zero", 1), marks=pytest.mark.slow)
PLAIN = pytest.param(("ternary", "", 3), marks=pytest.mark.slow)


def of(*cases: object) -> pytest.MarkDecorator:
    """Network, code and sets of the hardware that a test takes."""
    return pytest.mark.parametrize("made", cases, indirect=True, ids=str)


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest, tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Made:
    name, protect, sets = request.param
    hardware = hardware_of(GRAPHS[name](), 2, {}, 100.0, HardwareChoices(sets=sets, protect=protect))
    folder = tmp_path_factory.mktemp("control")
    hardware.design.write(folder)
    kind = hardware.graph.input_type
    images = np.random.default_rng(7).integers(kind.range[0], kind.range[1] + 1, (MANY, *kind.shape))
    return Made(hardware, build(hardware.design, folder, tools), folder, images)


@of(SETS, TMR, PARITY, ZEROS, PLAIN)
def test_values_cycles_fifos_and_registers(made: Made, tools: Tools) -> None:
    """Also what registers say: identity, images, interval, stalls and greatest fill of every stream."""
    found = cosimulated(made.hardware, made.images[:4], Checks(stalls=1), made.folder, tools)
    assert found.unexpected == []
    alone = made.program.run(made.values[:1], host=["images 1", f"r {registers.LATENCY}"])
    assert alone.read == [made.hardware.timing.latency]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "text", "instead", "said"),
    [
        ("axi_lite", "assign arready = ", "assign arready = 1'b0 & ", "0 of 24 registers answered"),
        ("monitor", "valid & ~ready & ~(&stalls)", "valid & ready", "register 'stalls of (input) -> t0' is"),
        ("images", "interval <= since", "interval <= since + 1", "register 'interval' is 25, not 24"),
    ],
)
def test_registers_that_are_wrong_are_named(
    module: str, text: str, instead: str, said: str, tools: Tools, tmp_path: Path
) -> None:
    made = hardware_of(GRAPHS["ternary"](), 2, {}, 100.0, HardwareChoices(control=True))
    path = f"library/bnnflow_{module}.sv"
    source = made.design.files[path].replace(text, instead)
    assert source != made.design.files[path]
    broken = replace(made, design=replace(made.design, files={**made.design.files, path: source}))
    kind = made.graph.input_type
    images = np.random.default_rng(0).integers(kind.range[0], kind.range[1] + 1, (3, *kind.shape))
    broken.design.write(tmp_path)
    found = cosimulated(broken, images, Checks(stalls=0), tmp_path, tools)
    assert not found.equal and found.unexpected[0].startswith(said)


@of(TMR)
def test_registers_begin_again(made: Made) -> None:
    reads = [f"r {place}" for place in (registers.CLEAR, registers.STREAMS, registers.STREAMS + 4, registers.INTERVAL)]
    asked = ["images 3", *reads, f"w {registers.CLEAR} 0", *reads, f"r {registers.BEGAN}"]
    found = made.program.run(made.values[:3], host=asked).read
    assert found[0] > made.hardware.timing.finished[2] and min(found[1:4]) > 0
    assert found[4] < 40 and found[5:8] == [0, 0, 0] and found[8] == 3


@of(SETS, TMR, PARITY, ZEROS)
def test_errors_are_read_as_they_are_simulated(made: Made) -> None:
    """Many flips in data and check bits, among them such as no code corrects."""
    rng, graph = np.random.default_rng(5), made.graph
    kept = {memory.name: made.stored(memory) for memory in memories(graph, KINDS)}
    for memory in memories(graph, KINDS):
        rows = kept[memory.name] ^ (rng.random(kept[memory.name].shape) < 0.04).astype(np.uint8)
        made.store(memory, rows)
        node = graph.node(memory.layer)
        held = replace(node, op=memory.holding(node.op, made.protection(memory).decode(memory, rows)))
        graph = graph.with_nodes(tuple(held if each is node else each for each in graph.nodes))
    faulty = made.outputs(graph)
    assert not np.array_equal(faulty, made.outputs(made.graph))
    found = made.program.run(made.values, host=[f"images {MANY}", f"r {registers.MENDED}", f"r {registers.FAILED}"])
    assert np.array_equal(found.outputs, faulty)
    assert (found.read[0] > 0) is any(made.mends(memory) for memory in memories(graph, KINDS))
    assert (found.read[1] > 0) is (made.hardware.asked.protect != "tmr")
    for memory in memories(made.graph, KINDS):
        made.store(memory, kept[memory.name])


def flipped_rows(made: Made, memory: Memory) -> tuple[Array, int]:
    """One flip in every other row of a memory that corrects it, and in how many rows."""
    rng, rows = np.random.default_rng(6), made.stored(memory)
    wrong = range(0, len(rows), 2) if made.mends(memory) else ()
    for row in wrong:
        rows[row, rng.integers(rows.shape[1])] ^= 1
    return rows, len(wrong)


# Reads in which every row of every set is walked by; each takes several cycles.
WALK = [f"r {registers.MENDED}"] * 500


@of(SETS, TMR, ZEROS)
def test_single_errors_are_corrected_and_written_back_once(made: Made) -> None:
    """Nothing changes, and each row is written back one time, however often it is read and walked by."""
    wrong = 0
    for memory in memories(made.graph, KINDS):
        rows, count = flipped_rows(made, memory)
        made.store(memory, rows)
        wrong += count
    asked = [f"images {MANY}", f"r {registers.MENDED}", *WALK, f"r {registers.FAILED}"]
    for stalls in (None, Stalls(1, 0.3, 0.3)):
        found = made.program.run(made.values, stalls, host=asked)
        assert wrong <= found.read[0] <= made.sets * wrong
        assert found.read[-2:] == [made.sets * wrong, 0]
        assert np.array_equal(found.outputs, made.outputs(made.graph))
    for memory in memories(made.graph, KINDS):
        made.store(memory, made.stored(memory))


@of(SETS)
def test_what_no_unit_reads_is_corrected_by_walking(made: Made) -> None:
    """Errors of the set that is not read are gone before it is; such as are beyond correction count when it is."""
    wrong = 0
    for memory in memories(made.graph, KINDS):
        good = made.stored(memory)
        rows, count = flipped_rows(made, memory)
        if made.hardware.control.coded.get((memory.layer, PORTS[memory.kind])) and not made.mends(memory):
            rows[0, 0] ^= 1
        made.store(memory, good, rows)
        wrong += count
    asked = ["images 4", *WALK, *WALK, f"r {registers.FAILED}"]
    asked += [f"w {registers.SET} 1", f"images {MANY}", f"r {registers.MENDED}", f"r {registers.FAILED}"]
    found = made.program.run(made.values, Stalls(1, 0.9, 0.0), host=asked)
    walked, failed, mended, told = found.read[-4:]
    assert walked == mended == wrong > 0
    assert failed == 0 < told
    for memory in memories(made.graph, KINDS):
        made.store(memory, made.stored(memory))


def retrained(graph: Graph) -> Graph:
    """The graph with other weights and thresholds of the same types."""
    rng = np.random.default_rng(9)
    nodes = []
    for node in graph.nodes:
        op = node.op
        if isinstance(op, Mvau):
            values = np.unique(op.weight)
            op = replace(op, weight=rng.choice(values, op.weight.shape).astype(op.weight.dtype))
        if isinstance(op, Mvau | Thresholding) and op.bounds.size:
            op = replace(op, bounds=np.sort(rng.permutation(op.bounds.reshape(-1)).reshape(op.bounds.shape), axis=1))
        nodes.append(replace(node, op=op))
    return graph.with_nodes(tuple(nodes))


def rows_written(made: Made, graph: Graph, set_number: int) -> Iterator[str]:
    """What a host writes to put a graph's weights and thresholds into a set."""
    held = {(memory.layer, PORTS[memory.kind]): memory for memory in memories(graph, KINDS)}
    for number, each in enumerate(made.hardware.design.host_memories):
        memory = held[each.unit, each.port]
        bits = memory.words(graph.node(each.unit).op).reshape(-1)
        for row in range(each.rows):
            data = bits[row * each.data_bits : (row + 1) * each.data_bits]
            value = sum(int(bit) << place for place, bit in enumerate(data))
            for address, word in writes(number, set_number * each.rows + row, each.data_bits, value):
                yield f"w {address} {word}"


@pytest.mark.parametrize("stalls", [None, Stalls(3, 0.4, 0.4)], ids=["", "stalls"])
@of(SETS, PLAIN)
def test_another_set_is_written_while_images_pass(made: Made, stalls: Stalls | None) -> None:
    """Each image is computed with one set alone, the one that registers say; then back."""
    other = retrained(made.graph)
    written = list(rows_written(made, other, 1))
    since = [f"w {registers.SET} 1", f"r {registers.SET_READ}", f"r {registers.SET_SINCE}"]
    count = max(MANY, 4 * len(written) // made.hardware.timing.interval + 30)
    more = replace(made, images=np.resize(made.images, (count, *made.images.shape[1:])))
    back = [f"images {count - 8}", f"w {registers.SET} 0", f"r {registers.SET_SETTLED}", f"images {count}"]
    told = [f"w {registers.SET} {made.sets}", *(f"r {place}" for place in (registers.SET_SETTLED, registers.SET_SINCE))]
    found = made.program.run(
        more.values, stalls, host=["images 2", *written, *since, *back, *told, f"r {registers.SET}"]
    )
    now, first, settled, at_last, second, asked = found.read
    # A set that is not there is not asked for; images with the old set are under way when a new one is.
    assert (settled, at_last, asked) == (0, 1, 0)
    assert now == 1 and 2 < first < count - 8 < second < count
    before, behind = more.outputs(made.graph), more.outputs(other)
    assert not np.array_equal(before, behind)
    expected = np.concatenate([before[:first], behind[first:second], before[second:]])
    assert np.array_equal(found.outputs, expected)


@of(TMR)
def test_the_set_in_use_can_be_written_between_images(made: Made) -> None:
    other = retrained(made.graph)
    found = made.program.run(made.values, host=[*rows_written(made, other, 0), f"images {MANY}"])
    # The first images met memories half written; the last ones did not.
    assert np.array_equal(found.outputs[-4:], made.outputs(other)[-4:])


def test_a_row_has_no_more_bits_than_it_has() -> None:
    assert list(writes(3, 7, 40, 5 << 32 | 9)) == [
        (registers.DATA, 9),
        (registers.DATA + 4, 5),
        (registers.ROW, 7),
        (registers.MEMORY, 3),
    ]
    with pytest.raises(Problem, match="memory 3 has 40 bits"):
        list(writes(3, 7, 40, 1 << 40))


def test_weights_without_a_sign_are_kept_with_one() -> None:
    """Their memory is laid out as faults are, so that it can be in a code."""
    weight = np.array([[0, 1, 3, 1], [2, 0, 1, 3]], np.int8)
    op = Mvau(weight, np.array([[3], [5]]), False, 0, 1, 2)
    graph = Graph("net", "x", TensorType((4,), 0, 3), (Node("layer", op, ("x",)),), "layer")
    (memory,) = memories(graph)
    every = hardware_of(graph, 2, {}, 100.0, HardwareChoices(protect="tmr"))
    assert [each.port for each in every.design.host_memories] == ["weights", "bounds"]
    assert every.design.host_memories[0].stored_bits == 3 * memory.width == 3 * 2 * 3
    one = hardware_of(graph, 2, {}, 100.0, HardwareChoices(protect="tmr,layer.weights=none"))
    assert [each.port for each in one.design.host_memories] == ["bounds"]
    assert hardware_of(graph, 2, {}, 100.0, HardwareChoices(protect="none")).control is None


def test_the_nearest_name_says_the_code() -> None:
    graph = GRAPHS["ternary"]()

    def codes(protect: str) -> dict[str, str]:
        return {name: str(code) for name, code in memory_codes(graph, protect).items()}

    every = ["t1.weights", "t1.bounds", "t3.weights", "t3.bounds", "t4.weights"]
    assert codes("tmr") == dict.fromkeys(every, "tmr") and codes("none") == codes("") == {}
    mixed = codes("t1.bounds=parity:x2, t3=tmr:scrub=1,secded-39-32,t1=none")
    assert mixed == {
        "t1.bounds": "parity:x2",
        "t3.weights": "tmr",
        "t3.bounds": "tmr",
        "t4.weights": "secded-39-32",
    }
    assert codes("t1.bounds=tmr") == codes("t1.thresholds=tmr")
    with pytest.raises(Problem, match=r"t1\.thresholds has two codes"):
        codes("t1.bounds=tmr,t1.thresholds=parity")
    assert codes("t4=parity") == codes("\n t4 =\nparity ") == {"t4.weights": "parity"}


@given(st.text("t1=,:scrub.\n"))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(Problem):
        assert codes_of(text) == {}


def test_memories_say_their_codes() -> None:
    """In manifest and README; numbers are those of memories that a host finds, in the order of the graph."""
    found = {}
    for scrub in (True, False):
        asked = HardwareChoices(protect="t1.bounds=parity,t3.weights=tmr,t3.bounds=secded-39-32", scrub=scrub)
        made = hardware_of(GRAPHS["ternary"](), 2, {}, 100.0, asked)
        listed = json.loads(made.design.files["manifest.json"])["memories"]
        found[scrub] = [(one["unit"], one["port"], one["code"], one["scrubbed"]) for one in listed]
        assert ("scrubbed" in made.design.files["README.md"]) is scrub
        assert told(made, 100.0, (), "").scrubbed_memories == 2 * scrub
        # Both, and what is not in a code beside one that is.
        assert {name: unit.parameters.get("READ") for name, unit in made.design.modules.items() if unit.memories} == {
            "t1": 2,
            "t3": 2,
        }
        assert made.design.modules["t4"].unrolled is not None, "constants in the logic have no memory"
    assert [each[:3] for each in found[True]] == [
        ("t1", "bounds", "parity"),
        ("t3", "weights", "tmr"),
        ("t3", "bounds", "secded-39-32"),
    ]
    assert [each[3] for each in found[True]] == [False, True, True] and not any(each[3] for each in found[False])


def test_units_that_are_written_have_their_latency_in_cycles() -> None:
    """Also where nobody asks for registers, as `flow cycles` does."""
    graph = GRAPHS["ternary"]()
    assert latencies(writable(graph, HardwareChoices(sets=1))).keys() == latencies(graph).keys()


def test_constants_that_no_host_writes_are_named() -> None:
    made = hardware_of(GRAPHS["integers"](), 2, {}, 100.0, HardwareChoices(sets=1))
    assert constants_left(made) == ["constants of t3, t6 stay those of this network: other weights need the same ones"]
    assert constants_left(hardware_of(GRAPHS["integers"](), 2, {}, 100.0)) == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (HardwareChoices(protect="secded"), "there is no protection 'secded'"),
        (HardwareChoices(protect="parity:last"), "answers with the last good word"),
        (HardwareChoices(protect="tmr:scrub=4"), "says how often it scrubs"),
        (HardwareChoices(protect="t1=tmr:scrub=4"), "'tmr:scrub=4' says how often it scrubs"),
        (HardwareChoices(protect="t1=secded"), "there is no protection 'secded'"),
        (HardwareChoices(protect="t1=tmr,"), "there is no protection ''"),
        (HardwareChoices(protect="tmr,t1=parity,parity"), "all memories have two codes"),
        (HardwareChoices(protect="t1=tmr,t1=parity"), "t1 has two codes"),
        (HardwareChoices(protect="t9=tmr"), "there is no unit or memory 't9'"),
        (HardwareChoices(protect="t1.limits=tmr"), "t1 has no memory 't1.limits'"),
        (HardwareChoices(protect="t4.bounds=tmr"), "t4 has no memory 't4.bounds'"),
        (HardwareChoices(protect="t0=tmr"), "t0 has no weights and no bounds"),
        (HardwareChoices(protect="t0.weights=tmr"), "t0 has no weights and no bounds"),
    ],
)
def test_what_is_refused(asked: HardwareChoices, said: str) -> None:
    with pytest.raises(Problem, match=said) as raised:
        hardware_of(GRAPHS["ternary"](), 2, {}, 100.0, asked)
    assert raised.value.hint


def test_memories_that_no_part_holds_are_refused() -> None:
    """Twice the sets take twice the bits, and check bits count."""
    small = Part("small", lut=64, block_rams=0)
    asked = [
        HardwareChoices(),
        HardwareChoices(sets=1),
        HardwareChoices(sets=1, protect="tmr"),
        HardwareChoices(sets=9),
    ]
    made = [hardware_of(GRAPHS["ternary"](), 2, {}, 100.0, each) for each in asked]
    refuse_too_large(made[0], small)
    refuse_too_large(made[1], small)
    for each in made[2:]:
        with pytest.raises(Problem, match=r"memories of [\d,]+ bits do not fit small, which has 4,096") as raised:
            refuse_too_large(each, small)
        assert raised.value.status == CHECK_FAILED and "of t" in raised.value.hint
