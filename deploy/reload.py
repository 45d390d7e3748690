"""The entry point of the development image: runs the container's command anew whenever its service's code is saved.

`python reload.py python -m auth serve` watches the packages common, imports and auth where Python finds them. With
DEBUGPY_PORT set a debugger may attach there, from within the pod. A command that ends by itself, such as `migrate`, is
run once.
"""

import os
import shlex
import signal
import sys
from importlib.util import find_spec

from watchfiles import PythonFilter, run_process

LASTING = {"serve", "work", "schedule"}


def folders(*packages: str) -> list[str]:
    """Where the code of `packages` is."""
    return [place for name in packages if (spec := find_spec(name)) for place in spec.submodule_search_locations or ()]


def main(python: str, *command: str) -> None:
    """`command` is -m SERVICE COMMAND, or anything else to be run as it is."""
    # A shell that starts something in the background has it ignore SIGINT, by which what is run here is stopped.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if len(command) < 3 or command[2] not in LASTING:
        os.execvp(python, [python, *command])
    service = command[1]
    if port := os.environ.get("DEBUGPY_PORT"):
        # Modules that are frozen into Python would hide their lines from the debugger.
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
