"""No service contains another, and no library contains one: seen at run time, in a process of its own.

`common` has two layers: `common.web` for HTTP services above what every process loads. The same rules over the source,
and that nothing but common/web/database.py commits, are in tests/architecture_lint.py.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from stack.services import SERVICES

OWN = {*SERVICES, "common", "imports", "stack"}
# Who uses the contract of imports.
CONTRACT = {"catalog": {"imports"}, "sync": {"imports"}}
# Prints the top-level packages that are loaded after all modules of one package were imported. Migrations are run
# by Alembic alone; its environment is no module.
LOADED = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if ".migrations" not in module.name:
        importlib.import_module(module.name)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def loaded_with(package: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", LOADED, package], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_loads_itself_and_common(service: str) -> None:
    assert loaded_with(service) & OWN == {service, "common"} | CONTRACT.get(service, set())


def test_common_loads_nothing_of_ours() -> None:
    assert loaded_with("common") & OWN == {"common"}


def test_the_contract_of_imports_loads_no_service_and_no_web() -> None:
    assert loaded_with("imports") & (OWN | {"fastapi", "sqlalchemy", "pydantic"}) == {"imports", "common"}


@pytest.mark.parametrize("modules", ["sync.worker, sync.jobs, sync.runner", "sync.scheduler"])
def test_worker_and_scheduler_load_no_web(modules: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {modules}; print(*sys.modules)"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    loaded = set(done.stdout.split())
    assert "common.postgres" in loaded or "common.settings" in loaded
    assert not loaded & {"common.web", "fastapi", "starlette", "sqlalchemy"}


def imports_of(path: Path, root: Path) -> Iterator[str]:
    """The modules of `common` that a module names anywhere, also in a function or for types alone."""
    modules = {module_name(other, root) for other in root.rglob("*.py")}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            names = {f"{node.module}.{alias.name}" for alias in node.names} & modules
            yield from names or {node.module}


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def graph() -> dict[str, set[str]]:
    root = Path(str(resources.files("common")))
    return {module_name(path, root): set(imports_of(path, root)) for path in root.rglob("*.py")}


def test_the_lower_layer_does_not_know_the_upper() -> None:
    for module, imported in graph().items():
        if not module.startswith("common.web"):
            assert not [name for name in imported if name.startswith("common.web")], module


def test_no_import_circle_in_common() -> None:
    left = graph()
    assert len(left) > 20
    while free := {module for module, imported in left.items() if not imported & left.keys() - {module}}:
        left = {module: imported for module, imported in left.items() if module not in free}
    assert left == {}, "these import each other"


@pytest.mark.parametrize("service", SERVICES)
def test_migrations_are_packed_and_numbered(service: str) -> None:
    """What an installed service brings along: an unbroken row from 0001, each following the one before."""
    folder = resources.files(service) / "migrations" / "versions"
    files = sorted(file.name for file in folder.iterdir() if file.name.endswith(".py"))
    names = [name.partition("_")[0] for name in files]
    assert names == [f"{number:04d}" for number in range(1, len(files) + 1)]
    for before, file in zip([None, *names], files, strict=False):
        text = (folder / file).read_text("utf-8")
        assert f"down_revision = {before!r}".replace("'", '"') in text.replace("'", '"'), file
