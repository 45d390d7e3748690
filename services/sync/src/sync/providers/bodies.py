"""Bodies of answers, decompressed piece by piece within limits, and JSON with exact numbers.

httpx inflates a whole chunk at once, up to a thousandfold, so it is done here.
"""

import json
import zlib
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from sync.providers.base import ProviderAnswerInvalid

__all__ = ["Body", "Unpacker", "parse"]

MAX_VALUES = 500_000
# Each costs a copy of the rest of its chunk.
MAX_MEMBERS = 1_000
PIECE = 262_144


class Unpacker:
    """Takes chunks as they arrive and gives pieces of at most `PIECE` bytes, decompressed where that is needed."""

    def __init__(self, encoding: str, where: str, *, members: int = MAX_MEMBERS) -> None:
        if encoding not in {"", "identity", "gzip", "x-gzip"}:
            raise ProviderAnswerInvalid(f"{where} sent a content encoding that was not asked for.")
        self._unzip = zlib.decompressobj(wbits=31) if encoding.endswith("gzip") else None
        self._where = where
        self._members = members

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        if self._unzip is None:
            yield chunk
            return
        while chunk:
            piece, chunk = self._inflate(self._unzip, chunk)
            if piece:
                yield piece

    def _inflate(self, unzip: "zlib._Decompress", chunk: bytes) -> tuple[bytes, bytes]:
        """A piece of the gzip member at hand, and the rest of the chunk.

        A body may be several members, one after the other, with zeros behind them (RFC 1952).
        """
        if unzip.eof:
            chunk = chunk.lstrip(b"\0")
            if not chunk:
                return b"", b""
            self._members -= 1
            self._unzip = unzip = zlib.decompressobj(wbits=31)
        if self._members <= 0:
            raise ProviderAnswerInvalid(f"{self._where} sent a body of more than {MAX_MEMBERS} gzip members.")
        try:
            piece = unzip.decompress(chunk, PIECE)
        except zlib.error as error:
            raise ProviderAnswerInvalid(f"{self._where} sent a body that cannot be decompressed.") from error
        return piece, unzip.unused_data if unzip.eof else unzip.unconsumed_tail

    def finish(self) -> None:
        """Nothing more comes; raises if something is missing."""
        if self._unzip is not None and not self._unzip.eof:
            raise ProviderAnswerInvalid(f"{self._where} sent a body that is cut off.")


class Body:
    """Collects a body, decompressed, and stops as soon as it is too large."""

    def __init__(self, encoding: str, limit: int, where: str) -> None:
        self._unpacker = Unpacker(encoding, where)
        self._limit = limit
        self._where = where
        self._arrived = 0
        self._body = bytearray()

    def feed(self, chunk: bytes) -> None:
        # What arrives is counted too: empty gzip blocks inflate to nothing without end.
        self._arrived += len(chunk)
        for piece in self._unpacker.feed(chunk):
            self._body += piece
            self._check()
        self._check()

    def _check(self) -> None:
        if max(self._arrived, len(self._body)) > self._limit:
            raise ProviderAnswerInvalid(
                f"{self._where} sent more than {self._limit} bytes in one page: ask for smaller pages."
            )

    def finish(self) -> bytes:
        self._unpacker.finish()
        return bytes(self._body)


def parse(body: bytes, where: str = "The source") -> Any:
    """JSON with every fraction as a `Decimal`; NaN and infinities are refused with their record."""
    # Ten megabytes of `[],[],` are hundreds of megabytes of lists.
    if body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_VALUES:
        raise ProviderAnswerInvalid(f"{where} sent more than {MAX_VALUES} values in one page.")
    try:
        return json.loads(body.decode("utf-8-sig"), parse_float=_decimal, parse_int=_whole, parse_constant=_decimal)
    except (ValueError, RecursionError) as error:
        # Not chained: the cause carries the whole page.
        raise ProviderAnswerInvalid(
            f"{where} sent {len(body)} bytes that are not JSON ({type(error).__name__}): check the address."
        ) from None


def _decimal(literal: str) -> Decimal:
    try:
        return Decimal(literal)
    except InvalidOperation:
        return Decimal("NaN")  # an exponent that Decimal cannot hold


def _whole(literal: str) -> int | Decimal:
    # int() raises for 4300 digits, which would fail the page; a Decimal is refused with its record.
    number = int(literal) if len(literal) <= 20 else None
    return number if number is not None and -(2**63) <= number < 2**64 else Decimal(literal)
