"""The body of each service's Alembic environment, and `python -m <service> migrate`."""

import os
import zlib
from importlib import resources
from logging import getLogger
from typing import Any

from alembic import command, context
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import MetaData, create_engine, pool, text

__all__ = ["config", "run", "upgrade"]

log = getLogger(__name__)


def config(service: str) -> Config:
    """Alembic's configuration for `service`, without an ini file."""
    made = Config()
    made.set_main_option("script_location", str(resources.files(service) / "migrations").replace("%", "%%"))
    made.set_main_option("version_path_separator", "os")
    return made


def upgrade(service: str) -> None:
    """Bring the schema of `service` to its newest revision; safe in any number of processes at once."""
    command.upgrade(config(service), "head")


def run(schema: str, metadata: MetaData) -> None:
    """Run the migrations of `schema` on DATABASE_URL, one process at a time, without long locks.

    Others wait for the advisory lock and then find nothing to do. A statement that cannot get its table lock
    in 4 s fails rather than stopping the traffic behind it; run it again.
    """
    if not (url := os.environ.get("DATABASE_URL", "")):
        raise CommandError("DATABASE_URL is not set: postgresql://<service>_svc:<password>@<host>/<database>")
    url = url.replace("postgresql+psycopg://", "postgresql://", 1).replace("postgresql://", "postgresql+psycopg://", 1)
    waiting = create_engine(url, poolclass=pool.NullPool, connect_args={"connect_timeout": 5})
    options = "-c lock_timeout=4s -c statement_timeout=600s"
    working = create_engine(url, poolclass=pool.NullPool, connect_args={"connect_timeout": 5, "options": options})
    # The lock has a session of its own: it must outlive each migration's transaction, and its wait has no limit.
    with waiting.connect() as lock, working.connect() as connection:
        lock.execute(text("SELECT pg_advisory_lock(:key)"), {"key": zlib.crc32(f"migrate {schema}".encode())})
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
        with context.begin_transaction():
            context.run_migrations()


def _number_revision(_: Any, __: Any, directives: list[Any]) -> None:
    """New revisions are numbered, so that a pod can tell older from newer: 0001, 0002, ..."""
    if directives:
        directives[0].rev_id = f"{int(context.script.get_current_head() or 0) + 1:04d}"
