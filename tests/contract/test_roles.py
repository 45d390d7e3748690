"""One schema and one login role per service, and no way from one to another's."""

import os
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from stack.servers.postgres import BOOTSTRAP_SQL, PostgresServer
from stack.servers.postgres_install import postgres_account, programs
from stack.services import SERVICES

ROOT = Path(__file__).parents[2]
PAIRS = [(own, other) for own in SERVICES for other in SERVICES if own != other]
# The state that bootstrap.sql makes, and all that it could leave behind twice.
ROLES = """
    SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolcanlogin, rolbypassrls, rolreplication
    FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%' ORDER BY 1
"""
RIGHTS = """
    SELECT nspname, nspowner::regrole::text, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_'
    UNION ALL SELECT datname, datdba::regrole::text, datacl::text FROM pg_database
    UNION ALL SELECT roleid::regrole::text, member::regrole::text, admin_option::text FROM pg_auth_members
    ORDER BY 1, 2, 3
"""


def tables(server: PostgresServer, schema: str) -> list[str]:
    with psycopg.connect(server.url()) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema]).fetchall()
    return [row[0] for row in rows]


def refused(server: PostgresServer, service: str, statement: sql.Composed | sql.SQL) -> bool:
    # Without a transaction, in which some of them would be refused for another reason.
    with psycopg.connect(server.url(service), autocommit=True) as connection:
        try:
            connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            return True
    return False


def bootstrap(server: PostgresServer, **passwords: str) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        for service in SERVICES:
            password = passwords.get(service) or server.credentials.roles[service]
            connection.execute("SELECT set_config(%s, %s, false)", [f"bootstrap.{service}_password", password])
        connection.execute(BOOTSTRAP_SQL.read_bytes())


def state(server: PostgresServer) -> list[object]:
    with psycopg.connect(server.url()) as connection:
        return [connection.execute(ROLES).fetchall(), connection.execute(RIGHTS).fetchall()]


@pytest.mark.parametrize(("own", "other"), PAIRS)
def test_no_way_into_the_schema_of_another(migrated: PostgresServer, own: str, other: str) -> None:
    names = tables(migrated, other)
    assert len(names) > 1
    for name in names:
        table = sql.Identifier(other, name)
        for statement in ("SELECT * FROM {}", "DELETE FROM {}", "TRUNCATE {}", "DROP TABLE {}"):
            assert refused(migrated, own, sql.SQL(statement).format(table)), statement.format(table)
    creation = sql.SQL("CREATE TABLE {} (id int)").format(sql.Identifier(other, "intruder"))
    assert refused(migrated, own, creation)
    assert refused(migrated, own, sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(other)))
    assert refused(migrated, own, sql.SQL("SET ROLE {}").format(sql.Identifier(f"{other}_svc")))


@pytest.mark.parametrize(("own", "other"), PAIRS)
def test_the_catalogue_knows_of_no_right_either(migrated: PostgresServer, own: str, other: str) -> None:
    """Of any kind, for any object, by any role that a service could act as."""
    query = """
        SELECT c.relname FROM pg_class c, unnest(ARRAY['SELECT','INSERT','UPDATE','DELETE','TRUNCATE','REFERENCES',
               'TRIGGER']) AS kind
        WHERE c.relnamespace = %(other)s::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
          AND has_table_privilege(%(role)s, c.oid, kind)
    """
    with psycopg.connect(migrated.url()) as connection:
        values = {"role": f"{own}_svc", "other": other}
        assert connection.execute(query, values).fetchall() == []
        schema = "SELECT has_schema_privilege(%(role)s, %(other)s, 'USAGE, CREATE')"
        assert connection.execute(schema, values).fetchone() == (False,)
        assert connection.execute(schema, values | {"other": "public"}).fetchone() == (False,)
        member = "SELECT pg_has_role(%(role)s, %(other)s || '_svc', 'MEMBER')"
        assert connection.execute(member, values).fetchone() == (False,)


