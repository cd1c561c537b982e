"""FINN's own SystemVerilog (finn-rtllib) against our library, under Verilator: the same values in, the same values out.

finn-plus generates each unit as it does for a user: its templates filled, its memories written. Both sides get the
same values, FINN's in its types, image behind image, and stall at random on both ends, each by itself. Values are
compared one by one; cycles are not, which differ. Ours are simulated as they are synthesized, with trees of adders.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bnnflow.build.cosim.verilator import Stalls, Tools
from bnnflow.build.memories import words_hex
from bnnflow.build.rtl.memory import Memory
from bnnflow.build.rtl.modules import Module
from bnnflow.build.rtl.unrolled import Unrolled
from bnnflow.build.rtl.words import from_words, value_bits, word_bytes
from bnnflow.flow.graphs.cosimulation import STALLS
from bnnflow.flow.run.tools import simulation_tools
from bnnflow.transforms.ir.tensor import Array
from bnnflow.transforms.streams import Stream
from bnnflow.transforms.writing.units import UnitNode

from .compare import Row
from .duels import IMAGES, Duel, Family, Side, families
from .environments import HERE, ROOT, Refused, judge

PROGRAM = "finn-plus"
WHAT = "words of our modules and of finn-rtllib's under Verilator; four runs, three with stalls"
FOUND = "a fault that is planted in ours is found in every run"
RUNS = (Stalls(), *(Stalls(number, *shares) for number, shares in enumerate(STALLS, 1)))
CLOCK_NS = 5.0
LIBRARY = ROOT / "build" / "rtl" / "library"
BENCH = HERE / "rtl"
# What Verilator says of FINN's files is left to FINN. No time passes but clocks: FINN waits until DSP slices woke up.
_FLAGS = ("--cc", "-sv", "-O3", "-Wno-fatal", "-Wno-lint", "-Wno-style", "--no-timing", "--assert", "-DBNNFLOW_ASSERT")
_RANDOM = ("--x-assign", "unique", "--x-initial", "unique")
_SECONDS = 600


class NotElaborated(Refused):
    """Verilator ended with an error; the message holds its last words."""


def finn_rtl(folder: Path) -> list[tuple[str, Callable[[], Row]]]:
    """The families: what each is, and how it is compared."""
    return [(subject(family), partial(judged, family, folder / str(n))) for n, family in enumerate(families())]


def subject(family: Family) -> str:
    """How a family is called on the page."""
    return f"{family.name}, {len(family.duels)} parameter sets"


def judged(family: Family, folder: Path) -> Row:
    """The row of a family; one that Verilator refuses is as it should be if it is known to."""
    try:
        row = compared(family, folder)
    except NotElaborated:
        if not family.refused:
            raise
        return Row(WHAT, PROGRAM, subject(family), "none", (), family.notes, "not elaborated")
    if family.refused:
        row = replace(row, wrong=("Verilator now elaborates it: compare it as the others", *row.wrong))
    return row


def compared(family: Family, folder: Path) -> Row:
    """Generate, build, run and compare a family of duels."""
    folder.mkdir(parents=True)
    answer = judge("finn-plus", {"task": "hdl", "clock_ns": CLOCK_NS, "units": _job(family)}, folder / "finn")
    made = iter(answer["units"])
    bench, files = _Bench(folder), dict.fromkeys(file for unit in answer["units"] for file in unit["files"])
    rng = np.random.default_rng(4)
    for number, duel in enumerate(family.duels):
        values = [_values(duel, stream, rng) for stream in duel.ours.entries]
        bench.ours(f"{number}_ours", duel.ours, values)
        if duel.planted is not None:
            bench.ours(f"{number}_planted", duel.planted, values)
        factor, offset = duel.enters
        their_values = [factor * each + offset for each in values]
        bench.theirs(f"{number}_theirs", duel.theirs, their_values, [next(made) for _ in duel.theirs.parts])
    program = _built(bench.written(), list(files), folder, simulation_tools())
    words, planted, wrong = 0, 0, []
    for run, stalls in enumerate(RUNS):
        place = folder / f"run{run}"
        _started(program, stalls, place, folder / "finn")
        for number, duel in enumerate(family.duels):
            ours, theirs = _found(place, f"{number}_ours", duel.ours), _found(place, f"{number}_theirs", duel.theirs)
            factor, offset = duel.leaves
            differ = list(_differences(duel, factor * ours + offset, theirs))
            if duel.misread:
                differ = [] if differ else ["FINN's now gives the right values: compare them"]
            else:
                words += len(ours) // duel.ours.leave.width
            wrong += [f"{duel.name}, run {run}: {line}" for line in differ]
            if duel.planted is not None:
                planted += 1
                faulty = factor * _found(place, f"{number}_planted", duel.planted) + offset
                if np.array_equal(faulty, theirs[: len(faulty)]):
                    wrong.append(f"{duel.name}, run {run}: the planted fault is not found")
    notes = (*family.notes, *((FOUND,) if planted else ()))
    return Row(WHAT, PROGRAM, subject(family), f"{words:,} words", tuple(wrong), notes)


def _job(family: Family) -> list[dict[str, Any]]:
    """FINN's units, as `in_finn_plus.hdl` takes them."""
    units = []
    for number, duel in enumerate(family.duels):
        for place, unit in enumerate(duel.theirs.parts):
            assert isinstance(unit, UnitNode)
            attributes = {key: value for key, value in unit.settings.items() if key != "preferred_impl_style"}
            units.append(
                {
                    "name": f"finn_{number}_{place}",
                    "op": f"{unit.kind}_rtl",
                    "attributes": attributes,
                    "part": duel.part,
                    **({"values": unit.tables[0][1].tolist()} if unit.tables else {}),
                }
            )
    return units


