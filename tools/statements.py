"""Compiles the statements of the services from SQLAlchemy Core to SQL: `python -m tools.statements`.

A server loads the result, statements.json, with `common.web.compiled`.
"""

import json
from importlib import resources
from pathlib import Path
from typing import Any

from sqlalchemy.dialects.postgresql import psycopg

import catalog.statements
import sync.statements

__all__ = ["PATHS", "rendered"]

# With positional parameters, as `Postgres.fetch` takes them.
DIALECT = psycopg.dialect(paramstyle="format")  # type: ignore[no-untyped-call]
STATEMENTS = {"catalog": catalog.statements.STATEMENTS, "sync": sync.statements.STATEMENTS}
PATHS = {service: Path(str(resources.files(service) / "statements.json")) for service in STATEMENTS}


def rendered(service: str) -> str:
    """The file of a service."""
    compiled = {name: _compiled(statement) for name, statement in STATEMENTS[service].items()}
    return json.dumps(compiled, indent=2) + "\n"


def _compiled(statement: Any) -> dict[str, Any]:
    """What `CompiledQuery` has."""
    compiled = statement.compile(dialect=DIALECT)
    return {
        "sql": str(compiled),
        "parameters": compiled.positiontup or [],
        "constants": {name: value for name, value in compiled.params.items() if value is not None},
        "columns": statement.exported_columns.keys(),
    }


def main() -> None:
    for service, path in PATHS.items():
        path.write_text(rendered(service))
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
