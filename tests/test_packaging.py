"""sdist to wheel to a fresh environment: every module and data file arrives."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("flow", "models", "transforms", "build", "sim")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=out)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


def wanted() -> set[str]:
    """Every tracked kind of file of the five folders, as it must lie in the wheel."""
    found = {"bnnflow/__init__.py", "bnnflow/__main__.py", "bnnflow/py.typed"}
    for folder in FOLDERS:
        files = (p for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        found |= {f"bnnflow/{path.relative_to(ROOT)}" for path in files}
    return found


def test_the_wheel_holds_every_module_and_data_file(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == wanted()
    assert "bnnflow/models/data/digits.npz" in held


def imported(path: Path) -> set[str]:
    """Top-level names of every absolute import of a file, wherever in the file it stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_every_package_that_is_imported_is_declared() -> None:
    """So that what passes where more is installed passes in a fresh environment too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = {"": project["dependencies"], **project["optional-dependencies"]}
    declared = {
        extra: {re.split(r"[^\w.-]", line)[0].lower() for line in lines} | {"bnnflow"} for extra, lines in lists.items()
    }
    owners = packages_distributions()
    for folder, extras in (
        *((name, ("", "dask", "ray", "finn-base")) for name in FOLDERS),
        ("tests", ("", "test", "check", "dask")),
    ):
        allowed = set().union(*(declared[extra] for extra in extras))
        for path in (ROOT / folder).rglob("*.py"):
            if "oracles" in path.parts:
                continue
            for name in imported(path) - sys.stdlib_module_names - {"tests", "openvino"}:
                packages = {package.lower().replace("_", "-") for package in owners.get(name, [name])}
                assert packages & allowed, (
                    f"{path.relative_to(ROOT)} imports {name}, which pyproject.toml does not name"
                )


def test_the_wheel_works_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    """Installed without its dependencies, which are lent by path, every module imports from the wheel alone."""
    # Not by looking for its module: that has setuptools give way to the standard distutils from then on.
    pip_is_here = any(dist.name == "pip" for dist in distributions())
    venv.create(tmp_path / "env", with_pip=not pip_is_here)
    python = tmp_path / "env" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python] if pip_is_here else [python, "-m", "pip"]
    pip += ["--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-q", "--no-deps", wheel], check=True, cwd=tmp_path)
    names = sorted(
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in wanted()
        if name.endswith(".py") and "__main__" not in name
    )
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    code = (
        f"import sys, importlib; sys.path.append({packages!r})\n"
        f"sys.path[:] = [path for path in sys.path if path != {str(ROOT)!r}]\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "import bnnflow; print(bnnflow.__file__)\n"
        "from bnnflow.models.data.load import load_dataset; assert len(load_dataset('digits').train_images) == 1437"
    )
    # -I: a PYTHONPATH of the caller's must not stand before the wheel.
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) in done.stdout
    help_text = subprocess.run([*pip, "show", "-f", "bnnflow"], capture_output=True, text=True, cwd=tmp_path).stdout
    assert "bin/flow" in help_text
    assert "bin/bnnflow" in help_text


def test_doctor_looks_for_what_the_package_declares() -> None:
    import re
    import tomllib

    from bnnflow.flow.run.doctor import examine

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[<>=]", name)[0] for name in project["dependencies"]}
    found = {finding.name for finding in examine() if finding.needed}
    assert declared <= found
    pinned = (ROOT / "constraints.txt").read_text().lower().replace("_", "-")
    assert all(f"\n{name.lower()}==" in f"\n{pinned}" for name in declared)


def test_licence_and_citation_speak_of_this_package() -> None:
    import tomllib

    from bnnflow import __version__

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"license: {project['license']}\n" in citation and f"version: {__version__}\n" in citation
    assert (ROOT / project["license-files"][0]).read_text().startswith("BSD 3-Clause License")


def test_the_list_of_operators_is_the_code(request: pytest.FixtureRequest) -> None:
    """docs/operators.md is made from the reader's docstrings; --update-golden writes it."""
    from bnnflow.transforms.reading.read import operator_help

    rows = [f"| {name} | {text} |" for name, text in operator_help().items()]
    text = "\n".join(["# Operators that can be read", "", "| operator | what is supported |", "|---|---|", *rows, ""])
    path = ROOT / "docs" / "operators.md"
    if request.config.getoption("--update-golden"):
        path.write_text(text)
    assert path.read_text() == text
