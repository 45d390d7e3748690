"""Whether a complete pass may be applied, or an admin looks at it first."""

from imports.messages import Comparison
from sync.limits import Brake

__all__ = ["reason_to_hold", "unusable"]

# In fewer records than this some bad ones are no sign that the source has changed its format.
_ENOUGH_RECORDS = 20
# The median of fewer changed prices than this share of the products says little: shops have sales.
_ENOUGH_PRICES = 0.1


def unusable(rejected: int, fetched: int, threshold: float) -> bool:
    """Whether too many records of a pass are no products."""
    if fetched < _ENOUGH_RECORDS:
        return 0 < fetched == rejected and threshold < 1
    return rejected > threshold * fetched


def reason_to_hold(pass_: Comparison, brake: Brake) -> str | None:
    """Why an admin has to look at a pass, one sentence for each reason; None if it is as usual.

    The first pass of a source has nothing to be compared with.
    """
    reasons = []
    if pass_.live and pass_.missing / pass_.live > brake.missing:
        reasons.append(
            f"It lacks {pass_.missing} of the {pass_.live} products of the source "
            f"({_percent(pass_.missing, pass_.live)}); {brake.missing:.0%} may be missing."
        )
    change, matched = pass_.median_price_change or 0.0, pass_.live - pass_.missing
    if (
        brake.price_change is not None
        and change > brake.price_change
        and pass_.price_changes > _ENOUGH_PRICES * matched
    ):
        reasons.append(
            f"Half of the {pass_.price_changes} changed prices change by {change:.0%} or more; "
            f"{brake.price_change:.0%} is usual."
        )
    if unusable(pass_.rejected, pass_.fetched, brake.rejected):
        reasons.append(
            f"{pass_.rejected} of {pass_.fetched} records are no products ({_percent(pass_.rejected, pass_.fetched)}); "
            f"{brake.rejected:.0%} may be."
        )
    return " ".join(reasons) or None


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.0%}"
