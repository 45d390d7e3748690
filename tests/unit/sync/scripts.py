"""Scripted answers, bodies in pieces, and a clock that only moves when somebody sleeps."""

import datetime
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

from sync.providers import (
    ProviderConfig,
)
from sync.providers.http import JsonClient

URL = "https://user:hush-hush@source.test/products?key=hush-hush"
NOON = datetime.datetime(2030, 1, 1, 12, tzinfo=datetime.UTC)


class Time:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = NOON.timestamp()
        self.sleeps: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds

    def __call__(self) -> float:
        return self.now


class Script:
    """Answers in order, the last one for ever; counts the calls."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = list(answers)
        self.calls: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(request)
        answer = self._answers[min(len(self.calls), len(self._answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Chunks(httpx.AsyncByteStream):
    """A body in pieces, made while it is read; counts what was taken from it."""

    def __init__(self, make: Callable[[], AsyncIterator[bytes]]) -> None:
        self._make = make
        self.taken = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._make():
            self.taken += len(chunk)
            yield chunk

    async def aclose(self) -> None:
        self.closed = True


def client(handler: Callable[[httpx.Request], httpx.Response], time: Time | None = None, **more: Any) -> JsonClient:
    time = time or Time()
    return JsonClient(
        ProviderConfig(
            url=more.pop("url", URL),
            transport=httpx.MockTransport(handler),
            sleep=time.sleep,
            rng=more.pop("rng", lambda: 1.0),
            clock=time,
            **more,
        )
    )


OK = httpx.Response(200, json={"a": 1})
