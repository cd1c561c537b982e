"""Hardware simulated by Verilator against our simulators: values, cycles, FIFOs, and faults that must be found."""

from __future__ import annotations

import re
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bnnflow import CHECK_FAILED, Problem
from bnnflow.build.cosim.verilator import Program, Tools, build
from bnnflow.build.memories import words_hex
from bnnflow.build.schedule import divisors
from bnnflow.flow.graphs.control import PLAIN, HardwareChoices
from bnnflow.flow.graphs.cosimulation import Checks, cosimulated
from bnnflow.flow.graphs.hardware import Hardware, hardware_of, refuse_deadlock
from bnnflow.flow.graphs.rates import timing_of
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.faults.injection.layout import memories
from bnnflow.sim.faults.injection.models import FaultModel
from bnnflow.sim.faults.injection.rates import Rates
from bnnflow.sim.faults.injection.streams import faulty_walk, streams
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.ops import Mvau
from bnnflow.transforms.ir.tensor import Array
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read

from ...build.rtl.test_library import warns_of_nothing
from ...drawn_networks import Drawn, networks
from ...hardware_graphs import GRAPHS, Chain

IMAGES = 6


def images_of(made: Hardware, count: int = IMAGES) -> Array:
    kind = made.graph.input_type
    low, high = kind.range
    return np.random.default_rng(7).integers(low, high + 1, (count, *kind.shape))


def written(made: Hardware, folder: Path) -> Path:
    made.design.write(folder)
    return folder


def outputs(made: Hardware, images: Array) -> Array:
    source = made.design.leave.source
    return dict(Simulator.of(made.graph).tensors(images, [source]))[source].reshape(len(images), -1)


@pytest.mark.parametrize("name", GRAPHS)
def test_every_value_cycle_and_fifo(name: str, tools: Tools, tmp_path: Path) -> None:
    made = hardware_of(GRAPHS[name](), 2, {}, 100.0)
    found = cosimulated(made, images_of(made), Checks(), written(made, tmp_path), tools)
    assert found.unexpected == [] and found.equal
    assert found.outputs == outputs(made, images_of(made)).size and found.difference is None
    assert (found.latency_cycles, found.interval_cycles) == (found.predicted_latency, found.predicted_interval)
    assert found.interval_cycles == made.timing.interval
    assert [run.different for run in found.runs] == [0] * 4
    assert max(run.cycles for run in found.runs[1:]) > found.runs[0].cycles
    assert found.streams == len(found.fifo_peaks) == len(made.depths)
    # The outputs tell images apart: an equality of constants would prove little.
    assert len(np.unique(outputs(made, images_of(made)), axis=0)) > 1


@pytest.mark.parametrize("asked", [PLAIN, HardwareChoices(sets=2, protect="tmr"), HardwareChoices(primitives="xc7")])
@pytest.mark.parametrize("name", GRAPHS)
def test_another_front_end_warns_of_nothing(name: str, asked: HardwareChoices, tmp_path: Path) -> None:
    pytest.importorskip("pyslang")
    made = hardware_of(GRAPHS[name](), 2, {}, 100.0, asked)
    written(made, tmp_path)
    assert warns_of_nothing(tmp_path / path for path in made.design.files if path.endswith(".sv"))


def test_constants_of_one_word_are_wires(tools: Tools, tmp_path: Path) -> None:
    """Whole matrices of numbers of several bits, one of more bits than stand in one assignment."""
    pytest.importorskip("pyslang")
    build = Chain(3, (45,), -3, 4)
    x = build.mvau("image", 46, 46, 45, levels=3, top=1)
    x = build.mvau(x, 9, 9, 46, levels=3, act_val=-2)
    made = hardware_of(build.graph(build.mvau(x, 7, 7, 9, levels=0, top=5)), 2, {}, 100.0)
    found = cosimulated(made, images_of(made), Checks(), written(made, tmp_path), tools)
    assert found.unexpected == [] and found.equal
    assert len(np.unique(outputs(made, images_of(made)), axis=0)) > 1
    one = cosimulated(made, images_of(made, 1), Checks(stalls=0), tmp_path, tools)
    assert one.equal and one.interval_cycles is None and one.predicted_interval is None, "one image has no interval"
    held = [path.name for path in (tmp_path / "memories").iterdir() if "weights" in path.name]
    assert len(held) == 1, "signs of whole matrices are read as ever"
    assert warns_of_nothing(tmp_path / path for path in made.design.files if path.endswith(".sv"))


