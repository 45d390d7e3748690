"""Requests that go on while something happens to the project."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.deploy.compose.project import Project
from tests.deploy.load import Load

__all__ = ["under_load"]


@contextmanager
def under_load(project: Project, part: str) -> Iterator[Load]:
    """50 requests a second; afterwards every acknowledged write has to be there."""
    load = Load(project.client, project.client.token(), rate=50)
    with load:
        load.go_on(50)
        yield load
    project.report.check(part, f"lost of {len(load.written)} acknowledged writes", [], load.lost())
