"""Logs: JSON lines for machines, short lines for a terminal; secrets masked, the request's id on each."""

import datetime
import logging
import re
import sys
from typing import Any

import msgspec

from common import tracing
from common.request_ids import request_id
from common.settings import ServiceSettings

__all__ = ["ACCESS", "mask", "setup"]

_encode = msgspec.json.Encoder(enc_hook=str).encode
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}
ACCESS = "access"
"""The logger of requests. Its lines are made of known fields, so nothing in them is searched for secrets."""

# Longer texts are cut before they are searched or kept.
MAX_TEXT = 16 * 1024
# Each pattern is linear in the length of the text: possessive quantifiers never step back, every start is at a place
# that no other start of the same length shares, and what has no end is bounded.
_SECRETS = (
    (re.compile(r"(?i)(\bbearer\s++)[\w.~+/=-]++"), r"\1***"),
    (re.compile(r"(?<![\w-])eyJ[\w-]++\.[\w-]++\.[\w-]*+"), "***"),
    (re.compile(r"((?<![\w+.-])[\w+.-]++://[^\s:/@]{0,256}+:)[^\s@]{1,256}+@"), r"\1***@"),
    (
        re.compile(
            r"(?i)((?:password|passwd|secret|token|api[_-]?key|authorization)[\w-]{0,40}+[\"']?+\s{0,8}+[=:]\s{0,8}+)"
            r"(?:\"[^\"]*+\"?|'[^']*+'?|[^\s,;&}\"']++)"
        ),
        r"\1***",
    ),
)
# A terminal obeys control characters, so they are shown instead; tab and line feed stay.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}
_COLORS = {"DEBUG": 36, "INFO": 32, "WARNING": 33, "ERROR": 31, "CRITICAL": 31}


def mask(text: str) -> str:
    """`text` with tokens, passwords and credentials in URLs replaced by ***, and cut at MAX_TEXT characters."""
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}... ({len(text) - MAX_TEXT} more)"
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _message(record: logging.LogRecord) -> str:
    text = record.getMessage()
    return text if record.name == ACCESS else mask(text)


class _JSONFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": _message(record),
        }
        if (current_id := request_id.get()) != "-":
            fields["request_id"] = current_id
        if trace_id := tracing.trace_id():
            fields["trace_id"] = trace_id
        for key, value in _extras(record):
            fields[key] = mask(value) if isinstance(value, str) else value
        if record.exc_info:
            fields["exception"] = mask(self.formatException(record.exc_info))
        return _encode(fields).decode()


class _PrettyFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC).astimezone().strftime("%H:%M:%S")
        level = f"\033[{_COLORS[record.levelname]}m{record.levelname:<7}\033[0m"
        extras = " ".join(f"{key}={mask(str(value))}" for key, value in _extras(record))
        text = f"{_message(record)} {extras}".rstrip().replace("\n", "\\n")
        if record.exc_info:
            text += "\n" + mask(self.formatException(record.exc_info))
        return f"{time} {level} {text.translate(_CONTROLS)}"


def _extras(record: logging.LogRecord) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in vars(record).items() if key not in _STANDARD]


def setup(settings: ServiceSettings, service: str) -> None:
    """Send all logging of the process to stderr in the format of the settings."""
    pretty = settings.log_format == "pretty" or (settings.log_format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler()
    handler.setFormatter(_PrettyFormatter() if pretty else _JSONFormatter(service))
    logging.basicConfig(handlers=[handler], level=settings.log_level.upper(), force=True)
    logging.captureWarnings(True)
    for noisy in ("httpx", "httpcore", "uvicorn.access", "psycopg.pool", "rq_scheduler.scheduler"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
