"""What a request costs: CPU milliseconds of each process, on a stack of its own: `python -m tests.load.cost`.

CPU time does not depend on who else is busy, so these figures add up to how many replicas a load needs.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psutil

from tests.fixtures.stack import Launcher, running
from tests.fixtures.waiting import until

REQUESTS = 2000
AT_ONCE = 8
ADMIN = {"email": "admin@example.com", "password": "correct horse battery"}
Send = Callable[[httpx.AsyncClient, int], Any]
NUMBERS = itertools.count(1000)


def body(number: int) -> dict[str, Any]:
    return {"name": f"Product {number}", "description": "Made to be counted", "price": 9.99, "category": "cost"}


# What is asked, who serves it, how often relative to REQUESTS.
KINDS: dict[str, tuple[str, float, Send]] = {
    "GET /products/{id}": ("catalog", 1, lambda client, n: client.get(f"/products/{n % 190 + 1}")),
    "GET /products?limit=100": ("catalog", 0.3, lambda client, _: client.get("/products?limit=100")),
    "POST /products": ("catalog", 0.5, lambda client, n: client.post("/products", json=body(n))),
    "PUT /products/{id}": ("catalog", 0.5, lambda client, n: client.put(f"/products/{n % 190 + 1}", json=body(n))),
    "POST /auth/login": ("auth", 0.05, lambda client, _: client.post("/auth/login", json=ADMIN)),
    "GET /sync/status": ("sync-api", 0.3, lambda client, _: client.get("/sync/status")),
}


def main() -> None:
    with running({"DRAIN_SECONDS": "0"}) as launcher:
        url = launcher.stack["gateway_url"]
        until(lambda: httpx.get(f"{url}/products?limit=1").json()["total"] == 194)
        httpx.post(f"{url}/auth/register", json=ADMIN | {"role": "admin"}).raise_for_status()
        token = login(url)
        print(f"{'request':<26}{'service ms':>12}{'gateway ms':>12}{'PostgreSQL ms':>15}{'req/s per core':>16}")
        for name, (service, share, send) in KINDS.items():
            count = int(REQUESTS * share)
            asyncio.run(fire(url, token, send, count // 5))
            before = seconds(launcher, service)
            asyncio.run(fire(url, token, send, count))
            own, gateway, postgres = (
                (now - then) * 1000 / count for now, then in zip(seconds(launcher, service), before, strict=True)
            )
            print(f"{name:<26}{own:>12.2f}{gateway:>12.2f}{postgres:>15.2f}{1000 / own:>16.0f}", flush=True)
        for name in ("auth", "catalog", "sync-api", "sync-worker", "sync-scheduler", "gateway"):
            print(f"{name:<26}{launcher.serving(name).memory_info().rss / 2**20:>9.0f} MiB")


def login(url: str) -> str:
    answer = httpx.post(f"{url}/auth/login", json=ADMIN)
    answer.raise_for_status()
    return str(answer.json()["access_token"])


def seconds(launcher: Launcher, service: str) -> tuple[float, float, float]:
    """CPU seconds so far of the service, the gateway and PostgreSQL."""

    def spent(name: str) -> Iterator[float]:
        process = psutil.Process(launcher.pid(name))
        for it in [process, *process.children(recursive=True)]:
            times = it.cpu_times()
            yield times.user + times.system

    own, gateway, postgres = (sum(spent(name)) for name in (service, "gateway", "postgres"))
    return own, gateway, postgres


async def fire(url: str, token: str, send: Send, count: int) -> None:
    """`count` requests, AT_ONCE at a time; raises for any that was not answered as asked."""
    numbers = iter(range(count))

    async def some(client: httpx.AsyncClient) -> None:
        for _ in numbers:
            (await send(client, next(NUMBERS))).raise_for_status()

    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
        await asyncio.gather(*(some(client) for _ in range(AT_ONCE)))


if __name__ == "__main__":
    main()
