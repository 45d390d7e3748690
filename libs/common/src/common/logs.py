"""Logs: JSON lines for machines, short lines for a terminal; secrets masked, the request's id on each."""

import datetime
import logging
import re
import sys
from typing import Any

import msgspec

from common import context, tracing
from common.settings import ServiceSettings

__all__ = ["mask", "setup"]

_encode = msgspec.json.Encoder(enc_hook=str).encode
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}
_SECRETS = (
    (re.compile(r"(?i)(bearer\s+)[\w.~+/=-]+"), r"\1***"),
    (re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*"), "***"),
    (re.compile(r"(\w+://[^\s:/@]*:)[^\s@]+@"), r"\1***@"),
    (
        re.compile(
            r"(?i)([\"']?[\w-]*(?:password|passwd|secret|token|api[_-]?key|authorization)[\w-]*[\"']?\s*[=:]\s*)"
            r"(?:\"[^\"]*\"|'[^']*'|[^\s,;&}\"']+)"
        ),
        r"\1***",
    ),
)
_COLORS = {"DEBUG": 36, "INFO": 32, "WARNING": 33, "ERROR": 31, "CRITICAL": 31}


def mask(text: str) -> str:
    """`text` with tokens, passwords and credentials in URLs replaced by ***."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


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
            "message": mask(record.getMessage()),
        }
        if (request_id := context.request_id.get()) != "-":
            fields["request_id"] = request_id
        if trace_id := tracing.trace_id():
            fields["trace_id"] = trace_id
        for key, value in _extras(record):
            fields[key] = mask(value) if isinstance(value, str) else value
        if record.exc_info:
            fields["exception"] = mask(self.formatException(record.exc_info))
        return _encode(fields).decode()


class _PrettyFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        level = f"\033[{_COLORS[record.levelname]}m{record.levelname:<7}\033[0m"
        extras = " ".join(f"{key}={value}" for key, value in _extras(record))
        line = mask(f"{time} {level} {record.getMessage()} {extras}".rstrip())
        return line + ("\n" + mask(self.formatException(record.exc_info)) if record.exc_info else "")


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
