"""`python -m auth serve | migrate | create-admin EMAIL | delete-user EMAIL [--force]`"""

import argparse
import asyncio
import getpass
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from common.startup import import_fastapi, lean_imports

if TYPE_CHECKING:
    from auth.settings import AuthSettings

CREATE_ADMIN = """Create an account with the role admin. The password is AUTH_ADMIN_PASSWORD, else the first line of
stdin; on a terminal it is asked for. An existing account becomes an admin and keeps its password."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m auth", description="Users and tokens. Settings: environment.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="serve HTTP on HOST:PORT and metrics on HOST:METRICS_PORT")
    commands.add_parser("migrate", help="bring the schema `auth` to its newest revision")
    create = commands.add_parser("create-admin", help="make EMAIL an admin", description=CREATE_ADMIN)
    create.add_argument("email", metavar="EMAIL")
    delete = commands.add_parser("delete-user", help="delete the account EMAIL and its sessions")
    delete.add_argument("email", metavar="EMAIL")
    delete.add_argument("--force", action="store_true", help="delete even the last admin")
    arguments = parser.parse_args()
    # Imported when needed, so that --help and refused settings take no time.
    with lean_imports():
        from auth.settings import AuthSettings
        from common.settings import load_settings

        settings = load_settings(AuthSettings)
        if arguments.command == "serve":
            import_fastapi()
            from auth.app import build
            from common.web import app
        else:
            from common import logs, migrations
    if arguments.command == "serve":
        app.serve("auth", settings, lambda: build(settings))
        return
    logs.setup(settings, "auth")
    if arguments.command == "migrate":
        migrations.upgrade("auth")
    elif arguments.command == "create-admin":
        asyncio.run(_create_admin(settings, arguments.email))
    else:
        asyncio.run(_delete_user(settings, arguments.email, force=arguments.force))


async def _create_admin(settings: "AuthSettings", address: str) -> None:
    from auth.emails import Email
    from auth.passwords import Passwords
    from auth.registration import ensure_admin
    from auth.schemas import validate_email, validate_password
    from common.web.orm import OrmDatabase

    email = Email(_validated("create-admin", "email", validate_email, address))
    password = _validated("create-admin", "password", validate_password, _read_password())
    passwords, db = Passwords(), OrmDatabase(settings, application="auth create-admin")
    try:
        password_hash = await passwords.hash(password)
        async with db.write_session() as session:
            done = await ensure_admin(session, email, password_hash)
    finally:
        passwords.close()
        await db.close()
    sys.stdout.write(f"{email} {done}\n")


async def _delete_user(settings: "AuthSettings", address: str, *, force: bool) -> None:
    from auth.emails import Email
    from auth.registration import delete_user
    from auth.schemas import validate_email
    from common.web.orm import OrmDatabase

    email = Email(_validated("delete-user", "email", validate_email, address))
    db = OrmDatabase(settings, application="auth delete-user")
    try:
        async with db.write_session() as session:
            refusal = await delete_user(session, email, settings.admin_registration, force=force)
    finally:
        await db.close()
    if refusal:
        sys.exit(f"delete-user: {refusal}")
    sys.stdout.write(f"{email} is deleted; its access tokens expire within ACCESS_TOKEN_SECONDS\n")


def _validated(command: str, name: str, validate: Callable[[str], str], value: str) -> str:
    """The value as `validate` returns it; ends the process if it is not valid, without repeating it."""
    from pydantic import ValidationError

    try:
        return validate(value)
    except ValidationError as error:
        message = error.errors(include_input=False)[0]["msg"].removeprefix("Value error, ")
        sys.stderr.write(f"{command}: {name}: {message}\n")
        sys.exit(2)


def _read_password() -> str:
    if password := os.environ.get("AUTH_ADMIN_PASSWORD"):
        return password
    if sys.stdin.isatty():
        return getpass.getpass("Password of the new admin: ")
    return sys.stdin.readline().rstrip("\r\n")


if __name__ == "__main__":
    main()
