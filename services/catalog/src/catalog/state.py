"""What the catalog keeps for its requests, and the dependency that hands it to handlers."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from catalog.reads import ProductReads
from common.web.state import BaseState

__all__ = ["Reads", "State"]


class State(BaseState):
    reads: ProductReads


class _Request(Request[State]):
    pass


async def _reads(request: _Request) -> ProductReads:
    return request.state["reads"]


Reads = Annotated[ProductReads, Depends(_reads)]