@pytest.mark.parametrize("letter", ["y", "/"])
def test_any_names(letter: str, tools: Tools, tmp_path: Path) -> None:
    """Longer than tools take, the same but for the end, and of no letters; that of the graph, too."""
    graph = GRAPHS["residual"]()
    names = {node.name: letter * 150 + str(place) for place, node in enumerate(graph.nodes)}
    nodes = [
        replace(node, name=names[node.name], inputs=tuple(names.get(one, one) for one in node.inputs))
        for node in graph.nodes
    ]
    graph = replace(graph, name=letter * 200, nodes=tuple(nodes), output=names[graph.output])
    made = hardware_of(graph, 2, {}, 100.0)
    found = cosimulated(made, images_of(made, 2), Checks(stalls=0), written(made, tmp_path), tools)
    assert found.unexpected == [] and len(made.design.name) < 80


def test_population_counts_of_luts_are_those_of_one_expression(tools: Tools, tmp_path: Path) -> None:
    made = hardware_of(GRAPHS["convolutions"](), 2, {}, 100.0)
    found = cosimulated(made, images_of(made), Checks(structural=True), written(made, tmp_path), tools)
    assert found.equal


def test_a_wrong_bit_is_named_by_the_first_stream(tools: Tools, tmp_path: Path) -> None:
    """The program reads memories when it starts, so one bit changed in a file is a fault of the hardware."""
    made = hardware_of(GRAPHS["convolutions"](), 2, {}, 100.0)
    folder = written(made, tmp_path)
    layer = [node.name for node in made.graph.nodes if hasattr(node.op, "weight")][-1]
    path = folder / "memories" / f"{layer}_weights.hex"
    lines = path.read_text().split()
    path.write_text("\n".join([f"{int(lines[0], 16) ^ 255:0{len(lines[0])}x}", *lines[1:]]) + "\n")
    found = cosimulated(made, images_of(made), Checks(stalls=0, waveforms=tmp_path), folder, tools)
    assert not found.equal
    named = [line for line in found.unexpected if line.startswith("words of ")]
    assert named and named[0].startswith(f"words of {layer} -> ")
    first = found.first_word
    assert first is not None and named[0] == f"words of {first.stream} differ"
    # The word is wrong where the simulator computes with that bit turned, and there first.
    whole = dict(Simulator.of(made.graph).tensors(images_of(made, 3), [layer]))[layer].reshape(3, -1)
    assert whole[first.image, first.place] == first.expected != first.found
    assert first.channel == first.place % made.graph.types[layer].channels
    assert 0 < first.cycle <= found.latency_cycles + first.image * found.interval_cycles
    text = Path(first.waveform)
    assert text.parent == tmp_path and text.suffix in (".fst", ".vcd") and text.stat().st_size > 10_000
    assert all(line.startswith("words of ") for line in found.unexpected)


def test_a_shallow_fifo_stands_still_and_is_named(tools: Tools, tmp_path: Path) -> None:
    """With the depths that a skip needs it runs; without, cycles end and the streams that miss words are listed."""
    graph = GRAPHS["residual"]()
    whole = hardware_of(graph, 2, {}, 100.0)
    grown = {name: depth for name, depth in whole.depths.items() if depth > 2}
    assert grown
    shallow = hardware_of(graph, 2, dict.fromkeys(whole.depths, 2), 100.0)
    assert shallow.timing.deadlock is not None
    with pytest.raises(Problem, match=shallow.timing.deadlock.fifo) as raised:
        refuse_deadlock(shallow)
    assert raised.value.status == CHECK_FAILED and next(iter(grown)).split(" ")[0] in raised.value.hint
    program: Program = build(shallow.design, written(shallow, tmp_path), tools)
    images = images_of(shallow, 2)
    found = program.run(images, limit=2_000)
    assert found.stuck and found.finished == ()
    fifo = shallow.timing.deadlock.fifo
    assert found.written[fifo] < 2 * next(each.words for each in shallow.timing.fifos if each.name == fifo)


