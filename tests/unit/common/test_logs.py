"""Logs are JSON lines that hold no secret."""

import json
import logging
import re
import sys
import time

import pytest

from common import logs
from common.request_ids import request_id

SECRETS = {
    "Authorization: Bearer abc.def-123_x": "abc.def",
    "token eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln leaked": "eyJhbGci",
    "postgresql://catalog_svc:s3cr3t@db:5432/products": "s3cr3t",
    "redis://:hunter2@redis:6379/0": "hunter2",
    '{"password": "p4ss word", "email": "a@b.c"}': "p4ss",
    "refresh_token=xyz789&grant_type=refresh": "xyz789",
    "client_secret: 'q w e'": "q w e",
    "https://shop.example/products?api_key=K3Y&limit=5": "K3Y",
}


@pytest.mark.parametrize(("text", "secret"), SECRETS.items())
def test_masks(text: str, secret: str) -> None:
    masked = logs.mask(text)
    assert secret not in masked
    assert "***" in masked


def test_leaves_the_rest() -> None:
    text = "GET /products 200, total=5, url=http://catalog:8000/products, password reset is off"
    assert logs.mask(text) == text


def test_a_line_is_json_with_the_request(caplog: pytest.LogCaptureFixture) -> None:
    token = request_id.set("req-1")
    try:
        record = logging.makeLogRecord(
            {"msg": 'line\n"two" %s', "args": ("\u2028",), "levelname": "INFO", "status": 200}
        )
        line = logs._JSONFormatter("catalog").format(record)
    finally:
        request_id.reset(token)
    assert "\n" not in line
    fields = json.loads(line)
    assert (fields["service"], fields["request_id"], fields["status"], fields["level"]) == (
        "catalog",
        "req-1",
        200,
        "info",
    )


HOSTILE = (
    "token", "-password-secret_api-key", "token=a:", "a://a:", "eyJ", "eyJa.", "bearer ", "bearer", "a", 'token="',
    "token='", "authorization   ", "://", "x+y://", "@", "a:b@", 'secret":', "-", "a-",
)  # fmt: skip


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in logs._SECRETS], ids=lambda pattern: pattern.pattern[:20])
def test_no_text_takes_more_than_its_length_is_worth(pattern: re.Pattern[str]) -> None:
    """8 times the text may take 8 times as long, and twice that for the machine's noise; squares would take 64."""

    def seconds(unit: str, size: int) -> float:
        text = (unit * size)[:size]
        times = []
        for _ in range(7):
            began = time.process_time()
            pattern.sub("", text)
            times.append(time.process_time() - began)
        return min(times)

    for unit in HOSTILE:
        assert seconds(unit, 8 * 1024) < 16 * max(seconds(unit, 1024), 5e-5), unit


def test_a_long_text_is_cut() -> None:
    masked = logs.mask("a" * (logs.MAX_TEXT + 5))
    assert masked == "a" * logs.MAX_TEXT + "... (5 more)"


def test_a_path_is_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines of requests are made of known fields: whatever is in a path, no pattern runs over it."""
    monkeypatch.setattr(logs, "mask", lambda _: pytest.fail("searched"))
    record = logging.makeLogRecord(
        {"name": logs.ACCESS, "msg": "GET %s", "args": ("/products/token=1",), "status": 200}
    )
    record.levelname = "INFO"
    assert json.loads(logs._JSONFormatter("catalog").format(record))["message"] == "GET /products/token=1"


def test_extras_and_exceptions_are_masked() -> None:
    try:
        raise ValueError("password=hunter2")
    except ValueError:
        record = logging.makeLogRecord({"msg": "failed", "levelname": "ERROR", "url": "redis://:hunter2@redis/0"})
        record.exc_info = sys.exc_info()
    for formatter in (logs._JSONFormatter("catalog"), logs._PrettyFormatter()):
        line = formatter.format(record)
        assert "hunter2" not in line
        assert line.count("***") >= 2


def test_a_terminal_obeys_nothing_in_a_line() -> None:
    record = logging.makeLogRecord({"msg": "GET /\x1b[2J\x9b31m\r\nINFO forged", "levelname": "INFO", "key": "\x07"})
    line = logs._PrettyFormatter().format(record)
    body = line.replace("\033[32m", "").replace("\033[0m", "")
    assert not [char for char in body if ord(char) < 32 or 127 <= ord(char) < 160]
    assert r"\x1b[2J\x9b31m\x0d\nINFO forged key=\x07" in body
