"""The gateway: Caddy from a wheel, with the Caddyfile that docker compose uses too."""

import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

from stack import ROOT
from stack.errors import StackError
from stack.ports import HOST
from stack.run_dir import RunDir
from stack.specs import ProcessSpec, Stage

__all__ = ["CADDYFILE", "spec"]

CADDYFILE = ROOT / "deploy/gateway/Caddyfile"


def spec(
    run_dir: RunDir, port: int, upstreams: Mapping[str, Sequence[int]], *, pretty: bool, origins: str = ""
) -> ProcessSpec:
    """`upstreams` holds the ports of auth, catalog and sync; `origins` is BACKEND_CORS_ORIGINS."""
    home = str(run_dir.path / "gateway")
    addresses = {
        f"{service.upper()}_UPSTREAMS": " ".join(f"{HOST}:{upstream}" for upstream in ports)
        for service, ports in upstreams.items()
    }
    return ProcessSpec(
        name="gateway",
        argv=[str(_caddy()), "run", "--config", str(CADDYFILE), "--adapter", "caddyfile"],
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": home,
            "XDG_DATA_HOME": home,
            "XDG_CONFIG_HOME": home,
            "GATEWAY_BIND": HOST,
            "GATEWAY_ADDRESS": f":{port}",
            "BACKEND_CORS_ORIGINS": origins,
            "GATEWAY_GRACE": "1s",
            "GATEWAY_LOG_FORMAT": "console" if pretty else "json",
            **addresses,
        },
        stage=Stage.GATEWAY,
        url=f"http://{HOST}:{port}",
        grace=2.0,
    )


def _caddy() -> Path:
    installed = [Path(sys.executable).parent / "caddy", Path(sysconfig.get_path("scripts")) / "caddy"]
    found = next((path for path in installed if path.is_file()), None) or shutil.which("caddy")
    if found is None:
        raise StackError("there is no Caddy for this platform; use docker compose instead: make up")
    return Path(found)