def _values(duel: Duel, stream: Stream, rng: np.random.Generator) -> Array:
    """Integers of all images in a stream's order, (words, values): any, the least, the greatest, those near bounds."""
    low, high = stream.type.range
    shape = (IMAGES * stream.words, stream.width)
    near = np.concatenate([duel.near.ravel(), [low, high]])
    chosen = np.clip(rng.choice(near, shape) + rng.integers(-1, 2, shape), low, high)
    return np.where(rng.random(shape) < 0.5, chosen, rng.integers(low, high, shape, endpoint=True))


@dataclass(slots=True)
class _Bench:
    """The top module: sources, modules one behind the other, sinks; writes the files that they read."""

    folder: Path
    lines: list[str] = field(default_factory=list)
    moves: list[str] = field(default_factory=list)
    wires: int = 0
    files: int = 0

    def ours(self, name: str, side: Side, values: Sequence[Array]) -> None:
        """An own side: modules of the library, whose memories are written."""
        wires = [self._source(stream, each) for stream, each in zip(side.entries, values, strict=True)]
        widths = [*side.links, side.leave.width * value_bits(side.leave.type)]
        for module, width in zip(side.parts, widths, strict=True):
            assert isinstance(module, Module)
            made = self._wire(width)
            parameters = dict(module.parameters)
            ports = {"clk": "clk", "rst": "rst"}
            for key, memory in module.memories.items():
                ports |= self._memory(key, memory)
            if module.unrolled is not None:
                ports |= self._rows(module.unrolled, parameters)
            if module.name == "bnnflow_fifo":
                # What is offered is taken at once where there is a place.
                taken = f"{wires[0]}_valid & {wires[0]}_ready"
                ports |= {"free": f"{wires[0]}_ready", "take": taken, "push": taken, "push_data": f"{wires[0]}_data"}
            else:
                for side_name, wire in zip("ab" if len(wires) > 1 else "s", wires, strict=True):
                    ports |= {f"{side_name}_{end}": f"{wire}_{end}" for end in ("valid", "ready", "data")}
            ports |= {f"m_{end}": f"{made}_{end}" for end in ("valid", "ready", "data")}
            self._instance(module.name, parameters, ports)
            wires = [made]
        self._sink(name, wires[0], widths[-1], side.waits)

    def theirs(self, name: str, side: Side, values: Sequence[Array], made: Sequence[Mapping[str, Any]]) -> None:
        """FINN's side, by what finn-plus says of the units that it generated; words are padded to what ports have."""
        wires = [self._source(stream, each) for stream, each in zip(side.entries, values, strict=True)]
        if side.weights is not None:
            wires.append(self._words(*side.weights))
        for unit in made:
            out = self._wire(unit["output"])
            ports = {"ap_clk": "clk", "ap_rst_n": "~rst"} | ({"ap_clk2x": "clk"} if len(wires) > len(values) else {})
            # finn-plus counts constants as inputs, too.
            for number, (wire, width) in enumerate(zip(wires, unit["inputs"], strict=False)):
                ports |= {f"in{number}_V_TVALID": f"{wire}_valid", f"in{number}_V_TREADY": f"{wire}_ready"}
                ports[f"in{number}_V_TDATA"] = f"{width}'({wire}_data)"
            ports |= {f"out0_V_T{end.upper()}": f"{out}_{end}" for end in ("valid", "ready", "data")}
            self._instance(unit["top"], {}, ports)
            wires = [out]
        self._sink(name, wires[0], side.leave.width * value_bits(side.leave.type), side.waits)

    def written(self) -> Path:
        """The file of the top module."""
        head = ["module judge (input logic clk, input logic rst, output logic moves);"]
        tail = [f"  assign moves = {' | '.join(self.moves)};", "endmodule"]
        file = self.folder / "judge.sv"
        file.write_text("\n".join([*head, *self.lines, *tail]) + "\n")
        return file

    def _wire(self, width: int) -> str:
        name = f"w{self.wires}"
        self.wires += 1
        self.lines += [f"  logic {name}_valid, {name}_ready;", f"  logic [{width - 1}:0] {name}_data;"]
        return name

    def _memory(self, port: str, memory: Memory) -> dict[str, str]:
        """Ports of a module that reads a memory beside it."""
        wire = f"w{self.wires}"
        self.wires += 1
        self.lines += [f"  logic {wire}_next;", f"  logic [{memory.width - 1}:0] {wire};"]
        if memory.words:
            sizes = {"DEPTH": len(memory.words), "WIDTH": memory.width, "FILE": f'"{self._file(memory.words)}"'}
            self._instance("bnnflow_memory", sizes, {"clk": "clk", "rst": "rst", "next": f"{wire}_next", "data": wire})
        else:
            self.lines.append(f"  assign {wire} = '0;")
        return {f"{port}_next": f"{wire}_next", port: wire}

    def _rows(self, rows: Unrolled, sizes: Mapping[str, int | str]) -> dict[str, str]:
        """Ports of a matrix whose rows are circuits beside it."""
        wire = f"w{self.wires}"
        self.wires += 1
        x, results = f"{wire}_x", f"{wire}_results"
        inputs, outputs = int(sizes["IN"]), int(sizes["OUT"])
        self.lines += [f"  logic [{inputs - 1}:0] {x};", f"  logic [{outputs - 1}:0] {results};"]
        for row in rows.rows(x, results, outputs // len(rows.neurons)):
            if row.value:
                self.lines.append(f"  assign {row.result} = {row.value};")
            else:
                self._instance("bnnflow_neuron", row.parameters, {"clk": "clk", "x": row.x, "result": row.result})
        return {"x": x, "results": results}

    def _source(self, stream: Stream, values: Array) -> str:
        bits = value_bits(stream.type)
        return self._words(words_hex(values, bits), stream.width * bits)

    def _words(self, words: list[str], width: int) -> str:
        wire = self._wire(width)
        self._end("judge_source", wire, {"WIDTH": width, "WORDS": len(words), "FILE": f'"{self._file(words)}"'})
        return wire

    def _sink(self, name: str, wire: str, width: int, stalls: bool) -> None:
        parameters: dict[str, int | str] = {"WIDTH": width, "STALLS": stalls, "FILE": f'"{name}.out"'}
        self._end("judge_sink", wire, parameters, f"[{width - 1}:0]")

    def _end(self, module: str, wire: str, parameters: Mapping[str, int | str], bits: str = "") -> None:
        ports = {"clk": "clk", "rst": "rst", "valid": f"{wire}_valid", "ready": f"{wire}_ready"}
        self._instance(module, {**parameters, "SEED": self.wires}, ports | {"data": f"{wire}_data{bits}"})
        self.moves.append(f"({wire}_valid & {wire}_ready)")

    def _instance(self, module: str, parameters: Mapping[str, int | str], ports: Mapping[str, str]) -> None:
        # A parameter of one bit is a bool: Verilator warns of nothing where it is given as 0 or 1.
        given = ", ".join(
            f".{key}({int(value) if isinstance(value, bool) else value})" for key, value in parameters.items()
        )
        joined = ", ".join(f".{key}({value})" for key, value in ports.items())
        self.lines.append(f"  {module} #({given}) u{len(self.lines)} ({joined});")

    def _file(self, words: Sequence[str]) -> Path:
        file = self.folder / f"{self.files}.hex"
        self.files += 1
        file.write_text("\n".join(words) + "\n")
        return file


def _built(top: Path, files: list[str], folder: Path, tools: Tools) -> Path:
    """The program of a bench.

    Raises:
        NotElaborated: Verilator ended with an error.
        Refused: the compiler did.
    """
    made, include = folder / "verilated", tools.root / "include"
    parts = [str(path) for path in sorted(BENCH.glob("*.sv"))]
    command = [str(tools.verilator), *_FLAGS, *_RANDOM, "--Mdir", str(made), "--prefix", "Vjudge", "-y", str(LIBRARY)]
    try:
        _run([*command, "--top-module", "judge", *files, *parts, str(top)], folder, tools)
    except Refused as error:
        raise NotElaborated(str(error)) from error
    # One unit of translation: most of a compiler's time goes into Verilator's headers.
    unity, program = made / "unity.cc", folder / "program"
    sources = [BENCH / "main.cpp", *sorted(made.glob("*.cpp"))]
    unity.write_text("".join(f'#include "{path}"\n' for path in sources))
    includes = [f"-I{path}" for path in (include, include / "vltstd", made)]
    options = ["-O1", "-std=c++17", *includes, "-pthread", "-latomic", "-o", str(program)]
    _run([str(tools.compiler), str(unity), *_runtime(folder.parent, tools), *options], folder, tools)
    return program


def _runtime(folder: Path, tools: Tools) -> Iterator[str]:
    """Verilator's own objects, compiled once for all families."""
    include = tools.root / "include"
    for name in ("verilated", "verilated_threads"):
        made = folder / f"{name}.o"
        if not made.is_file():
            options = ["-O1", "-std=c++17", f"-I{include}", f"-I{include / 'vltstd'}", "-c", "-o", str(made)]
            _run([str(tools.compiler), str(include / f"{name}.cpp"), *options], folder, tools)
        yield str(made)


def _started(program: Path, stalls: Stalls, place: Path, units: Path) -> None:
    """A run in its own folder, where FINN's modules look for their memories and sinks leave what they took.

    Raises:
        Refused: it ended with an error, or a memory was not there.
    """
    place.mkdir()
    for file in units.glob("*/*.dat"):
        shutil.copy(file, place)
    shares = [f"+stall_{end}={round(1000 * share)}" for end, share in (("in", stalls.input), ("out", stalls.output))]
    said = _run([str(program), f"+seed={stalls.seed}", *shares], place, None)
    if "readmem" in said:
        raise Refused(said)


def _run(command: list[str], folder: Path, tools: Tools | None) -> str:
    """What a program says."""
    environment = {"PATH": tools.path, "VERILATOR_ROOT": str(tools.root)} if tools is not None else None
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if done.returncode:
        raise Refused("\n".join((done.stdout + done.stderr).strip().splitlines()[-15:]))
    return done.stdout + done.stderr


def _found(place: Path, name: str, side: Side) -> Array:
    """The values that a side wrote, one behind the other."""
    stream = side.leave
    lines = (place / f"{name}.out").read_text().split()
    held = b"".join(int(line, 16).to_bytes(word_bytes(stream), "little") for line in lines)
    return from_words(np.frombuffer(held, np.uint8).reshape(1, len(lines), word_bytes(stream)), stream).ravel()


def _differences(duel: Duel, ours: Array, theirs: Array) -> Iterator[str]:
    width = duel.ours.leave.width
    wanted = IMAGES * duel.ours.leave.words * width
    for whose, values, ahead in (("ours", ours, 0), ("FINN's", theirs, duel.theirs.ahead * width)):
        if len(values) != wanted + ahead:
            yield f"{len(values)} values of {whose}, not {wanted + ahead}"
    count = min(wanted, len(ours), len(theirs))
    for place in np.flatnonzero(ours[:count] != theirs[:count])[:1]:
        differ = int((ours[:count] != theirs[:count]).sum())
        yield f"{differ} of {wanted} values differ, first value {place}: {ours[place]} here, {theirs[place]} there"
