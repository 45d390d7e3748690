"""Guesses the options of `rest` from one answer: where its records are, how it pages, and what is what.

A proposal is a beginning for a person: it is tried by `sample`, and never used by itself.
"""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec

from sync.providers.base import ProviderConfig
from sync.providers.credentials import AUTH_KINDS, CREDENTIAL_OPTIONS, Auth, NoAuth, check_constants, credentials
from sync.providers.http import Answer, JsonClient
from sync.providers.options import kinds, read
from sync.providers.paging import next_link
from sync.providers.rest import Query, with_query

__all__ = ["propose"]

DEPTH = 4
# As names are compared: lower case, without dashes and underscores. The first that is there is taken.
FIELDS: dict[str, tuple[str, ...]] = {
    "external_id": ("id", "sku", "code", "uid", "uuid", "productid", "ref", "handle"),
    "name": ("title", "name", "label", "productname", "displayname"),
    "price": ("price", "saleprice", "currentprice", "amount", "cost", "unitprice", "grossprice"),
    "category": ("category", "categoryname", "producttype", "type", "department", "group"),
    "description": ("description", "body", "bodyhtml", "summary", "text"),
    "currency": ("currency", "currencycode"),
    "brand": ("brand", "vendor", "manufacturer", "maker"),
    "sku": ("sku", "articlenumber", "partnumber", "mpn"),
    "stock": ("stock", "quantity", "inventory", "inventoryquantity", "available", "onhand"),
    "image_url": ("thumbnail", "image", "imageurl", "img", "picture", "photo"),
}
NEXT = ("next", "nexturl", "nextpage", "nextlink")
CURSORS = ("nextcursor", "endcursor", "cursor", "nextpagetoken", "nexttoken", "after", "continuation")
OFFSETS, LIMITS = ("skip", "offset", "start"), ("limit", "take", "count", "pagesize", "size")
TOTALS, PAGES = ("total", "totalcount", "count", "totalitems"), ("totalpages", "lastpage", "pagecount", "pages")
PAGE = ("page", "currentpage", "pagenumber")


class _Access(msgspec.Struct, frozen=True, kw_only=True):
    """The options that a request needs, whatever the others are."""

    auth: Auth = NoAuth()
    query: Query = {}
    headers: dict[str, str] = {}


async def propose(config: ProviderConfig) -> dict[str, Any]:
    """Options for this source, from one request with `auth`, `query` and `headers` of `config.options`.

    What cannot be guessed is missing, such as a mapping that is required: then they are refused as they are.
    """
    given = {name: config.options[name] for name in ("auth", "query", "headers") if name in config.options}
    access = read(given, _Access, choices={"auth.kind": kinds(*AUTH_KINDS)}, credentials=CREDENTIAL_OPTIONS)
    check_constants(access.headers, access.query)
    url = with_query(config, access.query)
    client = JsonClient(msgspec.structs.replace(config, url=str(url)), credentials(access.auth, config), access.headers)
    try:
        answer = await client.ask(client.url)
    finally:
        await client.aclose()
    return given | guessed(answer, url)


def guessed(answer: Answer, url: httpx.URL) -> dict[str, Any]:
    """What one answer of this address shows."""
    lists = [(path, value) for path, value in _members(answer.value) if _is_records(value)]
    if not lists:
        return {}
    path, records = max(lists, key=lambda found: len(found[1]))
    paging = {"kind": "link"} if next_link(answer.headers) else _paging(answer.value, url)
    return {"items": path or "@", "paging": paging, "mapping": _mapping(records[0])}


def _members(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Everything in an answer that is not in a list, with its path; the least deep first."""
    level = [(path, value)]
    while level and depth <= DEPTH:
        yield from level
        level = [
            (f"{above}.{_quoted(name)}".lstrip("."), member)
            for above, each in level
            if isinstance(each, dict)
            for name, member in list(each.items())[:100]
        ]
        depth += 1


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _paging(answer: Any, url: httpx.URL) -> dict[str, Any]:
    found: dict[str, tuple[str, str, Any]] = {}
    for path, value in _members(answer):
        name = path.rpartition(".")[2].strip('"')
        if not isinstance(value, dict | list):
            found.setdefault(_plain(name), (path, name, value))
    if (following := _first(found, NEXT)) and isinstance(following[2], str) and re.match(r"https?:|[/?]", following[2]):
        return {"kind": "next_url", "next": following[0]}
    if (cursor := _first(found, CURSORS)) and isinstance(cursor[2], str | int):
        return {"kind": "cursor", "next": cursor[0]}
    offset, limit, total = (_first(found, names) for names in (OFFSETS, LIMITS, TOTALS))
    if offset and limit:
        stated = {"total": total[0]} if total and total != limit else {}
        return {"kind": "offset", "limit_param": limit[1], "offset_param": offset[1]} | stated
    if pages := _first(found, PAGES):
        asked = next((name for name in url.params if _plain(name) in PAGE), "page")
        return {"kind": "page", "page_param": asked, "total_pages": pages[0]}
    return {"kind": "none"}


def _first(found: dict[str, tuple[str, str, Any]], names: tuple[str, ...]) -> tuple[str, str, Any] | None:
    return next((found[name] for name in names if name in found and found[name][2] not in (None, "")), None)


def _mapping(record: dict[str, Any]) -> dict[str, Any]:
    """A rule for each field that the record seems to have."""
    names = {_plain(name): name for name in record}
    rules: dict[str, Any] = {}
    for field, candidates in FIELDS.items():
        name = next((names[it] for it in candidates if it in names and record[names[it]] is not None), None)
        if name is not None:
            rules[field] = _rule(field, _quoted(name), record[name])
    return {field: rule for field, rule in rules.items() if rule is not None}


def _rule(field: str, path: str, value: Any) -> Any:
    if isinstance(value, list) and value:
        return _rule(field, f"{path}[0]", value[0])
    if isinstance(value, dict):
        inner = ("url", "src") if field == "image_url" else ("amount", "value", "name", "title")
        name = next((it for it in inner if it in value and not isinstance(value[it], dict | list)), None)
        return None if name is None else _rule(field, f"{path}.{name}", value[name])
    if field == "price" and isinstance(value, str):
        return {"path": path, "cast": "number"}
    if field == "stock" and isinstance(value, str):
        return {"path": path, "cast": "integer"}
    if field in {"name", "sku"} and not isinstance(value, str):
        return {"path": path, "cast": "string"}
    return path


def _plain(name: str) -> str:
    return re.sub(r"[-_. ]", "", name[:60].lower())


def _quoted(name: str) -> str:
    """The name as JMESPath writes it."""
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else msgspec.json.encode(name[:200]).decode()
