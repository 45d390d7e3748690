"""How admins make, change and delete sources. What a change does not name stays."""

import itertools
from collections.abc import Iterable
from typing import Any

import msgspec
from pydantic import ValidationError

from common.postgres import Postgres
from common.urls import without_secrets
from common.web.compiled import jsonb, load_statements
from common.web.errors import Unprocessable
from common.web.validation import unprocessable
from sync import history, provider_config, providers, sources
from sync.errors import SourceConflict, SourceMoved, SourceNotFound
from sync.limits import Limits
from sync.providers import ProviderMisconfigured
from sync.settings import SyncSettings
from sync.source_schemas import SourceIn, TrialIn
from sync.sources import SourceRow
from sync.trial import Trial

__all__ = ["MAX_SOURCES", "change", "create", "delete", "get", "get_ready", "move", "trial_of"]

MAX_SOURCES = 1000
_STATEMENTS = load_statements("sync")
_BY_ENVIRONMENT = ("provider", "url", "interval_minutes", "cron", "timezone")


async def get(db: Postgres, settings: SyncSettings, name: str) -> SourceRow:
    """Raises SourceNotFound. That of the environment is there from the start."""
    row = await (sources.register(db, settings) if name == settings.source else sources.find(db, name))
    if row is None or row.managed_by == "deleted":
        raise SourceNotFound(name)
    return row


async def get_ready(db: Postgres, settings: SyncSettings, name: str) -> SourceRow:
    """A source that may be synced now; raises SourceNotFound, and SourceMoved until an admin has decided."""
    row = await get(db, settings, name)
    if name == settings.source and row.has_moved(settings):
        raise SourceMoved(row.move_question(settings))
    return row


async def create(db: Postgres, settings: SyncSettings, new: SourceIn) -> SourceRow:
    """Raises SourceConflict for a name that is taken, Unprocessable for what its provider cannot be.

    The products of a deleted source of this name are taken over if they came from the same address.
    """
    known = {row.name: row for row in await sources.list_all(db, deleted=True)}
    before = known.get(new.name)
    if before and before.managed_by != "deleted":
        raise SourceConflict(f"There is a source {new.name!r}: change it with PATCH, or choose another name.")
    if new.name in {row.label for row in known.values()}:
        raise SourceConflict(f"There are products of another shop under the name {new.name!r}: choose another one.")
    if len(known) >= MAX_SOURCES:
        raise SourceConflict(f"There are {MAX_SOURCES} sources, which is the most.")
    await _check_provider(new, settings)
    label = None
    if before:
        same = (before.provider, before.url) == (new.provider, new.url)
        label = before.label if same else _free_label(new.name, known.values())
    values = _values(new.model_dump())
    found = await _STATEMENTS["create_source"].fetch_as(SourceRow, db, name=new.name, label=label, **values)
    if not found:
        raise SourceConflict(f"Somebody else has just made a source {new.name!r}.")
    return found[0]


async def change(db: Postgres, settings: SyncSettings, name: str, patch: dict[str, Any]) -> SourceRow:
    """Apply a JSON Merge Patch; raises SourceNotFound, SourceConflict, SourceMoved, Unprocessable."""
    row, shop = await get(db, settings, name), patch.pop("shop", None)
    if row.managed_by == "environment" and (fixed := [it for it in _BY_ENVIRONMENT if it in patch]):
        raise SourceConflict(
            f"{', '.join(fixed)} of {name!r} are set by the environment: EXTERNAL_API_PROVIDER, EXTERNAL_API_URL, "
            "SYNC_INTERVAL_MINUTES."
        )
    new = _patched(row, patch)
    label = row.label
    if (new.provider, new.url, new.options) != (row.provider, row.url, row.options):
        await _check_idle(db, row)
    if row.managed_by == "api":
        if (new.provider, new.url) != (row.provider, row.url):
            label = await _label_after_move(db, row, shop)
        await _check_provider(new, settings)
    return await _store(db, row, label, new.model_dump())


async def move(db: Postgres, settings: SyncSettings, name: str, shop: str) -> SourceRow:
    """Take the address of the environment for its source; raises SourceNotFound, SourceConflict."""
    row = await get(db, settings, name)
    if row.name != settings.source or not row.has_moved(settings):
        raise SourceConflict(f"The address of {name!r} is the one that its products came from: nothing to decide.")
    await _check_idle(db, row)
    label = await _label_after_move(db, row, shop)
    address = {"provider": settings.external_api_provider, "url": settings.source_url}
    return await _store(db, row, label, _fields(row) | address)


