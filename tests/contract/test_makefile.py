"""What make does in a clone where nothing is installed yet."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """As much of a clone as these targets read."""
    members = [str(path.relative_to(ROOT)) for path in ROOT.glob("*/*/pyproject.toml")]
    for file in ("Makefile", "deploy/install.py", "requirements.lock", *members):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def make(clone: Path, target: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PIP_"))}
    return subprocess.run(
        ["make", target],
        cwd=clone,
        env=environment | settings,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.mark.parametrize(
    ("target", "ok", "message"),
    [("status", False, "not running"), ("stop", True, "not running"), ("logs", False, "no logs")],
)
def test_who_only_looks_installs_nothing(clone: Path, target: str, ok: bool, message: str) -> None:
    done = make(clone, target)
    assert (done.returncode == 0) is ok
    assert message in done.stdout + done.stderr
    assert not (clone / ".venv").exists()


def test_a_python_that_is_not_there_is_told(clone: Path) -> None:
    done = make(clone, "run", PYTHON="/nonexistent")
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == "/nonexistent is not found; PYTHON names a Python 3.11 or newer"


def test_no_network_at_the_first_install_is_one_line(clone: Path) -> None:
    done = make(clone, "run", PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_NO_CACHE_DIR="1")
    assert done.returncode != 0
    assert "packages of requirements.lock into .venv" in done.stdout
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith("make")]
    assert lines == ["no package index answers: the install needs a network, or an index in pip's settings"]


def test_clean_deletes_what_is_built_and_no_data(clone: Path) -> None:
    for path in (".venv/bin", ".ruff_cache", ".run/postgres/data", "libs/common/src/common/__pycache__"):
        (clone / path).mkdir(parents=True)
    assert make(clone, "clean").returncode == 0
    assert (clone / ".run/postgres/data").is_dir()
    assert not any((clone / path).exists() for path in (".venv", ".ruff_cache", "libs/common/src/common/__pycache__"))
