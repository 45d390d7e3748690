"""Who comes next when more is asked than can be done at once: addresses take turns, and accounts within each."""

import asyncio
from collections import OrderedDict, deque

from common.web.errors import Unavailable

__all__ = ["Turns"]

Queue = deque[asyncio.Future[None]]


class Turns:
    """`at_once` pieces of work at a time, and QUEUE that wait.

    When the queue is full, room is made at the cost of the address that has most in it, and there of the account
    that has most: nobody can fill the queue for others. Who is refused gets 503.
    """

    QUEUE = 50

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._waiting: OrderedDict[str, OrderedDict[str, Queue]] = OrderedDict()

    async def begin(self, account: str, address: str) -> None:
        """Return when it is this account's turn; `end` must follow. Raises Unavailable."""
        if self._free:
            self._free -= 1
            return
        if sum(map(_size, self._waiting.values())) >= self.QUEUE:
            self._make_room(account, address)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(address, OrderedDict()).setdefault(account, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.end()
            raise

    def end(self) -> None:
        """Give the turn to the next one that waits."""
        while self._waiting:
            address, accounts = self._waiting.popitem(last=False)
            account, turns = accounts.popitem(last=False)
            turn = turns.popleft() if turns else None
            if turns:
                accounts[account] = turns
            if accounts:
                self._waiting[address] = accounts
            if turn is not None and not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _make_room(self, account: str, address: str) -> None:
        own = self._waiting.get(address, OrderedDict())
        most = max(self._waiting.values(), key=_size)
        if most is not own and _size(most) <= _size(own):
            most = own
        turns = max(most.values(), key=len, default=deque())
        if most is own and len(turns) <= len(own.get(account, ())):
            raise _full()
        refused = turns.pop()
        if not refused.done():
            refused.set_exception(_full())


def _size(accounts: OrderedDict[str, Queue]) -> int:
    return sum(map(len, accounts.values()))


def _full() -> Unavailable:
    return Unavailable("Too many log in at once; try again.")
