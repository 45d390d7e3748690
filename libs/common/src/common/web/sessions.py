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

__all__ = ["Db", "ReadSession", "WriteSession"]


async def _db(request: StateRequest) -> Database:
    return request.state["db"]


Db = Annotated[Database, Depends(_db)]
"""The connections of the process, for single statements."""


async def _write_session(db: Db) -> AsyncGenerator[AsyncSession]:
    async with db.transaction() as session:
        yield session


async def _read_session(db: Db) -> AsyncGenerator[AsyncSession]:
    async with db.read_session() as session:
        yield session


# scope="function": it commits before the response is sent, so a 2xx means committed.
WriteSession = Annotated[AsyncSession, Depends(_write_session, scope="function")]
ReadSession = Annotated[AsyncSession, Depends(_read_session, scope="function")]
