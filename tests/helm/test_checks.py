"""The checks of `helm test` on real services: they pass, they fail where something is wrong, and they leave nothing."""

import os
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest

from tests.fixtures.stack import Launcher, running
from tests.helm.render import CHART, TESTS, pods, render

CHECKS = sorted(name.removeprefix("test-") for name in TESTS)


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with running() as started:
        yield started


def check(launcher: Launcher, name: str, **addresses: str) -> subprocess.CompletedProcess[str]:
    """A check with the settings of auth, as its pod has them."""
    services = {it["name"]: it["url"] for it in launcher.stack["processes"]}
    given = {"AUTH": services["auth"], "CATALOG": services["catalog"], "SYNC": services["sync-api"]} | addresses
    script = [*(f"{key}={value}" for key, value in given.items()), sys.executable, str(CHART / "files/check.py"), name]
    return subprocess.run(
        [sys.executable, "-m", "stack", "exec", "auth", "--", "env", *script],
        env=os.environ | {"RUN_DIR": str(launcher.run_dir.path)},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


def left(launcher: Launcher) -> tuple[int, int]:
    """How many accounts and how many products that no source has brought."""
    with psycopg.connect(launcher.stack["database_url"]) as connection:
        accounts = connection.execute("SELECT count(*) FROM auth.users").fetchone()
        own = "SELECT count(*) FROM catalog.products WHERE source IS NULL AND deleted_at IS NULL"
        products = connection.execute(own).fetchone()
    assert accounts
    assert products
    return accounts[0], products[0]


def test_each_has_a_pod_that_runs_it() -> None:
    ran = {name: pod["spec"]["containers"][0]["args"] for name, pod in pods(render()).items() if name in TESTS}
    script = (CHART / "files/check.py").read_text("utf-8")
    assert ran == {f"test-{name}": ["python", "-c", script, name] for name in CHECKS}


@pytest.mark.parametrize("name", CHECKS)
def test_it_passes_and_leaves_nothing(launcher: Launcher, name: str) -> None:
    done = check(launcher, name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok     GET" in done.stdout
    assert left(launcher) == (0, 0)


@pytest.mark.parametrize("name", CHECKS)
def test_it_fails_where_another_service_answers_and_leaves_nothing(launcher: Launcher, name: str) -> None:
    """Each asks for something that this service has not."""
    services = {it["name"]: it["url"] for it in launcher.stack["processes"]}
    wrong = {"login": {"AUTH": services["catalog"]}}.get(name, {"CATALOG": services["auth"], "SYNC": services["auth"]})
    done = check(launcher, name, **wrong)
    assert done.returncode != 0
    assert "FAILED" in done.stderr
    assert left(launcher) == (0, 0)


def test_a_service_that_is_not_deployed_is_not_asked(launcher: Launcher) -> None:
    done = check(launcher, "health", CATALOG="", SYNC="")
    assert done.returncode == 0
    assert done.stdout.count("ok ") == 1
