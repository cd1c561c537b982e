"""Fault maps of memories: drawn, injected into a graph, and kept in files that replay them exactly."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile, is_zipfile

import numpy as np

from bnnflow import Problem

from ....transforms.ir.graph import Graph
from ....transforms.ir.ops import AnyOp
from ....transforms.ir.tensor import Array
from ..shapes.undervolting import Undervolting
from .cells import FLIP, CellRate, Cells
from .draws import Stream, stream
from .layout import KINDS, Memory, memories
from .models import FaultModel
from .placements import memories_digest
from .protect import Protection, Protections
from .rates import Rates
from .tables import read_text, table_rows
from .undervolting import Chip

_NONE = Protections()
_MARK = re.compile(r"# (checksum|contents)\s+(\S+)\s*")
_EFFECTS = {"0": 0, "1": 1, "flip": FLIP}
_COLUMNS = "columns are: memory, effect (0, 1 or flip), and word and bit, or channel, value and bit"


@dataclass(frozen=True, slots=True)
class FaultMap:
    """Faulty cells of a network's memories.

    Attributes:
        checksum: of the memories' shapes and folding, from `checksum`.
        cells: by memory name ("conv1.weights").
        contents: of what the memories hold, from `contents`, where cells were chosen by it; empty: of any network with
            such memories.
    """

    checksum: str
    cells: Mapping[str, Cells]
    contents: str = ""

    def ops(self, graph: Graph) -> dict[str, AnyOp]:
        """The units that the map changes, as they are with it, by node name.

        Raises:
            Problem: the map belongs to another network or folding.
        """
        self._fits(graph, "fault map")
        changed: dict[str, AnyOp] = {}
        for memory in memories(graph, KINDS):
            cells = self.cells.get(memory.name)
            if cells is not None and len(cells.index):
                op = changed.get(memory.layer, graph.node(memory.layer).op)
                changed[memory.layer] = memory.holding(op, cells.on(memory.words(op)))
        return changed

    def content(self, suffix: str, graph: Graph) -> bytes:
        """The map as a file: .npz, or .csv by word and bit, of the widths that the graph's memories have.

        Raises:
            Problem: another suffix.
        """
        if _is_csv(Path(f"map{suffix}")):
            return self._csv(graph).encode()
        parts = {"checksum": np.array(self.checksum), "names": np.array(list(self.cells), np.str_)}
        parts |= {"contents": np.array(self.contents)} if self.contents else {}
        for number, cells in enumerate(self.cells.values()):
            parts |= {f"index{number}": cells.index, f"effect{number}": cells.effect}
        packed = io.BytesIO()
        np.savez_compressed(packed, allow_pickle=False, **parts)
        return packed.getvalue()

    def _csv(self, graph: Graph) -> str:
        widths = {memory.name: memory.width for memory in memories(graph, KINDS)}
        text = io.StringIO()
        text.write(f"# checksum {self.checksum}\n")
        text.write(f"# contents {self.contents}\n" if self.contents else "")
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(("memory", "word", "bit", "effect"))
        effects = {number: word for word, number in _EFFECTS.items()}
        for name, cells in self.cells.items():
            for index, effect in zip(cells.index.tolist(), cells.effect.tolist(), strict=True):
                rows.writerow((name, *divmod(index, widths[name]), effects[effect]))
        return text.getvalue()

    @staticmethod
    def load(path: Path, graph: Graph) -> FaultMap:
        """Read a map for a graph from .npz or .csv.

        Raises:
            Problem: not such a file, cells that the memories do not have, or another network or folding.
        """
        try:
            made = _from_csv(path, graph) if _is_csv(path) else _from_npz(path)
        except (OSError, UnicodeDecodeError, KeyError, EOFError, BadZipFile, zlib.error, NotImplementedError) as error:
            raise Problem("the fault map cannot be read", str(path), "give an .npz or .csv fault map") from error
        except ValueError as error:
            raise Problem(f"the fault map is damaged: {error}", str(path), _COLUMNS) from error
        made._fits(graph, str(path))
        return made

    def _fits(self, graph: Graph, where: str) -> None:
        mine = checksum(graph)
        if self.checksum and self.checksum != mine:
            raise Problem(
                f"the fault map was made for another network or folding ({self.checksum[:12]}, not {mine[:12]})",
                where,
                "use the graph it was made for, or draw a new map",
            )
        sizes = {memory.name: memory.size for memory in memories(graph, KINDS)}
        for name, cells in self.cells.items():
            if name not in sizes or (
                len(cells.index) and not 0 <= cells.index.min() <= cells.index.max() < sizes[name]
            ):
                what = f"{name} has no such cell" if name in sizes else f"there is no memory {name!r}"
                raise Problem(f"the fault map does not fit: {what}", where, f"memories: {', '.join(sizes)}")


def checksum(graph: Graph) -> str:
    """sha256 over the shapes and the folding of all memories of a dataflow graph."""
    lines = [
        f"{m.name} {m.depth}x{m.width} lanes {m.lanes} bank {m.bank} bits {m.bits} simd {m.simd} {m.values}"
        for m in memories(graph, KINDS)
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def contents(graph: Graph) -> str:
    """sha256 over what all memories of a dataflow graph hold, their shapes and the folding."""
    return memories_digest(graph, memories(graph, KINDS))


def draw_map(
    graph: Graph,
    places: Sequence[Memory],
    model: FaultModel,
    rates: Rates,
    seed: int,
    trial: int,
    chip: Chip | None = None,
) -> FaultMap:
    """Fault map number `trial` of unprotected memories; `chip` as for `faulty_ops`."""
    draw = _drawer(graph, model, rates, seed, trial, _NONE, chip)
    return FaultMap(checksum(graph), {memory.name: draw(memory, memory, 0, 1) for memory in places})


def source(memory: Memory, seed: int, trial: int, interval: int = 0) -> Stream:
    """The random streams of one memory in one trial."""
    return stream(seed, trial, memory.index, KINDS.index(memory.kind), interval)


def faulty_ops(
    graph: Graph,
    places: Sequence[Memory],
    model: FaultModel,
    rates: Rates,
    seed: int,
    trial: int,
    protection: Protections = _NONE,
    chip: Chip | None = None,
) -> dict[str, AnyOp]:
    """The units that one fault map changes, by node name, as they read their protected memories.

    Args:
        graph: dataflow level.
        places: memories that are hit.
        model, rates: what hits them how often; a measured shape has no rates.
        seed, trial: of the map.
        protection: of the memories.
        chip: of a measured shape, where the block RAMs lie; None: anywhere on the board that comes with the package.
    """
    check_protected(model, protection)
    draw = _drawer(graph, model, rates, seed, trial, protection, chip)
    changed: dict[str, AnyOp] = {}
    for memory in places:
        op = changed.get(memory.layer, graph.node(memory.layer).op)
        words = memory.words(op)
        safe = protection.at(memory)
        read = _read(memory, words, draw, safe, 1 if model.effect.lasting else safe.scrubs)
        if read is not words and not np.array_equal(read, words):
            changed[memory.layer] = memory.holding(op, read)
    return changed


def _drawer(
    graph: Graph,
    model: FaultModel,
    rates: Rates,
    seed: int,
    trial: int,
    protection: Protections,
    chip: Chip | None,
) -> Callable[[Memory, Memory, int, int], Cells]:
    """What draws the faulty cells of a memory, as it is stored, in one of several intervals of the exposure."""
    if isinstance(model.shape, Undervolting):
        lying = (chip or Chip()).holding(graph, protection)
        voltage = model.shape.voltage
        return lambda memory, stored, interval, intervals: lying.draw(stored, voltage, seed, trial)

    def independent(memory: Memory, stored: Memory, interval: int, intervals: int) -> Cells:
        rate = rates.at(memory.layer, memory.kind)
        if intervals > 1:
            rate = interval_rate(rate, intervals)
        return model.draw(stored, rate, source(memory, seed, trial, interval))

    return independent


def _read(
    memory: Memory,
    words: Array,
    draw: Callable[[Memory, Memory, int, int], Cells],
    protection: Protection,
    intervals: int,
) -> Array:
    """What a unit reads from its memory at the end of the exposure; `words` itself where nothing was hit."""
    stored = protection.stored(memory)
    content: Array | None = None
    # Without a code the memory is loaded again each time: only the last interval is left.
    for interval in range(intervals - 1 if not protection.coded else 0, intervals):
        cells = draw(memory, stored, interval, intervals)
        if len(cells.index):
            content = cells.on(protection.encode(memory, words) if content is None else content)
        if content is not None and interval < intervals - 1:
            content = protection.encode(memory, protection.decode(memory, content))
    return words if content is None else protection.decode(memory, content)


def check_protected(model: FaultModel, protection: Protections) -> None:
    """Refuse faults that do not lie in a protected memory.

    Raises:
        Problem: a PE's or logically addressed cells, beside a code.
    """
    if protection.coded and not model.shape.in_codes:
        what = f"{model.shape.name} faults do not lie in a protected memory"
        raise Problem(what, "fault campaign", "use protection none", key="faults")


def interval_rate(rate: CellRate, intervals: int) -> CellRate:
    """The rate of one of so many equal intervals that, each behind what the one before left, together do `rate`.

    A cell is then a Markov chain of two states: 1 - up - down is raised to the power of the intervals, and up and down
    keep their ratio. Where both together are 1 or more no intervals do that, and each has the whole rate.
    """
    both = rate.up + rate.down
    if not 0 < both < 1:
        return rate
    share = float(-np.expm1(np.log1p(-both) / intervals)) / both
    return CellRate(rate.up * share, rate.down * share, rate.label)


def inject(graph: Graph, seed: int, trial: int, rate: float, model: FaultModel | None = None) -> Graph:
    """The dataflow graph with one fault map in its weight memories."""
    ops = faulty_ops(graph, memories(graph), model or FaultModel(), Rates.of(rate), seed, trial)
    return replaced(graph, ops)


def replaced(graph: Graph, ops: Mapping[str, AnyOp]) -> Graph:
    """The graph with other operations under these names."""
    return graph.with_nodes(tuple(replace(node, op=ops.get(node.name, node.op)) for node in graph.nodes))


def flips(seed: int, trial: int, layer: int, bits: int, rate: float) -> Array:
    """Which of the first `bits` cells of a layer's weight memory are flipped: bool, (bits,).

    The cells that flip at one rate flip at every higher rate too, and the first cells are the same whatever
    `bits` is.
    """
    from .draws import uniforms

    made = np.zeros(bits, bool)
    made[uniforms(stream(seed, trial, layer, 0, 0), bits, rate)[0]] = True
    return made


def _is_csv(path: Path) -> bool:
    """True for .csv, False for .npz; a Problem for other names."""
    if path.suffix not in (".csv", ".npz"):
        raise Problem("the name of a fault map ends in .npz or .csv", str(path), "give such a name")
    return path.suffix == ".csv"


def _from_npz(path: Path) -> FaultMap:
    if path.is_file() and not is_zipfile(path):
        raise BadZipFile("no archive, or cut off")
    with np.load(path, allow_pickle=False) as file:
        names = [str(name) for name in file["names"].reshape(-1)]
        cells = {}
        for i, name in enumerate(names):
            index, effect = file[f"index{i}"], file[f"effect{i}"]
            if index.ndim != 1 or index.shape != effect.shape or index.dtype.kind != "i" or effect.dtype.kind != "u":
                raise ValueError(f"the cells of {name} are no lists of whole numbers")
            if np.any(np.diff(index) <= 0) or not set(effect.tolist()) <= set(_EFFECTS.values()):
                raise ValueError(f"the cells of {name} are not ascending, or have an effect that is not 0, 1 or flip")
            if name in cells:
                raise ValueError(f"{name} has two maps")
            cells[name] = Cells(index.astype(np.int64), effect.astype(np.uint8))
        return FaultMap(str(file["checksum"]), cells, str(file["contents"]) if "contents" in file else "")


def _from_csv(path: Path, graph: Graph) -> FaultMap:
    """By word and bit, or by channel, value and bit; the checksum may be missing in files from elsewhere."""
    text = read_text(path)
    marks = {match[1]: match[2] for line in reversed(text.splitlines()) if (match := _MARK.fullmatch(line))}
    rows = table_rows(text, path)
    known = {memory.name: memory for memory in memories(graph, KINDS)}
    back = {name: memory.physical() for name, memory in known.items()}
    found: dict[str, dict[int, int]] = {}
    header = rows[0][1] if rows else []
    logical = "channel" in header
    if sorted(header) != sorted(("memory", "effect", "bit", *(("channel", "value") if logical else ("word",)))):
        raise ValueError(f"the columns are {', '.join(header)}")
    made = FaultMap(marks.get("checksum", ""), {}, marks.get("contents", ""))
    made._fits(graph, str(path))
    for where, values in rows[1:]:
        row = dict(zip(header, values, strict=True))
        name = row["memory"]
        if name not in known:
            raise Problem(f"there is no memory {name!r}", where, f"memories: {', '.join(known)}")
        memory = known[name]
        sizes = {"channel": memory.values[0], "value": memory.values[1], "bit": memory.bits}
        if not logical:
            sizes = {"word": memory.depth, "bit": memory.width}
        place = 0
        for column, size in sizes.items():
            if not row[column].isdecimal() or int(row[column]) >= size:
                raise Problem(f"{name} has no {column} {row[column]!r}", where, f"{column}: 0 to {size - 1:,}")
            place = place * size + int(row[column])
        if row["effect"] not in _EFFECTS:
            raise Problem(f"there is no effect {row['effect']!r}", where, f"effects: {', '.join(_EFFECTS)}")
        cell = int(back[name][place]) if logical else place
        if cell in found.setdefault(name, {}):
            raise Problem(f"{name} has two effects on one cell", where, "name each cell once")
        found[name][cell] = _EFFECTS[row["effect"]]
    cells = {}
    for name, effects in found.items():
        index = np.array(sorted(effects), np.int64)
        cells[name] = Cells(index, np.array([effects[i] for i in index.tolist()], np.uint8))
    return replace(made, cells=cells)
