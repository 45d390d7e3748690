"""Figures that no process counts: read from PostgreSQL and Redis at the moment of the scrape."""

import logging
import time
from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis import Redis

from sync.probes import Probe, one_query
from sync.queue import QUEUE, connect
from sync.settings import SyncSettings

__all__ = ["SyncGauges"]

log = logging.getLogger(__name__)

_SOURCES = """
    SELECT name, extract(epoch FROM max(finished_at) FILTER (WHERE state = 'succeeded'))::float8,
        count(*) FILTER (WHERE state IN ('queued', 'running'))
    FROM sync.sources LEFT JOIN sync.runs ON source = name GROUP BY name
"""


class SyncGauges(Collector):
    """A scrape takes at most 1 s per store; figures of a store that does not answer are left out of it."""

    def __init__(self, settings: SyncSettings) -> None:
        connection = connect(settings, seconds=0.8)
        self._sources = Probe(lambda: one_query(settings, _SOURCES))
        self._queue = Probe(lambda: _queue_counts(connection))

    @staticmethod
    def describe() -> Iterable[Metric]:
        """The metrics without values, so that nothing is read at registration."""
        return [*_source_metrics(), *_queue_metrics()]

    def collect(self) -> Iterable[Metric]:
        for name, figures in (("postgres", self._of_sources), ("redis", self._of_queue)):
            try:
                yield from figures()
            except Exception as error:
                log.warning("no figures from %s: %s", name, type(error).__name__)

    def _of_sources(self) -> list[GaugeMetricFamily]:
        last, age, active = metrics = _source_metrics()
        for source, succeeded, count in self._sources():
            active.add_metric([source], count)
            if succeeded is not None:
                last.add_metric([source], succeeded)
                age.add_metric([source], max(0.0, time.time() - succeeded))
        return metrics

    def _of_queue(self) -> list[GaugeMetricFamily]:
        jobs, workers = metrics = _queue_metrics()
        queued, started, failed, known = self._queue()
        for state, count in (("queued", queued), ("started", started), ("failed", failed)):
            jobs.add_metric([state], count)
        workers.add_metric([], known)
        return metrics


def _source_metrics() -> list[GaugeMetricFamily]:
    labels = ["source"]
    return [
        GaugeMetricFamily("products_sync_last_success_timestamp_seconds", "End of the last good run.", labels=labels),
        GaugeMetricFamily("products_sync_last_success_age_seconds", "Time since the last good run.", labels=labels),
        GaugeMetricFamily("products_sync_active_runs", "Runs that are queued or running.", labels=labels),
    ]


def _queue_metrics() -> list[GaugeMetricFamily]:
    return [
        GaugeMetricFamily("products_sync_queue_jobs", "RQ jobs by state.", labels=["state"]),
        GaugeMetricFamily("products_sync_workers", "Workers that RQ knows."),
    ]


def _queue_counts(connection: Redis) -> list[int]:
    with connection.pipeline(transaction=False) as pipeline:
        pipeline.llen(f"rq:queue:{QUEUE}")
        pipeline.zcard(f"rq:wip:{QUEUE}")
        pipeline.zcard(f"rq:failed:{QUEUE}")
        pipeline.scard(f"rq:workers:{QUEUE}")
        return [int(count) for count in pipeline.execute()]
