"""The database as parameter types of handlers.

A handler takes a transaction and passes it to the functions that query. None of them opens one, or commits: that would
part what belongs to one request. Where a function must, its docstring says why.
"""

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import Depends

from common.web.database import Database, Transaction
from common.web.state import StateRequest

__all__ = ["Transactions", "WriteTransaction"]


async def _database(request: StateRequest) -> Database:
    db = request.state["db"]
    assert isinstance(db, Database), "a service that has transactions keeps a Database"
    return db


async def _write_transaction(request: StateRequest) -> AsyncGenerator[Transaction]:
    async with (await _database(request)).transaction() as transaction:
        yield transaction


# scope="function": it commits before the response is sent, so a 2xx means committed.
WriteTransaction = Annotated[Transaction, Depends(_write_transaction, scope="function")]

Transactions = Annotated[Database, Depends(_database)]
"""For what is done in many transactions, each committed for itself."""
