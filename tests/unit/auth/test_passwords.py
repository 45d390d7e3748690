"""Hashing: bounded, off the event loop, and as slow for nobody as for somebody."""

import asyncio
from collections.abc import Iterator

import pytest

from auth.passwords import NOBODYS, Passwords
from common.errors import Unavailable


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords()
    yield made
    made.close()


async def test_only_the_password_matches(passwords: Passwords) -> None:
    hashed = await passwords.hash("correct horse")
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.verify("correct horse", hashed)
    assert not await passwords.verify("correct horse ", hashed)
    assert hashed != await passwords.hash("correct horse")


async def test_nobodys_hash_costs_what_others_cost(passwords: Passwords) -> None:
    hashed = await passwords.hash("the password of nobody")
    assert NOBODYS.split("$")[:4] == hashed.split("$")[:4]
    assert await passwords.verify("the password of nobody", NOBODYS)


async def test_nobody_has_no_password(passwords: Passwords) -> None:
    assert not await passwords.verify("the password of nobody", None)


async def test_a_full_queue_is_refused_and_empties(passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Passwords, "QUEUE", 2)
    many = [passwords.verify("x", None) for _ in range(40)]
    outcomes = await asyncio.gather(*many, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, Unavailable)]
    assert outcomes.count(False) == 40 - len(refused) >= 3
    assert len(refused) > 0
    assert refused[0].headers == {"Retry-After": "1"}
    assert await passwords.verify("x", None) is False


async def test_the_event_loop_goes_on(passwords: Passwords) -> None:
    hashing = asyncio.create_task(passwords.hash("x"))
    turns = 0
    while not hashing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 20
