"""The work behind `flow check`: what becomes of every operator of a recipe's network or of an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnflow import Problem

if TYPE_CHECKING:
    from ..graphs.check import Checked


@dataclass(frozen=True, slots=True)
class CheckedModel:
    """How a recipe or an ONNX file fares.

    Attributes:
        checked: of its graph.
        notes: remarks of the recipe and the compiler.
        left_out: what was not looked at, because files are absent.
    """

    checked: Checked
    notes: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    @property
    def problem(self) -> Problem | None:
        """The first reason why it does not compile; None where it does."""
        return self.checked.problem

    def facts(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        checked = self.checked
        rows = [
            {
                "node": row.node,
                "operator": row.operator,
                "becomes": row.becomes,
                "ends_in": checked.end(row),
                "problem": row.problem and row.problem.what,
            }
            for row in checked.rows
        ]
        found = {"compiles": checked.problem is None, "operators": rows}
        found |= {"notes": list(self.notes), "left_out": list(self.left_out), "input": checked.input}
        return found | ({"problem": str(checked.problem)} if checked.problem else {})


def check(path: Path, contract: str | None = None, changes: Sequence[str] = ()) -> CheckedModel:
    """Look at a recipe (.yaml) or an ONNX file; nothing is trained or written.

    Args:
        path: of the file.
        contract: what an ONNX file's input holds, where it does not say so.
        changes: `key=value` for a recipe.

    Raises:
        Problem: the file cannot be read, or the recipe is refused. A graph that does not compile is no error:
            `CheckedModel.problem` says why.
    """
    if path.suffix in (".yaml", ".yml"):
        if contract is not None:
            raise Problem("a recipe says itself what its input holds", "--input", f"give -s 'model.input={contract}'")
        # A misspelt key is answered before anything heavy is imported.
        from ..recipe.file import load

        recipe = load(path, changes)
        from ..stages.validate import validate

        found = validate(recipe, without_files=True)
        return CheckedModel(found.checked, (*found.notes, *found.checked.notes), tuple(found.left_out))
    from ..graphs.check import check_graph
    from ..graphs.inputs import contract_of

    checked = check_graph(path, contract_of(contract))
    return CheckedModel(checked, tuple(checked.notes))
