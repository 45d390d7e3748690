"""Email addresses as they are typed, and the keys that they are compared by."""

import re
import unicodedata
from dataclasses import dataclass

import idna

__all__ = ["MAX_LENGTH", "Email"]

MAX_LENGTH = 254
# Less than RFC 5322 allows: no quoted local parts, and a domain of two labels or more.
_LABEL = r"(?!-)[\w-]{1,63}(?<!-)"
_EMAIL = re.compile(rf'(?!\.)(?!.*\.\.)[^\s@"(),:;<>\[\\\]]{{1,64}}(?<!\.)@(?:{_LABEL}\.)+{_LABEL}').fullmatch


@dataclass(frozen=True, slots=True)
class Email:
    """An email in NFC of at most MAX_LENGTH characters: `typed` is shown, `key` is compared."""

    typed: str

    @property
    def key(self) -> str:
        """In lower case, with the host in ASCII (RFC 5891), so that bücher.example equals xn--bcher-kva.example.

        Not casefolded, since `strasse@` and `straße@` are different addresses.
        """
        local, at, host = self.typed.lower().rpartition("@")
        return f"{local}{at}{_ascii(host)}"

    @property
    def folded(self) -> str:
        """What release 0.1.0 stored instead of the key."""
        return unicodedata.normalize("NFC", self.typed.casefold())

    def check(self) -> "Email":
        """Raises ValueError unless it is an address that mail could be sent to."""
        hidden = any(unicodedata.category(char)[0] in "CZ" for char in self.typed)
        if hidden or len(self.key) > MAX_LENGTH or not _EMAIL(self.typed) or not self.key.rpartition("@")[2].isascii():
            raise ValueError("must be an email address")
        return self

    def __str__(self) -> str:
        return self.typed


def _ascii(host: str) -> str:
    """The host in ASCII, or unchanged if it has no such form."""
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True, transitional=False).decode()
    except (idna.IDNAError, UnicodeError):
        return host
