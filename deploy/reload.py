"""Restarts a command when the code of its service is saved: the entry point of the development image, and of make dev.

`python reload.py python -m auth serve` watches the packages common, imports and auth where Python finds them. With
DEBUGPY_PORT set a debugger may attach to that port on 127.0.0.1. A command that ends by itself, such as `migrate`, is
run once.
"""

import os
import shlex
import signal
import sys
from importlib.util import find_spec

from watchfiles import PythonFilter, run_process

LONG_RUNNING = {"serve", "work", "schedule"}


def folders(*packages: str) -> list[str]:
    """Where the code of `packages` is."""
    return [place for name in packages if (spec := find_spec(name)) for place in spec.submodule_search_locations or ()]


def main(python: str, *command: str) -> None:
    """`command` is `-m SERVICE COMMAND`; anything else is run once, as it is."""
    # A shell makes its background jobs ignore SIGINT, which watchfiles uses to stop the command.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if len(command) < 3 or command[2] not in LONG_RUNNING:
        os.execvp(python, [python, *command])
    service = command[1]
    if port := os.environ.get("DEBUGPY_PORT"):
        # A debugger does not see the lines of modules that are frozen into Python.
        command = ("-Xfrozen_modules=off", "-m", "debugpy", "--listen", f"127.0.0.1:{port}", *command)
    run_process(
        *folders("common", "imports", service),
        target=shlex.join([python, *command]),
        target_type="command",
        watch_filter=PythonFilter(),
        debounce=200,
        sigint_timeout=3,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
