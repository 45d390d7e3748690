"""The house rules hold, and their checker can fail."""

import ast
from pathlib import Path

from tests import house

BAD = """
@router.get("/x")
async def handler(session):
    try:
        return await session.execute(select(1))
    finally:
        await session.commit()

from sync import runs
"""


def test_the_house_is_in_order() -> None:
    assert house.check() == []


def test_the_checker_sees_what_is_wrong() -> None:
    tree, path = ast.parse(BAD), Path("services/catalog/src/catalog/routes.py")
    for rule in (house.thin_handlers, house.commit_in_one_place, house.boundaries):
        assert list(rule(path, tree)), rule.__name__
