"""What the checks of the contract are made of."""

from typing import Any

from sync.providers.base import Page, ProviderError

__all__ = ["ContractBroken", "expect", "failure", "ids"]


class ContractBroken(AssertionError):
    """The provider breaks the contract."""


def expect(kept: bool, promise: str) -> None:
    """Say which promise is broken, unless it is kept."""
    if not kept:
        raise ContractBroken(promise)


async def failure(work: Any) -> ProviderError:
    """The error that this raises; anything else breaks the contract."""
    try:
        await work
    except ProviderError as error:
        return error
    except ContractBroken:
        raise
    except Exception as error:
        raise ContractBroken(f"raises only ProviderError, not {error!r}") from error
    raise ContractBroken("raises an error instead of going on")


def ids(pages: list[Page]) -> list[str]:
    """The ids of all products, in their order."""
    return [item.external_id for page in pages for item in page.items]
