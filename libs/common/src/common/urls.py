"""Addresses as they may be shown."""

from urllib.parse import urlsplit

__all__ = ["without_secrets"]


def without_secrets(url: str) -> str:
    """The address without user, password, query and fragment, which may hold a key."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
