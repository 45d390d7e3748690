"""deploy/reload.py restarts its command when the code of its service is saved, and only then."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from stack.ports import Ports
from tests.fixtures.waiting import until

RELOAD = Path(__file__).parents[2] / "deploy/reload.py"
# Writes down its version, its pid, and the saved files that it was restarted for.
SERVICE = """
import os, signal, sys
print({version!r}, os.getpid(), os.environ.get("WATCHFILES_CHANGES"), file=open(os.environ["STARTS"], "a"))
sys.exit(3) if sys.argv[1] == "migrate" else signal.pause()
"""
Start = Callable[..., subprocess.Popen[bytes]]


class Code:
    """The packages in the image, whose files a test saves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "src"
        self.log = folder / "starts"
        self.log.touch()
        for package in ("common", "auth", "catalog"):
            self.save(f"{package}/__init__.py", "")
        self.save("catalog/__main__.py", SERVICE.format(version="first"))

    def save(self, file: str, text: str) -> None:
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def started(self, times: int, seconds: float = 60) -> list[str]:
        """Version, pid and saved files of the last start, when there were `times` of them."""
        lines = until(lambda: found if len(found := self.log.read_text("utf-8").splitlines()) >= times else [], seconds)
        assert len(lines) == times
        return lines[-1].split(maxsplit=2)


@pytest.fixture
def code(tmp_path: Path) -> Code:
    return Code(tmp_path)


@pytest.fixture
def start(code: Code) -> Iterator[Start]:
    """Begin `python -m catalog <command>` as the image does."""
    running = []

    def begin(command: str, **settings: str) -> subprocess.Popen[bytes]:
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(code.folder), "STARTS": str(code.log)} | settings
        arguments = [sys.executable, str(RELOAD), sys.executable, "-m", "catalog", command]
        running.append(subprocess.Popen(arguments, env=environment))
        return running[-1]

    yield begin
    for process in running:
        process.terminate()
        process.wait(60)


def test_a_save_restarts_the_process_of_that_service(code: Code, start: Start) -> None:
    start("serve")
    _, first, _ = code.started(1)
    code.save("auth/routes.py", "")
    code.save("catalog/__main__.py", SERVICE.format(version="second"))
    version, second, causes = code.started(2)
    assert version == "second"
    assert not psutil.pid_exists(int(first))
    assert psutil.pid_exists(int(second))
    assert "catalog/__main__.py" in causes
    assert "auth" not in causes
    code.save("common/app.py", "")
    assert "common/app.py" in code.started(3)[2]


def test_a_failed_command_is_restarted_at_the_next_save(code: Code, start: Start) -> None:
    process = start("work")
    code.started(1)
    code.save(
        "catalog/__main__.py", "raise SystemExit(open(__import__('os').environ['STARTS'], 'a').write('failed - -\\n'))"
    )
    assert code.started(2)[0] == "failed"
    code.save("catalog/__main__.py", SERVICE.format(version="repaired"))
    assert code.started(3)[0] == "repaired"
    assert process.poll() is None


def test_a_command_that_ends_is_run_once(code: Code, start: Start) -> None:
    assert start("migrate").wait(60) == 3
    assert code.started(1)[0] == "first"


def test_sigterm_ends_it_with_what_it_runs(code: Code, start: Start) -> None:
    process = start("schedule")
    _, child, _ = code.started(1)
    process.terminate()
    assert process.wait(60) == 0
    assert not psutil.pid_exists(int(child))


def test_a_debugger_may_attach_before_and_after_a_save(code: Code, start: Start) -> None:
    port = Ports().pick()
    start("serve", DEBUGPY_PORT=str(port))
    code.started(1)
    assert greeting(port).startswith(b"Content-Length: ")
    code.save("catalog/models.py", "")
    code.started(2)
    assert greeting(port).startswith(b"Content-Length: ")


def greeting(port: int) -> bytes:
    """The first bytes that debugpy sends to a client."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        return connection.recv(100)
