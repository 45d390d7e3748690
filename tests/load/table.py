"""The table of `make bench`, in the terminal and in the pages that hold it."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.load.rows import Figures, Row

__all__ = ["COLUMNS", "FULL", "SHORT", "line", "lines", "number", "write"]

Cell = Callable[[Row, Figures, Mapping[str, str]], str]


def number(value: float) -> str:
    """Three digits, and thousands as a reader writes them."""
    return f"{value:,.0f}".replace(",", " ") if value >= 100 else f"{value:.3g}"


def _figure(name: str, unit: str = "") -> Cell:
    def cell(row: Row, figures: Figures, skipped: Mapping[str, str]) -> str:
        if name in figures:
            return number(figures[name]) + unit
        reason = skipped.get(name) if name in row.compared else ""
        return f"skipped: {reason}" if reason else ""

    return cell


def _baseline(row: Row, figures: Figures, _: Mapping[str, str]) -> str:
    what = {"rps": "requests/s", "p50": "p50", "cpu_ms": "CPU"}[row.figure]
    return f"{number(figures['baseline'])}x {what}" if "baseline" in figures else ""


COLUMNS: Mapping[str, Cell] = {
    "request": lambda row, *_: row.title,
    "requests/s": _figure("rps"),
    "p50 ms": _figure("p50"),
    "p99 ms": _figure("p99"),
    "CPU ms": _figure("cpu_ms"),
    "reference": _figure("reference", "x"),
    "Fastify": _figure("fastify", "x"),
    "bare ASGI": _figure("bare"),
    "pgbench": _figure("pgbench"),
    "baseline": _baseline,
    "budget": lambda row, *_: ", ".join(map(str, row.budgets)),
    "goal": lambda row, *_: ", ".join(map(str, row.goals)),
    "": lambda row, figures, _: row.verdict(figures),
}
FULL = tuple(COLUMNS)
SHORT = FULL[: FULL.index("bare ASGI")]


def line(row: Row, figures: Figures, skipped: Mapping[str, str], columns: tuple[str, ...] = FULL) -> str:
    return f"| {' | '.join(COLUMNS[name](row, figures, skipped) for name in columns)} |"


def lines(results: Mapping[Row, Figures], skipped: Mapping[str, str], columns: tuple[str, ...] = FULL) -> list[str]:
    """The whole table; the start of a process is no request, and is in the full table alone."""
    head = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    shown = [row for row in results if columns == FULL or row.request]
    return head + [line(row, results[row], skipped, columns) for row in shown]


def write(page: Path, name: str, text: str) -> None:
    """Replace what is between `<!-- name -->` and `<!-- end of name -->`."""
    before, begin, rest = page.read_text("utf-8").partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- end of {name} -->\n")
    if not (begin and end):
        raise ValueError(f"{page} has no place for {name}")
    page.write_text(f"{before}{begin}\n{text}\n\n{end}{after}", "utf-8")
