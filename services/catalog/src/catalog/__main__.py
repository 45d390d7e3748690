"""`python -m catalog serve | migrate`"""

import argparse

from common.startup import import_fastapi, lean_imports


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m catalog", description="The product catalog. Settings: environment."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="serve HTTP on HOST:PORT and metrics on HOST:METRICS_PORT")
    commands.add_parser("migrate", help="bring the schema `catalog` to its newest revision")
    command = parser.parse_args().command
    # Imported where they are used: a server needs no Alembic in its memory, a migration no server.
    with lean_imports():
        from catalog.settings import CatalogSettings
        from common.settings import load_settings

        settings = load_settings(CatalogSettings)
        if command == "migrate":
            from common import logs, migrations
        else:
            import_fastapi()
            from catalog.app import build
            from common.web import app
    if command == "migrate":
        logs.setup(settings, "catalog")
        migrations.upgrade("catalog")
    else:
        app.serve("catalog", settings, lambda: build(settings))


if __name__ == "__main__":
    main()
