"""Commands on bnnflow itself."""

from __future__ import annotations

import typer

from bnnflow import TOOL_MISSING

from .commands import examples
from .options import Json


@examples("flow schema > schema.json")
def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    from ..recipe.schema import schema as recipe_schema
    from ..show import terminal as screen

    screen.print_json(recipe_schema())


@examples("flow doctor")
def doctor(json: Json = False) -> None:
    """Say what of this computer and its packages is fit for use.

    Exit status 3 if something needed is missing.
    """
    from dataclasses import asdict

    from ..run.doctor import examine
    from ..show import terminal as screen

    findings = examine()
    if json:
        screen.print_json([asdict(finding) for finding in findings])
    else:
        screen.print_findings(findings)
    if any(not finding.ok and finding.needed for finding in findings):
        raise typer.Exit(TOOL_MISSING)
