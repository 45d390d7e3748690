"""The launcher: starts everything with one command, keeps it alive, and leaves nothing behind."""

import json
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

import catalog.errors
from stack.ports import HOST, Ports
from stack.run_dir import RunDir
from tests.fixtures import checked
from tests.fixtures.stack import Launcher, environment, folder, launch, running
from tests.fixtures.waiting import until

# Its own limit is 10 s; the rest is for a busy machine.
STOP_WITHIN = 30.0
NAMES = {"auth", "catalog", "sync-api", "sync-worker", "sync-scheduler", "gateway", "postgres", "redis", "dummyjson"}


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


def command(run_dir: Path, port: int, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m stack` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "stack", *arguments],
        env=environment(run_dir, port, settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
    )


def refused(result: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """The one line that a refusal consists of."""
    assert result.returncode == code
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def status_of(url: str) -> int | None:
    try:
        get = httpx.get if url.endswith("/metrics") else checked.get  # unchecked: metrics
        return get(url, timeout=5).status_code
    except httpx.TransportError:
        return None


class TestRunning:
    def test_all_processes_run(self, launcher: Launcher) -> None:
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

    def test_the_banner_says_what_to_do_next(self, launcher: Launcher) -> None:
        output = launcher.output()

        port = launcher.stack["gateway_url"].rpartition(":")[2]
        for part in (f"http://localhost:{port}/docs", "stand-in for DummyJSON", '"role":"admin"', "Ctrl-C"):
            assert part in output

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
        table, _, data = result.stdout.partition("\n\n")
        rows = {line.split()[0]: line.split() for line in table.splitlines()}
        assert f"data in {launcher.run_dir.path};" in data
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

    def test_data_is_not_deleted_while_it_runs(self, launcher: Launcher) -> None:
        assert "stop it first" in refused(command(launcher.run_dir.path, 1, "reset", YES="1"))

    def test_files_with_passwords_are_private(self, launcher: Launcher) -> None:
        for file in ("stack.json", "secrets.json", "env.json", "valkey/valkey.conf"):
            assert (launcher.run_dir.path / file).stat().st_mode & 0o777 == 0o600, file

    def test_the_banner_shows_each_step_and_where_the_data_is(self, launcher: Launcher) -> None:
        output = launcher.output()
        for name in (*NAMES - {"redis"}, "catalog-2"):
            assert f"  {name} is ready" in output
        assert f"data      {launcher.run_dir.path}" in output
        assert "there is none yet" in output
        assert '"role":"admin"' in output
        steps = ("postgres is ready", "schemas of auth, catalog, sync are", "gateway is ready", "ready after")
        assert sorted(steps, key=output.index) == list(steps)

    def test_an_admin_is_made_and_not_asked_for_again(self, launcher: Launcher) -> None:
        made = subprocess.run(
            [*f"{sys.executable} -m stack exec auth -- python -m auth create-admin a@example.com".split()],
            env=environment(launcher.run_dir.path, 1, {"AUTH_ADMIN_PASSWORD": "correct horse battery"}),
            capture_output=True,
            text=True,
            timeout=180,
        )  # fmt: skip
        assert (made.returncode, made.stdout) == (0, "a@example.com is an admin now\n"), made.stderr

    def test_migrating_says_where_each_schema_is(self, launcher: Launcher) -> None:
        migrated = command(launcher.run_dir.path, 1, "exec", "auth", "--", "python", "-m", "auth", "migrate")
        assert migrated.returncode == 0, migrated.stderr
        assert re.search(r"auth: at \d{4}", migrated.stderr), migrated.stderr

    def test_an_unknown_log_lists_the_known_ones(self, launcher: Launcher) -> None:
        line = refused(command(launcher.run_dir.path, 1, "logs", "nope"))
        assert line.startswith("stack: no log begins with nope; there are: ")
        assert "sync-worker" in line

    def test_logs_end_without_an_error_at_ctrl_c(self, launcher: Launcher) -> None:
        with subprocess.Popen(
            [sys.executable, "-m", "stack", "logs", "catalog"], env=environment(launcher.run_dir.path, 1),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True,
        ) as following:  # fmt: skip
            assert following.stdout is not None
            assert following.stdout.readline().startswith("catalog")
            following.send_signal(signal.SIGINT)
            assert following.wait(60) == 0

    def test_commands_get_the_environment_of_a_service(self, launcher: Launcher) -> None:
        code = "import os; print(os.environ['DATABASE_URL'], os.environ.get('SECRET_KEY'), os.getcwd())"
        result = command(launcher.run_dir.path, 1, "exec", "catalog", "--", "python", "-c", code)

        url, secret, cwd = result.stdout.split(" ", 2)
        assert url.startswith("postgresql://catalog_svc:")
        assert secret == "None"
        assert Path(cwd.strip()).parts[-2:] == ("services", "catalog")

    @pytest.mark.parametrize("name", ["catalog-2", "auth", "sync-worker", "gateway", "dummyjson", "redis", "postgres"])
    def test_a_killed_process_comes_back_on_the_same_port(self, launcher: Launcher, name: str) -> None:
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
        of_gateway = [frozen, *frozen.children()]
        family = [process for process in family if process not in of_gateway]
        assert not psutil.wait_procs(family, timeout=STOP_WITHIN)[1]

        started = command(run_dir, port, "start")
        assert started.returncode == 0, started.stderr
        assert "make stop" in started.stdout
        assert not psutil.wait_procs(of_gateway, timeout=20)[1]
        _runs_beside_another_and_stops(run_dir, port, launcher.stack["gateway_url"])


def _runs_beside_another_and_stops(run_dir: Path, port: int, other: str) -> None:
    holder = psutil.Process(RunDir(run_dir).holder())
    family = [holder, *holder.children(recursive=True)]
    assert status_of(f"http://{HOST}:{port}/products") == 200
    assert status_of(f"{other}/products") == 200

    began = time.monotonic()
    assert command(run_dir, port, "stop").stdout == "stopped\n"
    assert time.monotonic() - began < STOP_WITHIN
    assert not psutil.wait_procs(family, timeout=20)[1]
    assert status_of(f"{other}/products") == 200
    assert command(run_dir, port, "stop").stdout == "not running\n"
    asked = command(run_dir, port, "reset")
    assert asked.returncode == 1
    assert "YES=1" in asked.stderr
    assert run_dir.exists()
    assert re.search(r"PostgreSQL: .* [\d.]+ MB  ", asked.stdout)
    done = command(run_dir, port, "reset", YES="1")
    assert done.returncode == 0
    assert done.stdout.endswith("deleted\n")
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


def test_a_port_that_another_program_uses() -> None:
    with folder() as run_dir, socket.create_server((HOST, 0)) as stranger:
        port = stranger.getsockname()[1]

        assert f"port {port} is taken" in refused(command(run_dir, port, "up"))


def test_bad_settings_are_one_line() -> None:
    with folder() as run_dir:
        assert refused(command(run_dir, 70_000, "up")).startswith("stack: PORT must be a whole number")


@pytest.mark.parametrize("verb", ["", "up", "start", "stop", "status", "logs", "reset", "exec"])
def test_help(verb: str, tmp_path: Path) -> None:
    result = command(tmp_path, 1, *verb.split(), "--help")

    assert result.returncode == 0
    assert "RUN_DIR" in result.stdout


@pytest.mark.parametrize(
    ("settings", "messages"),
    [
        ({"LOG_LEVEL": "loud", "DB_POOL_SIZE": "0"}, ["LOG_LEVEL: ", "DB_POOL_SIZE: "]),
        ({"ACCESS_TOKEN_SECONDS": "soon"}, ["ACCESS_TOKEN_SECONDS: "]),
        ({"POSTGRES_URL": "mysql://x/y"}, ["POSTGRES_URL must be a postgresql:// URL with a host"]),
        ({"REDIS_URL": "localhost:6379"}, ["REDIS_URL must be a redis:// URL with a host"]),
        ({"DEBUG": "everything"}, ["DEBUG must be one of auth, catalog"]),
    ],
)
def test_bad_settings_are_reported_once_and_nothing_starts(settings: dict[str, str], messages: list[str]) -> None:
    with folder() as run_dir:
        for verb in ("up", "start"):
            result = command(run_dir, Ports().pick(), verb, **settings)
            assert result.returncode == 1
            for part in messages:
                assert result.stderr.count(part) == 1, result.stderr
            assert "Traceback" not in result.stderr
            assert not (run_dir / "postgres" / "data").exists()


def test_a_file_is_no_run_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refused(command(tmp_path / "file", 1, "up")).endswith("is a file; RUN_DIR names a folder")
    assert "is a file" in refused(command(tmp_path / "file" / "below", 1, "up"))


def test_servers_that_the_user_brings(postgres: str, valkey_url: str) -> None:
    """POSTGRES_URL and REDIS_URL: no such servers are started, and roles and schemas are made in a database of ours."""
    database = f"own_{os.getpid()}"
    with psycopg.connect(postgres, autocommit=True) as superuser:
        superuser.execute(f"CREATE DATABASE {database}")
    own = postgres.rpartition("/")[0] + f"/{database}"
    with psycopg.connect(postgres, autocommit=True) as superuser:
        before = superuser.execute("SELECT rolname, rolpassword FROM pg_authid WHERE rolname ~ '_svc$'").fetchall()
        try:
            with running({"POSTGRES_URL": own, "REDIS_URL": f"{valkey_url.rpartition('/')[0]}/7"}) as launcher:
                assert {it["name"] for it in launcher.stack["processes"]} == NAMES - {"postgres", "redis"}
                assert f"PostgreSQL at {HOST}:" in launcher.output()
                assert "postgres:" not in launcher.output()
                url = f"{launcher.stack['gateway_url']}/products?limit=1"
                until(lambda: checked.get(url, timeout=30).json()["total"] == 194)
            with psycopg.connect(own) as connection:
                assert connection.execute("SELECT count(*) FROM catalog.products").fetchone() == (194,)
        finally:
            for name, password in before:
                superuser.execute(f"ALTER ROLE {name} PASSWORD '{password}'")
            superuser.execute(f"DROP DATABASE {database} WITH (FORCE)")


def test_a_saved_file_restarts_its_service_and_a_first_sync_that_fails_is_reported() -> None:
    """`make dev`: here by the time of a file, since its content is the one that other tests run."""
    with folder() as run_dir:
        port = Ports().pick()
        settings = {"DEBUG": "catalog", "EXTERNAL_API_URL": "http://127.0.0.1:1/products"}
        launcher = launch(run_dir, port, settings, options=("--dev",))
        try:
            launcher.until_ready()
            assert "debugger  127.0.0.1:5678 for catalog" in launcher.output()
            until(lambda: _sync_health(port)["retry_at"])
            health = _sync_health(port)
            assert health["last_success_at"] is None
            family = {name: _served_by(launcher, name) for name in ("auth", "catalog", "sync-api")}
            saved = Path(catalog.errors.__file__)
            os.utime(saved, (time.time(), time.time()))
            until(lambda: _served_by(launcher, "catalog") not in (None, family["catalog"]))
            assert {name: _served_by(launcher, name) for name in ("auth", "sync-api")} == {
                name: family[name] for name in ("auth", "sync-api")
            }
            until(lambda: status_of(f"http://{HOST}:{port}/products") == 200)
        finally:
            launcher.stop()


def _served_by(launcher: Launcher, name: str) -> int | None:
    """The process that serves, which its reloader started."""
    try:
        children = psutil.Process(launcher.pid(name) or 0).children(recursive=True)
        return next((child.pid for child in children if child.cmdline()[-1:] == ["serve"]), None)
    except psutil.NoSuchProcess:
        return None


def _sync_health(port: int) -> dict[str, object]:
    found: dict[str, object] = checked.get(f"http://{HOST}:{port}/sync/health", timeout=30).json()
    return found
