"""Each service's migrations: safe in parallel, equal to its models, reversible, at hand in its folder."""

import zlib
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from subprocess import Popen
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from alembic import command
from alembic.config import Config

from stack.servers.postgres import PostgresServer
from stack.services import SERVICES
from tests.fixtures.stack import folder
from tests.fixtures.waiting import until

ROOT = Path(__file__).parents[2]
Run = Callable[..., Popen[str]]
Alembic = Callable[..., str]
# Everything that a migration can make, by what PostgreSQL itself says about it.
STRUCTURE = """
    SELECT 'relation', c.relname::text, c.relkind::text || c.relpersistence::text,
           concat_ws(' ', c.reloptions::text, c.relacl::text), obj_description(c.oid, 'pg_class')
    FROM pg_class c WHERE c.relnamespace = to_regnamespace(%(schema)s::text)
    UNION ALL
    SELECT 'column', c.relname || '.' || a.attname,
           concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
                     row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum)),
           pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE c.relnamespace = to_regnamespace(%(schema)s::text) AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid), '', ''
    FROM pg_constraint WHERE connamespace = to_regnamespace(%(schema)s::text)
    UNION ALL
    SELECT 'index', indexname::text, indexdef, '', '' FROM pg_indexes WHERE schemaname = %(schema)s::text
    UNION ALL
    SELECT 'trigger', t.tgname::text, pg_get_triggerdef(t.oid), t.tgenabled::text, ''
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = to_regnamespace(%(schema)s::text) AND NOT t.tgisinternal
    UNION ALL
    SELECT 'routine', oid::regprocedure::text, pg_get_functiondef(oid), proacl::text, ''
    FROM pg_proc WHERE pronamespace = to_regnamespace(%(schema)s::text) AND prokind IN ('f', 'p')
    UNION ALL
    SELECT 'sequence', sequencename::text, concat_ws(' ', data_type, start_value, increment_by, cycle), '', ''
    FROM pg_sequences WHERE schemaname = %(schema)s::text
    UNION ALL
    SELECT 'type', t.typname::text, string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder), '', ''
    FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid
    WHERE t.typnamespace = to_regnamespace(%(schema)s::text) GROUP BY t.typname
    UNION ALL
    SELECT 'policy', tablename || '.' || policyname, concat_ws(' ', cmd, qual, with_check), '', ''
    FROM pg_policies WHERE schemaname = %(schema)s::text
    ORDER BY 1, 2, 3
"""
WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND query LIKE 'SELECT pg_try_advisory_lock%%'
"""
BUILDING = r"""
    SELECT count(*) FROM pg_stat_activity
    WHERE query ~ '^\s*(CREATE|DROP) INDEX CONCURRENTLY' AND wait_event_type = 'Lock'
