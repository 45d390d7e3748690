"""start-dev.sh and start-dev.ps1: what they say when Docker is not there, and that both do the same."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.contract.test_compose import plugin_missing

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "start-dev.sh"
SHELL = SCRIPT.read_text("utf-8")
POWERSHELL = (ROOT / "start-dev.ps1").read_text("utf-8")


def start(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The script's end where PATH has the tools of any machine, but no docker."""
    for tool in ("sh", "dirname", "cat"):
        (folder / tool).symlink_to(shutil.which(tool) or "")
    environment = {"PATH": str(folder)} | more
    command = ["sh", str(SCRIPT), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_it_is_a_program_of_the_plain_shell() -> None:
    assert SHELL.startswith("#!/bin/sh\n")
    assert os.access(SCRIPT, os.X_OK)
    assert subprocess.run(["sh", "-n", str(SCRIPT)], timeout=30, check=False).returncode == 0


def test_help_needs_no_docker(tmp_path: Path) -> None:
    done = start(tmp_path, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: start-dev.sh [up | down |")


def test_an_unknown_word_is_refused(tmp_path: Path) -> None:
    done = start(tmp_path, "stop")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: start-dev.sh")


def test_it_says_that_docker_is_missing(tmp_path: Path) -> None:
    done = start(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Docker is needed and not found: ")


@pytest.mark.skipif(bool(plugin_missing()), reason=plugin_missing())
def test_it_says_that_the_engine_is_away(tmp_path: Path) -> None:
    nowhere = {"PATH": os.environ["PATH"], "DOCKER_HOST": f"unix://{tmp_path}/nothing.sock"}
    done = start(tmp_path, "down", **(os.environ | nowhere))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("The Docker engine does not answer.")


def commands(script: str) -> list[str]:
    """What a script has docker do, in order."""
    return re.findall(r"(?:^|\()\s*(docker .+?)(?: \*?>| \|\||\)|$)", script, re.MULTILINE)


def words(script: str) -> tuple[str, list[str], list[str]]:
    """What a script tells its user: how to use it, what went wrong, where everything is."""
    script = script.replace('\\"', '"').replace("start-dev.ps1", "start-dev.sh")
    usage = script[script.index("usage: ") : script.index("--volumes")]
    errors = re.findall(r'[Ff]ail "(.+?)"', script)
    addresses = re.findall(r'^ *"?([A-Z][\w ]+: +\S.*?)"?(?: \\)?$', script, re.MULTILINE)
    return usage, errors, addresses


def test_both_do_the_same() -> None:
    assert commands(SHELL)
    assert commands(SHELL) == commands(POWERSHELL)


def test_both_say_the_same() -> None:
    usage, errors, addresses = words(SHELL)
    assert words(POWERSHELL) == (usage, errors, addresses)
    assert errors
    assert addresses
