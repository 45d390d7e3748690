"""Templates are read from top to bottom: a file per component, short, and what several say alike is a helper."""

import re
from collections import defaultdict

from tests.helm.render import CHART

LINES, HELPER_LINES, BLOCK = 150, 525, 7
TEMPLATES = [path for path in sorted((CHART / "templates").rglob("*.*")) if path.is_file()]
HELPERS = [path for path in TEMPLATES if path.suffix == ".tpl"]


def test_every_file_fits_on_two_screens() -> None:
    lines = {path.name: len(path.read_text("utf-8").splitlines()) for path in TEMPLATES}
    assert not {name: count for name, count in lines.items() if count > LINES}
    assert sum(lines[path.name] for path in HELPERS) <= HELPER_LINES


def test_no_helper_hides_an_object_but_those_that_any_workload_may_have() -> None:
    kinds = {kind for path in HELPERS for kind in re.findall(r"^kind: (\w+)", path.read_text("utf-8"), re.M)}
    assert kinds == {"HorizontalPodAutoscaler", "PodDisruptionBudget"}


def test_each_helper_is_used() -> None:
    text = "\n".join(path.read_text("utf-8") for path in TEMPLATES)
    defined = re.findall(r'define "([^"]+)"', text)
    assert len(defined) == len(set(defined)) > 20
    assert not [name for name in defined if f'include "{name}"' not in text]


def test_no_block_stands_three_times() -> None:
    places = defaultdict(set)
    for path in TEMPLATES:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
        lines = [line for line in lines if line not in ("", "---", "{{- end }}")]
        for start in range(len(lines) - BLOCK + 1):
            places["\n".join(lines[start : start + BLOCK])].add((path.name, start))
    assert len(places) > 100
    assert not [block for block, where in places.items() if len(where) >= 3]
