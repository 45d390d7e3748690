"""A connection to PostgreSQL whose waits end in time, and whose backend is counted until it has gone."""

import asyncio
import contextlib
import logging
import os
import socket
import weakref
from typing import Any, Self

import psycopg
from psycopg import AsyncConnection, generators, waiting
from psycopg.abc import PQGen
from psycopg.pq.abc import PGcancelConn

from common import context

__all__ = ["Connection", "Server", "Silent"]

log = logging.getLogger(__name__)

# Outside a request (jobs, start-up) no single wait may take longer.
DEFAULT_WAIT = 30.0
# How often a wait looks whether it has taken too long.
CHECK_SECONDS = 0.05
# A wait that has heard nothing for so long asks on another connection whether the server is there, for so long.
ASK_AFTER, ASK_SECONDS = 0.2, 0.4
# How long a new connection waits for one of ours to end, a cancellation for the server, and at the very longest an
# old backend keeps its place: a bit longer than the longest statement_timeout.
PLACE_SECONDS, CANCEL_SECONDS, END_SECONDS = 2.0, 1.0, 65.0
CLOSE_SECONDS = 0.5


class Silent(psycopg.OperationalError):
    """The server did not answer in time."""


class Connection(AsyncConnection[Any]):
    """A psycopg connection whose waits end at the request's deadline even if the server is frozen.

    psycopg's own cancellation waits for the server's answer, which takes 10 s and more when there is none. Here an
    overdue connection is closed for us at once; on the side its statement is cancelled, and its backend counts as
    one of ours until it has gone.
    """

    server: "Server"
    _leave: "weakref.finalize[[], Any]"

    @classmethod
    async def connect(cls, conninfo: str = "", *, server: "Server", **options: Any) -> Self:  # type: ignore[override]
        """A connection of this process; `server` hears of it, and of what the server said if there is none."""
        await server.enter()
        try:
            connection = await super().connect(conninfo, **options)
        except BaseException as error:
            server.leave()
            server.refused = error if isinstance(error, psycopg.OperationalError) else None
            raise
        connection.server, server.refused = server, None
        connection._leave = weakref.finalize(connection, server.leave_soon)
        server.answered = asyncio.get_running_loop().time()
        return connection

    async def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Drive one exchange with the server; raises OperationalError at the deadline."""
        try:
            value = await waiting.wait_async(self.server.watched(gen), self.pgconn.socket, interval=CHECK_SECONDS)
        except (Silent, asyncio.CancelledError):
            self._end(cancel=True)
            raise
        except psycopg.OperationalError:
            if self.closed:
                self._leave()
            raise
        self.server.answered = asyncio.get_running_loop().time()
        return value

    async def close(self) -> None:
        if not self.closed:
            self._end(cancel=False)
        self._closed = True
        self._leave()

    def _end(self, *, cancel: bool) -> None:
        """Close the connection for us, and leave its backend to the server's care."""
        try:
            # The same connection for the kernel: its end is that of the backend.
            peer = socket.socket(fileno=os.dup(self.pgconn.socket))
        except (psycopg.OperationalError, OSError):
            self.pgconn.finish()
            return
        asking = self.pgconn.cancel_conn() if cancel else None
        self.pgconn.finish()
        if self._leave.detach():
            self.server.ends(peer, asking)


class Server:
    """What this process knows of its PostgreSQL, and the number of backends that it has there: `most` at most."""

    def __init__(self, dsn: str, most: int, options: dict[str, Any]) -> None:
        self.answered = float("-inf")
        """When it last answered any connection of this process."""
        self.refused: psycopg.OperationalError | None = None
        """Why the last attempt to connect failed, if it did."""
        self._dsn = dsn
        self._options = options
        self._places = asyncio.Semaphore(most)
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: asyncio.Task[None] | None = None
        self._other: AsyncConnection[Any] | None = None

    async def enter(self) -> None:
        """A place for one more backend; raises OperationalError when all are taken for too long."""
        self._loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(PLACE_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise psycopg.OperationalError("all connections are still ending overdue statements") from None

    def leave(self) -> None:
        self._places.release()

    def leave_soon(self) -> None:
        """`leave` for a connection that was collected as garbage, in whatever thread, maybe after the loop's end."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.leave)

    def ends(self, peer: socket.socket, asking: PGcancelConn | None) -> None:
        """Cancel what a backend does, again and again if asked, and give its place back when it has gone."""
        self._start(self._see_off(peer, asking))

    async def _see_off(self, peer: socket.socket, asking: PGcancelConn | None) -> None:
        peer.setblocking(False)
        try:
            async with asyncio.timeout(END_SECONDS):
                while not await _is_gone(peer, asking):
                    # A cancellation that came before its statement did nothing.
                    if asking is not None:
                        asking.reset()
        except TimeoutError:
            log.warning("a backend of PostgreSQL did not end within %g s", END_SECONDS)
        finally:
            peer.close()
            self.leave()

    def patience(self, waited: float = 0.0) -> float:
        return context.patience(max(0.0, DEFAULT_WAIT - waited), self.answered)

    def silent(self, asked: float, began: float) -> bool:
        """Whether a wait is to end, by a check that was `asked` for then; a late check is our own lateness."""
        now = asyncio.get_running_loop().time()
        context.forgive(now - asked - CHECK_SECONDS)
        return not self.patience(now - began)

    def watched(self, gen: PQGen[Any]) -> PQGen[Any]:
        """psycopg's exchange, given up when a check finds patience at its end."""
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            state = next(gen)
            while True:
                asked = clock()
                ready = yield state
                if not ready and self.silent(asked, began):
                    raise Silent("PostgreSQL does not answer")
                if not ready and clock() - max(began, self.answered) > ASK_AFTER:
                    self._ask()
                state = gen.send(ready)
        except StopIteration as end:
            return end.value

    def _ask(self) -> None:
        """Ask on another connection, so that one slow statement is not taken for a server that is gone."""
        if self._asking is None or self._asking.done():
            self._asking = self._start(self._question())

    async def _question(self) -> None:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                if self._other is None:
                    self._other = await AsyncConnection.connect(self._dsn, autocommit=True, **self._options)
                await self._other.execute("SELECT")
        except (psycopg.Error, TimeoutError, OSError):
            self._forget_other()
        except asyncio.CancelledError:
            self._forget_other()
            raise
        else:
            self.answered = asyncio.get_running_loop().time()

    def _forget_other(self) -> None:
        if self._other is not None:
            self._other.pgconn.finish()
            self._other = None

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """See the last backends off, for a short time."""
        if self._asking is not None:
            self._asking.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._forget_other()


async def _is_gone(peer: socket.socket, asking: PGcancelConn | None) -> bool:
    """Cancel what the backend behind `peer` does, if asked, and tell whether it ends within a moment."""
    with contextlib.suppress(psycopg.Error):
        if asking is not None:
            asking.start()
            await waiting.wait_conn_async(generators.cancel(asking), CHECK_SECONDS, CANCEL_SECONDS)
    reading = asyncio.ensure_future(_read_to_the_end(peer))
    done, _ = await asyncio.wait({reading}, timeout=CANCEL_SECONDS)
    reading.cancel()
    return bool(done)


async def _read_to_the_end(peer: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while await asyncio.get_running_loop().sock_recv(peer, 65536):
            pass
