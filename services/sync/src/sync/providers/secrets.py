"""References to credentials: options name where a credential is, and never hold it.

An environment variable must be named SOURCE_...: an admin who writes options must not be able to send the worker's own
secrets, such as its database's password, to an address of his choice. A file is a plain name within one folder.
"""

import os
import re
from collections.abc import Mapping

import msgspec

from sync.providers.base import ProviderConfig, ProviderMisconfigured
from sync.providers.folders import NotInFolder, open_within

__all__ = ["LITERAL", "PREFIX", "Reference", "Secret", "resolve"]

PREFIX = "SOURCE_"
MAX_BYTES = 8_192
LITERAL = (
    f'must be a reference to the credential and not the credential: {{"env": "{PREFIX}..."}} or {{"file": "name"}}'
)
_NAME = re.compile(rf"{PREFIX}[A-Z0-9_]{{1,100}}")
_PRINTABLE = re.compile(r"[\x20-\x7e]+")


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a credential is: either an environment variable or a file."""

    env: str | None = None
    file: str | None = None


class Secret:
    """A credential that shows itself in no text but by `reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(...)"


def resolve(
    reference: Reference, config: ProviderConfig, option: str, environment: Mapping[str, str] = os.environ
) -> Secret:
    """The credential, or `ProviderMisconfigured` that names the option and the reference."""
    if (reference.env is None) is (reference.file is None):
        raise ProviderMisconfigured(f"options.{option}: must have either `env` or `file`.")
    if reference.env is not None:
        where, value = _from_environment(reference.env, option, environment)
    else:
        where, value = _from_file(reference.file or "", option, config.secrets_folder)
    value = value.strip("\r\n")
    if not value or len(value) > MAX_BYTES or not _PRINTABLE.fullmatch(value):
        raise ProviderMisconfigured(
            f"options.{option}: {where} must hold 1 to {MAX_BYTES} characters, ASCII without control characters."
        )
    return Secret(value)


def _from_environment(name: str, option: str, environment: Mapping[str, str]) -> tuple[str, str]:
    if not _NAME.fullmatch(name):
        raise ProviderMisconfigured(
            f"options.{option}.env: must be the name of an environment variable that begins with {PREFIX}."
        )
    if name not in environment:
        raise ProviderMisconfigured(f"options.{option}: the worker has no environment variable {name}.")
    return f"the environment variable {name}", environment[name]


def _from_file(name: str, option: str, folder: str | None) -> tuple[str, str]:
    if folder is None:
        raise ProviderMisconfigured(f"options.{option}.file: the worker has no folder of secrets, so use `env`.")
    try:
        with open_within(folder, name) as file:
            return f"the file {name}", file.read(MAX_BYTES + 3).decode("ascii", "replace")
    except NotInFolder as error:
        raise ProviderMisconfigured(f"options.{option}.file: {name[:100]!r} {error}.") from None
