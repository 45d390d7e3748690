"""Writes the tables of the chart's README and parts of its schema: `python -m tools.chart`.

What a value means is said in the comments of values.yaml; what a setting may be, in its declaration.
"""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tools.settings import SERVICES, groups

__all__ = ["README", "SCHEMA", "Value", "described", "rendered", "values"]

CHART = Path(__file__).parents[1] / "helm/products-api"
README = CHART / "README.md"
SCHEMA = CHART / "values.schema.json"
MARK = "<!-- values -->\n"
_SETTINGS = {setting.name: setting for _, group in groups() for setting in group}
# The schema of each service, whose settings and words are added; some have more.
_SERVICE: dict[str, Any] = {
    "enabled": {"type": "boolean"},
    "settings": {"type": "object", "additionalProperties": False},
    "settingsFrom": {"$ref": "#/$defs/settingsFrom"},
    "database": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "url": {"type": "string", "pattern": r"^(postgres(ql(\+psycopg)?)?://.+)?$"},
            "existingSecret": {"$ref": "#/$defs/name"},
            "key": {"$ref": "#/$defs/key"},
        },
    },
    "api": {"$ref": "#/$defs/process"},
}
KEY = re.compile(r"^(?P<indent> *)(?P<name>[\w.-]+):")


class Value(NamedTuple):
    """One value that an operator may set: its path, its default as JSON, what its comment says."""

    path: str
    default: str
    meaning: str


class _Key(NamedTuple):
    """A line of the file that begins with a key: how deep it is, the comment above it, whether it holds comments."""

    line: int
    depth: int
    name: str
    comment: str
    holds_comments: bool


def values(text: str) -> Iterator[Value]:
    """All values in order; raises ValueError for one that has no comment.

    A comment above a key is about all that it holds, unless something in it has a comment of its own; then it is a row
    without a default.
    """
    tree = yaml.safe_load(text)
    path: list[str] = []
    described: str | None = None
    for key in _keys(text):
        path = [*path[: key.depth], key.name]
        name = ".".join(path)
        if described is not None and name.startswith(f"{described}."):
            continue
        if key.holds_comments:
            if key.comment:
                yield Value(name, "", key.comment)
            continue
        if not key.comment:
            raise ValueError(f"values.yaml:{key.line}: {name} has no comment")
        described = name
        yield Value(name, _default(tree, path), key.comment)


def _keys(text: str) -> Iterator[_Key]:
    lines = text.splitlines()
    comment: list[str] = []
    for number, line in enumerate(lines, 1):
        if line.strip().startswith("#"):
            comment.append(line.strip().removeprefix("#").strip())
        elif match := KEY.match(line):
            indent = len(match["indent"])
            holds_comments = any(it.strip().startswith("#") for it in _inside(lines[number:], indent))
            yield _Key(number, indent // 2, match["name"], " ".join(comment), holds_comments)
            comment = []
        elif not line.strip():
            comment = []  # an empty line separates a comment from the next key


def _inside(lines: list[str], indent: int) -> Iterator[str]:
    """The lines below a key that is indented by `indent`."""
    for line in lines:
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            return
        yield line


def _default(tree: object, path: list[str]) -> str:
    for key in path:
        assert isinstance(tree, dict)
        tree = tree[key]
    return json.dumps(tree, ensure_ascii=False)


def rendered(readme: str, text: str) -> str:
    """The README with fresh tables after the mark, one for each key at the top."""
    head = readme[: readme.index(MARK) + len(MARK)]
    tables: dict[str, list[Value]] = {}
    for value in values(text):
        tables.setdefault(value.path.partition(".")[0], []).append(value)
    parts = []
    for key, rows in tables.items():
        lines = [f"| `{row.path}` | {_code(row.default)} | {_escaped(row.meaning)} |" for row in rows]
        parts.append("\n".join([f"### {key}", "", "| value | default | meaning |", "|---|---|---|", *lines, ""]))
    return head + "\n" + "\n".join(parts)


def settings(text: str) -> dict[str, list[str]]:
    """The names of settings in values.yaml, by the key at its top that holds them."""
    tree = yaml.safe_load(text)
    return {key: list(tree[key]["settings"]) for key in tree if isinstance(tree[key], dict) and "settings" in tree[key]}


def described(schema: str, text: str) -> str:
    """The schema with all services and the limits of settings, and the meaning of each value as its description.

    A definition that several values share keeps the words of the first; what is in no comment has its own.
    """
    document = json.loads(schema)
    for owner, names in settings(text).items():
        whole = {"type": "object", "additionalProperties": False, "properties": {}}
        properties = document["properties"].setdefault(owner, whole)["properties"]
        if owner in SERVICES:
            properties |= deepcopy(_SERVICE)
        properties["settings"]["properties"] = {name: _SETTINGS[name].limits for name in names}
    done: set[int] = set()
    for value in values(text):
        node = document
        for key in value.path.split("."):
            node = _referred(document, node)["properties"][key]
        if id(node) not in done:
            node["description"] = value.meaning
            done.add(id(node))
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _referred(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """A node itself, or the one in `document` that its $ref points to."""
    while reference := node.get("$ref"):
        node = document
        for key in reference.removeprefix("#/").split("/"):
            node = node[key]
    return node


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _escaped(text: str) -> str:
    return text.replace("|", "/").replace("<", "&lt;")


def main() -> None:
    text = (CHART / "values.yaml").read_text("utf-8")
    README.write_text(rendered(README.read_text("utf-8"), text), "utf-8")
    SCHEMA.write_text(described(SCHEMA.read_text("utf-8"), text), "utf-8")
    print(f"wrote {README} and {SCHEMA}")


if __name__ == "__main__":
    main()
