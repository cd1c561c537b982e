"""The floors of the house: who may import whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
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
HEAVY = {"torch", "brevitas", "captum"}
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Absolute dotted names that a file imports, and their lines; relative ones start with their folder."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if not node.level:
                yield node.module or "", node.lineno
                continue
            base = ("bnnflow", *package)[: len(package) + 2 - node.level]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from ((".".join((*base, name)), node.lineno) for name in names)


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


def module_level(path: Path) -> set[str]:
    """Our modules that a file imports when it is itself imported (not inside functions or TYPE_CHECKING)."""
    tree = ast.parse(path.read_text())
    package = path.relative_to(ROOT).parent.parts
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) + 1 - node.level]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {"/".join((*base, *name.split("."))) for name in names}
    return found


def test_no_circles() -> None:
    graph = {str(path.relative_to(ROOT).with_suffix("")): module_level(path) for path in FILES}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"circle: {' > '.join((*trail, name))}"
        if name in graph and name not in done:
            for other in graph[name]:
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())
    assert len(done) == len(FILES)


def test_the_build_folder_is_no_package() -> None:
    """With an __init__.py it would shadow the distribution named build when run from the root."""
    assert not (ROOT / "build" / "__init__.py").exists()


def test_light_commands_load_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys; import bnnflow.flow.cli, bnnflow.flow.check, bnnflow.flow.graphs, bnnflow.flow.stages;"
        "import bnnflow.models.data.load;"
        "assert not {'torch', 'brevitas', 'captum', 'matplotlib'} & set(sys.modules), 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_takes_less_than_half_a_second_of_processor_time() -> None:
    """The best of up to three: the first may compile modules, and cores that share caches take longer."""
    import resource
    import subprocess
    import sys

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-m", "bnnflow", "--help"], check=True, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert "build" in done.stdout
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert any(seconds() < 0.5 for _ in range(3))
