"""What makes the start of a process cheap: several of them start at once on a small node.

Used by each `__main__`, which imports nothing before it that is large.
"""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

__all__ = ["import_fastapi", "lean_imports"]

# Optional parts of packages, which others load wherever they are installed, and which no process of ours uses: metrics
# of Redis commands, httpx as a command, reloading, models of pydantic 1.
UNUSED = (
    "httpx._main",
    "opentelemetry.sdk.metrics",
    "pydantic.v1",
    "uvicorn.supervisors.watchfilesreload",
)
# How many objects more there are before a collection of the youngest.
COLLECT_AFTER = 5_000


@contextmanager
def lean_imports() -> Iterator[None]:
    """Import in this block, and nothing but that: it runs without garbage collection. UNUSED stays out for good.

    What is imported stays until the process ends, so collections would search it again and again for nothing: a sixth
    of the time of all imports. It is frozen, so that later ones leave it alone, and forks share its memory. They are
    rarer, too: by default one follows on 700 new objects, which is every few rows of a list.
    """
    # The search for plugins reads the metadata of all installed packages.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    for name in UNUSED:
        # None is how Python marks a module that cannot be imported.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER)
        gc.enable()


def import_fastapi() -> None:
    """Import FastAPI, before anything else does, with all that its first request would, and nothing but that.

    Its models of an OpenAPI document are built when one is written. Only `tools.openapi` does that; a server would
    spend 25 ms on them.
    """
    from pydantic import BaseModel

    BaseModel.model_config["defer_build"] = True
    try:
        import fastapi  # noqa: F401
    finally:
        del BaseModel.model_config["defer_build"]
    # For the dependencies that are generators.
    import_module("anyio._backends._asyncio")
