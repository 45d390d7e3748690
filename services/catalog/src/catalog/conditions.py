"""Conditional requests: If-Match and If-None-Match (RFC 9110 section 13.1)."""

import re
from typing import Annotated

from fastapi import Depends, Header, Request
from starlette.datastructures import Headers

from catalog.errors import VersionConflict
from common.web.errors import BadRequest

__all__ = ["Conditions", "ReadConditions", "WriteConditions"]

ANY = "*"
# One element of a list of entity tags; elements may be empty.
_TAG = re.compile(r'[ \t]*(?:(W/)?("[\x21\x23-\x7e\x80-\xff]*"))?[ \t]*(?:,|$)')


class _Tags:
    """The entity tags in all lines of a header, each as (weak, tag)."""

    def __init__(self, header: str, lines: list[str]) -> None:
        value = ", ".join(lines)
        self.any = value.strip() == ANY
        self.tags = [] if self.any else _parse(header, value)

    def match_strongly(self, tag: str) -> bool:
        return self.any or (False, tag) in self.tags

    def match_weakly(self, tag: str) -> bool:
        return self.any or any(tag == listed for _, listed in self.tags)


def _parse(header: str, value: str) -> list[tuple[bool, str]]:
    tags, position = [], 0
    while position < len(value):
        if (found := _TAG.match(value, position)) is None:
            raise BadRequest(f'{header} must list entity tags, quoted as in `ETag`: {header}: "5-1".')
        weak, tag = found.groups()
        tags += [(weak is not None, tag)] if tag else []
        position = found.end()
    if not tags:
        raise BadRequest(f'{header} must list at least one entity tag, quoted as in `ETag`: {header}: "5-1".')
    return tags


class Conditions:
    """The conditions of a request on the version of the product."""

    def __init__(self, headers: Headers) -> None:
        self._match, self._none_match = (
            _Tags(name, lines) if (lines := headers.getlist(name)) else None for name in ("If-Match", "If-None-Match")
        )

    def not_modified(self, tag: str) -> bool:
        """Whether the client has this version already, so that a read is answered with 304."""
        return self._none_match is not None and self._none_match.match_weakly(tag)

    def check(self, tag: str) -> None:
        """Raises VersionConflict if the conditions forbid to write the version `tag`. If-Match compares strongly."""
        if self._match is not None and not self._match.match_strongly(tag):
            raise VersionConflict("`If-Match` names another version; read the product again.", tag)
        if self.not_modified(tag):
            raise VersionConflict("`If-None-Match` names the current version.", tag)


IfMatch = Annotated[str | None, Header(description="Write only this version: the `ETag` of an answer, or `*`.")]
IfNoneMatch = Annotated[str | None, Header(description="Not if this is the version: the `ETag` of an answer, or `*`.")]


async def _read_conditions(request: Request, if_none_match: IfNoneMatch = None) -> Conditions:
    return Conditions(request.headers)


async def _write_conditions(
    request: Request, if_match: IfMatch = None, if_none_match: IfNoneMatch = None
) -> Conditions:
    return Conditions(request.headers)


# The parameters are for the OpenAPI document: only the request has all lines of a header that is sent more than once.
# FastAPI would run plain functions in a thread.
ReadConditions = Annotated[Conditions, Depends(_read_conditions)]
WriteConditions = Annotated[Conditions, Depends(_write_conditions)]
