"""`python -m catalog serve | migrate`"""

import argparse

from catalog.settings import CatalogSettings
from common import logs
from common.settings import load_settings


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m catalog", description="The product catalog. Settings: environment."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="serve HTTP on HOST:PORT and metrics on HOST:METRICS_PORT")
    commands.add_parser("migrate", help="bring the schema `catalog` to its newest revision")
    command = parser.parse_args().command
    settings = load_settings(CatalogSettings)
    if command == "migrate":
        # Imported where they are used: a server needs no Alembic in its memory, a migration no server.
        from common import migrations

        logs.setup(settings, "catalog")
        migrations.upgrade("catalog")
        return
    from catalog.app import build
    from common.web import app

    app.serve("catalog", settings, lambda: build(settings))


if __name__ == "__main__":
    main()
