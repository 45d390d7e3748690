"""The body of each service's Alembic environment, and `python -m <service> migrate`."""

import os
import time
import zlib
from importlib import resources
from logging import getLogger
from typing import Any

import psycopg
from alembic import command, context
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, create_engine, pool, text
from sqlalchemy.exc import DBAPIError

from common.diagnostics import BOOTSTRAP, permanent_refusal

__all__ = ["config", "run", "upgrade"]

log = getLogger(__name__)
WAIT_SECONDS = 300.0
# Readers queue behind a waiting ALTER, so this stays under the 0.6 s after which a request is given up.
LOCK_WAIT = "300ms"
LOCK_ATTEMPTS = 10


def config(service: str) -> Config:
    """Alembic's configuration for `service`, without an ini file."""
    made = Config()
    made.set_main_option("script_location", str(resources.files(service) / "migrations").replace("%", "%%"))
    made.set_main_option("version_path_separator", "os")
    return made


def upgrade(service: str) -> None:
    """Bring the schema of `service` to its newest revision; safe in any number of processes at once.

    Waits up to 5 minutes for a PostgreSQL that is not there yet. A schema that is newer than the code, as after a
    rollback, is left alone. Exits with one line that says what to do when PostgreSQL refuses.
    """
    made = config(service)
    made.attributes["leave_newer"] = True
    _wait_for_server(_url())
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            command.upgrade(made, "head")
            break
        except DBAPIError as error:
            if isinstance(error.orig, psycopg.errors.LockNotAvailable) and attempt < LOCK_ATTEMPTS:
                log.warning("a table is in use; trying again (%d of %d)", attempt, LOCK_ATTEMPTS)
                time.sleep(min(attempt, 4))
            elif isinstance(error.orig, psycopg.errors.InsufficientPrivilege | psycopg.errors.InvalidSchemaName):
                raise SystemExit(f"migrate: {str(error.orig).splitlines()[0]}: {BOOTSTRAP}") from None
            else:
                raise
    log.info("%s: at %s", service, _revision(service))


def _revision(service: str) -> str:
    with psycopg.connect(_url(), connect_timeout=5) as connection:
        row = connection.execute(f"SELECT max(version_num) FROM {service}.alembic_version").fetchone()  # noqa: S608
    return row[0] if row else "nothing"


def _wait_for_server(url: str) -> None:
    """Return once PostgreSQL lets us in; exit when it refuses, or has not answered for WAIT_SECONDS."""
    end, next_word = time.monotonic() + WAIT_SECONDS, 0.0
    while True:
        try:
            psycopg.connect(url, connect_timeout=5).close()
            return
        except psycopg.OperationalError as error:
            said = str(error)
        if refusal := permanent_refusal(said):
            raise SystemExit(f"migrate: {refusal} ({said.splitlines()[0]})")
        if time.monotonic() >= end:
            raise SystemExit(f"migrate: no PostgreSQL within {WAIT_SECONDS:g} s: check DATABASE_URL and the network")
        if time.monotonic() >= next_word:
            log.info("waiting for PostgreSQL: %s", said.splitlines()[0])
            next_word = time.monotonic() + 10
        time.sleep(1)


def _url() -> str:
    if not (url := os.environ.get("DATABASE_URL", "")):
        raise CommandError("DATABASE_URL is not set: postgresql://<service>_svc:<password>@<host>/<database>")
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def run(schema: str, metadata: MetaData) -> None:
    """Run the migrations of `schema` on DATABASE_URL, one process at a time, without long locks.

    Others wait for the advisory lock and then find nothing to do. A statement that cannot get its table lock
    in LOCK_WAIT fails rather than stopping the traffic behind it; run it again.
    """
    url = _url().replace("postgresql://", "postgresql+psycopg://", 1)
    waiting = create_engine(url, poolclass=pool.NullPool, connect_args={"connect_timeout": 5})
    options = f"-c lock_timeout={LOCK_WAIT} -c statement_timeout=600s"
    working = create_engine(url, poolclass=pool.NullPool, connect_args={"connect_timeout": 5, "options": options})
    # The lock has a session of its own: it must outlive each migration's transaction, and its wait has no limit.
    with waiting.connect() as lock, working.connect() as connection:
        _lock(lock.execution_options(isolation_level="AUTOCOMMIT"), zlib.crc32(f"migrate {schema}".encode()))
        context.configure(
            connection=connection,
            target_metadata=metadata,
            version_table_schema=schema,
            include_schemas=True,
            include_name=lambda name, kind, _: name == schema if kind == "schema" else True,
            transaction_per_migration=True,
            compare_type=True,
            compare_server_default=True,
            process_revision_directives=_number_revision,
        )
        if context.config.attributes.get("leave_newer") and _is_newer(connection, schema):
            return
        with context.begin_transaction():
            context.run_migrations()


def _lock(connection: Connection, key: int) -> None:
    # Asked again and again: a statement that waits in PostgreSQL has a snapshot, and an index that is built
    # concurrently waits for every older snapshot, so the two would wait for each other.
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}):
        time.sleep(0.2)


def _is_newer(connection: Connection, schema: str) -> bool:
    """Whether the schema has a revision that this code does not know yet; said if so."""
    exists = connection.scalar(text("SELECT to_regclass(:table)"), {"table": f"{schema}.alembic_version"})
    found = connection.scalar(text(f"SELECT max(version_num) FROM {schema}.alembic_version")) if exists else None  # noqa: S608
    connection.rollback()
    known = str(context.script.get_current_head())
    if found is None or int(found) <= int(known):
        return False
    log.info("the schema (%s) is newer than this code (%s): nothing to do", found, known)
    return True


def _number_revision(_: Any, __: Any, directives: list[Any]) -> None:
    """New revisions are numbered, so that a pod can tell older from newer: 0001, 0002, ..."""
    if directives:
        directives[0].rev_id = f"{int(context.script.get_current_head() or 0) + 1:04d}"
