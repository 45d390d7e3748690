"""No service contains another, and `common` contains none: seen at run time, in a process of its own.

The same rule over the source, and that nothing but common/db.py commits, are in tests/house.py.
"""

import subprocess
import sys
from importlib import resources

import pytest

SERVICES = ("auth", "catalog", "sync")
OWN = {*SERVICES, "common", "stack"}
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
    assert loaded_with(service) & OWN == {service, "common"}


def test_common_loads_nothing_of_ours() -> None:
    assert loaded_with("common") & OWN == {"common"}


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
