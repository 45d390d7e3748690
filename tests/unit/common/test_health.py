"""Readiness: what a check that fails, raises or hangs makes of the report."""

import asyncio
from typing import Any

import pytest

from common import health
from common.health import Check, Health


async def fine() -> None: ...


async def broken() -> None:
    raise OSError("no route to host")


async def hanging() -> None:
    await asyncio.sleep(60)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.05)


async def report(critical: Check, optional: Check, **more: Any) -> dict[str, Any]:
    return await Health("catalog", critical={"postgres": critical}, optional={"redis": optional}, **more).report()


@pytest.mark.parametrize(
    ("critical", "optional", "status"),
    [
        (fine, fine, "ok"), (fine, broken, "degraded"), (fine, hanging, "degraded"), (broken, fine, "unavailable"),
        (hanging, fine, "unavailable"), (broken, hanging, "unavailable"),
    ],
)  # fmt: skip
async def test_only_a_critical_check_makes_it_unavailable(critical: Check, optional: Check, status: str) -> None:
    found = await report(critical, optional)
    assert found["status"] == status
    failed = {name for name, check in found["checks"].items() if check["status"] == "failed"}
    assert failed == {name for name, check in (("postgres", critical), ("redis", optional)) if check is not fine}


async def test_a_check_that_hangs_says_so() -> None:
    found = await report(hanging, fine)
    assert found["checks"]["postgres"]["detail"] == "no answer within 0.05 s"


async def test_facts_are_left_out_while_they_cannot_be_read() -> None:
    async def facts() -> dict[str, Any]:
        return {"last_success_at": None}

    async def no_facts() -> dict[str, Any]:
        raise OSError

    async def late_facts() -> dict[str, Any]:
        await hanging()
        return {}

    assert "last_success_at" in await report(fine, fine, facts=facts)
    for unreadable in (no_facts, late_facts):
        found = await report(fine, fine, facts=unreadable)
        assert found["status"] == "ok"
        assert "last_success_at" not in found
    assert "last_success_at" not in await report(broken, fine, facts=facts)


async def test_a_drain_shows_at_once() -> None:
    checks = Health("catalog", critical={"postgres": fine})
    assert (await checks.report())["status"] == "ok"
    checks.draining = True
    assert (await checks.report())["status"] == "draining"


async def test_many_at_once_ask_the_server_once() -> None:
    asked = 0

    async def counted() -> None:
        nonlocal asked
        asked += 1

    checks = Health("catalog", critical={"postgres": counted})
    reports = await asyncio.gather(*(checks.report() for _ in range(50)))
    assert {it["status"] for it in reports} == {"ok"}
    assert asked == 1
