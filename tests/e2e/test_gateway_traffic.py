"""What the gateway does for traffic: compression, replicas, limits in time and size, streams, its own end."""

import json
import resource
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from stack.errors import StackError
from stack.ports import HOST
from tests.fixtures.gateway import Gateway, Handle, Recorder, Request, gateway, hang_up
from tests.fixtures.otlp import receiving
from tests.fixtures.waiting import until

PRODUCT = json.dumps({"id": 1, "description": "Compressible text. " * 100}).encode()
# Tests wait for seconds, not for tens of them.
FAST = {"10s": "1s", "60s": "3s", "120s": "4s"}


def fast(bootstrap: dict[str, Any]) -> None:
    """A tenth of each time limit."""
    public = bootstrap["static_resources"]["listeners"][0]
    text = json.dumps(public)
    for usual, short in FAST.items():
        assert f'"{usual}"' in text
        text = text.replace(f'"{usual}"', f'"{short}"')
    public.update(json.loads(text))


def respond(status: int = 200, body: bytes = b"", **headers: str) -> Handle:
    def handle(request: Request) -> None:
        request.rfile.read(int(request.headers.get("Content-Length") or 0))
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return handle


@contextmanager
def held() -> Iterator[Handle]:
    """Requests that are answered with `late` at the end of the block, or at once when they come after it."""
    end = threading.Event()

    def hold(request: Request) -> None:
        end.wait()
        respond(body=b"late")(request)

    try:
        yield hold
    finally:
        end.set()


@pytest.fixture(scope="module")
def started() -> Iterator[Gateway]:
    with gateway() as running:
        yield running


@pytest.fixture
def door(started: Gateway) -> Gateway:
    return started.fresh()


class TestCompression:
    @pytest.fixture(autouse=True)
    def product(self, door: Gateway) -> None:
        door.services["catalog"].answer = respond(body=PRODUCT, Content_Type="application/json", ETag='"1-7"')

    @pytest.mark.parametrize(
        ("accepted", "coding"),
        [("gzip", "gzip"), ("zstd", "zstd"), ("gzip, deflate, br, zstd", "zstd"), ("br, gzip;q=0.5", "gzip")],
    )
    def test_of_json_in_a_coding_that_the_client_accepts(self, door: Gateway, accepted: str, coding: str) -> None:
        answer = door.get("/products/1", f"Accept-Encoding: {accepted}")

        assert answer.headers["content-encoding"] == coding
        assert answer.headers["vary"] == "Accept-Encoding"
        assert len(answer.body) < len(PRODUCT) / 4
        if coding == "gzip":
            url = f"http://{HOST}:{door.port}/products/1"
            assert httpx.get(url, headers={"Accept-Encoding": coding}).content == PRODUCT  # unchecked: a recorder

    @pytest.mark.parametrize("accepted", ["", "identity", "gzip;q=0", "compress"])
    def test_never_of_what_the_client_does_not_accept(self, door: Gateway, accepted: str) -> None:
        answer = door.get("/products/1", f"Accept-Encoding: {accepted}")

        assert "content-encoding" not in answer.headers
        assert (answer.body, answer.headers["etag"]) == (PRODUCT, '"1-7"')

    def test_not_of_what_is_short_or_no_text(self, door: Gateway) -> None:
        for body, kind in ((PRODUCT[:1000], "application/json"), (PRODUCT, "image/png")):
            door.services["catalog"].answer = respond(body=body, Content_Type=kind)
            assert "content-encoding" not in door.get("/products/1", "Accept-Encoding: gzip").headers

    @pytest.mark.parametrize("coding", ["gzip", "zstd"])
    @pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
    def test_the_tag_of_a_compressed_product_is_strong_and_comes_back_as_the_services_own(
        self, door: Gateway, coding: str, header: str
    ) -> None:
        tag = door.get("/products/1", f"Accept-Encoding: {coding}").headers["etag"]
        assert tag == f'"1-7-{coding}"'
        for condition, received in (
            (tag, '"1-7"'),
            (f'"0-1", {tag}', '"0-1", "1-7"'),
            (f"W/{tag}", 'W/"1-7"'),
            ('"1-7"', '"1-7"'),
            ("*", "*"),
        ):
            door.services["catalog"].seen.clear()
            door.get("/products/1", f"{header}: {condition}", method="PUT")
            [(_, _, headers)] = door.services["catalog"].seen
            assert headers[header.lower()] == received

    def test_other_tags_become_weak(self, door: Gateway) -> None:
        door.services["catalog"].answer = respond(body=PRODUCT, Content_Type="text/css", ETag='"a1b2"')
        assert door.get("/docs/style.css", "Accept-Encoding: gzip").headers["etag"] == 'W/"a1b2"'


