"""The launcher: starts everything with one command, keeps it alive, and leaves nothing behind."""

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError, URLError

import psutil
import pytest

from stack.ports import HOST, Ports
from stack.rundir import RunDir
from tests.fixtures.stack import Launcher, environment, folder, launch, running, until

STOP_WITHIN = 10.0
NAMES = {"auth", "catalog", "sync-api", "sync-worker", "sync-scheduler", "gateway", "postgres", "valkey", "provider"}


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    """One stack for all tests that do not stop it, in a path with spaces. At the end comes Ctrl-C, at a bad moment."""
    with running({"REPLICAS_CATALOG": "2"}, name="a path with spaces") as started:
        yield started
        os.kill(started.pid("sync-worker") or 0, signal.SIGSTOP)
        began = time.monotonic()
        assert started.stop(signal.SIGINT) == 0
        assert time.monotonic() - began < STOP_WITHIN
        assert not started.run_dir.stack_file.exists()


def command(run_dir: Path, port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m stack` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "stack", *arguments],
        env=environment(run_dir, port),
        capture_output=True,
        text=True,
        timeout=90,
    )


def refused(result: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """The one line that a refusal consists of."""
    assert result.returncode == code
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def status_of(url: str) -> int | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except (URLError, OSError):
        return None


class TestRunning:
    def test_everything_is_there(self, launcher: Launcher) -> None:
        stack = launcher.stack
        processes = {it["name"]: it for it in stack["processes"]}

        assert set(processes) == {*NAMES, "catalog-2"}
        assert stack["launcher_pid"] == launcher.process.pid
        assert all(psutil.pid_exists(it["pid"]) for it in processes.values())
        assert launcher.run_dir.stack_file.stat().st_mode & 0o777 == 0o600
        for path in ("/health", "/auth/health", "/sync/health", "/products"):
            assert status_of(stack["gateway_url"] + path) == 200, path
        for name in ("auth", "catalog", "catalog-2", "sync-api", "sync-worker", "sync-scheduler"):
            assert status_of(processes[name]["metrics_url"]) == 200, name

    def test_the_banner_says_how_to_go_on(self, launcher: Launcher) -> None:
        said = launcher.output()

        port = launcher.stack["gateway_url"].rpartition(":")[2]
        for part in (f"http://localhost:{port}/docs", "stand-in of DummyJSON", '"role":"admin"', "Ctrl-C"):
            assert part in said

    def test_servers_are_private_to_this_machine(self, launcher: Launcher) -> None:
        pids = {process.pid for process in launcher.family()}
        connections = [it for it in psutil.net_connections("tcp") if it.pid in pids]
        listening = [it.laddr[0] for it in connections if it.status == psutil.CONN_LISTEN and it.laddr]

        assert len(listening) > 10
        assert set(listening) == {HOST}

    def test_no_secret_shows_in_the_process_list(self, launcher: Launcher) -> None:
        secrets = json.loads(launcher.run_dir.secrets_file.read_text()).values()
        arguments = " ".join(" ".join(process.cmdline()) for process in launcher.family())

        assert not [secret for secret in secrets if secret in arguments]

    def test_status_lists_processes_and_memory(self, launcher: Launcher) -> None:
        result = command(launcher.run_dir.path, 1, "status")

        assert result.returncode == 0
        rows = {line.split()[0]: line.split() for line in result.stdout.splitlines()}
        assert {*NAMES, "catalog-2", "launcher", "total"} < set(rows)
        assert rows["auth"][1:3] == [str(launcher.pid("auth")), "running"]
        assert int(rows["total"][-1]) >= sum(int(rows[name][3]) for name in NAMES)

    def test_a_second_start_is_refused(self, launcher: Launcher) -> None:
        line = refused(command(launcher.run_dir.path, Ports().pick(), "up"))

        assert f"already running here (pid {launcher.process.pid}" in line
        assert "make stop" in line
        assert refused(command(launcher.run_dir.path, Ports().pick(), "start")) == line

    def test_a_taken_port_is_refused(self, launcher: Launcher) -> None:
        port = int(launcher.stack["gateway_url"].rpartition(":")[2])
        with folder() as other:
            for verb in ("up", "start"):
                line = refused(command(other, port, verb))
                assert line.startswith(f"stack: port {port} is taken; stop what uses it or choose another: PORT=")

    def test_clean_is_refused_while_it_runs(self, launcher: Launcher) -> None:
        assert "stop it first" in refused(command(launcher.run_dir.path, 1, "clean"))

    def test_commands_get_the_environment_of_a_service(self, launcher: Launcher) -> None:
        code = "import os; print(os.environ['DATABASE_URL'], os.environ.get('SECRET_KEY'), os.getcwd())"
        result = command(launcher.run_dir.path, 1, "exec", "catalog", "--", "python", "-c", code)

        url, secret, cwd = result.stdout.split(" ", 2)
        assert url.startswith("postgresql://catalog_svc:")
        assert secret == "None"
        assert Path(cwd.strip()).parts[-2:] == ("services", "catalog")

    @pytest.mark.parametrize("name", ["catalog-2", "auth", "sync-worker", "gateway", "provider", "valkey", "postgres"])
    def test_who_dies_comes_back_on_the_same_port(self, launcher: Launcher, name: str) -> None:
        before = {it["name"]: it for it in launcher.stack["processes"]}
        os.kill(before[name]["pid"], signal.SIGKILL)
        until(lambda: launcher.pid(name) not in (None, before[name]["pid"]))

        after = {it["name"]: it for it in launcher.stack["processes"]}
        assert (after[name]["url"], after[name]["metrics_url"]) == (before[name]["url"], before[name]["metrics_url"])
        gateway = launcher.stack["gateway_url"]
        until(lambda: {status_of(gateway + path) for path in ("/products", "/auth/health", "/sync/health")} == {200})
        if after[name]["metrics_url"]:
            until(lambda: status_of(after[name]["metrics_url"]) == 200)


def test_kill_nine_leaves_no_orphan_and_the_next_start_heals(launcher: Launcher) -> None:
    with folder() as run_dir:
        port = Ports().pick()
        killed = launch(run_dir, port).until_ready()
        family = killed.family()
        frozen = psutil.Process(killed.pid("gateway"))
        frozen.suspend()  # does not notice the death of the launcher, and keeps the port
        killed.process.kill()
        killed.process.wait()
        family.remove(frozen)
        assert not psutil.wait_procs(family, timeout=STOP_WITHIN)[1]

        started = command(run_dir, port, "start")
        assert started.returncode == 0, started.stderr
        assert "make stop" in started.stdout
        assert not psutil.wait_procs([frozen], timeout=1)[1]
        _runs_beside_another_and_stops(run_dir, port, launcher.stack["gateway_url"])


def _runs_beside_another_and_stops(run_dir: Path, port: int, other: str) -> None:
    holder = psutil.Process(RunDir(run_dir).holder())
    family = [holder, *holder.children(recursive=True)]
    assert status_of(f"http://{HOST}:{port}/products") == 200
    assert status_of(f"{other}/products") == 200

    began = time.monotonic()
    assert command(run_dir, port, "stop").stdout == "stopped\n"
    assert time.monotonic() - began < STOP_WITHIN
    assert not psutil.wait_procs(family, timeout=5)[1]
    assert status_of(f"{other}/products") == 200
    assert command(run_dir, port, "stop").stdout == "not running\n"
    assert command(run_dir, port, "clean").returncode == 0
    assert not run_dir.exists()
    RunDir(run_dir).create()


def test_nothing_runs_at_first() -> None:
    with folder() as run_dir:
        assert "not running" in refused(command(run_dir, 1, "status"), code=3)
        assert "not running" in refused(command(run_dir, 1, "exec", "auth", "--", "true"), code=3)


def test_a_stop_in_the_middle_of_the_start() -> None:
    with folder() as run_dir:
        launcher = launch(run_dir, Ports().pick())
        until(launcher.run_dir.pids_file.exists)

        assert launcher.stop(signal.SIGINT) == 0


# initdb wants one that has a name.
ORDINARY = pwd.getpwnam("nobody").pw_uid


def may_run_as(user: int) -> bool:
    """Whether root may hand this Python and this checkout to somebody else."""
    try:
        command = [sys.executable, "-c", "import stack"]
        return subprocess.run(command, user=user, group=user, extra_groups=[], check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(os.getuid() != 0, reason="all other tests run as an ordinary user already")
@pytest.mark.skipif(not may_run_as(ORDINARY), reason="an ordinary user may not read this checkout")
def test_an_ordinary_user() -> None:
    """The other tests run as root, whose PostgreSQL is somebody else's."""
    with folder() as run_dir:
        launcher = launch(run_dir, Ports().pick(), user=ORDINARY).until_ready()
        assert {process.uids().real for process in launcher.family()} == {ORDINARY}
        assert status_of(f"{launcher.stack['gateway_url']}/products") == 200
        assert launcher.stop() == 0


def test_a_port_taken_by_a_stranger() -> None:
    with folder() as run_dir, socket.create_server((HOST, 0)) as stranger:
        port = stranger.getsockname()[1]

        assert f"port {port} is taken" in refused(command(run_dir, port, "up"))


def test_bad_settings_are_one_line() -> None:
    with folder() as run_dir:
        assert refused(command(run_dir, 70_000, "up")).startswith("stack: PORT must be a whole number")


@pytest.mark.parametrize("verb", ["", "up", "start", "stop", "status", "logs", "clean", "exec"])
def test_help(verb: str, tmp_path: Path) -> None:
    result = command(tmp_path, 1, *verb.split(), "--help")

    assert result.returncode == 0
    assert "RUN_DIR" in result.stdout
