"""The work behind `flow check`: what becomes of every operator of a recipe's network or of an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bnnflow import Problem

if TYPE_CHECKING:
    from ..results.graphs import CheckResult


def check(path: Path, contract: str | None = None, changes: Sequence[str] = ()) -> CheckResult:
    """Look at a recipe (.yaml) or an ONNX file; nothing is trained or written.

    Args:
        path: of the file.
        contract: what an ONNX file's input holds, where it does not say so.
        changes: `key=value` for a recipe.

    Raises:
        Problem: the file cannot be read, or the recipe is refused. A graph that does not compile is no error:
            `CheckResult.problem` says why.
    """
    if path.suffix in (".yaml", ".yml"):
        if contract is not None:
            raise Problem("a recipe says itself what its input holds", "--input", f"give -s 'model.input={contract}'")
        # A misspelt key is answered before anything heavy is imported.
        from ..recipe.file import load_recipe

        recipe = load_recipe(path, changes)
        from ..stages.validate import validate

        found = validate(recipe, without_files=True)
        return found.checked.result([*found.notes, *found.checked.notes], found.left_out)
    from ..graphs.check import check_graph
    from ..graphs.inputs import contract_of

    checked = check_graph(path, contract_of(contract))
    return checked.result(checked.notes, [])
