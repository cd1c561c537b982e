"""The floors of the house: who may import whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("flow", "models", "transforms", "build", "sim")
ALLOWED = {
    "transforms": set(),
    "models": set(),
    "sim": {"transforms"},
    "build": {"transforms"},
    "flow": {"models", "transforms", "build", "sim"},
}
FLOORS = ("cli", "api", "commands", "stages", "show", "pruning", "graphs", "device", "recipe", "results", "run")
HEAVY = {"torch", "brevitas", "captum"}
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
MODULES = {path.relative_to(ROOT).with_suffix("").parts: path for path in FILES}
Arrows = dict[tuple[str, ...], set[tuple[tuple[str, ...], int]]]


@cache
def imports(path: Path) -> tuple[tuple[str, int], ...]:
    """Absolute dotted names that a file imports anywhere, and their lines; relative ones start with their folder."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if not node.level:
                yield node.module or "", node.lineno
                continue
            base = ("bnnflow", *package)[: len(package) + 2 - node.level]
            whole = ".".join((*base, *([node.module] if node.module else [])))
            yield from ((f"{whole}.{alias.name}", node.lineno) for alias in node.names)


def module_of(name: str) -> tuple[str, ...] | None:
    """Our module that a dotted name is of."""
    parts = tuple(name.split(".")[1:]) if name.startswith("bnnflow.") else ()
    while parts:
        for found in (parts, (*parts, "__init__")):
            if found in MODULES:
                return found
        parts = parts[:-1]
    return None


@pytest.fixture(scope="module")
def arrows() -> Arrows:
    """Whom each module imports, and in which line."""
    return {
        module: {(found, line) for name, line in imports(path) if (found := module_of(name)) and found != module}
        for module, path in MODULES.items()
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_only_fall(path: Path) -> None:
    mine = path.relative_to(ROOT).parts[0]
    for name, line in imports(path):
        parts = name.split(".")
        assert parts[0] not in FOLDERS, f"line {line}: a bare import makes a second copy of every class: {name}"
        if parts[0] == "bnnflow" and len(parts) > 1 and parts[1] in FOLDERS:
            assert parts[1] == mine or parts[1] in ALLOWED[mine], f"line {line}: {mine} may not import {name}"
        if parts[0] in HEAVY:
            assert mine in ("models", "flow"), f"line {line}: {mine} may not import {name}"
        if parts[0] == "typer" and "options" not in name:
            assert path.relative_to(ROOT).parts[:2] == ("flow", "cli"), f"line {line}: only flow/cli knows typer"


def test_arrows_fall_between_the_rooms_of_flow(arrows: Arrows) -> None:
    for module, found in arrows.items():
        for other, line in found:
            if module[0] == other[0] == "flow" and len(module) > 2:
                assert len(other) > 2, f"{'/'.join(module)}, line {line}: a name of a room itself"
                high, low = FLOORS.index(module[1]), FLOORS.index(other[1])
                assert high <= low, f"{'/'.join(module)}, line {line}: {module[1]} may not import {other[1]}"


def circles(arrows: Mapping[tuple[str, ...], set[tuple[str, ...]]]) -> list[tuple[tuple[str, ...], ...]]:
    """What leads back to itself, found by following every arrow once."""
    found: list[tuple[tuple[str, ...], ...]] = []
    done: set[tuple[str, ...]] = set()

    def visit(name: tuple[str, ...], trail: tuple[tuple[str, ...], ...]) -> None:
        if name in trail:
            found.append((*trail[trail.index(name) :], name))
        elif name not in done:
            for other in arrows.get(name, ()):
                visit(other, (*trail, name))
            done.add(name)

    for name in arrows:
        visit(name, ())
    return found


def test_no_circles_between_modules(arrows: Arrows) -> None:
    """Imports inside functions and for types are arrows, too."""
    assert not circles({module: {other for other, _ in found} for module, found in arrows.items()})


def test_no_circles_between_rooms(arrows: Arrows) -> None:
    """A room is a folder in one of the five; what lies beside the rooms is a room of its own."""

    def room(module: tuple[str, ...]) -> tuple[str, ...]:
        return module[:2]

    rooms: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for module, found in arrows.items():
        rooms.setdefault(room(module), set()).update(room(other) for other, _ in found if room(other) != room(module))
    assert not circles(rooms)


def test_the_build_folder_is_no_package() -> None:
    """With an __init__.py it would shadow the distribution named build when run from the root."""
    assert not (ROOT / "build" / "__init__.py").exists()


def test_light_commands_load_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys; import bnnflow.flow.cli.app, bnnflow.flow.graphs.check, bnnflow.flow.commands.graphs;"
        "import bnnflow.flow.stages.all, bnnflow.flow.api.graphs, bnnflow.flow.api.faults, bnnflow.flow.api.runs;"
        "from bnnflow.flow.cli.commands import COMMANDS, command_of;"
        "[command_of(name) for group in COMMANDS.values() for name in group];"
        "import bnnflow.flow.recipe.pruning_page;"
        "import bnnflow.models.data.load;"
        "assert not {'torch', 'brevitas', 'captum', 'matplotlib'} & set(sys.modules), 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def seconds(arguments: list[str], status: int, text: str) -> float:
    """Processor time of a command, user and system."""
    import resource
    import subprocess
    import sys

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == status and text in done.stdout + done.stderr
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_a_misspelt_key_and_the_import_take_little_processor_time(tmp_path: Path) -> None:
    """By what the libraries alone take that these must import: a busy or slow processor makes both longer."""
    recipe = tmp_path / "model.yaml"
    recipe.write_text("data: {name: digits}\nmodel: {arch: mlp}\ntrain: {epochz: 1}\n")
    libraries = "import typer, typer.main, pydantic, ruamel.yaml"

    def least(arguments: list[str]) -> float:
        return min(seconds(arguments, 0, "") for _ in range(4))

    def one_below(limit: float, arguments: list[str], status: int, text: str) -> bool:
        """Whether the least of four is; the first that is decides."""
        return any(seconds(arguments, status, text) < limit for _ in range(4))

    bare = least(["-c", "pass"])
    listing, reading = least(["-c", "import typer, typer.main"]), least(["-c", libraries])
    assert one_below(3 * listing, ["-m", "bnnflow", "--help"], 0, "build")
    assert one_below(4 * reading, ["-m", "bnnflow", "build", str(recipe)], 2, "did you mean 'epochs'?")
    assert one_below(0.5 * listing + bare, ["-c", "import bnnflow"], 0, "")
