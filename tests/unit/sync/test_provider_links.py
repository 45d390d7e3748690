"""The Link header (RFC 8288), as servers write it and as none should."""

import time

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.providers.paging import next_link


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ('<https://a.test/?p=2>; rel="next"', "https://a.test/?p=2"),
        ("</?p=2>; rel=next", "/?p=2"),
        ('</?p=2>;rel="NEXT"', "/?p=2"),
        ('</?p=2> ; title="a, <b>; rel=next" ; REL = "prev next"', "/?p=2"),
        ('</1>; rel="first", </2>; rel="next", </9>; rel="last"', "/2"),
        ('</1>; rel="next", </2>; rel="next"', "/1"),
        ('</?a=1,2;b>; rel="next"', "/?a=1,2;b"),
        ('</1>; title="rel=next"; rel="prev"', None),
        ('</1>; rel="nextpage"', None),
        ('</1>; rel="prev"', None),
        ("</1>", None),
        ("/1; rel=next", None),
        ("", None),
    ],
)
def test_the_next_one(header: str, target: str | None) -> None:
    assert next_link(httpx.Headers({"link": header})) == target


def test_several_headers() -> None:
    headers = httpx.Headers([("link", '</1>; rel="first"'), ("link", '</2>; rel="next"')])
    assert next_link(headers) == "/2"


@given(st.text(alphabet='<>;,"= relnxt/', max_size=60))
def test_nothing_breaks_it(header: str) -> None:
    found = next_link(httpx.Headers({"link": header}))
    assert found is None or f"<{found}>" in header


@pytest.mark.parametrize("part", ["<", "<>", '<>"', "<>;", "; rel", "<>; rel=", "; ", '"', '<>";', "<>;rel=a"])
def test_time_is_that_of_the_length(part: str) -> None:
    began = time.process_time()
    next_link(httpx.Headers({"link": part * 100_000}))
    assert time.process_time() - began < 1
