"""The README's tour through one way in."""

import tempfile
from pathlib import Path

from tests.deploy.client import Client
from tests.deploy.commands import run
from tests.deploy.report import Report
from tests.fixtures.pages import BLOCKS, missing_in_tour

__all__ = ["check_tour"]


def check_tour(report: Report, part: str, client: Client, way: str) -> None:
    """Rows for the tour through the gateway; `way` names the way in."""
    with tempfile.TemporaryDirectory() as home:
        Path(home, ".curlrc").write_text(f'header = "Host: {client.host}"\n', "utf-8")
        script = BLOCKS["tour"].replace("http://localhost:8000", client.url)
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": home, "CURL_HOME": home}
        output = run("bash", "-euo", "pipefail", "-c", script, timeout=90, env=environment)
    report.check(part, f"missing in the README's tour through {way}", [], missing_in_tour(output))
