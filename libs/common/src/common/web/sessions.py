"""The database as handlers ask for it, by the type of a parameter."""

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession

from common.web.database import Database
from common.web.state import StateRequest

__all__ = ["Db", "ReadSession", "WriteSession"]


async def _db(request: StateRequest) -> Database:
    return request.state["db"]


Db = Annotated[Database, Depends(_db)]
"""The connections of this process, for single statements."""


async def _write_session(db: Db) -> AsyncGenerator[AsyncSession]:
    async with db.transaction() as session:
        yield session


async def _read_session(db: Db) -> AsyncGenerator[AsyncSession]:
    async with db.read_session() as session:
        yield session


# scope="function": the commit comes before the answer leaves, so a 2xx means committed.
WriteSession = Annotated[AsyncSession, Depends(_write_session, scope="function")]
ReadSession = Annotated[AsyncSession, Depends(_read_session, scope="function")]
