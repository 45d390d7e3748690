"""Figures that no process counts: read from PostgreSQL and Redis at the moment of the scrape."""

import logging
import time
from collections.abc import Callable, Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sync import runs
from sync.monitoring import Monitor
from sync.queue_state import read_queue_state

__all__ = ["SyncGauges"]

log = logging.getLogger(__name__)


class SyncGauges(Collector):
    """A scrape takes at most 1 s per store; figures of a store that does not answer are left out of it."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    @staticmethod
    def describe() -> Iterable[Metric]:
        """The metrics without values, so that nothing is read at registration."""
        return [*_source_metrics(), *_queue_metrics()]

    def collect(self) -> Iterable[Metric]:
        stores: dict[str, Callable[[], list[GaugeMetricFamily]]] = {"postgres": self._sources, "redis": self._queue}
        for name, read in stores.items():
            try:
                yield from read()
            except Exception as error:
                log.warning("no figures from %s: %s", name, type(error).__name__)

    def _sources(self) -> list[GaugeMetricFamily]:
        last, age, active, held = metrics = _source_metrics()
        for figures in self._monitor.ask(runs.list_figures(self._monitor.db)):
            active.add_metric([figures.source], figures.active)
            held.add_metric([figures.source], figures.held)
            if figures.succeeded_at is not None:
                last.add_metric([figures.source], figures.succeeded_at)
            age.add_metric([figures.source], max(0.0, time.time() - (figures.succeeded_at or figures.created_at)))
        return metrics

    def _queue(self) -> list[GaugeMetricFamily]:
        jobs, workers = metrics = _queue_metrics()
        state = self._monitor.ask(read_queue_state(self._monitor.redis))
        for name, count in (("queued", state.queued), ("started", state.started), ("failed", state.failed)):
            jobs.add_metric([name], count)
        workers.add_metric([], len(state.workers))
        return metrics


def _source_metrics() -> list[GaugeMetricFamily]:
    labels = ["source"]
    return [
        GaugeMetricFamily("products_sync_last_success_timestamp_seconds", "End of the last good run.", labels=labels),
        GaugeMetricFamily(
            "products_sync_last_success_age_seconds",
            "Time since the last good run, or since there is the source.",
            labels=labels,
        ),
        GaugeMetricFamily(
            "products_sync_active_runs", "Runs that are queued, running or being applied.", labels=labels
        ),
        GaugeMetricFamily("products_sync_held_runs", "Runs that an admin has to apply or cancel.", labels=labels),
    ]


def _queue_metrics() -> list[GaugeMetricFamily]:
    return [
        GaugeMetricFamily("products_sync_queue_jobs", "RQ jobs by state.", labels=["state"]),
        GaugeMetricFamily("products_sync_workers", "Workers that RQ knows."),
    ]