async def delete(db: Postgres, settings: SyncSettings, name: str) -> None:
    """Its products stay. Raises SourceNotFound, and SourceConflict for that of the environment or an active one."""
    row = await get(db, settings, name)
    if row.managed_by == "environment" and name == settings.source:
        raise SourceConflict(f"{name!r} is the source of the environment: set enabled to false to stop syncing it.")
    if not await _STATEMENTS["delete_source"].fetch(db, of_source=name):
        raise SourceConflict(f"A run of {name!r} is active: cancel it first.")


async def trial_of(db: Postgres, settings: SyncSettings, body: TrialIn) -> Trial:
    """What a client wants to try; raises SourceNotFound, Unprocessable."""
    fields: dict[str, Any] = {"options": {}, "limits": {}}
    if body.source:
        row = await get(db, settings, body.source)
        ours = row.managed_by == "environment"
        fields = _fields(row) | ({"url": None, "provider": settings.external_api_provider} if ours else {})
    fields |= {name: given for name in ("provider", "url") if (given := getattr(body, name))}
    merged = {name: merge_patch(fields[name], getattr(body, name)) for name in ("options", "limits")}
    limits = msgspec.convert(merged["limits"], Limits)
    return Trial(
        provider=fields["provider"], url=fields["url"], options=merged["options"], limits=limits, count=body.count
    )


async def _store(db: Postgres, row: SourceRow, label: str | None, fields: dict[str, Any]) -> SourceRow:
    known, values = {"of_source": row.name, "known_at": row.updated_at}, _values(fields)
    found = await _STATEMENTS["change_source"].fetch_as(SourceRow, db, **known, label=label, **values)
    if not found:
        raise SourceConflict(f"Somebody else has just changed {row.name!r}: read it and try again.")
    return found[0]


async def _check_idle(db: Postgres, row: SourceRow) -> None:
    """What a run reads does not change under it: a worker that takes it over would mix two shops, or two mappings."""
    if row.name in await history.active_runs(db):
        raise SourceConflict(f"A run of {row.name!r} is active: wait for it, or cancel it first.")


async def _label_after_move(db: Postgres, row: SourceRow, shop: str | None) -> str | None:
    if (await history.successes(db)).get(row.name) is None or shop == "same":
        return row.label
    if shop is None:
        raise SourceMoved(
            f"Products of {row.name!r} came from {row.provider} at {without_secrets(row.url)}. Send "
            '"shop": "same" if that shop is at the new address now, "other" to keep its products apart.'
        )
    return _free_label(row.name, await sources.list_all(db, deleted=True))


def _free_label(name: str, known: Iterable[SourceRow]) -> str:
    taken = {it for row in known for it in (row.name, row.label)}
    return next(label for number in itertools.count(2) if (label := f"{name[:55]}-{number}") not in taken)


def _patched(row: SourceRow, patch: dict[str, Any]) -> SourceIn:
    """The source with what a patch names; raises Unprocessable."""
    if patch.get("cron"):
        patch = {"interval_minutes": None} | patch
    elif patch.get("interval_minutes"):
        patch = {"cron": None} | patch
    try:
        return SourceIn.model_validate(merge_patch({"name": row.name} | _fields(row), patch))
    except ValidationError as error:
        faults = [fault | {"loc": ("body", *fault["loc"])} for fault in error.errors()]
        raise unprocessable(faults, tuple(SourceIn.model_fields)) from None


_FIELDS = (
    "provider", "url", "options", "limits", "brake", "enabled", "interval_minutes", "cron", "timezone", "missing",
    "auto_apply",
)  # fmt: skip
_DOCUMENTS = ("options", "limits", "brake")


def _fields(row: SourceRow) -> dict[str, Any]:
    """What an admin can change, as JSON; limits and thresholds that are the default are left out."""
    return {name: msgspec.to_builtins(getattr(row, name)) for name in _FIELDS}


def _values(fields: dict[str, Any]) -> dict[str, Any]:
    """The same as parameters of a statement."""
    return {name: jsonb(fields[name]) if name in _DOCUMENTS else fields[name] for name in _FIELDS}


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


async def _check_provider(new: SourceIn, settings: SyncSettings) -> None:
    """Build the provider, which checks its options; raises Unprocessable."""
    try:
        limits = msgspec.convert(new.limits, Limits)
        config = provider_config.make(new.url, new.options, limits, settings, private=settings.private_sources)
        provider = providers.load(new.provider, config)
    except ProviderMisconfigured as error:
        field = "provider" if new.provider not in providers.known() else "options"
        raise Unprocessable(error.detail, [{"pointer": f"#/{field}", "detail": error.detail}]) from None
    await provider.aclose()
