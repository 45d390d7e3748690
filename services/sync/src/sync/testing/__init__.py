"""A test kit for providers: derive from `ProviderContract`, and no network or clock is needed."""

from sync.testing.contract import ContractBroken, ProviderContract, check

__all__ = ["ContractBroken", "ProviderContract", "check"]
