"""What the sync API keeps for its requests, and the dependencies that hand it to handlers."""

from typing import Annotated

from fastapi import Depends
from redis.asyncio import Redis
from starlette.requests import Request

from common.health import Health
from common.web.state import BaseState
from sync.catalog import CatalogClient
from sync.events import Streams
from sync.settings import SyncSettings
from sync.trials import Trials

__all__ = ["CatalogDep", "HealthDep", "RedisDep", "SettingsDep", "State", "StreamsDep", "TrialsDep"]


class State(BaseState):
    redis: Redis
    catalog: CatalogClient
    streams: Streams
    trials: Trials
    settings: SyncSettings


class _Request(Request[State]):
    pass


async def _redis(request: _Request) -> Redis:
    return request.state["redis"]


async def _settings(request: _Request) -> SyncSettings:
    return request.state["settings"]


async def _catalog(request: _Request) -> CatalogClient:
    return request.state["catalog"]


async def _streams(request: _Request) -> Streams:
    return request.state["streams"]


async def _health(request: _Request) -> Health:
    return request.state["health"]


async def _trials(request: _Request) -> Trials:
    return request.state["trials"]


CatalogDep = Annotated[CatalogClient, Depends(_catalog)]
RedisDep = Annotated[Redis, Depends(_redis)]
SettingsDep = Annotated[SyncSettings, Depends(_settings)]
StreamsDep = Annotated[Streams, Depends(_streams)]
HealthDep = Annotated[Health, Depends(_health)]
TrialsDep = Annotated[Trials, Depends(_trials)]
