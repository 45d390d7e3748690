"""Writes the tables of values into the chart's README from the comments in values.yaml: `python -m stack.chart`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

__all__ = ["README", "Value", "rendered", "values"]

CHART = Path(__file__).parents[4] / "helm/products-api"
README = CHART / "README.md"
MARK = "<!-- values -->\n"
LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w.-]+):(?P<rest>.*)$")


class Value(NamedTuple):
    """One value that an operator may set: its path, its default as JSON, what its comment says."""

    path: str
    default: str
    meaning: str


def values(text: str) -> Iterator[Value]:
    """All values in order; raises ValueError for one that has no comment.

    A comment above a key is about all that it holds, unless something in it has a comment of its own; then it is a row
    without a default.
    """
    tree = yaml.safe_load(text)
    lines = text.splitlines()
    path: list[str] = []
    covered: str | None = None
    comment: list[str] = []
    for number, line in enumerate(lines):
        if line.strip().startswith("#"):
            comment.append(line.strip().removeprefix("#").strip())
            continue
        if not (match := LINE.match(line)):
            # An empty line parts a comment from what follows; a list's items belong to their key.
            comment = [] if not line.strip() else comment
            continue
        path = [*path[: len(match["indent"]) // 2], match["key"]]
        name = ".".join(path)
        said, comment = " ".join(comment), []
        if covered is not None and name.startswith(f"{covered}."):
            continue
        covered = None
        below = _below(lines[number + 1 :], len(match["indent"]))
        if any(it.strip().startswith("#") for it in below):
            if said:
                yield Value(name, "", said)
            continue
        if not said:
            raise ValueError(f"values.yaml:{number + 1}: {name} has no comment")
        covered = name
        yield Value(name, _default(tree, path), said)


def _below(lines: list[str], indent: int) -> Iterator[str]:
    """The lines inside a key that is indented by `indent`."""
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
        lines = [f"| `{row.path}` | {_code(row.default)} | {_text(row.meaning)} |" for row in rows]
        parts.append("\n".join([f"### {key}", "", "| value | default | meaning |", "|---|---|---|", *lines, ""]))
    return head + "\n" + "\n".join(parts)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _text(text: str) -> str:
    return text.replace("|", "/").replace("<", "&lt;")


def main() -> None:
    text = (CHART / "values.yaml").read_text("utf-8")
    README.write_text(rendered(README.read_text("utf-8"), text), "utf-8")
    print(f"wrote {README}")


if __name__ == "__main__":
    main()
