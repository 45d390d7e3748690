"""docs/metrics.md is what the processes register; names and labels follow Prometheus' rules."""

import re

from tools.metrics import PAGE, metrics, page


def test_the_page_is_as_the_processes_say() -> None:
    assert page() == PAGE.read_text("utf-8"), "run: make metrics"


def test_names_are_those_of_a_product_and_end_in_their_unit() -> None:
    for metric in metrics():
        assert re.fullmatch(r"products_[a-z_]+", metric.name)
        assert (metric.type == "counter") == metric.name.endswith("_total"), metric.name
        assert metric.type != "histogram" or metric.name.endswith(("_seconds", "_bytes")), metric.name
        assert metric.meaning.endswith("."), metric.name
