"""The gateway's command line: `python -m gateway serve` (or config)."""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from gateway import process
from gateway.config import bootstrap
from gateway.settings import SettingsError, load


def main() -> None:
    parser = argparse.ArgumentParser(prog="gateway", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="run Envoy until SIGTERM or SIGINT, which it finishes its requests after")
    commands.add_parser("config", help="print Envoy's configuration as the settings make it")
    arguments = parser.parse_args()
    try:
        settings = load(os.environ)
    except SettingsError as error:
        sys.exit(f"gateway: {error}")
    with tempfile.TemporaryDirectory(prefix="products-gateway-") as folder:
        if arguments.command == "config":
            print(json.dumps(bootstrap(settings, Path(folder)), indent=2))
        else:
            sys.exit(process.serve(settings, Path(folder)))


main()
