"""What a strict reader lets in, and what leaves exactly as it was."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.json_encoding import dumps
from common.web.errors import InvalidJSON
from common.web.strict_json import loads


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b"[1,]", b'{"a":1,}', b"NaN", b"[Infinity]", b"-Infinity", b"1e400", b"-1e400", b"1e-400",
        b"1e999999999999999999999", b"9" * 5000, b"1." + b"0" * 500, b'"\\ud800"', b'{"\\udfff": 1}', b'"\\u0000"',
        b'{"\\u0000": 1}', b'"\x00"', b'"\xff"', b"\xef\xbb\xbf{}", '"\ud800"'.encode("utf-8", "surrogatepass"),
        b'{"a": 1, "a": 2}', b'{"x": {"b": 1, "b": 1}}', b"[" * 33 + b"]" * 33, b"[" * 100_000, b'{"a":' * 100_000,
        '{"a": 1}'.encode("utf-16"), b"{'a': 1}", b"undefined", b"01", b"0x10", b"1_000", b"\n\t/* c */ 1",
    ],
)  # fmt: skip
def test_refuses(body: bytes) -> None:
    with pytest.raises(InvalidJSON):
        loads(body)


def test_takes_what_is_json() -> None:
    assert loads(b"[" * 32 + b"]" * 32)
    assert loads('{"é": "\\ud83d\\ude00", "n": [1, -0.5, 1e3, null, true]}'.encode()) == {
        "é": "\N{GRINNING FACE}",
        "n": [1, Decimal("-0.5"), 1000, None, True],
    }


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_raises_nothing_else(body: bytes) -> None:
    try:
        loads(body)
    except InvalidJSON:
        pass


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=2))
def test_numbers_stay_exact(number: Decimal) -> None:
    assert dumps(loads(str(number).encode())) in (str(number).encode(), str(int(number)).encode())
