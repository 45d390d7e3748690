"""The database as parameter types of handlers.

A handler takes a session and passes it to the functions that query. None of them opens one, or commits: that would part
what belongs to one request. Where a function must, its docstring says why.
"""

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession

from common.web.database import Database
from common.web.state import StateRequest

__all__ = ["ReadSession", "WriteSession"]


def _database(request: StateRequest) -> Database:
    db = request.state["db"]
    assert isinstance(db, Database), "a service that has transactions keeps a Database"
    return db


async def _write_session(request: StateRequest) -> AsyncGenerator[AsyncSession]:
    async with _database(request).transaction() as session:
        yield session


async def _read_session(request: StateRequest) -> AsyncGenerator[AsyncSession]:
    async with _database(request).read_session() as session:
        yield session


# scope="function": it commits before the response is sent, so a 2xx means committed.
WriteSession = Annotated[AsyncSession, Depends(_write_session, scope="function")]
ReadSession = Annotated[AsyncSession, Depends(_read_session, scope="function")]