# A module, what stands in it, a fault in its place, and what is said of the stream behind it.
BROKEN = [
    ("duplicate_streams", "assign s_ready = &free;", "assign s_ready = |free;", "a place was taken that was not free"),
    ("fifo", "words[head];", "words[head] ^ WIDTH'(fill);", "data changed"),
    ("fifo", "free <= read |", "free <= 1'b1 |", "a word was written over one that waits"),
    ("fifo", "m_valid <= push |", "m_valid <= 1'b1 |", "a word was offered that was not there"),
    ("fifo", "if (take != read) taken", "if (take & read) taken", "a place was called free that was not"),
]


@pytest.mark.parametrize(("module", "text", "instead", "said"), BROKEN)
def test_a_stream_that_breaks_its_contract_is_named(
    module: str, text: str, instead: str, said: str, tools: Tools, tmp_path: Path
) -> None:
    made = hardware_of(GRAPHS["residual"](), 2, {}, 100.0)
    path = f"library/bnnflow_{module}.sv"
    source = made.design.files[path].replace(text, instead)
    assert source != made.design.files[path]
    broken = replace(made, design=replace(made.design, files={**made.design.files, path: source}))
    with pytest.raises(Problem, match=said) as raised:
        cosimulated(broken, images_of(broken), Checks(), written(broken, tmp_path), tools)
    assert raised.value.status == CHECK_FAILED
    assert any(repr(name) in raised.value.what for name in made.design.fifos.values())


@pytest.mark.parametrize(
    ("name", "module", "text", "instead", "said"),
    [
        ("integers", "row", "first ? start : total", "total", "unit 't2': a sum has more bits than its place"),
        ("integers", "pool", "begins ? a : a + b", "a + b", "unit 't8': a sum has more bits than its place"),
        ("residual", "global_acc_pool", "begins ? a : a + b", "a + b", "a sum has more bits than its place"),
        ("integers", "channelwise", "a + b : a * b", "a + b : ~a * b", "a result has more bits than its place"),
    ],
)
def test_a_sum_that_is_cut_is_named(
    name: str, module: str, text: str, instead: str, said: str, tools: Tools, tmp_path: Path
) -> None:
    """Whether a sum fits depends on weights and ranges that modules do not know: it is asserted of every one."""
    made = hardware_of(GRAPHS[name](), 2, {}, 100.0)
    path = f"library/bnnflow_{module}.sv"
    source = made.design.files[path].replace(text, instead)
    assert source != made.design.files[path]
    broken = replace(made, design=replace(made.design, files={**made.design.files, path: source}))
    with pytest.raises(Problem, match=said) as raised:
        cosimulated(broken, images_of(broken), Checks(), written(broken, tmp_path), tools)
    assert raised.value.status == CHECK_FAILED


@pytest.mark.parametrize("kind", ["weights", "thresholds"])
@pytest.mark.parametrize("name", ["integers", "ternary"])
def test_faults_in_memories_are_those_that_are_simulated(name: str, kind: str, tools: Tools, tmp_path: Path) -> None:
    """A map of flipped cells, in `sim/faults` and in the files that the hardware reads: the same outputs."""
    made = hardware_of(GRAPHS[name](), 2, {}, 100.0)
    folder, images = written(made, tmp_path), images_of(made)
    rng, graph = np.random.default_rng(5), made.graph
    for memory in memories(graph, (kind,)):
        node = graph.node(memory.layer)
        if made.design.modules[node.name].unrolled is not None:
            continue
        words = memory.words(node.op) ^ (rng.random((memory.depth, memory.width)) < 0.2).astype(np.uint8)
        held = replace(node, op=memory.holding(node.op, words))
        graph = graph.with_nodes(tuple(held if each is node else each for each in graph.nodes))
        lines = [f"{sum(int(bit) << place for place, bit in enumerate(word)):x}" for word in words]
        part = {"weights": "weights", "thresholds": "bounds"}[kind]
        (folder / "memories" / f"{memory.layer}_{part}.hex").write_text("\n".join(lines) + "\n")
    found = build(made.design, folder, tools).run(images)
    source = made.design.leave.source
    faulty = dict(Simulator.of(graph).tensors(images, [source]))[source].reshape(IMAGES, -1)
    assert not np.array_equal(faulty, outputs(made, images))
    assert np.array_equal(found.outputs, faulty)


