"""The rows, bounds and tables of `make bench`."""

import base64
from dataclasses import replace
from pathlib import Path

import pytest

from tests.load import table
from tests.load.bench import parse
from tests.load.client import Load, Request
from tests.load.rows import CHANGES, ROWS, SPARE, Bound, deep, hot, pages, spare

BY_ID = ROWS[0]


@pytest.mark.parametrize(
    ("bound", "figures", "met"),
    [
        (Bound("reference", 9), {"reference": 9.0}, True),
        (Bound("reference", 9), {"reference": 8.9}, False),
        (Bound("cpu_ms", 0.14, at_most=True), {"cpu_ms": 0.14}, True),
        (Bound("cpu_ms", 0.14, at_most=True), {"cpu_ms": 0.15}, False),
        (Bound("baseline", 0.7, at_most=True), {}, True),
    ],
)
def test_a_bound_is_met_or_not(bound: Bound, figures: dict[str, float], met: bool) -> None:
    assert bound.met(figures) is met


@pytest.mark.parametrize(
    ("figures", "verdict"),
    [
        ({"reference": 10.0, "cpu_ms": 0.1}, "ok"),
        ({"reference": 10.0, "cpu_ms": 0.2}, "MISSED"),
        ({"reference": 10.0, "cpu_ms": 0.1, "errors": 2.0}, "2 errors"),
        ({"p50": 1.0}, ""),
    ],
)
def test_every_budget_and_every_error_counts(figures: dict[str, float], verdict: str) -> None:
    assert BY_ID.verdict(figures) == verdict


def test_the_budget_that_needs_a_baseline_is_not_judged_without() -> None:
    row = next(row for row in ROWS if row.name == "post")
    assert row.verdict({"rps": 100.0, "errors": 0.0}) == ""


def test_what_is_read_is_there_and_is_never_written() -> None:
    products = 100_000
    assert (len(hot(products)), hot(products)[-1]) == (1000, 99_901)
    assert len(pages(products)) == 1000
    assert pages(products)[-1] + 100 <= products, "all pages are full"
    assert len(deep(products)) == 1
    assert (spare(products)[0], len(spare(products))) == (products + 1, SPARE)


def test_a_request_is_written_with_an_id_of_its_own() -> None:
    sent = replace(CHANGES, ids=(7, 8, 1)).prepared(1.0)
    head, _, body = sent[0].partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /products/7 HTTP/1.1\r\n")
    assert f"Content-Length: {len(body)}" in head.decode()
    assert len(set(sent)) > len(sent) / 2, "a PUT of the same values would write nothing"
    (listed, *_) = Request("/products?cursor={cursor}", ids=(90_000, 90_001, 1)).prepared(1.0)
    assert listed.split()[1] == b"/products?cursor=" + base64.urlsafe_b64encode(b"id:90000").rstrip(b"=")


def test_a_load_is_handed_to_its_process_as_it_is() -> None:
    load = Load(8000, 1.0, 16, BY_ID.request or Request(""), CHANGES, 20.0)
    read = Load.parse(str(load))
    assert replace(read, request=load.request, writes=load.writes) == load
    assert read.writes
    assert read.writes.body == CHANGES.body


def test_the_table_says_why_something_is_missing() -> None:
    figures = {"rps": 12_345.6, "p50": 1.234, "p99": 9.876, "cpu_ms": 0.0612, "reference": 15.04}
    shown = table.lines({BY_ID: figures}, {"fastify": "no Node"}, table.SHORT)
    assert shown[-1] == f"| {BY_ID.title} | 12 346 | 1.23 | 9.88 | 0.0612 | 15x | skipped: no Node |"
    starts = [row for row in ROWS if row.request is None]
    assert len(table.lines({row: {} for row in starts}, {}, table.SHORT)) == 2
    assert len(table.lines({row: {} for row in starts}, {})) == 2 + len(starts)


def test_a_table_takes_its_place_in_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench -->\nold\n<!-- end of bench -->\nafter\n")
    for _ in range(2):
        table.write(page, "bench", "new")
        assert page.read_text() == "before\n<!-- bench -->\n\nnew\n\n<!-- end of bench -->\nafter\n"
    with pytest.raises(ValueError, match="no place"):
        table.write(page, "other", "new")


def test_rows_are_chosen_by_name_and_a_baseline_needs_its_packages(tmp_path: Path) -> None:
    assert parse(["--rows", "by-id,list"]).rows == ["by-id", "list"]
    for arguments in (["--rows", "by_id"], ["--baseline", str(tmp_path)]):
        with pytest.raises(SystemExit):
            parse(arguments)
