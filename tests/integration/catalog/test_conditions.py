"""If-Match and If-None-Match, as RFC 9110 section 13.1 has them."""

import time

import httpx
import pytest

from tests.fixtures.catalog import Auth
from tests.integration.catalog.test_products import create, problem_of

# With the tag of the product in place of T.
MATCHES = ["T", "*", '"x", T', "T,", ",T", 'T ,"y"', '"x" , T, W/"z"', '"",T']
INVALID = ["5-1", "1", '"x', 'x"', 'w/"5-1"', '*, "x"', '"a" "b"', ",", "", "W/", "W/5-1", "**"]


class Bench:
    """Writes to a fresh product each time."""

    def __init__(self, catalog: httpx.AsyncClient, auth: Auth) -> None:
        self.catalog, self.auth = catalog, auth

    async def write(self, method: str, *headers: tuple[str, str]) -> tuple[httpx.Response, str, str]:
        """The answer, and the tag of the product before and after; T in a header stands for its tag."""
        made = await create(self.catalog, self.auth)
        path, tag = f"/products/{made['id']}", f'"{made["id"]}-1"'
        sent = [*self.auth.admin.items(), *((name, value.replace("T", tag)) for name, value in headers)]
        body = {"price": 1} if method == "PUT" else None
        answer = await self.catalog.request(method, path, json=body, headers=sent)
        return answer, tag, (await self.catalog.get(path)).headers.get("etag", "gone")


@pytest.fixture
def bench(catalog: httpx.AsyncClient, auth_process: Auth) -> Bench:
    return Bench(catalog, auth_process)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
class TestWrites:
    async def test_if_match_of_the_version(self, bench: Bench, method: str) -> None:
        for value in MATCHES:
            answer, tag, after = await bench.write(method, ("If-Match", value))
            assert answer.status_code in (200, 204), (value, answer.text)
            assert after != tag, (value, answer.text)

    async def test_if_match_of_another_or_a_weak_one(self, bench: Bench, method: str) -> None:
        for value in ("W/T", '"x"', 'W/"x"', 'W/T, "x"', '""', '"5-1"'):
            answer, tag, after = await bench.write(method, ("If-Match", value))
            assert problem_of(answer, 412)["type"] == "/problems#version-conflict", value
            assert answer.headers["etag"] == tag == after, value

    @pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
    async def test_what_is_no_list_of_tags(self, bench: Bench, method: str, header: str) -> None:
        for value in INVALID:
            answer, tag, after = await bench.write(method, (header, value))
            detail = problem_of(answer, 400)["detail"]
            assert header in detail, value
            assert '"5-1"' in detail, value
            assert after == tag, value

    async def test_if_none_match_of_the_version(self, bench: Bench, method: str) -> None:
        for value in ("*", "T", "W/T", '"x", T'):
            answer, tag, after = await bench.write(method, ("If-None-Match", value))
            assert problem_of(answer, 412), value
            assert after == tag, value

    async def test_if_none_match_of_another(self, bench: Bench, method: str) -> None:
        answer, tag, after = await bench.write(method, ("If-None-Match", '"x"'))
        assert answer.status_code in (200, 204)
        assert after != tag

    async def test_headers_on_several_lines_are_one_list(self, bench: Bench, method: str) -> None:
        lines = [("If-None-Match", '"x"'), ("If-None-Match", "T"), ("If-None-Match", '"y"')]
        answer, _, _ = await bench.write(method, *lines)
        problem_of(answer, 412)
        answer, _, _ = await bench.write(method, *[("If-Match", value) for _, value in lines])
        assert answer.status_code in (200, 204)


async def test_reads(catalog: httpx.AsyncClient, auth_process: Auth) -> None:
    made = await create(catalog, auth_process)
    path, tag = f"/products/{made['id']}", f'"{made["id"]}-1"'
    for value, status in {"T": 304, "W/T": 304, "*": 304, '"x", W/T': 304, '"x"': 200, "x": 400}.items():
        answer = await catalog.get(path, headers={"If-None-Match": value.replace("T", tag)})
        assert answer.status_code == status, value


def test_the_cost_grows_with_the_length_alone() -> None:
    from catalog.conditions import _Tags
    from common.web.errors import BadRequest

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
