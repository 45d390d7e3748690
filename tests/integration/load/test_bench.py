"""`make bench` measures real servers, and its exit status is that of the budgets."""

from dataclasses import replace

import pytest

from tests.load.bench import bench, parse
from tests.load.rows import ROWS, Bound

READ, UNCHANGED, WRITES = (next(row for row in ROWS if row.name == name) for name in ("pages", "304", "writes"))


def cells(output: str, title: str) -> list[str]:
    line = next(line for line in output.splitlines() if line.startswith(f"| {title} |"))
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_the_table_has_figures_and_a_missed_budget_fails(capfd: pytest.CaptureFixture[str]) -> None:
    assert UNCHANGED.request
    wrong = replace(UNCHANGED, title="wrong", request=replace(UNCHANGED.request, status=200))
    rows = [
        replace(READ, budgets=(Bound("reference", 1e-6),)),
        replace(UNCHANGED, compared=(), statement=None, budgets=(Bound("cpu_ms", 1e-6, at_most=True),)),
        replace(wrong, compared=(), statement=None),
        replace(WRITES, compared=(), statement=None, budgets=()),
    ]
    assert bench(parse(["--quick"]), rows) == 1
    output = capfd.readouterr().out
    _, rps, p50, p99, cpu, reference, fastify, bare, pgbench, baseline, *_, verdict = cells(output, READ.title)
    figures = [
        float(text.replace(" ", "")) for text in (rps, p50, p99, cpu, reference.removesuffix("x"), bare, pgbench)
    ]
    assert all(figure > 0 for figure in figures)
    assert (fastify, baseline, verdict) == ("skipped: --quick", "", "ok")
    assert cells(output, UNCHANGED.title)[-1] == "MISSED"
    assert cells(output, "wrong")[-1].endswith(" errors"), "another status than is expected"
    assert cells(output, WRITES.title)[-1] == "", "no error, neither of a read nor of a write"
