"""Run inside the image of the services: says what it lacks, and what it holds that builds or tests."""

import os
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from pkgutil import walk_packages

BUILDERS = ("cc", "gcc", "g++", "clang", "ld", "make")


def modules() -> Iterator[str]:
    """All of our code; migrations are run by Alembic alone, and its environment is no module."""
    installed = Path(import_module("common").__path__[0]).parent
    for package in sorted(path.parent.name for path in installed.glob("*/__init__.py")):
        found = walk_packages(import_module(package).__path__, f"{package}.")
        yield from (module.name for module in found if ".migrations" not in module.name)


def faults() -> Iterator[str]:
    if os.getuid() != 65532:
        yield f"runs as uid {os.getuid()}, not 65532"
    yield from (f"{path} is a build tool" for name in BUILDERS if (path := shutil.which(name)))
    # Python's own image has a pip too, which our environment does not see.
    yield from (f"{name} can be imported" for name in ("pip", "setuptools", "hatchling", "tests") if find_spec(name))
    for name in modules():
        spec = import_module(name).__spec__
        if not (spec and spec.cached and Path(spec.cached).is_file()):
            yield f"{name} is not byte-compiled"
    if not entry_points(group="products.providers"):
        yield "no provider is installed"


sys.exit("\n".join(faults()) or None)