class TestReplicas:
    @pytest.fixture
    def pair(self) -> Iterator[tuple[Gateway, Recorder, Recorder]]:
        one, other = Recorder("one"), Recorder("other")
        with gateway({"catalog": [one.port, other.port]}) as door:
            yield door, one, other
            for recorder in (one, other):
                recorder.stop()

    def test_requests_are_shared(self, pair: tuple[Gateway, Recorder, Recorder]) -> None:
        door, *replicas = pair
        assert {door.get("/products").body for _ in range(30)} == {it.name.encode() for it in replicas}

    def test_one_that_is_not_ready_is_out_and_comes_back(self, pair: tuple[Gateway, Recorder, Recorder]) -> None:
        door, one, other = pair
        one.healthy = False
        until(lambda: {door.get("/products").body for _ in range(10)} == {b"other"}, 10)
        one.healthy = True
        until(lambda: b"one" in {door.get("/products").body for _ in range(10)}, 10)
        other.healthy = one.healthy = False
        until(lambda: door.get("/products").status == 503, 10)
        assert door.get("/products").problem["status"] == 503

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_a_restart_fails_no_request(self, pair: tuple[Gateway, Recorder, Recorder], method: str) -> None:
        """As a service does it: not ready, then no more connections, then back on the same address."""
        door, one, _ = pair
        statuses: list[int] = []
        for step in ("ready", "draining", "gone", "back"):
            if step == "draining":
                one.healthy = False
                until(lambda: {door.get("/products").body for _ in range(10)} == {b"other"}, 10)
            elif step == "gone":
                one.stop()
            elif step == "back":
                one = Recorder("one", port=one.port)
            statuses += [door.get("/products", method=method).status for _ in range(50)]
        assert set(statuses) == {200}
        until(lambda: b"one" in {door.get("/products").body for _ in range(10)}, 10)
        one.stop()

    def test_what_was_never_sent_is_sent_elsewhere_at_once(self, pair: tuple[Gateway, Recorder, Recorder]) -> None:
        """It refuses connections, which no health check has seen yet; none is left open on which to send."""
        door, one, _ = pair
        one.answer = respond(body=b"one", Connection="close")
        for _ in range(20):
            door.get("/products")
        one.stop()
        answers = [door.get("/products", "Content-Length: 0", method="POST") for _ in range(20)]
        assert {(answer.status, answer.body) for answer in answers} <= {(200, b"other"), (200, b"one")}

    def test_what_breaks_off_is_asked_again_only_if_that_is_safe(
        self, pair: tuple[Gateway, Recorder, Recorder]
    ) -> None:
        door, one, other = pair
        one.answer = hang_up
        assert {door.get("/products").status for _ in range(10)} == {200}
        for recorder in (one, other):
            recorder.seen.clear()
        statuses = [door.get("/products", "Content-Length: 0", method="POST").status for _ in range(10)]
        sent = [entry for recorder in (one, other) for entry in recorder.seen]
        assert len(sent) == len(statuses), "each was sent once"
        assert statuses.count(503) == len(one.seen)

    def test_more_than_a_service_takes_is_refused_at_once(self) -> None:
        def few(bootstrap: dict[str, Any]) -> None:
            for cluster in bootstrap["static_resources"]["clusters"]:
                for threshold in cluster.get("circuit_breakers", {}).get("thresholds", []):
                    threshold["max_requests"] = 4

        with gateway(edit=few) as door, ExitStack() as stack, held() as hold:
            door.services["catalog"].answer = hold
            door.services["catalog"].seen.clear()
            for _ in range(4):
                connection = stack.enter_context(socket.create_connection((HOST, door.port)))
                connection.sendall(b"GET /products HTTP/1.1\r\nHost: x\r\n\r\n")
            until(lambda: len(door.services["catalog"].seen) == 4)
            assert door.get("/products").problem["status"] == 503
            assert len(door.services["catalog"].seen) == 4, "it was refused, and did not wait for an answer"


