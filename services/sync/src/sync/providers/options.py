"""A source's own options: read into a provider's Struct, or refused by path and rule."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from sync.providers.base import ProviderMisconfigured
from sync.providers.secrets import LITERAL

__all__ = ["kinds", "read"]

T = TypeVar("T", bound=msgspec.Struct)

_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`", re.DOTALL)


def kinds(*structs: type[msgspec.Struct]) -> tuple[str, ...]:
    """The tags of a union's members."""
    return tuple(sorted(str(struct.__struct_config__.tag) for struct in structs))


def read(
    options: Mapping[str, Any],
    kind: type[T],
    *,
    choices: Mapping[str, tuple[str, ...]] | None = None,
    credentials: frozenset[str] = frozenset(),
) -> T:
    """The options as `kind`; `ProviderMisconfigured` names the option and the rule, and never a value.

    `choices` are what an option of that path may be, for the text; `credentials` are the paths of references.
    """
    try:
        return msgspec.convert(dict(options), kind)
    except msgspec.ValidationError as error:
        rule, _, place = str(error).partition(" - at `$")
    path = place.rstrip("`").lstrip(".")
    raise ProviderMisconfigured(_described(rule, path, choices or {}, credentials))


def _described(rule: str, path: str, choices: Mapping[str, tuple[str, ...]], credentials: frozenset[str]) -> str:
    if unknown := _UNKNOWN.fullmatch(rule):
        return f"options.{_joined(path, unknown['name'])}: there is no such option."
    if missing := _MISSING.fullmatch(rule):
        path, rule = _joined(path, missing["name"]), "is required"
    elif rule.startswith("Invalid"):
        rule = "is not one of the values that are allowed"  # msgspec's text repeats the value
    elif rule.startswith("Expected"):
        rule = f"must be {rule.removeprefix('Expected').strip()}"
    if path in credentials and rule.startswith("must be `object"):
        rule = LITERAL
    if path in choices:
        rule = f"must be one of {', '.join(choices[path])}"
    return f"options.{path}: {rule}.".replace("options.:", "options:")


def _joined(path: str, name: str) -> str:
    return f"{path}.{name[:60]}".lstrip(".")
