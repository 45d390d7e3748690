"""Every command of the README and of the pages in docs/ runs as it stands there, on a fresh stack of its own."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from tests.fixtures import checked
from tests.fixtures.pages import BLOCKS, PAGES, ROOT, answers, missing_in_tour
from tests.fixtures.stack import Launcher, running
from tests.fixtures.waiting import until
from tools.metrics import metrics

README = PAGES["README.md"]


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with running({}) as launcher:
        yield launcher


def shell(script: str, launcher: Launcher) -> str:
    """The output of a block, where any failing command fails."""
    environment = os.environ | {"RUN_DIR": str(launcher.run_dir.path)}
    script = script.replace(".venv/bin/python", f'"{sys.executable}"')
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_block_has_its_test() -> None:
    """`compose` and `kubernetes` are run by `make compose-test` and `make k8s-test`, where there is a server; the words
    of `skaffold` are known to tests/contract/test_skaffold.py, the targets of make to test_repository.py."""
    assert set(BLOCKS) == {"start", "setup", "tour", "commands", "migrations", "compose", "kubernetes", "skaffold"}
    for page, text in PAGES.items():
        assert text.count("```sh") == text.count("<!-- block: "), page
    assert BLOCKS["start"].strip() == "make run"
    for name in ("setup", "commands"):
        assert all(line.startswith("make ") for line in BLOCKS[name].splitlines()), name


def test_the_tour(launcher: Launcher) -> None:
    """It prints nothing but readable JSON, and shows what the README says: the run has ended, the price is back."""
    url = launcher.stack["gateway_url"]
    until(lambda: checked.get(f"{url}/products?limit=1").json()["total"] == 194)
    output = shell(BLOCKS["tour"].replace("http://localhost:8000", url), launcher)
    assert missing_in_tour(output) == [], output
    product = next(answer for answer in reversed(answers(output)) if "pinned" in answer)
    text = re.search(r"<!-- answer: product -->\n```json\n(.*?)```", README, re.DOTALL)
    assert text
    documented = json.loads(text[1])
    assert list(documented) == [field for field in product if field in documented]
    for field in documented.keys() - {"created_at", "updated_at", "synced_at", "image_url", "attributes"}:
        assert documented[field] == product[field], field
    assert documented["attributes"]["rating"] == product["attributes"]["rating"]


def test_the_readme_makes_sense_where_catalog_serves_it(launcher: Launcher) -> None:
    """At /docs/README.md it is plain text: links to other files are shown by their path."""
    text = checked.get(f"{launcher.stack['gateway_url']}/docs/README.md").text
    assert text == README
    links = re.findall(r"\[([^\]]+)\]\((?!https?:|#)([^)#]+)", text.partition("## More")[2])
    assert links
    assert all(target.startswith(shown) for shown, target in links)


def test_the_migrations(launcher: Launcher) -> None:
    output = shell(BLOCKS["migrations"], launcher)
    assert "(head)" in output
    assert "No new upgrade operations detected" in output


def test_each_process_serves_the_metrics_that_are_documented(launcher: Launcher) -> None:
    documented = {
        (process, metric.name)
        for metric, processes in metrics().items()
        for process in processes
        if metric.name != "products_faults_injected_total"  # with FAULTS alone
    }
    served = set()
    for process in launcher.stack["processes"]:
        if process["metrics_url"]:
            text = httpx.get(process["metrics_url"]).text  # unchecked: metrics
            served |= {
                (process["name"], metric) for metric in re.findall(r"^# TYPE (products_\w+) ", text, re.MULTILINE)
            }
    assert served == documented
