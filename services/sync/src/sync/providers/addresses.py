"""Addresses of sources: what is one, what of it may be shown, and what belongs to the same server."""

import httpx

from sync.providers.base import ProviderMisconfigured, ProviderRefused

__all__ = ["completed", "origin", "parse_address", "same_origin", "shown"]

MAX_URL = 4_000
_PORTS = {"http": 80, "https": 443}


def parse_address(url: str, what: str = "The address of the source") -> httpx.URL:
    """The http(s) address, or `ProviderMisconfigured` that does not repeat it."""
    try:
        address = httpx.URL(url)
    except (httpx.InvalidURL, TypeError, ValueError):
        raise ProviderMisconfigured(f"{what} is not a URL.") from None
    if address.scheme not in _PORTS or not address.host:
        raise ProviderMisconfigured(f"{what} must begin with http:// or https:// and a host.")
    return address


def shown(url: httpx.URL) -> str:
    """The address without user, password and query, which may be secrets."""
    return str(url.copy_with(username=None, password=None, query=None, fragment=None))


def origin(url: httpx.URL) -> tuple[str, str, int]:
    """Scheme, host and port."""
    return url.scheme, url.host, url.port or _PORTS[url.scheme]


def same_origin(base: httpx.URL, url: str, what: str) -> httpx.URL:
    """`url`, seen from `base`, where it stays on the same server; credentials must not go to another one."""
    try:
        target = base.join(url) if len(url) <= MAX_URL else None
    except (httpx.InvalidURL, ValueError):
        target = None
    if target is None or target.scheme not in _PORTS or not target.host:
        raise ProviderRefused(f"{what} is no address of at most {MAX_URL} characters.")
    if origin(target) != origin(base):
        raise ProviderRefused(f"{what} leads to another host, scheme or port than the source, so it is not followed.")
    # Who a request is from is the source's setting alone.
    return target.copy_with(username=base.username or None, password=base.password or None, fragment=None)


def completed(url: httpx.URL, base: httpx.URL) -> httpx.URL:
    """With the parameters of `base` that it lacks: what each request must say, such as a key, is often missing."""
    missing = {name: value for name, value in base.params.multi_items() if name not in url.params}
    return url.copy_merge_params(missing) if missing else url
