"""Mixed reads and writes at a fixed rate, each answer looked at, no request repeated."""

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.deploy.client import Client
from tests.deploy.commands import until

__all__ = ["Load"]


@dataclass
class Load:
    """An open loop of `rate` requests a second with `token`, from its own thread, between `with` and its end.

    70 % read a product, 10 % a list, 10 % create, 10 % replace. `failures` are statuses that were not asked for,
    broken connections, answers after 10 s and wrong contents; `written` is every acknowledged write. With `others` a
    third of all requests is a GET of one of these paths.
    """

    client: Client
    token: str
    rate: float = 100.0
    others: Sequence[str] = ()
    latencies: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    written: dict[int, str] = field(default_factory=dict)
    unsure: set[int] = field(default_factory=set)
    sent: int = 0

    def __enter__(self) -> "Load":
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def go_on(self, requests: int) -> None:
        """Return when so many requests more are sent."""
        reached = self.sent
        until(f"{requests} more requests", lambda: self.sent > reached + requests, 60)

    def percentile(self, share: float) -> str:
        """A latency in ms."""
        ordered = sorted(self.latencies) or [0.0]
        return f"{ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000:.0f} ms"

    async def _run(self) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
        headers = {"Host": self.client.host, "Authorization": f"Bearer {self.token}"}
        async with httpx.AsyncClient(base_url=self.client.url, headers=headers, timeout=10, limits=limits) as client:
            tasks: set[asyncio.Task[None]] = set()
            due = time.perf_counter()
            while not self._stop.is_set():
                task = asyncio.create_task(self._one(client, random.random()))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                self.sent += 1
                due += 1 / self.rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await asyncio.gather(*tasks)

    async def _one(self, client: httpx.AsyncClient, dice: float) -> None:
        began = time.perf_counter()
        try:
            if self.others and random.random() < 1 / 3:
                self._expect(await client.get(random.choice(self.others)), 200, bool)
            elif dice < 0.7:
                await self._read(client)
            elif dice < 0.8:
                answer = await client.get("/products?limit=20")
                self._expect(answer, 200, lambda body: len(body["items"]) == 20)
            elif dice < 0.9 or not self.written:
                await self._create(client)
            else:
                await self._replace(client)
        except httpx.HTTPError as error:
            self.failures[f"{type(error).__name__} {error}"[:120]] += 1
        self.latencies.append(time.perf_counter() - began)

    async def _read(self, client: httpx.AsyncClient) -> None:
        number = random.randint(3, 190)
        answer = await client.get(f"/products/{number}")
        self._expect(answer, 200, lambda body: body["id"] == number)

    async def _create(self, client: httpx.AsyncClient) -> None:
        body = self._body()
        answer = await client.post("/products", json=body)
        if self._expect(answer, 201, lambda made: made["name"] == body["name"]):
            self.written[answer.json()["id"]] = body["name"]

    async def _replace(self, client: httpx.AsyncClient) -> None:
        """Of two at once on one product either may be the last, so such a product is taken out of the game."""
        number, _ = self.written.popitem()
        body = self._body()
        self.unsure.add(number)
        answer = await client.put(f"/products/{number}", json=body)
        if self._expect(answer, 200, lambda made: made["name"] == body["name"]):
            self.unsure.discard(number)
            self.written[number] = body["name"]

    def _body(self) -> dict[str, Any]:
        name = f"Load {random.getrandbits(64):016x}"
        return {"name": name, "description": "Written under load", "price": 1.25, "category": "load"}

    def _expect(self, answer: httpx.Response, status: int, right: Any) -> bool:
        if answer.status_code != status:
            problem = "problem+json" in answer.headers.get("content-type", "")
            shown = f"problem: {answer.json()['detail']}" if problem else answer.text[:80]
            self.failures[f"{answer.request.method} {answer.status_code} {shown}"] += 1
        elif not right(answer.json()):
            self.failures[f"{answer.request.method}: wrong content"] += 1
        else:
            return True
        return False

    def lost(self) -> list[int]:
        """Acknowledged writes that are not there as they were written."""
        headers = {"Host": self.client.host}
        with httpx.Client(base_url=self.client.url, headers=headers, timeout=30) as client:
            return [
                number
                for number, name in self.written.items()
                if client.get(f"/products/{number}").json().get("name") != name
            ]
