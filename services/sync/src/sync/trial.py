"""`python -m sync try`: one page of a source, for `POST /sync/sources/test`.

In a process of its own, since a provider is other people's code: it may hang, exit, print or fill the memory. The
source comes as JSON by standard input, so that nothing of it is in the process title; the result is the output.
"""

import asyncio
import os
import resource
import sys
from typing import Any

import msgspec

from common.json_encoding import dumps
from sync import provider_config, providers
from sync.limits import Limits
from sync.providers import ProviderConfig, ProviderError
from sync.providers.samples import Sample, sample
from sync.settings import SyncSettings

__all__ = ["Trial", "TrialResult", "run"]

# Of its heap; two of them and the API fit into the memory of a pod.
MEMORY = 128 * 1024 * 1024


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What to try. Without a `url` it is the address of the environment, with its secrets."""

    provider: str
    url: str | None
    options: dict[str, Any]
    limits: Limits
    count: int


class TrialResult(msgspec.Struct, frozen=True, kw_only=True):
    """The records, or why there are none; what `rest` proposes for the address; None if it knows nothing."""

    items: list[Sample] = []
    error: str | None = None
    proposal: dict[str, Any] | None = None


def run(settings: SyncSettings) -> None:
    """Read a Trial, write a TrialResult."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    # What a provider prints is not the result.
    result = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    trial = msgspec.json.decode(sys.stdin.buffer.read(), type=Trial)
    with result:
        result.write(dumps(asyncio.run(_try(trial, settings))))


async def _try(trial: Trial, settings: SyncSettings) -> TrialResult:
    url = settings.external_api_url.get_secret_value() if trial.url is None else trial.url
    private = trial.url is None or settings.private_sources
    config = provider_config.make(url, trial.options, trial.limits, settings, private=private)
    items, error = list[Sample](), None
    try:
        provider = providers.load(trial.provider, config)
        try:
            items = await sample(provider, trial.count)
        finally:
            await provider.aclose()
    except ProviderError as refused:
        error = refused.detail
    return TrialResult(items=items, error=error, proposal=await _proposal(trial, config))


async def _proposal(trial: Trial, config: ProviderConfig) -> dict[str, Any] | None:
    if trial.provider != "rest":
        return None
    from sync.providers.proposals import propose

    try:
        proposed: dict[str, Any] = msgspec.to_builtins(await propose(config))
    except ProviderError:
        return None
    return proposed
