"""`python -m stack`: see --help."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable

from stack import background, borrow, check, credentials, follow, leftovers, reset, settings, status
from stack.console import Console
from stack.errors import StackError
from stack.plan import Plan
from stack.ports import check_free
from stack.rundir import RunDir
from stack.schema import SERVICES
from stack.settings import Settings
from stack.supervisor import Supervisor

Command = Callable[[Settings, argparse.Namespace], None]

EPILOG = """environment (or .env): PORT (8000), RUN_DIR (.run), REPLICAS_AUTH, REPLICAS_CATALOG, REPLICAS_SYNC_API,
REPLICAS_SYNC_WORKER, REPLICAS_SYNC_SCHEDULER (1), EXTERNAL_API_URL (the bundled stand-in of DummyJSON),
POSTGRES_URL and REDIS_URL (servers of your own; POSTGRES_URL is that of an owner or superuser of the database, where
roles and schemas are made), with --dev also DEBUG=catalog (a debugger may attach to 127.0.0.1:5678);
everything else goes to the services as it is."""


def up(given: Settings, args: argparse.Namespace) -> None:
    """run everything here, until Ctrl-C"""
    os.umask(0o077)
    run_dir = RunDir(given.run_dir)
    run_dir.create()
    with run_dir.lock():
        leftovers.clear(run_dir)
        if given.port:
            check_free(given.port)
        console = Console()
        pretty = given.log_format == "pretty" or (given.log_format == "auto" and console.is_terminal)
        secrets = credentials.load(run_dir, given.environment)
        try:
            console.say("starting ...")
            plan = Plan(given, run_dir, secrets, pretty, reload=args.dev)
            check.check(plan)
            asyncio.run(Supervisor(plan, console, background=args.background).run())
        finally:
            console.close()


def start(given: Settings, args: argparse.Namespace) -> None:
    """run everything in the background; returns when it is ready"""
    background.start(given)


def stop(given: Settings, args: argparse.Namespace) -> None:
    """stop what runs here; returns when it is gone"""
    background.stop(given)


def show_status(given: Settings, args: argparse.Namespace) -> None:
    """list the processes and their memory; exit code 3 when nothing runs"""
    status.show(RunDir(given.run_dir))


def logs(given: Settings, args: argparse.Namespace) -> None:
    """show and follow the logs, of all or of the named processes"""
    follow.follow(RunDir(given.run_dir), args.name or os.environ.get("LOGS", "").split())


def reset_data(given: Settings, args: argparse.Namespace) -> None:
    """delete all data of the stack; tells what, and asks unless YES=1"""
    reset.reset(RunDir(given.run_dir), asked=os.environ.get("YES") == "1")


def execute(given: Settings, args: argparse.Namespace) -> None:
    """run a command with a service's environment: exec catalog -- alembic history"""
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        raise StackError("name a command: python -m stack exec catalog -- alembic history")
    borrow.run(RunDir(given.run_dir), args.service, command)


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="python -m stack", description="Runs the whole product without Docker.", epilog=EPILOG
    )
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    for name, command in {"up": up, "start": start, "stop": stop, "status": show_status, "reset": reset_data}.items():
        _add(commands, name, command)
    commands.choices["up"].add_argument("--background", action="store_true", help=argparse.SUPPRESS)
    commands.choices["up"].add_argument("--dev", action="store_true", help="restart processes when their code is saved")
    _add(commands, "logs", logs).add_argument("name", nargs="*", help="beginning of a process name, such as catalog")
    borrowing = _add(commands, "exec", execute)
    borrowing.add_argument("service", choices=SERVICES)
    borrowing.add_argument("command", nargs=argparse.REMAINDER)
    return root


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, command: Command
) -> argparse.ArgumentParser:
    added = commands.add_parser(name, help=command.__doc__, description=command.__doc__, epilog=EPILOG)
    added.set_defaults(run=command)
    return added


def main() -> int:
    args = parser().parse_args()
    try:
        args.run(settings.load(), args)
    except StackError as error:
        print(f"stack: {error}", file=sys.stderr)
        return error.code
    except PermissionError as error:
        print(
            f"stack: no permission for {error.filename}; was it made by another user? Choose another RUN_DIR",
            file=sys.stderr,
        )
        return 1
    except BrokenPipeError:  # such as `make logs | head`
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
