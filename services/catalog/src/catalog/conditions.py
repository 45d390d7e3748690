"""Conditional requests: If-Match and If-None-Match (RFC 9110 section 13.1)."""

import re
from typing import Annotated

from fastapi import Depends, Header, Request

from catalog.errors import VersionConflict
from common.web.errors import BadRequest

__all__ = ["ReadConditions", "WriteConditions"]

ANY = "*"
# One element of a list of entity tags; elements may be empty.
_TAG = re.compile(r'[ \t]*(?:(W/)?("[\x21\x23-\x7e\x80-\xff]*"))?[ \t]*(?:,|$)')


class _Tags:
    """The entity tags that the lines of one header name; each is kept with whether it is weak."""

    def __init__(self, header: str, lines: list[str]) -> None:
        value = ", ".join(lines)
        self.any = value.strip() == ANY
        self.named = [] if self.any else _parsed(header, value)

    def strongly(self, tag: str) -> bool:
        return self.any or (False, tag) in self.named

    def weakly(self, tag: str) -> bool:
        return self.any or any(tag == named for _, named in self.named)


def _parsed(header: str, value: str) -> list[tuple[bool, str]]:
    tags, position = [], 0
    while position < len(value):
        if (found := _TAG.match(value, position)) is None:
            raise BadRequest(f'{header} takes entity tags as `ETag` gave them; quote them: {header}: "5-1".')
        weak, tag = found.groups()
        tags += [(weak is not None, tag)] if tag else []
        position = found.end()
    if not tags:
        raise BadRequest(f'{header} names no entity tag; send one as `ETag` gave it: {header}: "5-1".')
    return tags


class _Conditions:
    """What a request asks of the version that it meets."""

    def __init__(self, request: Request) -> None:
        self._match, self._none_match = (
            _Tags(name, lines) if (lines := request.headers.getlist(name)) else None
            for name in ("If-Match", "If-None-Match")
        )

    def unchanged(self, tag: str) -> bool:
        """Whether a read is answered with 304: the client has this version already."""
        return self._none_match is not None and self._none_match.weakly(tag)

    def check(self, tag: str) -> None:
        """Raises VersionConflict unless a write of the version `tag` is wanted. Tags of If-Match compare strongly."""
        if self._match is not None and not self._match.strongly(tag):
            raise VersionConflict("`If-Match` names another version; read the product again.", tag)
        if self.unchanged(tag):
            raise VersionConflict("`If-None-Match` names the version that is there.", tag)


IfMatch = Annotated[str | None, Header(description="Only if this is the version: the `ETag` of an answer, or `*`.")]
IfNoneMatch = Annotated[str | None, Header(description="Only if this is not the version: an `ETag`, or `*`.")]


def _reading(request: Request, if_none_match: IfNoneMatch = None) -> _Conditions:
    return _Conditions(request)


def _writing(request: Request, if_match: IfMatch = None, if_none_match: IfNoneMatch = None) -> _Conditions:
    return _Conditions(request)


# The parameters are there for the documentation: a header may be sent on several lines, which only the request has.
ReadConditions = Annotated[_Conditions, Depends(_reading)]
WriteConditions = Annotated[_Conditions, Depends(_writing)]
