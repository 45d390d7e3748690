"""JMESPath over parsed JSON, with exact numbers and bounded work.

Imported only by providers that are told by options where things are.
"""

import warnings
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import jmespath
import msgspec
from jmespath import functions
from jmespath.exceptions import JMESPathError

from common.json_encoding import dumps
from sync.providers.base import ProviderMisconfigured

__all__ = ["Expression", "compiled"]

MAX_LENGTH = 500
# A list of two, flattened and taken by the next such list, doubles what there is: 30 of them are a billion.
MAX_COPIES = 256
MAX_CALLS = 10

Expression = Callable[[Any], Any]


class _Functions(functions.Functions):
    """The functions of JMESPath, for which a Decimal is a number."""

    def _get_allowed_pytypes(self, types: list[str]) -> tuple[Any, Any]:
        allowed, parts = super()._get_allowed_pytypes(types)  # type: ignore[misc]
        return _with_decimal(allowed), [_with_decimal(part) for part in parts]

    @functions.signature({"types": []})
    def _func_to_string(self, value: Any) -> str:
        return value if isinstance(value, str) else dumps(value).decode()

    @functions.signature({"types": []})
    def _func_to_number(self, value: Any) -> Any:
        if isinstance(value, str) and len(value) <= 60:
            try:
                return Decimal(value)
            except ArithmeticError:
                return None
        return value if isinstance(value, int | Decimal) and not isinstance(value, bool) else None


def compiled(text: str, option: str) -> Expression:
    """The expression, ready to be evaluated; `ProviderMisconfigured` names the option.

    What cannot be evaluated over a value is null there: one record of another shape is a record without the field.
    """
    if not 1 <= len(text) <= MAX_LENGTH:
        raise ProviderMisconfigured(f"options.{option}: must be a JMESPath expression of 1 to {MAX_LENGTH} characters.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # for an older form of literals, which many examples have
            expression = jmespath.compile(text)
    except (JMESPathError, RecursionError, ValueError, TypeError, KeyError, IndexError):
        raise ProviderMisconfigured(f"options.{option}: is not a valid JMESPath expression.") from None
    copies, calls = _costs(expression.parsed)
    if copies > MAX_COPIES or calls > MAX_CALLS:
        raise ProviderMisconfigured(
            f"options.{option}: must have at most {MAX_CALLS} functions, and lists and objects of fewer parts."
        )
    how = jmespath.Options(custom_functions=_Functions())

    def evaluate(value: Any) -> Any:
        try:
            return expression.search(value, options=how)
        except (JMESPathError, msgspec.MsgspecError, ArithmeticError, LookupError, TypeError, ValueError):
            return None

    return evaluate


def _costs(node: Any) -> tuple[int, int]:
    """How often the expression may copy its input at most, and how many functions it calls."""
    copies = max(len(node["children"]), 1) if node["type"].startswith("multi_select") else 1
    calls = int(node["type"] == "function_expression")
    for child in node.get("children", ()):
        more, inner = _costs(child) if isinstance(child, dict) else (1, 0)
        copies, calls = copies * more, calls + inner
    return copies, calls


def _with_decimal(names: Any) -> list[Any]:
    return [*names, "Decimal"] if "float" in names else list(names)
