"""The page fetcher: retries, addresses, secrets and numbers. No test waits for a clock."""

import datetime
import logging
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.providers import (
    ProviderAnswerInvalid,
    ProviderConfig,
    ProviderError,
    ProviderMisconfigured,
    ProviderRefused,
    ProviderUnavailable,
)
from sync.providers.http import JsonClient, parse
from tests.unit.sync.scripts import NOON, OK, URL, Script, Time, client


class TestRetries:
    async def test_a_good_answer_is_asked_for_once(self) -> None:
        script, time = Script(OK), Time()
        assert await client(script, time).get({"skip": 0}) == {"a": 1}
        assert (len(script.calls), time.sleeps) == (1, [])

    async def test_the_request(self) -> None:
        script = Script(OK)
        await client(script).get({"skip": 7})
        [request] = script.calls
        assert request.headers["user-agent"] == "products-api-sync"
        assert request.headers["accept-encoding"] == "gzip"
        assert dict(request.url.params) == {"key": "hush-hush", "skip": "7"}

    @pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
    async def test_three_tries_with_backoff(self, status: int) -> None:
        script, time = Script(httpx.Response(status)), Time()
        with pytest.raises(ProviderUnavailable, match=str(status)) as caught:
            await client(script, time).get({})
        assert caught.value.retryable
        assert (len(script.calls), time.sleeps) == (3, [1.0, 2.0])

    @pytest.mark.parametrize(
        "error",
        [
            httpx.ConnectError("refused"),
            httpx.ConnectTimeout("slow"),
            httpx.ReadTimeout("slow"),
            httpx.ReadError("reset"),
            httpx.RemoteProtocolError("cut"),
            OSError("network unreachable"),
        ],
        ids=repr,
    )
    async def test_a_broken_connection_is_tried_again(self, error: Exception) -> None:
        script, time = Script(error, error, OK), Time()
        assert await client(script, time).get({}) == {"a": 1}
        assert len(script.calls) == 3
        with pytest.raises(ProviderUnavailable):
            await client(Script(error)).get({})

    async def test_the_jitter_is_full(self) -> None:
        time = Time()
        with pytest.raises(ProviderUnavailable):
            await client(Script(httpx.Response(500)), time, rng=lambda: 0.25).get({})
        assert time.sleeps == [0.25, 0.5]

    @pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404, 410, 418])
    async def test_a_refusal_is_final(self, status: int) -> None:
        script = Script(httpx.Response(status, headers={"location": "http://169.254.169.254/"}))
        with pytest.raises(ProviderRefused, match=str(status)) as caught:
            await client(script).get({})
        assert not caught.value.retryable
        assert [call.url.host for call in script.calls] == ["source.test"]

    async def test_an_unasked_304_is_no_redirect(self) -> None:
        with pytest.raises(ProviderRefused, match=r"304: .* check the cache"):
            await client(Script(httpx.Response(304))).get({})

    async def test_an_answer_that_is_wrong_is_final(self) -> None:
        script = Script(httpx.Response(200, html="<title>Down</title>"))
        with pytest.raises(ProviderAnswerInvalid, match="check the address"):
            await client(script).get({})
        assert len(script.calls) == 1


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("header", "seconds"),
        [
            ("7", 7.0),
            ("0", 0.5),
            ("300", 300.0),
            (format_datetime(NOON + datetime.timedelta(seconds=90), usegmt=True), 90.0),
            (format_datetime(NOON - datetime.timedelta(days=1), usegmt=True), 0.5),
        ],
    )
    @pytest.mark.parametrize("status", [429, 503])
    async def test_both_forms_within_bounds(self, status: int, header: str, seconds: float) -> None:
        time = Time()
        script = Script(httpx.Response(status, headers={"retry-after": header}), OK)
        assert await client(script, time).get({}) == {"a": 1}
        assert time.sleeps == [seconds]

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [
            ("301", 301.0),
            ("86400", 86_400.0),
            (format_datetime(NOON + datetime.timedelta(days=1), usegmt=True), 86_400.0),
            ("9" * 500, 31_536_000.0),
        ],
    )
    async def test_a_long_one_is_for_a_later_run(self, header: str, seconds: float) -> None:
        script, time = Script(httpx.Response(429, headers={"retry-after": header})), Time()
        with pytest.raises(ProviderUnavailable) as caught:
            await client(script, time).get({})
        assert caught.value.retry_after == seconds
        assert (len(script.calls), time.sleeps) == (1, [])

    @pytest.mark.parametrize("header", ["", "soon", "-5", "1.5", "²", "Tue, 99 Foo 2030 12:00:00 GMT", "nan", "inf"])
    async def test_nonsense_is_as_good_as_none(self, header: str) -> None:
        time = Time()
        answer = httpx.Response(429, headers=[(b"retry-after", header.encode())])
        assert await client(Script(answer, OK), time).get({}) == {"a": 1}
        assert time.sleeps == [1.0]

    @settings(max_examples=300, deadline=None)
    @given(st.text(max_size=40) | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,5} [\d:]{0,9} ?\S{0,5}"))
    async def test_no_header_breaks_it(self, header: str) -> None:
        time = Time()
        answer = httpx.Response(503, headers=[(b"retry-after", header.encode("utf-8", "replace"))])
        with pytest.raises(ProviderUnavailable):
            await client(Script(answer), time).get({})
        assert all(0.5 <= seconds <= 300 for seconds in time.sleeps)

    async def test_the_last_one_is_handed_on(self) -> None:
        with pytest.raises(ProviderUnavailable) as caught:
            await client(Script(httpx.Response(429, headers={"retry-after": "60"}))).get({})
        assert caught.value.retry_after == 60


class TestSecrets:
    @pytest.mark.parametrize(
        "answer",
        [
            httpx.Response(404),
            httpx.Response(500),
            httpx.Response(200, text="<"),
            httpx.Response(302, headers={"location": "https://x.test/?key=hush-hush"}),
            httpx.ConnectError("refused"),
        ],
        ids=repr,
    )
    async def test_no_address_with_its_key_is_shown(
        self, answer: httpx.Response | Exception, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        with pytest.raises(ProviderError, match=r"https://source\.test/products") as caught:
            await client(Script(answer)).get({"skip": 0})
        assert "hush-hush" not in str(caught.value)
        assert "hush-hush" not in caplog.text

    def test_nor_in_the_settings(self) -> None:
        assert "hush-hush" not in repr(ProviderConfig(url=URL))


class TestAddresses:
    @pytest.mark.parametrize(
        "url",
        ["", "products", "file:///etc/passwd", "ftp://a.test/", "http://", "//a.test", "http://a:b:c/"],
    )
    def test_what_is_no_http_address(self, url: str) -> None:
        with pytest.raises(ProviderMisconfigured):
            JsonClient(ProviderConfig(url=url))


class TestParse:
    def test_fractions_are_exact(self) -> None:
        assert str(parse(b"[0.1, 2.560]")) == "[Decimal('0.1'), Decimal('2.560')]"

    def test_a_mark_at_the_beginning_is_skipped(self) -> None:
        assert parse(b"\xef\xbb\xbf{}") == {}

    @pytest.mark.parametrize("number", ["9" * 5_000, "1e99999999999999999999", "-1e99999999999999999999", "NaN"])
    def test_no_number_fails_the_page(self, number: str) -> None:
        [_, after] = parse(f"[{number}, 1]".encode())
        assert after == 1

    def test_the_error_does_not_hold_the_page(self) -> None:
        with pytest.raises(ProviderAnswerInvalid) as caught:
            parse(b'{"secret": ')
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
        assert "secret" not in str(caught.value)
