"""The README's commands as they stand there, and what its tour prints."""

import re
import tempfile
from pathlib import Path

from tests.deploy.client import Client
from tests.deploy.commands import ROOT, run
from tests.deploy.report import Report

__all__ = ["BLOCKS", "README", "check_tour", "missing_in_tour"]

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = dict(re.findall(r"<!-- block: (\w+) -->\n```sh\n(.*?)```", README, re.DOTALL))
PRINTED = ('"role":"admin"', '"total":', '"price":999.99', '"price":8.99', " 204", '"run_id"', '"sources"')
HEALTHY = '"status":"ok","service"'


def missing_in_tour(output: str) -> list[str]:
    """What the tour should have printed and did not, and what it should not have printed."""
    missing = [text for text in PRINTED if text not in output]
    if "problem+json" in output or re.search(r'"status":[45]', output):
        missing.append("no problem")
    if output.count(HEALTHY) != 3:
        missing.append("three healthy services")
    return missing


def check_tour(report: Report, part: str, client: Client, way: str) -> None:
    """Rows for the tour through the gateway; `way` names the way in."""
    with tempfile.TemporaryDirectory() as home:
        Path(home, ".curlrc").write_text(f'header = "Host: {client.host}"\n', "utf-8")
        script = BLOCKS["tour"].replace("http://localhost:8000", client.url)
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": home, "CURL_HOME": home}
        output = run("bash", "-euo", "pipefail", "-c", script, timeout=90, env=environment)
    report.check(part, f"missing in the README's tour through {way}", [], missing_in_tour(output))
