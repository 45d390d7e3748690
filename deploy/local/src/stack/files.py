"""Private files that are either whole or absent."""

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["read_json", "write_json", "write_private"]


def write_private(path: Path, text: str) -> None:
    """Replace a file at once; only its owner can read it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)


def write_json(path: Path, value: Any) -> None:
    write_private(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """The content, or None when the file is missing or broken."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
