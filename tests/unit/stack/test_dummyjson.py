"""The stand-in for DummyJSON answers as DummyJSON does."""

import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.dummyjson import server
from deploy.dummyjson.server import Handler, Products
from stack.ports import HOST, Ports


@pytest.fixture(scope="module")
def products() -> Products:
    return Products()


@pytest.mark.parametrize(
    ("query", "first", "count", "skip"),
    [
        ("", 1, 30, 0),
        ("?limit=10&skip=5", 6, 10, 5),
        ("?limit=0", 1, 194, 0),
        ("?limit=100&skip=190", 191, 4, 190),
        ("?limit=1000", 1, 194, 0),
        ("?limit=2.9", 1, 2, 0),
    ],
)
def test_pages(products: Products, query: str, first: int, count: int, skip: int) -> None:
    status, body = products.get(f"/products{query}")

    assert status == 200
    assert {name: body[name] for name in ("total", "skip", "limit")} == {"total": 194, "skip": skip, "limit": count}
    assert len(body["products"]) == count
    assert body["products"][0]["id"] == first


def test_a_page_beyond_the_end_is_empty(products: Products) -> None:
    assert products.get("/products?skip=500") == (200, {"products": [], "total": 194, "skip": 500, "limit": 0})


def test_select_keeps_the_id_and_what_exists(products: Products) -> None:
    _, body = products.get("/products?limit=1&select=title,price,nothing")

    assert list(body["products"][0]) == ["id", "title", "price"]


def test_one_product(products: Products) -> None:
    assert products.get("/products/1")[1]["title"] == "Essence Mascara Lash Princess"
    assert products.get("/products/1?select=price") == (200, {"id": 1, "price": 9.99})


@pytest.mark.parametrize(
    ("target", "status", "message"),
    [
        ("/products/999", 404, "Product with id '999' not found"),
        ("/products/x%2Fy", 404, "Product with id 'x/y' not found"),
        ("/products?limit=ten", 400, "Invalid 'limit' - must be a number"),
        ("/products?limit=-1", 400, "Invalid 'limit' - must be a number"),
        ("/products?limit=nan", 400, "Invalid 'limit' - must be a number"),
        ("/products?skip=x", 400, "Invalid 'skip' - must be a number"),
        ("/carts", 404, "Not Found"),
    ],
)
def test_refusals(products: Products, target: str, status: int, message: str) -> None:
    assert products.get(target) == (status, {"message": message})


@pytest.fixture(scope="module")
def port(products: Products) -> Iterator[int]:
    Handler.products = products
    with ThreadingHTTPServer((HOST, 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running.server_port
        running.shutdown()
        thread.join()


class TestOverHttp:
    def test_one_connection_serves_many_requests(self, port: int) -> None:
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        for _ in range(3):
            connection.request("GET", "/products?limit=1")
            answer = connection.getresponse()
            assert json.loads(answer.read())["limit"] == 1
            assert answer.getheader("Content-Type") == "application/json; charset=utf-8"
        connection.close()

    def test_etag_and_not_modified(self, port: int) -> None:
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        connection.request("GET", "/products/1")
        first = connection.getresponse()
        first.read()
        etag = first.getheader("ETag") or ""
        connection.request("GET", "/products/1", headers={"If-None-Match": etag})
        second = connection.getresponse()
        assert etag.startswith('W/"')
        assert (second.status, second.read()) == (304, b"")
        connection.request("GET", "/products/2", headers={"If-None-Match": etag})
        assert connection.getresponse().status == 200
        connection.close()

    def test_head_has_the_length_but_no_body(self, port: int) -> None:
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        connection.request("HEAD", "/products/1")
        answer = connection.getresponse()
        assert int(answer.getheader("Content-Length") or 0) > 100
        assert answer.read() == b""
        connection.close()


def test_it_is_a_program_that_runs_anywhere(tmp_path: Path) -> None:
    """By its path, with nothing but the standard library, as the launcher and the image start it."""
    port = Ports().pick()
    environment = {"PATH": os.defpath, "HOST": HOST, "PORT": str(port)}
    command = [sys.executable, "-I", str(Path(server.__file__))]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"serving 194 products of DummyJSON on http://{HOST}:{port}/products\n"
        connection = http.client.HTTPConnection(HOST, port, timeout=30)
        connection.request("GET", "/products/1")
        assert json.loads(connection.getresponse().read())["id"] == 1
        connection.close()
        process.terminate()
        assert process.wait(60) == 0