@pytest.mark.parametrize("service", SERVICES)
def test_a_role_is_no_more_than_the_owner_of_its_schema(migrated: PostgresServer, service: str) -> None:
    for statement in (
        "CREATE TABLE public.intruder (id int)",
        "CREATE SCHEMA intruder",
        "CREATE DATABASE intruder",
        "CREATE ROLE intruder",
        f"CREATE EXTENSION pg_trgm SCHEMA {service}",
        "SELECT * FROM pg_authid",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/passwd')",
        "ALTER SYSTEM SET work_mem = '1GB'",
    ):
        assert refused(migrated, service, sql.SQL(statement)), statement


@pytest.mark.parametrize("service", SERVICES)
def test_a_role_can_do_its_work(migrated: PostgresServer, service: str) -> None:
    with psycopg.connect(migrated.url(service)) as connection:
        connection.execute(sql.SQL("CREATE TABLE {} (id int)").format(sql.Identifier(service, "own")))
        connection.execute("CREATE TEMPORARY TABLE scratch (id int)")
        connection.rollback()
        assert connection.execute("SELECT current_user").fetchone() == (f"{service}_svc",)


def test_a_stranger_may_not_even_connect(migrated: PostgresServer) -> None:
    with psycopg.connect(migrated.url(), autocommit=True) as connection:
        connection.execute("CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
        try:
            url = urlsplit(migrated.url())
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                psycopg.connect(url._replace(netloc=f"stranger:stranger@{url.hostname}:{url.port}").geturl())
        finally:
            connection.execute("DROP ROLE stranger")


def test_bootstrap_again_changes_nothing(migrated: PostgresServer) -> None:
    before = state(migrated)
    assert len(before[0]) == len(SERVICES) + 1  # type: ignore[arg-type]
    bootstrap(migrated)
    assert state(migrated) == before


def test_bootstrap_again_with_another_password_changes_that(migrated: PostgresServer) -> None:
    """How a password is rotated; quotes in it are no way out of the statement."""
    password = """it's "a" \\ $$ %s :x"""
    url = urlsplit(migrated.url("sync"))
    bootstrap(migrated, sync=password)
    try:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(migrated.url("sync"))
        psycopg.connect(
            host=url.hostname, port=url.port, dbname=url.path[1:], user="sync_svc", password=password
        ).close()
    finally:
        bootstrap(migrated)
    psycopg.connect(migrated.url("sync")).close()


def test_bootstrap_without_passwords_does_nothing(migrated: PostgresServer) -> None:
    before = state(migrated)
    with (
        psycopg.connect(migrated.url(), autocommit=True) as connection,
        pytest.raises(psycopg.errors.UndefinedObject),
    ):
        connection.execute(BOOTSTRAP_SQL.read_bytes())
    assert state(migrated) == before


def test_the_init_script_of_compose_sets_the_passwords(server: PostgresServer, tmp_path: Path) -> None:
    """As the postgres image runs it: by psql, with the passwords in the environment alone."""
    script = tmp_path / "init.sql"
    text = (ROOT / "helm/products-api/files/init.sql").read_text("utf-8")
    assert "\\i /bootstrap.sql" in text
    script.write_text(text.replace("/bootstrap.sql", str(BOOTSTRAP_SQL)), "utf-8")
    url = urlsplit(server.url())
    passwords = {f"{service.upper()}_DB_PASSWORD": f"of'{service}\\" for service in SERVICES}
    access = {"PGHOST": str(url.hostname), "PGPORT": str(url.port), "PGPASSWORD": str(url.password)}
    try:
        done = subprocess.run(
            [str(programs(postgres_account()) / "psql"), "-v", "ON_ERROR_STOP=1", "--no-psqlrc",
             "--username", "postgres", "--dbname", url.path[1:], "-f", str(script)],
            env={"PATH": os.environ["PATH"]} | access | passwords,
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        for service in SERVICES:
            password = passwords[f"{service.upper()}_DB_PASSWORD"]
            assert password not in done.stdout + done.stderr
            where = {"host": url.hostname, "port": url.port, "dbname": url.path[1:]}
            psycopg.connect(**where, user=f"{service}_svc", password=password).close()  # type: ignore[arg-type]
    finally:
        bootstrap(server)
