"""Every backend and target computes the reference's integers, on any batch, on any number of threads."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bnnflow import TOOL_MISSING, Problem
from bnnflow.sim import reference
from bnnflow.sim.engine.kernels.llvm import TARGETS, assembly, native, read_checked, write_checked
from bnnflow.sim.engine.packing import Window, pack_bits, unpack_bits
from bnnflow.sim.engine.simulator import Simulator, least_cycles
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import Affine, Conv, Dense, Flatten, Mvau, Threshold, XnorConv, XnorDense
from bnnflow.transforms.ir.tensor import TensorType
from tests.random_graphs import Builder, images_for, random_graph, two_layers


def forms() -> list[tuple[str, str]]:
    """Backends and targets that this computer can run."""
    found = [("blas", "host"), ("numpy", "host")]
    for target in TARGETS:
        try:
            native(target)
        except Problem:
            continue
        found.append(("llvm", target))
    return found


FORMS = forms()


@settings(max_examples=100)
@given(st.integers(0, 10**6))
@example(0)
def test_every_tensor_of_random_graphs(seed: int) -> None:
    graph = random_graph(seed)
    images = images_for(graph, 5)
    wanted = reference.run(graph, images)
    for backend, target in FORMS:
        simulator = Simulator.of(graph, backend, target=target)
        made = simulator.tensors(images)
        for name, values in wanted.items():
            assert np.array_equal(made[name], values), (backend, target, name, type(graph.maker(name)).__name__)
            assert made[name].dtype.kind in ("f" if graph.types[name].is_float else "iu")
        # Class scores take the steps that are done in one go, and blocks of equal size are replayed.
        scores = simulator.scores(np.concatenate([images, images[::-1]]), 2)
        twice = np.concatenate([wanted[graph.output], wanted[graph.output][::-1]])
        assert np.array_equal(scores, twice), (backend, target)


@pytest.mark.parametrize("filters", [1, 3, 63, 64, 65, 130])
@pytest.mark.parametrize("channels", [1, 3, 63, 64, 65, 130])
def test_any_number_of_channels(channels: int, filters: int) -> None:
    graph = two_layers(channels, filters)
    images = images_for(graph, 9)
    wanted = reference.run(graph, images)
    for backend, target in FORMS:
        simulator = Simulator.of(graph, backend, target=target)
        assert np.array_equal(simulator.scores(images, 4), wanted[graph.output]), (backend, target)
        for name, values in simulator.tensors(images).items():
            assert np.array_equal(values, wanted[name]), (backend, target, name)


@pytest.mark.parametrize(("backend", "target"), FORMS)
def test_any_batch_on_any_number_of_threads(backend: str, target: str) -> None:
    graph = two_layers(70, 66)
    images = images_for(graph, 130)
    wanted = reference.run(graph, images)[graph.output]
    for threads in (1, 2, 3):
        simulator = Simulator.of(graph, backend, threads, target)
        for batch in (1, 7, 16, 17, 64, None):
            assert np.array_equal(simulator.scores(images, batch), wanted), (threads, batch)
        assert np.array_equal(simulator.classes(images), wanted.argmax(axis=1))


@pytest.mark.parametrize("channels", [32_702, 32_766, 32_767, 32_832])
@pytest.mark.parametrize("target", [target for backend, target in FORMS if backend == "llvm"])
def test_sums_at_the_border_of_16_bits(target: str, channels: int) -> None:
    """Kernels that look up hold sums and limits in 16 bits: the greatest and least sums, limits on both sides."""
    window = Window(1, 3, channels, (1, 1), (1, 1))
    weight = np.random.default_rng(0).integers(0, 2, (3, 1, 1, channels)).astype(np.uint8)
    rows = np.stack([weight[0, 0, 0], 1 - weight[0, 0, 0], np.ones(channels, np.uint8)])
    equal = (rows[:, None] == weight[None, :, 0, 0]).sum(axis=2)
    for bound in (0, 1, channels - 1, channels, channels + 1, int(equal[2, 0]), int(equal[2, 0]) + 1):
        run = native(target).xnor_bits(window, weight, np.full((1, 3), bound), np.zeros((1, 3), np.int64))
        made = run(pack_bits(rows)[None, None])
        assert np.array_equal(unpack_bits(made[0, 0], 3), equal >= bound)


@pytest.mark.parametrize(("backend", "target"), FORMS)
def test_layers_too_large_for_the_first_cache(backend: str, target: str) -> None:
    """Two columns at a time, with odd and single columns; more than 1,023 words; sums beyond 16 bits."""
    for shape, kernel in [((3, 3, 640), (3, 3)), ((4, 5, 640), (3, 3)), ((1, 1, 70_000), (1, 1))]:
        build = Builder(1, shape, 0, 1)
        weight = build.bits(5, *kernel, shape[2])
        x = build.add(XnorConv(weight), "image")
        x = build.add(Threshold(build.bounds(build.type(x), 5, 1), 0, 1), x)
        y = build.add(XnorConv(weight), "image")
        for output in (x, y):
            graph = build.graph(output)
            images = images_for(graph, 3)
            made = Simulator.of(graph, backend, target=target).tensors(images, [output])[output]
            assert np.array_equal(made, reference.run(graph, images)[output])


@pytest.mark.parametrize(("backend", "target"), FORMS)
@pytest.mark.parametrize("low", [-128, -100, 0, 300])
def test_bytes_of_any_range_and_extreme_weights(backend: str, target: str, low: int) -> None:
    build = Builder(2, (2, 3, 37), low, low + 255)
    weight = np.full((4, 1, 2, 37), -128, np.int8)
    weight[1], weight[2] = 127, build.weights(1, 2, 37)
    sums = build.add(Conv(weight), "image")
    x = build.add(Threshold(build.bounds(build.type(sums), 4, 1), -1, 2), sums)
    graph = build.graph(x)
    images = np.random.default_rng(0).integers(low, low + 256, (6, 2, 3, 37))
    images[0], images[1] = low, low + 255
    wanted = reference.run(graph, images)
    simulator = Simulator.of(graph, backend, target=target)
    assert np.array_equal(simulator.scores(images), wanted[x].astype(float))
    assert np.array_equal(simulator.tensors(images)[sums], wanted[sums])


@pytest.mark.parametrize(("backend", "target"), FORMS)
@pytest.mark.parametrize("levels", [255, 256, 700])
def test_more_levels_than_a_byte_holds(backend: str, target: str, levels: int) -> None:
    build = Builder(5, (40,), 0, 255)
    weight = build.rng.integers(-9, 10, (6, 40)).astype(np.int8)
    sums = build.add(Dense(weight), "image")
    bounds = np.sort(build.rng.integers(*build.type(sums).range, (6, levels)), axis=1).astype(np.int64)
    bounds[0] = build.type(sums).range[0]
    behind = build.graph(build.add(Threshold(bounds, -1, 2), sums))
    unit = Graph("unit", "image", build.input_type, (Node("unit", Mvau(weight, bounds, False), ("image",)),), "unit")
    images = build.rng.integers(0, 256, (7, 40)).astype(np.uint8)
    for graph in (behind, unit):
        wanted = reference.run(graph, images)[graph.output]
        assert wanted.max() >= levels
        assert np.array_equal(Simulator.of(graph, backend, target=target).scores(images), wanted.astype(float))


@given(st.integers(1, 200), st.integers(0, 9))
def test_packing_and_back(channels: int, seed: int) -> None:
    flags = np.random.default_rng(seed).integers(0, 2, (3, 2, channels)).astype(np.uint8)
    words = pack_bits(flags)
    assert words.shape == (3, 2, -(-channels // 64))
    assert np.array_equal(unpack_bits(words, channels), flags)
    assert int(np.bitwise_count(words).sum()) == int(flags.sum()), "bits behind the last channel are 0"


def test_taps_iterables_and_memory_maps(tmp_path: Path) -> None:
    graph = two_layers(5, 6)
    images = images_for(graph, 40)
    simulator = Simulator.of(graph)
    wanted = simulator.scores(images)
    taps = simulator.tensors(images, ["t1", "t3"])
    assert list(taps) == ["t1", "t3"]
    everything = simulator.tensors(images)
    assert all(np.array_equal(taps[name], everything[name]) for name in taps)
    assert np.array_equal(simulator.scores(images[i : i + 7] for i in range(0, 40, 7)), wanted)
    np.save(tmp_path / "images.npy", images)
    assert np.array_equal(simulator.scores(np.load(tmp_path / "images.npy", mmap_mode="r"), 16), wanted)
    assert np.array_equal(simulator.scores(np.asfortranarray(images)), wanted)
    assert np.array_equal(simulator.scores(images.astype(np.float32)), wanted)
    assert simulator.scores(images[:0]).shape == (0, 7)
    assert simulator.scores([]).shape == (0, 7)


def flipped(graph: Graph, name: str, share: float) -> XnorConv | XnorDense | Mvau:
    op = graph.node(name).op
    assert isinstance(op, XnorConv | XnorDense | Mvau)
    hits = np.random.default_rng(5).random(op.weight.shape) < share
    return replace(op, weight=np.where(hits, 1 - op.weight, op.weight).astype(op.weight.dtype))


@pytest.mark.parametrize("backend", ["llvm", "numpy", "blas"])
@pytest.mark.parametrize("threads", [1, 2])
def test_campaigns_start_from_cached_prefixes(backend: str, threads: int) -> None:
    graph = two_layers(65, 70)
    images = images_for(graph, 50)
    simulator = Simulator.of(graph, backend, threads)
    layers = [node.name for node in graph.nodes if isinstance(node.op, XnorConv | XnorDense)]
    names = [node.name for node in graph.nodes]
    for name in names:
        prefix = simulator.prefix(images, name)
        assert prefix.images == 50
        assert np.array_equal(simulator.finish(prefix), simulator.scores(images)), name
        behind = [layer for layer in layers if names.index(layer) >= names.index(name)][:2]
        changed = {layer: flipped(graph, layer, 0.2) for layer in behind}
        nodes = (Node(n.name, changed.get(n.name, n.op), n.inputs) for n in graph.nodes)
        other = graph.with_nodes(tuple(nodes))
        wanted = reference.run(other, images)[graph.output]
        assert np.array_equal(simulator.finish(prefix, changed), wanted), name
        assert np.array_equal(simulator.with_ops(changed).scores(images), wanted)
    packed = simulator.prefix(images, layers[1])
    assert backend == "blas" or packed.nbytes < 50 * 8 * 100


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_prefixes_of_random_graphs(seed: int, place: float) -> None:
    graph = random_graph(seed)
    images = images_for(graph, 20)
    simulator = Simulator.of(graph)
    upto = graph.nodes[int(place * (len(graph.nodes) - 1))].name
    assert np.array_equal(simulator.finish(simulator.prefix(images, upto)), simulator.scores(images))


def test_unchanged_kernels_are_shared() -> None:
    graph = two_layers(20, 30)
    simulator = Simulator.of(graph)
    name = next(node.name for node in graph.nodes if isinstance(node.op, XnorConv))
    other = simulator.with_ops({name: flipped(graph, name, 0.5)})
    different = [a.makes for a, b in zip(simulator.steps, other.steps, strict=True) if a is not b]
    assert len(different) == 1


def test_arm_code_is_generated() -> None:
    text = assembly("aarch64-unknown-linux-gnu", "generic")
    assert "xnor_bits" in text
    assert "cnt\t" in text, "population count of bytes"


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_damaged_machine_code_is_made_anew(tmp_path: Path, damage: str) -> None:
    native.__wrapped__("host", tmp_path)
    (path,) = tmp_path.iterdir()
    good = path.read_bytes()
    bad = {"cut": good[: len(good) // 2], "flipped": good[:500] + bytes([good[500] ^ 1]) + good[501:], "empty": b""}
    path.write_bytes(bad[damage])
    graph = two_layers(3, 3)
    images = images_for(graph, 3)
    kernels = native.__wrapped__("host", tmp_path)
    assert path.read_bytes() == good, "written again"
    simulator = replace(Simulator.of(graph), kernels=kernels)
    assert np.array_equal(simulator.tensors(images)["t1"], reference.run(graph, images)["t1"])


def test_kept_content_is_that_of_its_key(tmp_path: Path) -> None:
    """Two keys may share a name; a file of one is nothing to the other."""
    path = tmp_path / "new" / "file"
    write_checked(path, b"one key", b"content")
    assert read_checked(path, b"one key") == b"content"
    assert read_checked(path, b"another") is None
    assert read_checked(path, b"one keyc") is None
    assert [found.name for found in path.parent.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert native.__wrapped__("host", tmp_path / "file").functions
    write_checked(tmp_path / "file" / "x", b"key", b"content")
    assert read_checked(tmp_path / "file" / "x", b"key") is None
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_kept_code_needs_no_llvm(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from bnnflow.sim.engine.kernels.llvm import native;"
        f"native('host', Path({str(tmp_path)!r})); print('llvmlite' in sys.modules)"
    )
    runs = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True) for _ in "ab"]
    assert [run.stdout.strip() for run in runs] == ["True", "False"]


def test_without_llvmlite_numpy_serves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, golden) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    graph = two_layers(3, 3)
    images = images_for(graph, 3)
    assert Simulator.of(graph, folder=tmp_path).backend == "numpy"
    assert np.array_equal(
        Simulator.of(graph, folder=tmp_path).scores(images), reference.run(graph, images)[graph.output]
    )
    with pytest.raises(Problem) as caught:
        Simulator.of(graph, "llvm", folder=tmp_path)
    assert caught.value.status == TOOL_MISSING
    golden("problems/simulator_no_llvmlite", str(caught.value))


def test_bad_arguments_are_refused(golden) -> None:  # type: ignore[no-untyped-def]
    graph = two_layers(3, 3)
    images = images_for(graph, 3)
    simulator = Simulator.of(graph, "numpy")
    text = []
    for run in (
        lambda: Simulator.of(graph, "cuda"),
        lambda: Simulator.of(graph, "llvm", target="z80"),
        lambda: Simulator.of(graph, threads=0),
        lambda: simulator.scores(images, 0),
        lambda: simulator.tensors(images, ["t99"]),
        lambda: simulator.tensors(images[:0]),
        lambda: simulator.prefix(images[:0], "t3"),
        lambda: simulator.prefix(images, "t"),
        lambda: simulator.with_ops({"conv": graph.nodes[1].op}),
        lambda: simulator.finish(simulator.prefix(images, "t6"), {"t4": graph.node("t4").op}),
        lambda: simulator.scores(images.astype(complex)),
    ):
        with pytest.raises(Problem) as caught:
            run()
        text.append(str(caught.value))
    golden("problems/simulator_arguments", "\n\n".join(text))


def test_cycles_are_those_of_the_formula() -> None:
    build = Builder(0, (64,), 0, 1)
    graph = build.graph(build.add(XnorDense(build.bits(1024, 64)), "image"))
    assert least_cycles(graph) == pytest.approx(64 * 1024 * 3 / 1024)


def test_float_outputs_of_views_are_not_overwritten() -> None:
    """A graph that only reshapes hands out memory of its own, block after block."""
    graph = Graph("n", "x", TensorType((2, 3, 4)), (Node("y", Flatten(), ("x",)),), "y")
    images = np.random.default_rng(0).random((8, 2, 3, 4))
    assert np.array_equal(Simulator.of(graph).scores(images, 2), images.reshape(8, -1))
    scaled = graph.with_nodes((*graph.nodes, Node("z", Affine(np.array([2.0]), np.zeros(1)), ("y",))), "z")
    assert np.array_equal(Simulator.of(scaled).scores(images, 2), 2 * images.reshape(8, -1))
