"""Conditional requests: a source that is one answer is read only if it has changed.

An ETag of one page says nothing of the others, so that sources of several pages are always read.
"""

import hashlib
import re
from collections.abc import Mapping

import httpx
import msgspec

from sync.providers.base import ProviderConfig

__all__ = ["Condition"]

_FIT = re.compile(r"[\x20-\x7e]{1,500}")
HEADERS = {"etag": "If-None-Match", "last_modified": "If-Modified-Since"}


class Condition:
    """What the last complete pass has seen, if it was of the same address and options."""

    def __init__(self, config: ProviderConfig) -> None:
        # With other options the same answer is other products.
        subject = msgspec.json.encode([config.url, config.options], order="sorted")
        self._subject = hashlib.sha256(subject).hexdigest()[:32]
        same = config.validators.get("subject") == self._subject
        self._seen = {name: value for name, value in config.validators.items() if same and name in HEADERS}

    def headers(self) -> dict[str, str]:
        """By which a source is asked for what has changed since."""
        return {HEADERS[name]: value for name, value in self._seen.items() if _FIT.fullmatch(value)}

    def is_met_by(self, etag: str) -> bool:
        """Whether this is what was seen."""
        return self._seen.get("etag") == etag

    def of(self, headers: Mapping[str, str] | httpx.Headers) -> dict[str, str]:
        """The validators of an answer with these headers; {} if it has none."""
        found = {"etag": headers.get("etag", ""), "last_modified": headers.get("last-modified", "")}
        found = {name: value for name, value in found.items() if _FIT.fullmatch(value)}
        return found | {"subject": self._subject} if found else {}
