"""Every command of the README runs as it stands there, on a fresh stack with its own address."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.deploy.client import Client
from tests.deploy.commands import ROOT
from tests.deploy.readme import BLOCKS, README, missing_in_tour
from tests.fixtures.stack import Launcher, running, until


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with running({}) as launcher:
        yield launcher


def shell(script: str, launcher: Launcher) -> str:
    """The output of a block, where any failing command fails."""
    environment = os.environ | {"RUN_DIR": str(launcher.run_dir.path)}
    script = script.replace(".venv/bin/python", f'"{sys.executable}"')
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_block_has_its_test() -> None:
    """`compose` and `kubernetes` are run by `make compose-test` and `make k8s-test`, where there is a server; the words
    of `skaffold` are known to tests/contract/test_skaffold.py."""
    assert set(BLOCKS) == {"start", "tour", "commands", "migrations", "compose", "kubernetes", "skaffold"}
    assert README.count("```sh") == len(BLOCKS)


def test_every_make_target_exists() -> None:
    named = set(re.findall(r"(?:`|^|; )make ([a-z0-9-]+)", README, re.MULTILINE))
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert named <= targets, named - targets
    assert BLOCKS["start"].strip() == "make run"


def test_the_tour(launcher: Launcher) -> None:
    client = Client(launcher.stack["gateway_url"], "localhost")
    until(lambda: client.total() == 194)
    output = shell(BLOCKS["tour"].replace("http://localhost:8000", client.url), launcher)
    assert missing_in_tour(output) == [], output
    assert '"total":194' in output


def test_the_migrations(launcher: Launcher) -> None:
    output = shell(BLOCKS["migrations"], launcher)
    assert "(head)" in output and "No new upgrade operations detected" in output


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", README):
        assert (ROOT / target).exists(), target
    for path in re.findall(r"`((?:tests|deploy|services|docs)/[\w./-]+)`", README):
        assert (ROOT / path).exists(), path
