"""A connection to PostgreSQL whose waits end in time, and whose backend counts as ours until it has exited."""

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

from common import loop_clock
from common.deadlines import time_left
from common.loop_clock import CHECK_SECONDS

__all__ = ["MAX_WAIT", "Connection", "Server", "ServerUnresponsive"]

log = logging.getLogger(__name__)

# Outside a request (jobs, start-up) no single wait takes longer, unless a process chooses another limit.
MAX_WAIT = 30.0
# A wait without an answer for so long pings the server on another connection, for so long.
PING_AFTER, PING_SECONDS = 0.2, 0.4
# How long a new connection waits for a free slot, a cancellation for the server, and at most an old backend keeps
# its slot: a bit longer than the longest statement_timeout.
SLOT_SECONDS, CANCEL_SECONDS, EXIT_SECONDS = 2.0, 1.0, 65.0
CLOSE_SECONDS = 0.5


class ServerUnresponsive(psycopg.OperationalError):
    """The server did not answer in time."""


class Connection(AsyncConnection[Any]):
    """A psycopg connection whose waits end at the request's deadline even if the server is frozen.

    psycopg's own cancellation waits for the server's answer, which takes 10 s and more when there is none. Here an
    overdue connection is closed at once on our side; a task cancels its statement, and its backend keeps its slot
    until it has exited.
    """

    server: "Server"
    _release: "weakref.finalize[[], Any]"

    @classmethod
    async def connect(cls, conninfo: str = "", *, server: "Server", **options: Any) -> Self:  # type: ignore[override]
        """A connection in a slot of `server`, which keeps the reason when there is none to be had."""
        await server.acquire_slot()
        try:
            connection = await super().connect(conninfo, **options)
        except BaseException as error:
            server.release_slot()
            server.connection_failed(error)
            raise
        connection.server = server
        connection._release = weakref.finalize(connection, server.release_slot_threadsafe)
        server.answered()
        return connection

    async def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Drive one exchange with the server; raises OperationalError at the deadline."""
        try:
            value = await waiting.wait_async(self.server.with_deadline(gen), self.pgconn.socket, CHECK_SECONDS)
        except (ServerUnresponsive, asyncio.CancelledError):
            self._end(cancel=True)
            raise
        except psycopg.OperationalError:
            if self.closed:
                self._release()
            raise
        self.server.answered()
        return value

    async def close(self) -> None:
        if not self.closed:
            self._end(cancel=False)
        self._closed = True
        self._release()

    def _end(self, *, cancel: bool) -> None:
        """Close our side of the connection, and let the server object wait for the backend's exit."""
        try:
            # A second descriptor of the same socket: it reads end-of-file when the backend exits.
            peer = socket.socket(fileno=os.dup(self.pgconn.socket))
        except (psycopg.OperationalError, OSError):
            self.pgconn.finish()
            return
        cancel_conn = self.pgconn.cancel_conn() if cancel else None
        self.pgconn.finish()
        if self._release.detach():
            self.server.await_exit(peer, cancel_conn)


