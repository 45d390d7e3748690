"""Runs a command with the environment of a service of the running stack."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from stack.errors import StackError
from stack.files import read_json
from stack.paths import service_dir
from stack.rundir import RunDir
from stack.status import NOT_RUNNING

__all__ = ["run"]


def run(run_dir: RunDir, service: str, command: Sequence[str]) -> NoReturn:
    """Become `command`, in the folder of `service` (auth, catalog or sync), where its alembic.ini is."""
    environment = read_json(run_dir.env_file) if run_dir.holder() else None
    if environment is None:
        raise StackError("not running; start it with: make start", code=NOT_RUNNING)
    programs = str(Path(sys.executable).parent)
    path = os.pathsep.join([programs, environment[service].get("PATH", os.defpath)])
    os.chdir(service_dir(service))
    try:
        os.execvpe(command[0], list(command), environment[service] | {"PATH": path, "LOG_FORMAT": "auto"} | _given())  # noqa: S606
    except OSError as error:
        raise StackError(f"cannot run {command[0]}: {error.strerror}") from None


def _given() -> dict[str, str]:
    """What is for the command alone: the password of `create-admin`, where it is not asked for."""
    return {name: os.environ[name] for name in ("AUTH_ADMIN_PASSWORD",) if name in os.environ}
