"""How PostgreSQL is to run the statements of imports, whatever it believes of tables that have just been filled."""

from common.web.database import Transaction

__all__ = ["LOCK_TIMEOUT", "by_index", "whole_source"]

# Longer than for requests of clients: what holds the rows ends, and sync can wait.
LOCK_TIMEOUT = "50s"
_SCANS = ("seqscan", "bitmapscan", "hashjoin", "mergejoin", "nestloop")
_FIXED = {"lock_timeout": LOCK_TIMEOUT, "plan_cache_mode": "force_custom_plan"}
_SETTINGS = [
    *(f"set_config('enable_{scan}', %s, true)" for scan in _SCANS),
    *(f"set_config('{name}', '{value}', true)" for name, value in _FIXED.items()),
]
_SET = f"SELECT {', '.join(_SETTINGS)}"


async def by_index(transaction: Transaction) -> None:
    """For a piece of a source: some thousand lookups by index."""
    await transaction.fetch(_SET, ["off", "off", "off", "off", "on"])


async def whole_source(transaction: Transaction) -> None:
    """For a source as a whole: no lookup for each row."""
    await transaction.fetch(_SET, ["on", "on", "on", "on", "off"])
