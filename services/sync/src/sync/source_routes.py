"""The routes of sources, for admins."""

from typing import Annotated

from fastapi import Path, Response

from common.web.openapi import problem_responses, response_headers
from common.web.routing import make_router
from common.web.state import Db
from common.web.strict_json import JSONResponse
from sync import source_changes, sources
from sync.permissions import CanSync
from sync.schemas import NAME
from sync.source_schemas import MoveIn, SourceChange, SourceIn, SourceOut, SourcePage, TrialIn, TrialOut
from sync.state import SettingsDep, TrialsDep

__all__ = ["router"]

router = make_router("sync")
Name = Annotated[str, Path(min_length=1, max_length=63, pattern=NAME)]


@router.get(
    "/sync/sources", summary="List sources", operation_id="list_sync_sources", responses=problem_responses(401, 403)
)
async def list_sources(_: CanSync, db: Db, settings: SettingsDep) -> SourcePage:
    """All sources by name; that of the environment is there from the start."""
    await sources.register(db, settings)
    return SourcePage(items=[SourceOut.of(row) for row in await sources.list_all(db)])


@router.post(
    "/sync/sources",
    summary="Add a source",
    operation_id="create_sync_source",
    status_code=201,
    responses={201: {"headers": response_headers("Location")}, **problem_responses(400, 401, 403, 409, 413, 415)},
)
async def create_source(body: SourceIn, response: Response, _: CanSync, db: Db, settings: SettingsDep) -> SourceOut:
    """Its first run begins at once, if it is enabled."""
    row = await source_changes.create(db, settings, body)
    response.headers["Location"] = f"/sync/sources/{row.name}"
    return SourceOut.of(row)


@router.post(
    "/sync/sources/test",
    summary="Try a source",
    operation_id="test_sync_source",
    response_model=None,
    responses={200: {"model": TrialOut}, **problem_responses(400, 401, 403, 404, 413, 415)},
)
async def try_source(body: TrialIn, _: CanSync, db: Db, settings: SettingsDep, trials: TrialsDep) -> Response:
    """One page, record by record: as it came, what it becomes, and why it is no product. Nothing is stored."""
    trial = await source_changes.trial_of(db, settings, body)
    return JSONResponse(await trials.run(trial))


@router.get(
    "/sync/sources/{name}",
    summary="Get a source",
    operation_id="get_sync_source",
    responses=problem_responses(401, 403, 404),
)
async def get_source(name: Name, _: CanSync, db: Db, settings: SettingsDep) -> SourceOut:
    """One source and how it is synced."""
    return SourceOut.of(await source_changes.get(db, settings, name))


@router.patch(
    "/sync/sources/{name}",
    summary="Change a source",
    operation_id="change_sync_source",
    responses=problem_responses(400, 401, 403, 404, 409, 413, 415),
)
async def change_source(name: Name, body: SourceChange, _: CanSync, db: Db, settings: SettingsDep) -> SourceOut:
    """What is not named stays. The environment's source has its provider, address and schedule from there."""
    return SourceOut.of(await source_changes.change(db, settings, name, body.model_dump(exclude_unset=True)))


@router.post(
    "/sync/sources/{name}/move",
    summary="Say what a source's new address means",
    operation_id="move_sync_source",
    responses=problem_responses(400, 401, 403, 404, 409, 413, 415),
)
async def move_source(name: Name, body: MoveIn, _: CanSync, db: Db, settings: SettingsDep) -> SourceOut:
    """The environment has another address for its source than its products came from: until an admin says whether that
    is the same shop, it is not synced.
    """
    return SourceOut.of(await source_changes.move(db, settings, name, body.shop))


@router.delete(
    "/sync/sources/{name}",
    summary="Delete a source",
    operation_id="delete_sync_source",
    status_code=204,
    response_model=None,
    responses=problem_responses(401, 403, 404, 409),
)
async def delete_source(name: Name, _: CanSync, db: Db, settings: SettingsDep) -> Response:
    """Its products stay in the catalog. A source that is added later under the same name and address has them again."""
    await source_changes.delete(db, settings, name)
    return Response(status_code=204)
