"""A limit on concurrent work with a fair queue: client addresses take turns, and accounts within each address."""

import asyncio
from collections import OrderedDict, deque

from common.web.errors import Unavailable

__all__ = ["FairQueue"]

Waiters = deque[asyncio.Future[None]]


class FairQueue:
    """Lets `concurrency` callers work at a time, and MAX_WAITING wait.

    When the queue is full, a newcomer displaces the last waiter of the account that has most waiting at the address
    that has most waiting, so nobody can fill the queue for others. The one who is displaced gets Unavailable (503).
    """

    MAX_WAITING = 50

    def __init__(self, concurrency: int) -> None:
        self._free = concurrency
        self._waiting: OrderedDict[str, OrderedDict[str, Waiters]] = OrderedDict()

    async def acquire(self, account: str, address: str) -> None:
        """Return when it is this account's turn; `release` must follow. Raises Unavailable."""
        if self._free:
            self._free -= 1
            return
        if sum(map(_size, self._waiting.values())) >= self.MAX_WAITING:
            self._displace(account, address)
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(address, OrderedDict()).setdefault(account, deque()).append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            # It was this one's turn already, which goes to the next.
            if not waiter.cancelled() and waiter.exception() is None:
                self.release()
            raise

    def release(self) -> None:
        """Let the next one work."""
        while self._waiting:
            address, accounts = self._waiting.popitem(last=False)
            account, waiters = accounts.popitem(last=False)
            waiter = waiters.popleft() if waiters else None
            if waiters:
                accounts[account] = waiters
            if accounts:
                self._waiting[address] = accounts
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1

    def _displace(self, account: str, address: str) -> None:
        """Make room for this account at the cost of one that has more waiting; raises Unavailable if none has."""
        own = self._waiting.get(address, OrderedDict())
        largest = max(self._waiting.values(), key=_size)
        if largest is not own and _size(largest) <= _size(own):
            largest = own
        waiters = max(largest.values(), key=len, default=deque())
        if largest is own and len(waiters) <= len(own.get(account, ())):
            raise _full()
        displaced = waiters.pop()
        if not displaced.done():
            displaced.set_exception(_full())


def _size(accounts: OrderedDict[str, Waiters]) -> int:
    return sum(map(len, accounts.values()))


def _full() -> Unavailable:
    return Unavailable("Too many concurrent logins; try again.")