class Server:
    """The slots of this process in PostgreSQL, one per backend, `slots` at most; and whether the server is alive.

    `max_wait` limits each wait outside a request, in seconds.
    """

    def __init__(self, dsn: str, slots: int, options: dict[str, Any], *, max_wait: float = MAX_WAIT) -> None:
        self.last_answered = float("-inf")
        """When the server last answered any connection of this process, by `loop_clock.now`."""
        self._refusal: psycopg.OperationalError | None = None
        self._refused_at = float("-inf")
        self._dsn = dsn
        self._options = options
        self._max_wait = max_wait
        self._slots = asyncio.Semaphore(slots)
        self._tasks: set[asyncio.Task[None]] = set()
        self._pinging: asyncio.Task[None] | None = None
        self._ping_connection: AsyncConnection[Any] | None = None

    @property
    def refusal(self) -> psycopg.OperationalError | None:
        """Why the server refused a connection, if it has not answered since. No answer at all is no refusal."""
        return self._refusal if self._refused_at > self.last_answered else None

    def connection_failed(self, error: BaseException) -> None:
        """Keep why an attempt to connect failed."""
        if isinstance(error, psycopg.OperationalError) and not isinstance(error, psycopg.errors.ConnectionTimeout):
            self._refusal, self._refused_at = error, loop_clock.now()

    async def acquire_slot(self) -> None:
        """Raises OperationalError when all slots are taken for too long."""
        self._loop = asyncio.get_running_loop()
        try:
            async with loop_clock.timeout(SLOT_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            raise psycopg.OperationalError("all connections are still ending overdue statements") from None

    def release_slot(self) -> None:
        self._slots.release()

    def release_slot_threadsafe(self) -> None:
        """For a connection that was garbage-collected: in any thread, maybe after the loop has ended."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.release_slot)

    def await_exit(self, peer: socket.socket, cancel_conn: PGcancelConn | None) -> None:
        """Release a backend's slot when it has exited; until then cancel its statement repeatedly, if given a way."""
        self._start(self._await_exit(peer, cancel_conn))

    async def _await_exit(self, peer: socket.socket, cancel_conn: PGcancelConn | None) -> None:
        peer.setblocking(False)
        try:
            async with asyncio.timeout(EXIT_SECONDS):
                while not await _has_exited(peer, cancel_conn):
                    # A cancellation that came before its statement did nothing.
                    if cancel_conn is not None:
                        cancel_conn.reset()
        except TimeoutError:
            log.warning("a backend of PostgreSQL did not end within %g s", EXIT_SECONDS)
        finally:
            peer.close()
            self.release_slot()

    def time_left(self, waited: float = 0.0) -> float:
        """Seconds that a wait may still take which began `waited` seconds ago."""
        return time_left(max(0.0, self._max_wait - waited), self.last_answered)

    def answered(self) -> None:
        """Some connection has had an answer: the server is alive."""
        self.last_answered = loop_clock.now()

    def with_deadline(self, gen: PQGen[Any]) -> PQGen[Any]:
        """psycopg's exchange; raises ServerUnresponsive when a check finds no time left."""
        began = loop_clock.now()
        try:
            state = next(gen)
            while True:
                ready = yield state
                if not ready:
                    self._check(began)
                state = gen.send(ready)
        except StopIteration as end:
            return end.value

    def _check(self, began: float) -> None:
        """Look after a wait that has had no answer yet."""
        now = loop_clock.now()
        if not self.time_left(now - began):
            raise ServerUnresponsive("PostgreSQL does not answer")
        if now - max(began, self.last_answered) > PING_AFTER:
            self._ping()

    def _ping(self) -> None:
        """Ask on another connection, so that one slow statement is not taken for a frozen server."""
        if self._pinging is None or self._pinging.done():
            self._pinging = self._start(self._send_ping())

    async def _send_ping(self) -> None:
        try:
            async with loop_clock.timeout(PING_SECONDS):
                if self._ping_connection is None:
                    self._ping_connection = await AsyncConnection.connect(self._dsn, autocommit=True, **self._options)
                await self._ping_connection.execute("SELECT")
        except (psycopg.Error, TimeoutError, OSError):
            self._drop_ping_connection()
        except asyncio.CancelledError:
            self._drop_ping_connection()
            raise
        else:
            self.answered()

    def _drop_ping_connection(self) -> None:
        if self._ping_connection is not None:
            self._ping_connection.pgconn.finish()
            self._ping_connection = None

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Wait a short time for the last backends to exit."""
        if self._pinging is not None:
            self._pinging.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._drop_ping_connection()


async def _has_exited(peer: socket.socket, cancel_conn: PGcancelConn | None) -> bool:
    """Cancel the statement of the backend behind `peer`, if given a way, and wait a moment for its exit."""
    with contextlib.suppress(psycopg.Error):
        if cancel_conn is not None:
            cancel_conn.start()
            await waiting.wait_conn_async(generators.cancel(cancel_conn), CHECK_SECONDS, CANCEL_SECONDS)
    reading = asyncio.ensure_future(_read_until_eof(peer))
    done, _ = await asyncio.wait({reading}, timeout=CANCEL_SECONDS)
    reading.cancel()
    return bool(done)


async def _read_until_eof(peer: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while await asyncio.get_running_loop().sock_recv(peer, 65536):
            pass
