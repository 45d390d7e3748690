"""Logs are JSON lines that hold no secret."""

import json
import logging

import pytest

from common import context, logs

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


@pytest.mark.parametrize("text, secret", SECRETS.items())
def test_masks(text: str, secret: str) -> None:
    masked = logs.mask(text)
    assert secret not in masked and "***" in masked


def test_leaves_the_rest() -> None:
    text = "GET /products 200, total=5, url=http://catalog:8000/products, password reset is off"
    assert logs.mask(text) == text


def test_a_line_is_json_with_the_request(caplog: pytest.LogCaptureFixture) -> None:
    token = context.request_id.set("req-1")
    try:
        record = logging.makeLogRecord(
            {"msg": 'line\n"two" %s', "args": ("\u2028",), "levelname": "INFO", "status": 200}
        )
        line = logs._JSONFormatter("catalog").format(record)
    finally:
        context.request_id.reset(token)
    assert "\n" not in line
    fields = json.loads(line)
    assert (fields["service"], fields["request_id"], fields["status"], fields["level"]) == (
        "catalog",
        "req-1",
        200,
        "info",
    )