@pytest.fixture(scope="module")
def in_a_hurry() -> Iterator[Gateway]:
    with gateway(edit=fast) as running:
        yield running


@pytest.fixture
def hasty(in_a_hurry: Gateway) -> Gateway:
    return in_a_hurry.fresh()


class TestLimits:
    @pytest.mark.parametrize(
        "begun",
        [
            b"GET /products HTTP/1.1\r\nHost: x\r\n",
            b"POST /products HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
            b"POST /auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        ],
    )
    def test_what_does_not_arrive_is_408_and_the_connection_closes(self, hasty: Gateway, begun: bytes) -> None:
        assert hasty.send(begun).problem["status"] == 408
        assert not hasty.asked()
        with socket.create_connection((HOST, hasty.port), timeout=15) as connection:
            connection.sendall(begun)
            while connection.recv(65536):
                pass

    def test_headers_have_a_time_of_their_own(self) -> None:
        def no_other(bootstrap: dict[str, Any]) -> None:
            fast(bootstrap)
            [chain] = bootstrap["static_resources"]["listeners"][0]["filter_chains"]
            chain["filters"][0]["typed_config"] |= {"request_timeout": "0s", "stream_idle_timeout": "0s"}

        with gateway(edit=no_other) as door:
            assert door.send(b"GET /products HTTP/1.1\r\nHost: x\r\n").problem["status"] == 408

    def test_a_body_that_trickles_has_an_end(self, hasty: Gateway) -> None:
        with socket.create_connection((HOST, hasty.port), timeout=15) as connection:
            connection.sendall(b"POST /products HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
            began = time.monotonic()
            received = b""
            connection.settimeout(0.2)
            while not received and time.monotonic() - began < 30:
                connection.sendall(b"x")
                try:
                    received = connection.recv(65536)
                except TimeoutError:
                    continue
            assert received.startswith(b"HTTP/1.1 408")

    def test_a_service_that_says_nothing_is_503(self, hasty: Gateway) -> None:
        with held() as hold:
            hasty.services["sync"].answer = hold
            answer = hasty.get("/sync/status")
        assert answer.problem["status"] == 503

    @pytest.mark.parametrize(
        "raw",
        [
            b"FOO /products HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /products HTTP/1.1\r\n\r\n",
            b"POST /products HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"POST /products HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            b"POST /products HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 2\r\n\r\nxx",
            b"GET /products\0 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /products HTTP/1.1\r\nHost: x\r\nX: \0\r\n\r\n",
            b"GET /products HTTP/1.1\r\nHost: x\r\nX : 1\r\n\r\n",
            b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /products#part HTTP/1.1\r\nHost: x\r\n\r\n",
            b"CONNECT internal:80 HTTP/1.1\r\nHost: internal:80\r\n\r\n",
            b"GET /products HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(150)) + b"\r\n",
            b"GET /products HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ],
        ids=lambda raw: repr(raw[:40]),
    )
    def test_what_is_not_http_is_a_problem(self, hasty: Gateway, raw: bytes) -> None:
        answer = hasty.send(raw)
        assert answer.status in (400, 403, 404, 408, 426, 431, 505), answer
        assert answer.problem["status"] == answer.status
        assert not hasty.services["catalog"].seen

    def test_an_upgrade_is_not_offered(self, hasty: Gateway) -> None:
        answer = hasty.get("/products", "Connection: Upgrade", "Upgrade: websocket")
        assert answer.problem["status"] == 403

    def test_http_1_0_is_answered(self, hasty: Gateway) -> None:
        assert hasty.send(b"GET /products HTTP/1.0\r\n\r\n").status == 200

    @pytest.mark.parametrize(
        ("path", "most"), [("/auth/login", 16 * 1024), ("/products", 128 * 1024), ("/sync/x", 16 * 1024)]
    )
    def test_a_body_has_the_size_of_its_route(self, hasty: Gateway, path: str, most: int) -> None:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "
        assert hasty.send(f"{head}{most}\r\n\r\n{'x' * most}".encode()).status == 200
        assert hasty.send(f"{head}{most + 1}\r\n\r\n{'x' * (most + 1)}".encode()).problem["status"] == 413


@pytest.fixture
def many_files() -> Iterator[None]:
    """An ordinary user's shell allows a process 1024 open files; this one holds more connections."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("many_files")
def test_half_sent_bodies_and_idle_connections_cost_little_and_stop_nobody() -> None:
    with gateway() as door, ExitStack() as stack:

        def worst() -> float:
            took = []
            for _ in range(60):
                began = time.perf_counter()
                assert door.get("/products").status == 200
                took.append(time.perf_counter() - began)
            return sorted(took)[-2]

        usual = worst()
        for number in range(1500):
            connection = stack.enter_context(socket.create_connection((HOST, door.port), timeout=10))
            if number < 500:
                connection.sendall(
                    b"POST /products HTTP/1.1\r\nHost: x\r\nContent-Length: 131072\r\n\r\n" + b"x" * 20_000
                )
        crowded = worst()
        envoy, *_ = door.process.children()
        assert envoy.memory_info().rss < 160 * 1024 * 1024
        print(f"p99 of another client {usual * 1000:.1f} ms, with the others there {crowded * 1000:.1f} ms")
        assert crowded < max(20 * usual, 1.0), "nobody waits for the others"


class TestStreams:
    def events(self, request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "text/event-stream")
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for number in range(3):
            event = b"data: %d\n\n" % number
            request.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            # Longer than an answer may pause; together longer than it may take.
            time.sleep(1.7)
        request.wfile.write(b"0\r\n\r\n")

    def test_are_neither_cut_nor_held_back(self) -> None:
        with gateway(edit=fast) as door:
            door.services["catalog"].answer = self.events
            headers = {"Accept": "text/event-stream", "Accept-Encoding": "gzip"}
            with httpx.stream(  # unchecked: a recorder
                "GET", f"http://{HOST}:{door.port}/products/events", headers=headers, timeout=30
            ) as answer:
                assert "content-encoding" not in answer.headers
                arrivals = [(time.monotonic(), data) for data in answer.iter_raw()]
        assert b"".join(data for _, data in arrivals) == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
        assert all(later - earlier > 1 for (earlier, _), (later, _) in pairwise(arrivals))


def listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=5).close()
    except OSError:
        return False
    return True


class TestEnd:
    def test_requests_in_flight_are_finished_and_clients_are_told(self) -> None:
        with gateway(DRAIN_SECONDS="1") as door:
            catalog = door.services["catalog"]
            with socket.create_connection((HOST, door.port), timeout=30) as connection:
                with held() as hold:
                    catalog.answer = hold
                    catalog.seen.clear()
                    connection.sendall(b"GET /products HTTP/1.1\r\nHost: x\r\n\r\n")
                    until(lambda: bool(catalog.seen))
                    door.process.send_signal(signal.SIGTERM)
                    health = f"http://{HOST}:{door.metrics_port}/health"
                    until(lambda: httpx.get(health).status_code == 503)  # unchecked: metrics
                    drained = httpx.get(f"http://{HOST}:{door.port}/auth/x")  # unchecked: a recorder
                    assert (drained.status_code, drained.headers["connection"]) == (200, "close")
                    until(lambda: not listens(door.port))
                received = connection.recv(65536)
            assert received.startswith(b"HTTP/1.1 200")
            assert b"connection: close" in received.lower()
            door.process.wait(20)

    def test_envoy_does_not_outlive_its_parent(self) -> None:
        with gateway() as door:
            [envoy] = door.process.children()
            door.process.kill()
            try:
                until(lambda: not envoy.is_running() or envoy.status() == psutil.STATUS_ZOMBIE)
            finally:
                with suppress(psutil.NoSuchProcess):
                    envoy.kill()

    def test_a_wrong_setting_is_told_without_its_value(self) -> None:
        expected = pytest.raises(StackError, match=r"TRUSTED_PROXY_HOPS: must be a whole number from 0 to 8")
        with expected as told, gateway(TRUSTED_PROXY_HOPS="canary", CATALOG_UPSTREAMS="canary"):
            pass
        assert "CATALOG_UPSTREAMS: must be addresses" in str(told.value)
        assert "canary" not in str(told.value).partition("these settings")[2]


class TestMetrics:
    def test_few_connections_are_open_at_its_port(self, door: Gateway) -> None:
        with ExitStack() as stack:
            address = HOST, door.metrics_port
            connections = [stack.enter_context(socket.create_connection(address, timeout=10)) for _ in range(200)]

            def ended() -> int:
                count = 0
                for connection in connections:
                    connection.setblocking(False)
                    try:
                        count += connection.recv(1) == b""
                    except BlockingIOError:
                        continue
                    except ConnectionResetError:
                        count += 1
                return count

            until(lambda: ended() >= 200 - 64)
            assert door.get("/products").status == 200

    def test_prometheus_finds_rates_by_service_and_nothing_else_is_there(self, door: Gateway) -> None:
        door.get("/products")
        door.get("/nothing")
        url = f"http://{HOST}:{door.metrics_port}"
        until(
            lambda: (
                'envoy_cluster_upstream_rq_total{envoy_cluster_name="catalog"} 0'
                not in httpx.get(f"{url}/metrics").text  # unchecked: metrics
            )
        )
        text = httpx.get(f"{url}/metrics").text  # unchecked: metrics
        for name in (
            "cluster_upstream_rq_time_bucket", "cluster_upstream_rq_retry", "cluster_membership_healthy",
            "http_downstream_cx_active", "http_downstream_rq_xx",
        ):  # fmt: skip
            assert f"\nenvoy_{name}{{" in text, name
        assert len(text) < 100_000
        assert httpx.get(f"{url}/health").status_code == 200  # unchecked: metrics
        for path in ("/", "/config_dump", "/quitquitquit", "/stats", "/metrics/../config_dump", "/healthcheck/fail"):
            for method in ("GET", "POST"):
                assert httpx.request(method, url + path).status_code == 404, path  # unchecked: metrics


@pytest.mark.parametrize("hops", range(5))
def test_the_address_that_counts_is_the_one_the_outermost_trusted_proxy_saw(hops: int) -> None:
    with gateway(TRUSTED_PROXY_HOPS=str(hops)) as door:
        for forged in ("", "203.0.113.66", "203.0.113.66, 203.0.113.67, 203.0.113.68, 203.0.113.69, 203.0.113.70"):
            # The client's address, which the outermost proxy adds, and those of all proxies but the last.
            chain = ["198.51.100.7", *(f"192.0.2.{hop}" for hop in range(1, hops))] if hops else []
            door.services["catalog"].seen.clear()
            door.get("/products", f"X-Forwarded-For: {', '.join([*([forged] if forged else []), *chain])}")
            [(_, _, headers)] = door.services["catalog"].seen
            assert headers["x-forwarded-for"] == ("198.51.100.7" if hops else "127.0.0.1")


def test_with_a_certificate_it_speaks_tls_and_http_2(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    subprocess.run(
        [*make, "-keyout", key, "-out", certificate, "-subj", "/CN=shop.example"], check=True, capture_output=True
    )
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])

    def answer(door: Gateway) -> httpx.Response:
        return httpx.get(f"https://{HOST}:{door.port}/products", verify=False)  # unchecked: a recorder

    def ready(door: Gateway) -> bool:
        try:
            return answer(door).status_code == 200
        except httpx.TransportError:
            return False

    with gateway(ready=ready, TLS_CERTIFICATE=str(certificate), TLS_KEY=str(key)) as door:
        with socket.create_connection((HOST, door.port)) as plain, context.wrap_socket(plain) as secure:
            assert secure.selected_alpn_protocol() == "h2"
        assert answer(door).status_code == 200
        assert door.services["catalog"].seen[-1][2]["x-forwarded-proto"] == "https"


class TestTracing:
    def test_its_span_is_the_root_and_has_no_query(self) -> None:
        with receiving() as receiver, gateway(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint) as door:
            door.get("/products?token=canary")
            spans = until(lambda: [it for it in receiver.spans if it.service == "gateway"])
            trace, _, parent = door.services["catalog"].seen[-1][2]["traceparent"].removeprefix("00-").partition("-")
            [root] = [it for it in spans if it.id == parent.partition("-")[0]]
            assert (root.trace, root.parent) == (trace, "")
            assert not [it for it in spans if "canary" in str(it)]

    def test_a_trace_of_the_client_goes_on(self) -> None:
        with receiving() as receiver, gateway(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint) as door:
            trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
            door.get("/products", f"traceparent: 00-{trace}-{parent}-01")
            spans = until(lambda: [it for it in receiver.spans if it.trace == trace])
            assert [it.parent for it in spans] == [parent]

    def test_nothing_is_traced_without_a_collector(self, door: Gateway) -> None:
        door.get("/products")
        assert "traceparent" not in door.services["catalog"].seen[-1][2]
