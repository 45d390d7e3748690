"""FAULTS=source: the external API is down for a share of fetches, and the products are right all the same."""

from typing import Any

import psycopg

from sync.states import ACTIVE
from tests.fixtures.otlp import receiving
from tests.fixtures.processes import Process
from tests.fixtures.waiting import until
from tests.integration.sync.conftest import Feed, Launch
from tests.integration.sync.test_worker import ask, names, run, state

Rows = psycopg.Connection[Any]
FAULTS = 'products_faults_injected_total{kind="source"}'


def done(worker: Process, rows: Rows, valkey: Any, feed: Feed) -> tuple[dict[str, Any], float]:
    """A run to its end, and how many of its fetches failed on purpose."""
    before, run_id = worker.figure(FAULTS), ask(rows, valkey, feed)
    until(lambda: state(rows, run_id) not in ACTIVE)
    return run(rows, run_id), worker.figure(FAULTS) - before


class TestSource:
    def test_three_tries_and_the_run_has_failed(
        self, launch: Launch, rows: Rows, valkey: Any, products: Rows, feed: Feed
    ) -> None:
        with receiving() as receiver:
            worker = launch("work", FAULTS="source=1", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint)
            until(worker.healthy)
            failed, injected = done(worker, rows, valkey, feed)
            (span,) = until(lambda: [it for it in receiver.spans if it.name == "sync.run"])
        assert span.failed
        assert failed["state"] == "failed"
        assert failed["error"].startswith("page 1: ProviderUnavailable: ")
        assert " answered 503: " in failed["error"]
        assert (injected, feed.asked, names(products)) == (3, [], {})

    def test_retries_make_up_for_a_share(
        self, launch: Launch, rows: Rows, valkey: Any, products: Rows, feed: Feed
    ) -> None:
        worker = launch("work", FAULTS="source=0.3")
        until(worker.healthy)
        everything = {str(item["id"]): item["title"] for item in feed.products}
        for _ in range(20):
            ended, injected = done(worker, rows, valkey, feed)
            # All or nothing: a run of two pages meets three faults in a row in one case of twenty.
            assert ended["state"] == "succeeded" or " answered 503: " in ended["error"]
            assert names(products) in (everything, {})
            if injected and ended["state"] == "succeeded":
                break
        else:
            raise AssertionError("no run met a fault and succeeded")
        assert (ended["fetched"], ended["rejected"], names(products)) == (194, 0, everything)
