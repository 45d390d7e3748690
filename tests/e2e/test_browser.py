"""The pages in a real browser, which enforces their Content-Security-Policy."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures import checked
from tests.fixtures.waiting import until

OPERATIONS = sum("operationId" in each for path in checked.DOCUMENT["paths"].values() for each in path.values())
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="neither chromium nor google-chrome is on PATH")


def opened(url: str, profile: Path) -> tuple[str, str]:
    """The page as its scripts have left it, and the browser's log, where lines with CONSOLE are the page's console."""
    options = [
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={profile}"),
        *("--dump-dom", "--virtual-time-budget=8000", "--enable-logging=stderr"),
    ]
    done = subprocess.run([str(BROWSER), *options, url], capture_output=True, text=True, timeout=100, check=True)
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    ("path", "shown", "count"),
    [
        ("/", r'id="total">[1-9]|class="state ok" id="(?:catalog|auth|sync)">ok<', 4),
        ("/problems", r'<tr id="validation">', 1),
        ("/docs", r'class="opblock opblock-\w+"', OPERATIONS),
        ("/redoc", r'data-section-id="tag/\w+/operation/', OPERATIONS),
    ],
)
def test_a_page_works_under_its_policy(
    stack: dict[str, Any], tmp_path: Path, path: str, shown: str, count: int
) -> None:
    url = stack["gateway_url"]
    plain = {"Accept-Encoding": "identity"}
    until(lambda: checked.get(f"{url}/products?limit=1", headers=plain).json()["total"])
    page, log = opened(url + path, tmp_path)

    assert len(re.findall(shown, page)) == count, page
    assert "Content Security Policy" not in log
    assert "Uncaught" not in log


def test_the_script_that_ends_a_login_runs(stack: dict[str, Any], tmp_path: Path) -> None:
    """It looks for the window that opened it, and here there is none."""
    _, log = opened(f"{stack['gateway_url']}/docs/oauth2-redirect", tmp_path)

    assert "swaggerUIRedirectOauth2" in log
    assert "Content Security Policy" not in log