"""
BLOCKED = "SELECT client_port FROM pg_stat_activity WHERE usename = %s AND wait_event = 'relation'"


def structure(server: PostgresServer, schema: str) -> list[tuple[object, ...]]:
    """All objects of a schema."""
    with psycopg.connect(server.url()) as connection:
        return connection.execute(STRUCTURE, {"schema": schema}).fetchall()


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def alembic(migrated: PostgresServer, service: str, monkeypatch: pytest.MonkeyPatch) -> Alembic:
    """What `alembic` does with the ini file in the folder of a service; returns what it prints."""
    monkeypatch.setenv("DATABASE_URL", migrated.url(service))
    monkeypatch.chdir(ROOT / "services" / service)

    def run(name: str, *arguments: str) -> str:
        printed = StringIO()
        getattr(command, name)(Config("alembic.ini", stdout=printed), *arguments)
        return printed.getvalue()

    return run


def test_three_at_once_all_succeed(migrated: PostgresServer, begin: Run, service: str, alembic: Alembic) -> None:
    """As three replicas that start on an empty database, each of which would make the tables."""
    before = structure(migrated, service)
    alembic("downgrade", "base")
    with psycopg.connect(migrated.url(), autocommit=True) as connection:
        # Held until all three ask for it, so that none is done before the last one comes.
        connection.execute("SELECT pg_advisory_lock(%s)", [zlib.crc32(f"migrate {service}".encode())])
        started = [begin(service, service, "migrate") for _ in range(3)]
        until(lambda: connection.execute(WAITING, [f"{service}_svc"]).fetchone() == (3,), 60)
    for process in started:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
    assert structure(migrated, service) == before


@pytest.mark.parametrize("service", ["catalog"], indirect=True)
def test_one_killed_midway_leaves_nothing_and_another_does_it_all(
    migrated: PostgresServer, begin: Run, service: str, alembic: Alembic
) -> None:
    """Of three; its tables are made but not committed when it is killed."""
    before = structure(migrated, service)
    alembic("downgrade", "base")
    with psycopg.connect(migrated.url()) as holder, psycopg.connect(migrated.url(), autocommit=True) as watch:

        def midway() -> Popen[str] | None:
            ports = {row[0] for row in watch.execute(BLOCKED, [f"{service}_svc"])}
            open_in = {process: psutil.Process(process.pid).net_connections("tcp") for process in started}
            return next((it for it in started if ports & {found.laddr.port for found in open_in[it]}), None)

        # Reads pass, the last statement of a migration does not.
        holder.execute(f"LOCK TABLE {service}.alembic_version IN SHARE MODE")
        started = [begin(service, service, "migrate") for _ in range(3)]
        killed = until(midway, 60)
        assert killed
        killed.kill()
        holder.rollback()
    killed.communicate(timeout=5)
    started.remove(killed)
    for process in started:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
    assert structure(migrated, service) == before


def test_the_command_needs_only_the_folder_and_the_url(migrated: PostgresServer, begin: Run, service: str) -> None:
    """A process of its own, since one that imported the services before would find them anyway."""
    process = begin(service, "alembic", "check", cwd=ROOT / "services" / service)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "No new upgrade operations detected" in output


def test_down_and_up_again_leaves_the_same(migrated: PostgresServer, service: str, alembic: Alembic) -> None:
    before = structure(migrated, service)
    assert {row[0] for row in before} >= {"relation", "column", "constraint", "index"}
    alembic("downgrade", "base")
    # Alembic's own table, and nothing that the next upgrade would stumble over.
    left = {row[1] for row in structure(migrated, service) if row[0] in ("relation", "routine", "type", "sequence")}
    assert left == {"alembic_version", "alembic_version_pkc"}
    alembic("upgrade", "head")
    assert structure(migrated, service) == before


def test_one_step_down_and_up_again(migrated: PostgresServer, service: str, alembic: Alembic) -> None:
    before = structure(migrated, service)
    assert "(head)" in alembic("history")
    assert "(head)" in alembic("current")
    alembic("downgrade", "-1")
    assert "(head)" not in alembic("current")
    alembic("upgrade", "head")
    assert structure(migrated, service) == before


def test_a_migration_touches_its_own_schema_only(migrated: PostgresServer, service: str, alembic: Alembic) -> None:
    others = [*(name for name in SERVICES if name != service), "public"]
    before = [structure(migrated, name) for name in others]
    alembic("downgrade", "base")
    alembic("upgrade", "head")
    assert [structure(migrated, name) for name in others] == before
    assert before[-1] == []


def test_a_newer_schema_is_left_alone(migrated: PostgresServer, begin: Run, service: str) -> None:
    """A rolled back release meets the schema of the newer one."""
    before = structure(migrated, service)
    with psycopg.connect(migrated.url(), autocommit=True) as connection:
        (head,) = connection.execute(f"SELECT version_num FROM {service}.alembic_version").fetchone() or ("",)
        try:
            connection.execute(f"UPDATE {service}.alembic_version SET version_num = '9999'")
            output, _ = (process := begin(service, service, "migrate")).communicate(timeout=60)
            assert process.returncode == 0, output
            assert f"the schema (9999) is newer than this code ({head}): nothing to do" in output
        finally:
            connection.execute(f"UPDATE {service}.alembic_version SET version_num = %s", [head])
    assert structure(migrated, service) == before


def test_a_database_that_comes_late_is_waited_for(begin: Run) -> None:
    with folder() as run_dir:
        late = PostgresServer(run_dir, options={"fsync": "off"})
        with late:
            url = late.url("auth")
        process = begin("auth", "auth", "migrate", DATABASE_URL=url)
        assert process.stdout
        line = process.stdout.readline()
        assert "waiting for PostgreSQL" in line, line
        assert str(urlsplit(url).password) not in line, line
        with late:
            output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (":", ":wrong-", "migrate: PostgreSQL refuses the password in DATABASE_URL: correct it ("),
        ("auth_svc", "nobody_svc", "migrate: PostgreSQL refuses the password in DATABASE_URL: correct it ("),
        ("/products", "/elsewhere", "migrate: PostgreSQL has no such role or database: make the roles"),
    ],
    ids=["password", "role", "database"],
)
def test_a_refusal_ends_it_at_once_and_says_what_to_do(
    migrated: PostgresServer, begin: Run, old: str, new: str, message: str
) -> None:
    url = migrated.url("auth")
    scheme, rest = url.split("://")
    wrong = f"{scheme}://{rest.replace(old, new, 1)}"
    output, _ = (process := begin("auth", "auth", "migrate", DATABASE_URL=wrong)).communicate(timeout=30)
    assert (process.returncode, output[: len(message)]) == (1, message)
    assert len(output.splitlines()) == 1
    assert str(urlsplit(url).password) not in output


def test_without_a_schema_of_its_own_it_says_what_to_do(migrated: PostgresServer, begin: Run) -> None:
    url = migrated.url("auth")
    output, _ = (process := begin("sync", "sync", "migrate", DATABASE_URL=url)).communicate(timeout=30)
    assert process.returncode == 1, output
    assert "Traceback" not in output, output
    assert "migrate: permission denied for schema sync: make the roles and schemas" in output


def test_a_table_in_use_is_tried_again(migrated: PostgresServer, begin: Run, alembic: Alembic, service: str) -> None:
    alembic("downgrade", "base")
    with psycopg.connect(migrated.url()) as connection:
        connection.execute(f"LOCK TABLE {service}.alembic_version")
        process = begin(service, service, "migrate")
        lines = process.stdout
        assert lines
        until(lambda: "a table is in use; trying again (1 of 10)" in lines.readline())
        connection.rollback()
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
    assert "(head)" in alembic("current")


@pytest.mark.parametrize("service", ["catalog"], indirect=True)
def test_indexes_are_built_while_others_write(
    migrated: PostgresServer, begin: Run, service: str, alembic: Alembic
) -> None:
    """Beside a transaction that stays open, which holds up the build and nobody else; and after a build that failed."""
    before = structure(migrated, service)
    alembic("downgrade", "0001")
    insert = (
        "INSERT INTO catalog.products (name, description, price, currency, category) VALUES ('x', '', 1, 'USD', 'x')"
    )
    with psycopg.connect(migrated.url()) as holder, psycopg.connect(migrated.url(), autocommit=True) as other:
        other.execute("CREATE INDEX products_live_idx ON catalog.products (name)")
        holder.execute(insert)
        process = begin(service, service, "migrate")
        until(lambda: other.execute(BUILDING).fetchone() == (1,), 60)
        other.execute("SET statement_timeout = '10s'")
        other.execute(insert)
        assert process.poll() is None
        holder.commit()
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        assert other.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid").fetchone() == (0,)
    assert structure(migrated, service) == before
