"""Passwords are where only their owner looks."""

from collections.abc import Mapping

from tests.deploy.client import PASSWORD
from tests.deploy.report import Report

__all__ = ["check_secrets"]


def check_secrets(report: Report, part: str, values: set[str], texts: Mapping[str, str]) -> None:
    """Rows that say in which of `texts`, named by where they are from, a secret stands; the tour's password is one."""
    values = values | {PASSWORD}
    report.check(part, "secrets to look for", "> 5", len(values), len(values) > 5)
    for where, text in texts.items():
        report.check(part, f"secrets in {where}", 0, sum(value in text for value in values))
