"""Emails as their owners type them, and the keys that tell whether two are the same."""

import re
import unicodedata
from dataclasses import dataclass

import idna

__all__ = ["MAX_LENGTH", "Email"]

MAX_LENGTH = 254
# Sane rather than all of RFC 5322: no quoted local parts, and a domain of two labels or more.
_LABEL = r"(?!-)[\w-]{1,63}(?<!-)"
_EMAIL = re.compile(rf'(?!\.)(?!.*\.\.)[^\s@"(),:;<>\[\\\]]{{1,64}}(?<!\.)@(?:{_LABEL}\.)+{_LABEL}').fullmatch


@dataclass(frozen=True, slots=True)
class Email:
    """An email in NFC, at most MAX_LENGTH characters: `typed` is shown to its owner, `key` is compared."""

    typed: str

    @property
    def key(self) -> str:
        """In lower case, the host in its ASCII form (RFC 5891): bücher.example and xn--bcher-kva.example are one.

        Not casefolded: `strasse@` and `straße@` are two people's.
        """
        local, at, host = self.typed.lower().rpartition("@")
        return f"{local}{at}{_ascii(host)}"

    @property
    def folded(self) -> str:
        """The key that release 0.1.0 stored, without what was typed."""
        return unicodedata.normalize("NFC", self.typed.casefold())

    def check(self) -> "Email":
        """Raises ValueError unless it is an address that mail could reach."""
        hidden = any(unicodedata.category(char)[0] in "CZ" for char in self.typed)
        if hidden or len(self.key) > MAX_LENGTH or not _EMAIL(self.typed) or not self.key.rpartition("@")[2].isascii():
            raise ValueError("is not an email address")
        return self

    def __str__(self) -> str:
        return self.typed


def _ascii(host: str) -> str:
    """The host in ASCII; as it is where it has no such form."""
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True, transitional=False).decode()
    except (idna.IDNAError, UnicodeError):
        return host
