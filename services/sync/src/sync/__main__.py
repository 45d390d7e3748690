"""`python -m sync serve | work | schedule | migrate | try`"""

import argparse
from typing import TYPE_CHECKING

from common.startup import import_fastapi, lean_imports

if TYPE_CHECKING:
    from sync.settings import SyncSettings


def main() -> None:
    parser = argparse.ArgumentParser("python -m sync", description="Syncs external APIs. Settings: environment.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="serve HTTP on HOST:PORT and metrics on HOST:METRICS_PORT")
    commands.add_parser("work", help="do the runs; serves health and metrics on HOST:METRICS_PORT")
    commands.add_parser("schedule", help="begin a run every SYNC_INTERVAL_MINUTES; serves health and metrics likewise")
    commands.add_parser("try", help="read a page of the source on standard input; stores nothing")
    commands.add_parser("migrate", help="bring the schema `sync` to its newest revision")
    command = parser.parse_args().command
    # Worker and scheduler must stay small, so each command imports its own.
    with lean_imports():
        from common.settings import load_settings
        from sync.settings import SyncSettings

        settings = load_settings(SyncSettings)
        if command == "serve":
            import_fastapi()
            from common.web import app
            from sync.app import build
        elif command == "migrate":
            from common import logs, migrations
        elif command == "work":
            from sync.worker import work
        elif command == "schedule":
            from sync.scheduler import schedule
    if command == "serve":
        app.serve("sync-api", settings, lambda: build(settings))
    elif command == "migrate":
        logs.setup(settings, "sync")
        migrations.upgrade("sync")
    elif command == "try":
        from sync import trial

        trial.run(settings)
    elif command == "work":
        _prepare(settings, "sync-worker")
        work(settings)
    else:
        _prepare(settings, "sync-scheduler")
        schedule(settings)


def _prepare(settings: "SyncSettings", name: str) -> None:
    """What `common.web.app` does for an HTTP service."""
    from common import logs, metrics

    logs.setup(settings, name)
    metrics.set_build_info(name)
    if settings.faults:
        from common import faults

        faults.install(settings.faults)


if __name__ == "__main__":
    main()
