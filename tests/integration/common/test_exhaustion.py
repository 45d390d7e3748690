"""No files and no disk left: nothing is acknowledged that is not kept, the rest is refused, and it heals by itself."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

import httpx
import pytest

from catalog.settings import CatalogSettings
from stack.ports import Ports
from tests.fixtures import checked
from tests.fixtures.processes import Start, environment_of, until_healthy
from tests.fixtures.stack import Launcher, folder, launch
from tests.fixtures.waiting import until

FILES, FLOOD = 64, 200
ADMIN = {"email": "admin@example.com", "password": "admin123"}
DISK = 192 * 2**20


def test_without_file_descriptors(catalog_settings: CatalogSettings, start: Start) -> None:
    """A flood of connections takes the last file; a client that is in already is answered, and then all are again."""
    limited = ("sh", "-c", f'ulimit -n {FILES} && exec "$@"', "sh")
    process = until_healthy(start("catalog", "serve", environment_of(catalog_settings), prefix=limited))
    with checked.Client(base_url=process.url, timeout=10) as inside, ExitStack() as flood:
        assert inside.get("/products").status_code == 200
        for _ in range(FLOOD):
            flood.enter_context(socket.create_connection(("127.0.0.1", inside.base_url.port or 0), 5))
        until(lambda: len(os.listdir(f"/proc/{process.process.pid}/fd")) >= FILES - 1)
        for _ in range(20):
            answer = inside.get("/products")
            assert answer.status_code in (200, 503), answer.text
            assert inside.get("/livez").status_code == 200
    until(process.healthy)
    assert {process.status("/products") for _ in range(20)} == {200}
    assert httpx.get(f"{process.metrics_url}/metrics").status_code == 200  # unchecked: metrics
    assert not process.ended()


@contextmanager
def on_a_small_disk() -> Iterator[Launcher]:
    """A stack whose PostgreSQL has a file system of its own, which it alone sees."""
    with folder() as run_dir:
        home = run_dir / "postgres"
        home.mkdir(mode=0o700)
        command = f'mount -t tmpfs -o size={DISK},mode=0700 tmpfs {home} && exec "$@"'
        launcher = launch(run_dir, Ports().pick(), prefix=("unshare", "--mount", "sh", "-c", command, "sh"))
        try:
            yield launcher.until_ready()
        finally:
            if launcher.process.poll() is None:
                launcher.stop()


def may_mount() -> bool:
    command = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.chaos
@pytest.mark.skipif(not may_mount(), reason="a file system of its own needs root")
def test_without_disk_space() -> None:
    random = Random(1)
    with on_a_small_disk() as launcher, checked.Client(base_url=launcher.stack["gateway_url"], timeout=15) as client:
        client.post("/auth/register", json=ADMIN | {"role": "admin"}).raise_for_status()
        token = client.post("/auth/login", json=ADMIN).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        kept: dict[int, str] = {}

        def write() -> int:
            # Too random to be compressed, so each takes a page of its own.
            body = {
                "name": f"{random.random()}",
                "description": random.randbytes(2000).hex(),
                "price": 1,
                "category": "x",
            }
            answer = client.post("/products", json=body)
            if answer.status_code == 201:
                kept[answer.json()["id"]] = answer.json()["name"]
            else:
                assert answer.headers["content-type"] == "application/problem+json"
            return answer.status_code

        assert write() == 201
        ballast = Path(f"/proc/{launcher.pid('postgres')}/root{launcher.run_dir.path}/postgres/ballast")
        fill(ballast)
        answers = [write() for _ in range(200)]
        print(f"{answers.count(201)} written into what was left, {answers.count(503)} refused")
        assert set(answers) <= {201, 503}
        assert answers.count(503) > 100
        assert client.get("/products").status_code == 200
        assert client.get(f"/products/{min(kept)}").status_code == 200
        ballast.unlink()
        until(lambda: write() == 201, 30)
        assert {number: client.get(f"/products/{number}").json()["name"] for number in kept} == kept


def fill(path: Path) -> None:
    """Take all the space there is."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return
