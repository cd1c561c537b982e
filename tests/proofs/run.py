"""Prove the library's modules and write docs/results/proofs.md.

Usage: python -m tests.proofs.run [WORD ...]. Words choose modules whose names hold one of them; the page is written
only when all are proved. Exit status 1 if a proof does not end as it should, or does not find a planted fault.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from .cases import PROOFS
from .sby import FOLDER, ROOT, UNBOUNDED, Failed, Outcome, Parameters, Proof, run, versions

PAGE = ROOT / "docs" / "results" / "proofs.md"
SECONDS = 300
SECOND_JUDGE, SECOND_DEPTH = "smtbmc z3", 10
NOTES = """
* **Any** number of cycles: property directed reachability (`abc pdr`) finds an invariant of module and test bench. z3
  is a second judge by another way, of 10 cycles, with the first parameters.
* **Pipelines** have no loop: registers begin with any values, so that a cycle behind the latency is as every later
  one, and a bounded proof of it is whole. Codes have no register at all.
* **A word** that is picked at any time is followed through the module; the modules do not look at values, but for sums
  and maxima, so that few bits tell words apart as well as many.
* **Nothing waits for ever**: a reader that stays ready gets all that is due within a fixed number of cycles, and a
  writer is heard.
* **Popcounts** of up to 20 bits equal `$countones` directly; of more (DIRECT 0), `$countones` of three bits each, whose
  lower and higher bits are counted in groups of six and added. That the ones of a word are those of its parts is not
  left to a tool.
* **Primitives** (xc7) stand for what yosys' own models of LUT6_2 and CARRY4 compute. Of up to 32 bits their popcounts
  equal `$countones` directly, for every number of bits; of more (DIRECT 0), the sum of such parts.
* **Weights and bounds** are any, and stay as they are, in memories beside the unit that give words in turn, and
  anything where the unit did not ask; read-only memories and tables, which do not look at their words, hold the words'
  numbers.
* **Rows of memories** are any, with bits that are flipped from the beginning on; bits that flip while the memory is
  read are not looked at.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a proof.

    Attributes:
        proof: what was to be proved.
        seconds: of the processor, faults included.
        found: faults that were found.
        wrong: what is not as it should be.
    """

    proof: Proof
    seconds: float
    found: tuple[str, ...]
    wrong: tuple[str, ...]


def main(words: Sequence[str] = ()) -> int:
    """Run every proof, or those of the modules that `words` choose; the exit status."""
    shutil.rmtree(FOLDER / "work", ignore_errors=True)
    rows = [proved(each) for each in PROOFS if not words or any(word in each.called for word in words)]
    failed = [row for row in rows if row.wrong]
    print(f"{len(rows) - len(failed)} of {len(rows)} proofs as they should be")
    if not words and not failed:
        PAGE.write_text(page(rows))
        print(f"{PAGE.relative_to(ROOT)} written")
    return 1 if failed or not rows else 0


def proved(proof: Proof) -> Row:
    """Every set of parameters by the proof's engine, the first by the second judge, and every fault."""
    first = proof.parameters[0]
    asked = [(told(each), each, proof.engine, None) for each in proof.parameters]
    asked.append((f"{told(first)} by {SECOND_JUDGE}", first, SECOND_JUDGE, None))
    planted = [(f"fault: {each.says}", each.parameters or first, proof.engine, each) for each in proof.faults]
    wrong, found, total = [] if proof.faults else ["no fault is planted"], [], 0.0
    for number, (what, parameters, engine, fault) in enumerate([*asked, *planted]):
        name = "-".join((proof.module, proof.primitives, *proof.defines, proof.engine.split()[1], str(number)))
        try:
            depth = SECOND_DEPTH if engine == SECOND_JUDGE else proof.depth
            outcome = run(name, proof, parameters, engine, fault, depth=depth, seconds=SECONDS)
        except Failed as error:
            outcome = Outcome(str(error), 0.0)
        total += outcome.seconds
        print(f"{proof.called}: {what}: {outcome.verdict}, {outcome.seconds:.1f} s", flush=True)
        if outcome.verdict != ("proved" if fault is None else "refuted"):
            wrong.append(f"{what}: {outcome.verdict}")
        elif fault is not None:
            found.append(fault.says)
    return Row(proof, total, tuple(found), tuple(wrong))


def told(parameters: Parameters) -> str:
    """Parameters as people write them, without a matrix."""
    return ", ".join(
        f"{key} {'+'.join(map(str, value)) if isinstance(value, tuple) else value}"
        for key, value in parameters.items()
        if not (key == "COLUMNS" and isinstance(value, str))
    )


def page(rows: Sequence[Row]) -> str:
    """The results as a page."""
    lines = [
        "# Proofs of the hardware's modules",
        "",
        f"Made by `make prove`, with {', '.join(versions())}. Every assertion",
        "of a test bench in `tests/proofs/rtl/` is proved for all inputs, all stalls of both ends and a reset in any",
        "cycle, for the parameters named; of others nothing is said here. A proof counts only if it also finds every",
        "fault that is planted in the module's text.",
        "",
        "| module | property | parameters | cycles | CPU s | planted faults, all found |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        proof = row.proof
        sets = "; ".join(told(each) for each in proof.parameters)
        cycles = "any" if proof.engine == UNBOUNDED else "any, a pipeline" if proof.pipeline else f"{proof.depth}"
        cells = (proof.called, proof.says, sets, cycles, f"{row.seconds:.0f}", "; ".join(row.found))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n" + NOTES


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
