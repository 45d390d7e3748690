"""The chart's README: its tables come from the values, its examples work, its links and names exist."""

import re
from typing import Any

import pytest
import yaml

from stack.services import SERVICES
from tests.helm.render import CHART, given, only, pods, render
from tools.chart import README, rendered, values

TEXT = README.read_text("utf-8")
BLOCKS: list[dict[str, Any]] = [
    yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", TEXT, re.M | re.S)
]
EXAMPLES = [block for block in BLOCKS if "kind" not in block]
VALUES = (CHART / "values.yaml").read_text("utf-8")


def test_the_tables_are_fresh() -> None:
    assert rendered(TEXT, VALUES) == TEXT, "run: make chart"


def test_production_cloudnativepg_a_managed_redis_tls_and_client_addresses_are_shown() -> None:
    assert len(EXAMPLES) == 6
    assert [block["kind"] for block in BLOCKS if "kind" in block] == ["Cluster"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: "+".join(example))
def test_an_example_is_rendered_and_has_an_effect(example: dict[str, Any]) -> None:
    assert render("01-minimal", *given(example)) != render()


def test_the_examples_together_leave_nothing_bundled() -> None:
    manifests = render("01-minimal", *(argument for example in EXAMPLES for argument in given(example)))
    assert not only(manifests, "StatefulSet")
    assert not {"postgres", "redis", "gateway"} & pods(manifests).keys()


def test_the_cluster_has_the_roles_and_secrets_that_the_values_name() -> None:
    (cluster,) = (block for block in BLOCKS if block.get("kind") == "Cluster")
    (example,) = (
        it for it in EXAMPLES if "auth" in it and "database" in it["auth"] and "url" in it["auth"]["database"]
    )
    roles = {it["name"]: it["passwordSecret"]["name"] for it in cluster["spec"]["managed"]["roles"]}
    for service in SERVICES:
        database = example[service]["database"]
        host = f"{cluster['metadata']['name']}-rw:5432/{cluster['spec']['bootstrap']['initdb']['database']}"
        assert database["url"].startswith(f"postgresql://{service}_svc:$(DATABASE_PASSWORD)@{host}")
        assert database["existingSecret"] == roles[f"{service}_svc"]


def test_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", TEXT) if "://" not in link]
    assert len(links) >= 4
    assert not [link for link in links if not (CHART / link).exists()]


def test_every_value_that_the_prose_names_exists() -> None:
    prose, _, _ = TEXT.partition("<!-- values -->")
    tops = "|".join(yaml.safe_load(VALUES))
    spoken = set(re.findall(rf"`((?:{tops})\.[\w.]+)", prose))
    known = {value.path for value in values(VALUES)}
    holders = {path.rsplit(".", depth)[0] for path in known for depth in range(4)}
    assert len(spoken) >= 8
    assert not {path for path in spoken if path not in known | holders}