# Streams of values that fill their bits.
SUFFERING = [each for each in streams(GRAPHS["convolutions"](), "streams") if each.layer in ("t2", "t4", "t8", "t10")]


@pytest.fixture(scope="module")
def injected(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> tuple[Hardware, Program, Path]:
    """Hardware in which faults come onto streams."""
    made = hardware_of(GRAPHS["convolutions"](), 2, {}, 100.0)
    top, files = f"{made.design.name}.sv", dict(made.design.files)
    for each in SUFFERING:
        sizes = f'.WIDTH({each.pe * each.type.bits}), .WORDS({IMAGES * each.words}), .FILE("{each.layer}.hex")'
        head, unit = files[top].split(f") u_{each.layer} (")
        wire = re.search(r"\.m_data\((\w+)_data\)", unit)[1]  # type: ignore[index]
        ports = ", ".join(f".{end}({wire}_{end})" for end in ("valid", "ready"))
        unit = unit.replace(f".m_data({wire}_data)", f".m_data({wire}_sent)", 1)
        lines = f"  logic [{each.pe * each.type.bits - 1}:0] {wire}_sent;\n  inject #({sizes}) u_inject_{wire} ("
        lines += f".clk(clk), .rst(rst), {ports}, .sent({wire}_sent), .found({wire}_data));\nendmodule"
        files[top] = f"{head}) u_{each.layer} ({unit}".replace("endmodule", lines)
    files["inject.sv"] = (Path(__file__).parent / "inject.sv").read_text()
    made = replace(made, design=replace(made.design, files=files))
    folder = written(made, tmp_path_factory.mktemp("injected"))
    return made, build(made.design, folder, tools), folder


@pytest.mark.parametrize(("kind", "model"), [("streams", "flip"), ("streams", "bit-line flip"), ("fifos", "flip")])
def test_faults_on_streams_are_those_that_are_simulated(
    kind: str, model: str, injected: tuple[Hardware, Program, Path]
) -> None:
    """Upsets of single images, wires that are broken, and cells of FIFOs of four words."""
    made, program, folder = injected
    places = [each for each in streams(made.graph, kind) if each.layer in {one.layer for one in SUFFERING}]
    walk = faulty_walk(made.graph, places, FaultModel.parse(model), Rates.of(0.3), 3, 0, 4)
    for each in places:
        turned = walk.changes[each.tensor](np.zeros((IMAGES, *each.type.shape), np.int8), 0)
        words = turned.astype(np.int64).reshape(-1, each.pe)
        (folder / f"{each.layer}.hex").write_text("\n".join(words_hex(words, each.type.bits)) + "\n")
    faulty = walk.scores(images_of(made)).reshape(IMAGES, -1).astype(np.int64)
    assert not np.array_equal(faulty, outputs(made, images_of(made)))
    values = np.moveaxis(images_of(made), 1, -1) if made.graph.channels_first else images_of(made)
    assert np.array_equal(program.run(values).outputs, faulty)


def folded(graph: Graph, rng: np.random.Generator) -> Graph:
    """The graph with PE and SIMD of its units drawn among those that are legal."""
    for name in [node.name for node in graph.nodes]:
        for side, kind in enumerate(("pe", "simd")):
            node = graph.node(name)
            if not hasattr(node.op, kind) or rng.random() < 0.3:
                continue
            size = node.op.weight.shape[side] if isinstance(node.op, Mvau) else graph.types[node.input].channels
            with suppress(Problem):
                op = replace(node.op, **{kind: int(rng.choice(divisors(size)))})
                changed = graph.with_nodes(tuple(replace(n, op=op) if n is node else n for n in graph.nodes))
                timing_of(changed, 1, 0)
                graph = changed
    return graph


@pytest.mark.slow
@settings(max_examples=200, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(networks(), st.integers(0, 2**32))
def test_drawn_networks(tools: Tools, net: Drawn, seed: int) -> None:
    """Branches, joins, pools, borders and several bits, folded at random, with FIFOs of one to three words."""
    rng = np.random.default_rng(seed)
    graph = folded(stages(read(net.model))[-1].graph, rng)
    made = hardware_of(graph, int(rng.integers(1, 4)), {}, 100.0)
    with tempfile.TemporaryDirectory() as name:
        found = cosimulated(made, images_of(made, 3), Checks(), written(made, Path(name)), tools)
    assert found.unexpected == []
