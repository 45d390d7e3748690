"""`python -m stack`: see --help."""

import argparse
import sys

from stack import commands, settings
from stack.errors import StackError
from stack.services import SERVICES

EPILOG = f"""environment (or .env): PORT (8000), RUN_DIR (.run), {", ".join(map(str, settings.REPLICAS))} (1),
EXTERNAL_API_URL (the bundled stand-in for DummyJSON), POSTGRES_URL and REDIS_URL (servers of your own; POSTGRES_URL is
that of an owner or superuser of the database, where roles and schemas are created), with --dev also DEBUG=catalog (a
debugger may attach to 127.0.0.1:5678); all other variables are passed on to the services."""
COMMANDS = {
    "up": commands.up,
    "start": commands.start,
    "stop": commands.stop,
    "status": commands.show_status,
    "logs": commands.logs,
    "reset": commands.reset,
    "exec": commands.execute,
}


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="python -m stack", description="Runs the whole product without Docker.", epilog=EPILOG
    )
    added = root.add_subparsers(required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        child = added.add_parser(name, help=command.__doc__, description=command.__doc__, epilog=EPILOG)
        child.set_defaults(run=command)
    added.choices["up"].add_argument("--background", action="store_true", help=argparse.SUPPRESS)
    added.choices["up"].add_argument("--dev", action="store_true", help="restart processes when their code is saved")
    added.choices["logs"].add_argument("name", nargs="*", help="beginning of a process name, such as catalog")
    added.choices["exec"].add_argument("service", choices=SERVICES)
    added.choices["exec"].add_argument("command", nargs=argparse.REMAINDER)
    return root


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
