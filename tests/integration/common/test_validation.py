"""Invalid input over HTTP: the fields that a body may have are named, and each rule has its own sentence."""

import httpx
import pytest

from tests.fixtures import checked
from tests.fixtures.auth import PASSWORD, assert_problem
from tests.fixtures.catalog import Auth

PRODUCT = {"name": "Laptop", "price": 1, "category": "test"}
FIELDS = "name, description, price, currency, category, brand, sku, stock, image_url, attributes"


def told(answer: httpx.Response) -> list[dict[str, str]]:
    assert_problem(answer, 422)
    errors: list[dict[str, str]] = answer.json()["errors"]
    return errors


async def test_an_unknown_field_is_told_with_those_that_are_known(
    catalog: httpx.AsyncClient, auth_process: Auth
) -> None:
    made = await catalog.post("/products", json=PRODUCT | {"colour": "red"}, headers=auth_process.admin)
    assert told(made) == [{"pointer": "#/colour", "detail": f"unknown field; known here: {FIELDS}"}]
    product = (await catalog.post("/products", json=PRODUCT, headers=auth_process.admin)).json()
    changed = await catalog.put(f"/products/{product['id']}", json={"colour": "red"}, headers=auth_process.admin)
    assert told(changed) == [{"pointer": "#/colour", "detail": f"unknown field; known here: {FIELDS}"}]
    async with checked.AsyncClient(base_url=auth_process.url) as auth:
        login = await auth.post("/auth/login", json={"email": "a@example.com", "password": PASSWORD, "otp": "1"})
    assert told(login) == [{"pointer": "#/otp", "detail": "unknown field; known here: email, password"}]


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_body_that_is_no_object_is_told_as_a_whole(
    catalog: httpx.AsyncClient, auth_process: Auth, method: str
) -> None:
    path = "/products" if method == "POST" else "/products/1"
    answer = await catalog.request(method, path, json=[PRODUCT], headers=auth_process.admin)
    assert told(answer) == [{"pointer": "#", "detail": "must be an object"}]
    answer = await catalog.request(method, path, headers=auth_process.admin)
    assert told(answer) == [{"pointer": "#", "detail": "is required"}]


@pytest.mark.parametrize(
    ("path", "parameter", "detail"),
    [
        ("/products?limit=501", "limit", "must be at most 500"),
        ("/products?limit=0", "limit", "must be at least 1"),
        ("/products?skip=-1", "skip", "must be at least 0"),
        ("/products?limit=1e2", "limit", "must be a whole number in plain digits"),
        ("/products/0", "product_id", "must be at least 1"),
        ("/products/9223372036854775808", "product_id", "must be at most 9223372036854775807"),
    ],
)
async def test_a_parameter_is_told_with_its_bounds(
    catalog: httpx.AsyncClient, path: str, parameter: str, detail: str
) -> None:
    answer = await catalog.get(path)
    assert told(answer) == [{"parameter": parameter, "detail": detail}]
    assert answer.json()["detail"] == f"{parameter}: {detail}"
