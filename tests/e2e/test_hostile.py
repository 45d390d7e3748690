"""No request costs more than its bytes are worth: the short form of `python -m tests.load.hostile`, by CPU time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fixtures import checked
from tests.fixtures.stack import running
from tests.fixtures.waiting import until
from tests.load.hostile import ADMIN, faults, measure, owner, routes, services
from tests.load.shapes import SHAPES, Route, Shape

# Where the bytes are not in a body all routes go through the same code; these are the ones with code of their own.
READS = [
    Route("GET", "/products"), Route("GET", "/products/1"), Route("GET", "/auth/me"), Route("GET", "/sync/status"),
    Route("GET", "/nothing"), Route("DELETE", "/products/1000000000000000"),
]  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A stack of its own, with an admin's token and its OpenAPI document."""

    stack: dict[str, Any]
    token: str
    document: dict[str, Any]


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with running({"DRAIN_SECONDS": "0"}) as launcher:
        url = launcher.stack["gateway_url"]
        until(lambda: checked.get(f"{url}/products?limit=1").json()["total"] == 194, 60)
        checked.post(f"{url}/auth/register", json=ADMIN).raise_for_status()
        sent = {name: ADMIN[name] for name in ("email", "password")}
        token = checked.post(f"{url}/auth/login", json=sent).raise_for_status().json()["access_token"]
        yield Target(launcher.stack, token, checked.get(f"{url}/openapi.json").raise_for_status().json())


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_cost_grows_with_the_bytes_and_no_faster(target: Target, shape: Shape) -> None:
    found = services(target.stack)
    fitting = [route for route in (*READS, *routes(target.document)) if shape.fits(route)]
    chosen = [route for route in fitting if route.body or route in READS]
    assert chosen
    wrong = [
        finding
        for route in chosen
        for service in (found[owner(route)], found["gateway"])
        if service.name != "gateway" or route is chosen[0]
        # A pause of the garbage collector may fall into one measurement, but not into the cheapest of five.
        if faults(measure(service, route, shape, target.token, repeats=1))
        for finding in faults(measure(service, route, shape, target.token, repeats=5))
    ]
    assert not wrong, "\n".join(wrong)
