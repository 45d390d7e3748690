"""FAULTS is refused unless every part of it is understood; unset, it costs nothing."""

import subprocess
import sys

import pytest
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from common import faults
from common.deadlines import time_left
from common.settings import ServiceSettings
from common.web.faults import FaultMiddleware
from common.web.middleware import DeadlineMiddleware
from tests.fixtures.processes import inherited

STORES = {"DATABASE_URL": "postgresql://catalog_svc:bYq4@host/products", "REDIS_URL": "redis://host"}
EVERYTHING = "latency=0.1:300,error=0.05,postgres=0.02,redis=0.1,source=0.2"
WRONG = (
    "error", "error=", "error=x", "error=1.5", "error=-0.1", "error=2", "error=nan", "error=1e-3", "error=0.1:300",
    "latency=0.1", "latency=0.1:", "latency=0.1:0.5", "latency=0.1:100000", "disk=0.1", "Error=0.1", "error:0.1",
    "error=0.1 redis=0.1", "error=0.1;redis=0.1", "error=0.1,", ",", " ", "error=0.1,error=0.2", "error=\u0661",
)  # fmt: skip


def settings(text: str, **more: str) -> ServiceSettings:
    stores = {name.lower(): value for name, value in STORES.items()}
    return ServiceSettings.model_validate(stores | {"faults": text} | more)


def test_parses_every_kind() -> None:
    assert faults.parse(EVERYTHING) == {
        "latency": (0.1, 0.3), "error": (0.05, 0), "postgres": (0.02, 0), "redis": (0.1, 0), "source": (0.2, 0)
    }  # fmt: skip
    assert settings(EVERYTHING).faults == EVERYTHING
    assert settings("").faults == ""


@pytest.mark.parametrize(
    ("text", "share"), [("error=0", 0), ("error=1", 1), ("error=1.0", 1), ("error=.5", 0.5), (" error=0.25 ", 0.25)]
)
def test_a_share_is_from_0_to_1(text: str, share: float) -> None:
    assert faults.parse(text) == {"error": (share, 0)}


@pytest.mark.parametrize("text", WRONG)
def test_anything_else_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        settings(text)
    (fault,) = refused.value.errors()
    assert fault["loc"] == ("faults",)
    assert all(part in fault["msg"] for part in EVERYTHING.split(","))


def test_production_refuses_even_a_share_of_0() -> None:
    with pytest.raises(ValidationError, match="must be empty in production"):
        settings("error=0", app_env="production")
    assert settings("", app_env="production").faults == ""


def count_failures(kind: str, share: float, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setitem(faults._faults, kind, (share, 0))
    return sum(faults.should_fail(kind) for _ in range(1000))


def test_a_share_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (count_failures("error", 0, monkeypatch), count_failures("error", 1, monkeypatch)) == (0, 1000)
    # 14 standard deviations on either side.
    assert 300 < count_failures("error", 0.5, monkeypatch) < 700
    assert not faults.should_fail("redis"), "a kind that nobody asked for"


async def test_a_wait_leaves_the_dependencies_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        left.append(time_left(0.0))

    monkeypatch.setitem(faults._faults, "latency", (1, 0.3))
    impatient = DeadlineMiddleware(FaultMiddleware(app), longest=0.2)
    await impatient({"type": "http", "path": "/products"}, None, None)  # type: ignore[arg-type]
    assert left[0] > 0.1


def test_unset_nothing_of_it_is_even_imported() -> None:
    code = """if True:
        import sys
        from catalog.app import build
        from catalog.settings import CatalogSettings
        from common.settings import load_settings
        service = build(load_settings(CatalogSettings))
        print("common.faults" in sys.modules, [it.cls.__name__ for it in service.api.user_middleware])
    """
    for text, expected in (("", "False ['PlainReads']"), ("error=0", "True ['FaultMiddleware', 'PlainReads']")):
        environment = inherited() | {"FAULTS": text} | STORES
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.stdout.strip() == expected, done.stderr
