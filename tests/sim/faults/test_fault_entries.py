"""Shapes, effects and codes as entries: what all of them keep, and one that is added here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnflow import Problem
from bnnflow.sim.faults import (
    CODES,
    EFFECTS,
    SHAPES,
    CellRate,
    FaultModel,
    Memory,
    Point,
    Protection,
    Rates,
    Subject,
    memories,
)
from bnnflow.sim.faults.injection.draws import stream
from bnnflow.sim.faults.shapes.base import Coins, Shape, block
from bnnflow.transforms.entries import Registry, about, entry_form
from bnnflow.transforms.ir.tensor import Array
from tests.sim.faults.fault_graphs import cnn, pixels

OLDEST = (
    "bit-line", "bram-column", "bram-row", "burst:4", "cell", "cluster:2x3", "logical", "pe",
    "row-hammer:0.01", "word-line",
)  # fmt: skip
TEXTS = sorted(shape.example or name for name, shape in SHAPES.items() if not shape.measured)


def place(depth: int, width: int, lanes: int = 1) -> Memory:
    values = (lanes, depth * width // lanes)
    return replace(
        memories(cnn())[2],
        depth=depth,
        width=width,
        bank=width,
        lanes=lanes,
        values=values,
        bits=1,
        simd=width // lanes,
    )


MEMORIES = st.builds(
    lambda depth, lane, lanes: place(depth, lane * lanes, lanes),
    st.integers(1, 40),
    st.integers(1, 8),
    st.integers(1, 4),
)


def test_every_entry_is_documented_in_a_line() -> None:
    for registry in (SHAPES, EFFECTS, CODES):
        for text, says in registry.lines():
            assert says.endswith(".") and len(f"{text}  {says}") <= 150


@pytest.mark.parametrize("effect", sorted(EFFECTS))
@pytest.mark.parametrize("text", TEXTS)
def test_models_print_as_they_are_read(text: str, effect: str) -> None:
    model = FaultModel.parse(f"{text} {effect}")
    assert FaultModel.parse(str(model)) == model
    assert str(model) == (effect if text == "cell" else f"{text} {effect}")


def test_measured_models_have_their_own_effect() -> None:
    model = FaultModel.parse("undervolting:0.54")
    assert str(model) == "undervolting:0.54" and FaultModel.parse(f"{model} stuck-at-0") == model


@settings(max_examples=40)
@given(MEMORIES, st.sampled_from(TEXTS), st.integers(0, 9), st.floats(0, 1), st.floats(0, 1))
def test_units_hit_sets_of_cells_and_lower_rates_fewer(
    memory: Memory, text: str, seed: int, one: float, other: float
) -> None:
    """All cells of a unit lie in the memory, each once, the same each time; what a low rate hits a high one does."""
    model, source = FaultModel.parse(f"{text} stuck-at-1"), stream(seed, 0, 1)
    for unit in {0, model.shape.units(memory) - 1}:
        cells = model.shape.cells(memory, unit, Coins(source, unit))
        assert len(set(cells.tolist())) == len(cells) and cells.dtype == np.int64
        assert not len(cells) or 0 <= cells.min() <= cells.max() < memory.size
        again, which = model.shape.reach(memory, np.array([unit]), source)
        assert np.array_equal(again, cells) and not which.any()
    low, high = (model.draw(memory, CellRate.of(rate), source) for rate in sorted((one, other)))
    assert set(low.index.tolist()) <= set(high.index.tolist())
    assert not len(model.draw(memory, CellRate.of(0), source).index)


def test_the_same_seed_draws_the_same_cells_as_ever(golden: object) -> None:
    """Stored results and printed figures depend on it: number of cells, and sha256 of cells and effects."""
    lines = []
    for text in OLDEST:
        for effect in ("flip", "asymmetric", "stuck-at-0", "stuck-at-1", "stuck"):
            digest, count, model = sha256(), 0, FaultModel.parse(f"{text} {effect}")
            for memory in (*memories(cnn(), ("weights", "thresholds")), place(2100, 40, 4)):
                rate = CellRate(0.02, 0.01) if model.effect.directed else CellRate.of(0.02)
                cells = model.draw(memory, rate, stream(5, 1, memory.index))
                digest.update(cells.index.tobytes() + cells.effect.tobytes())
                count += len(cells.index)
            lines.append(f"{text} {effect}: {count} {digest.hexdigest()[:16]}")
    golden("fault_draws", "\n".join(lines))  # type: ignore[operator]


@dataclass(frozen=True, slots=True)
class Diagonal(Shape):
    """STEPS cells down and to the right."""

    name = "diagonal"
    example = "diagonal:2"
    steps: int

    def units(self, memory: Memory) -> int:
        return memory.size

    def cells(self, memory: Memory, unit: int, coins: Coins) -> Array:
        word, bit = divmod(unit, memory.width)
        return np.concatenate([block(memory, [word + step], [bit + step]) for step in range(self.steps)])


def test_a_new_shape_is_a_model_wherever_one_is_named(monkeypatch: pytest.MonkeyPatch, golden: object) -> None:
    monkeypatch.setitem(SHAPES, "diagonal", Diagonal)
    assert ("diagonal:STEPS", "STEPS cells down and to the right.") in SHAPES.lines()
    graph = cnn()
    subject = Subject(graph, pixels(0, graph, 20), np.arange(20) % 3)
    seen = [subject.trial(Point("weights", (), f"diagonal:{steps} flip", Rates.of(0.05)), 0) for steps in (1, 3)]
    assert seen[0] == subject.trial(Point("weights", (), "flip", Rates.of(0.05)), 0), "of one step: a cell"
    assert seen[0] != seen[1]
    for name, text in {"missing": "diagonal flip", "many": "diagonal:2x3 flip", "word": "diagonal:two flip"}.items():
        with pytest.raises(Problem) as found:
            FaultModel.parse(text)
        golden(f"problems/faults_entry_{name}", str(found.value))  # type: ignore[operator]


def test_a_new_code_is_a_protection_wherever_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True, slots=True)
    class Inverse(type(CODES["tmr"]())):  # type: ignore[misc]
        """Stored upside down."""

        name = "inverse"

        def stored(self, memory: Memory) -> Memory:
            return memory

        def encode(self, memory: Memory, words: Array) -> Array:
            return 1 - words

        def decode(self, memory: Memory, stored: Array) -> Array:
            return 1 - stored

    monkeypatch.setitem(CODES, "inverse", Inverse)
    graph = cnn()
    subject = Subject(graph, pixels(0, graph, 20), np.arange(20) % 3)
    hit = subject.trial(Point("weights", (), "stuck-at-1", Rates.of(1.0), "inverse"), 0)
    assert hit == subject.trial(Point("weights", (), "stuck-at-0", Rates.of(1.0)), 0)
    for text in ("inverse:scrub=2:scrub=3", "secded-39-32:x4:x2", "secded-39-32:keep:last", "parity:x1:x1"):
        with pytest.raises(Problem, match=f"{text.split(':')[-2]} and {text.split(':')[-1]} in"):
            Protection.parse(text)
    cost = Protection.parse("inverse:scrub=2").cost(memories(graph)[0])
    assert (cost.protection, cost.extra_bits, cost.bram18) == ("inverse:scrub=2", 0, cost.bram18_plain)


def test_what_is_no_entry() -> None:
    registry: Registry[object] = Registry()

    @dataclass
    class Bare:
        name = "bare"

    with pytest.raises(ValueError, match="docstring"):
        registry.add(Bare)
    assert about(Bare) == "" and entry_form(Bare) == "bare"


def test_every_file_of_a_folder_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a new entry is a new file and nothing else; and every file of ours holds one, but for the bases."""
    package = tmp_path / "entries_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from bnnflow.transforms.entries import Registry\nKNOWN = Registry()\nKNOWN.load(__name__, __path__)\n"
    )
    body = "from . import KNOWN\n\n\n@KNOWN.add\nclass One:\n    '''Found.'''\n\n    name = 'one'\n"
    (package / "one.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    assert import_module("entries_of_a_test").KNOWN.lines() == [("one", "Found.")]
    for registry, bases in ((SHAPES, {"base"}), (CODES, {"base", "codewords"})):
        homes = {entry.__module__ for entry in registry.values()}
        folder = Path(str(import_module(next(iter(homes)).rpartition(".")[0]).__file__)).parent
        assert {home.rpartition(".")[2] for home in homes} | bases == {p.stem for p in folder.glob("[!_]*.py")}


@pytest.mark.parametrize("shape", ["pe", "logical"])
def test_shapes_that_lie_in_no_code(shape: str, golden: object) -> None:
    with pytest.raises(Problem) as found:
        Point("weights", (), f"{shape} flip", Rates.of(0.1), "tmr").places(cnn())
    golden(f"problems/faults_{shape}_behind_a_code", str(found.value))  # type: ignore[operator]
