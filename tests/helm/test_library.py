"""The library chart is small, and no template says for a third time what another says."""

import re
from collections import defaultdict

from tests.helm.render import CHART

LIBRARY_LINES = 400
BLOCK = 8
TEMPLATES = [path for path in sorted(CHART.rglob("templates/**/*")) if path.is_file()]


def test_the_library_is_short() -> None:
    library = [path for path in TEMPLATES if path.is_relative_to(CHART / "charts/service")]
    assert library
    assert sum(len(path.read_text("utf-8").splitlines()) for path in library) <= LIBRARY_LINES


def test_subcharts_only_name_what_the_library_makes() -> None:
    for service in ("auth", "catalog", "sync"):
        assert len((CHART / f"charts/{service}/templates/all.yaml").read_text("utf-8").splitlines()) <= 20
        own = [path for path in TEMPLATES if path.is_relative_to(CHART / f"charts/{service}")]
        kinds = {kind for path in own for kind in re.findall(r"^kind: (\w+)", path.read_text("utf-8"), re.M)}
        assert kinds <= {"ScaledObject", "Service"}


def test_no_block_stands_three_times() -> None:
    places = defaultdict(set)
    for path in TEMPLATES:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
        for start in range(len(lines) - BLOCK + 1):
            places["\n".join(lines[start : start + BLOCK])].add((path.name, start))
    assert len(places) > 100
    assert not [block for block, where in places.items() if len(where) >= 3]
