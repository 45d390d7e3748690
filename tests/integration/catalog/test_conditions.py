"""If-Match and If-None-Match, as RFC 9110 section 13.1 has them."""

import time

import httpx
import pytest

from tests.fixtures.catalog import Auth
from tests.integration.catalog.test_products import create, problem_of

# With the tag of the product in place of T.
MATCHES = ["T", "*", '"x", T', "T,", ",T", 'T ,"y"', '"x" , T, W/"z"', '"",T']
INVALID = ["5-1", "1", '"x', 'x"', 'w/"5-1"', '*, "x"', '"a" "b"', ",", "", "W/", "W/5-1", "**"]


@pytest.fixture
async def product(catalog: httpx.AsyncClient, auth_process: Auth) -> tuple[str, str]:
    """The path and the tag of a product."""
    made = await create(catalog, auth_process)
    return f"/products/{made['id']}", f'"{made["id"]}-1"'


async def write(
    catalog: httpx.AsyncClient, auth: Auth, method: str, path: str, *headers: tuple[str, str]
) -> httpx.Response:
    body = {"price": 1} if method == "PUT" else None
    return await catalog.request(method, path, json=body, headers=[*auth.admin.items(), *headers])


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
class TestWrites:
    @pytest.mark.parametrize("value", MATCHES)
    async def test_if_match_of_the_version(
        self, catalog: httpx.AsyncClient, auth_process: Auth, product: tuple[str, str], method: str, value: str
    ) -> None:
        path, tag = product
        answer = await write(catalog, auth_process, method, path, ("If-Match", value.replace("T", tag)))
        assert answer.status_code in (200, 204), answer.text

    @pytest.mark.parametrize("value", ["W/T", '"x"', 'W/"x"', 'W/T, "x"', '""', '"5-1"'])
    async def test_if_match_of_another_or_a_weak_one(
        self, catalog: httpx.AsyncClient, auth_process: Auth, product: tuple[str, str], method: str, value: str
    ) -> None:
        path, tag = product
        answer = await write(catalog, auth_process, method, path, ("If-Match", value.replace("T", tag)))
        assert problem_of(answer, 412)["type"] == "/problems#version-conflict"
        assert answer.headers["etag"] == tag
        assert (await catalog.get(path)).headers["etag"] == tag

    @pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
    @pytest.mark.parametrize("value", INVALID)
    async def test_what_is_no_list_of_tags(
        self,
        catalog: httpx.AsyncClient,
        auth_process: Auth,
        product: tuple[str, str],
        method: str,
        header: str,
        value: str,
    ) -> None:
        answer = await write(catalog, auth_process, method, product[0], (header, value))
        detail = problem_of(answer, 400)["detail"]
        assert header in detail and '"5-1"' in detail
        assert (await catalog.get(product[0])).headers["etag"] == product[1]

    @pytest.mark.parametrize("value", ["*", "T", "W/T", '"x", T'])
    async def test_if_none_match_of_the_version(
        self, catalog: httpx.AsyncClient, auth_process: Auth, product: tuple[str, str], method: str, value: str
    ) -> None:
        path, tag = product
        problem_of(await write(catalog, auth_process, method, path, ("If-None-Match", value.replace("T", tag))), 412)
        assert (await catalog.get(path)).headers["etag"] == tag

    async def test_if_none_match_of_another(
        self, catalog: httpx.AsyncClient, auth_process: Auth, product: tuple[str, str], method: str
    ) -> None:
        answer = await write(catalog, auth_process, method, product[0], ("If-None-Match", '"x"'))
        assert answer.status_code in (200, 204)

    async def test_headers_on_several_lines_are_one_list(
        self, catalog: httpx.AsyncClient, auth_process: Auth, product: tuple[str, str], method: str
    ) -> None:
        path, tag = product
        lines = [("If-None-Match", '"x"'), ("If-None-Match", tag), ("If-None-Match", '"y"')]
        problem_of(await write(catalog, auth_process, method, path, *lines), 412)
        lines = [("If-Match", '"x"'), ("If-Match", tag), ("If-Match", '"y"')]
        assert (await write(catalog, auth_process, method, path, *lines)).status_code in (200, 204)


@pytest.mark.parametrize(
    ("value", "status"), [("T", 304), ("W/T", 304), ("*", 304), ('"x", W/T', 304), ('"x"', 200), ("x", 400)]
)
async def test_reads(catalog: httpx.AsyncClient, product: tuple[str, str], value: str, status: int) -> None:
    path, tag = product
    answer = await catalog.get(path, headers={"If-None-Match": value.replace("T", tag)})
    assert answer.status_code == status


def test_the_cost_grows_with_the_length_alone() -> None:
    from catalog.conditions import _Tags
    from common.errors import BadRequest

    def cost(text: str) -> float:
        began = time.process_time()
        for _ in range(20):
            try:
                _Tags("If-Match", [text])
            except BadRequest:
                pass
        return time.process_time() - began

    for piece in (" ", ",", '"', 'W/"', "\t,", '"a"', '""', " ,"):
        short, long = (min(cost(piece * (size // len(piece))) for _ in range(3)) for size in (1024, 8192))
        assert long < 8 * short * 4 + 0.02, piece
