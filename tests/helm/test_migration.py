"""A Job for each service brings its schema up; it is no hook, so nothing waits in a circle. Its pods cannot be changed,
so it is called by what they are: what runs otherwise is another Job, and an equal release has an equal one."""

import re
from itertools import combinations
from typing import Any

from stack.services import SERVICES
from tests.helm.render import CHART, Manifest, given, only, render


def jobs(*arguments: str) -> dict[str, Manifest]:
    """By service; no two of one."""
    found = only(render("01-minimal", *arguments), "Job")
    by_service = {it["spec"]["template"]["spec"]["containers"][0]["args"][2]: it for it in found}
    assert len(by_service) == len(found)
    return by_service


def names(*arguments: str) -> dict[str, str]:
    return {service: job["metadata"]["name"] for service, job in jobs(*arguments).items()}


def test_each_service_has_one_job_that_is_no_hook() -> None:
    assert jobs().keys() == set(SERVICES)
    for service, job in jobs().items():
        pod = job["spec"]["template"]["spec"]
        assert pod["containers"][0]["args"] == ["python", "-m", service, "migrate"]
        assert not [key for key in job["metadata"].get("annotations", {}) if key.startswith("helm.sh/hook")]
        assert pod["restartPolicy"] == "OnFailure"
        assert job["spec"]["backoffLimit"] == 6
        assert "ttlSecondsAfterFinished" not in job["spec"], "helm would miss it, and make it again"


def test_the_same_values_are_the_same_job() -> None:
    assert names("--timeout=5m") == names()
    assert names(*given({"gateway": {"process": {"replicas": 2}}, "sync": {"worker": {"replicas": 3}}})) == names()
    # One proxy before the services, the bundled or another: that is the same setting.
    other = {"gateway": {"enabled": False}, "global": {"settings": {"TRUSTED_PROXY_HOPS": 1}}}
    assert names(*given(other)) == names()


def test_an_upgrade_is_rendered_as_an_install() -> None:
    """So `helm upgrade` with equal values changes nothing, in whatever revision of the release."""
    templates = "".join(path.read_text("utf-8") for path in (CHART / "templates").rglob("*.*"))
    assert names("--is-upgrade") == names()
    assert not re.findall(r"\.Release\.(?:Revision|IsUpgrade|IsInstall)", templates)


VARIANTS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "image": {"global": {"image": {"tag": "9.9.9"}}},
    "pull policy": {"global": {"image": {"pullPolicy": "Always"}}},
    "secret": {"global": {"configRevision": "2"}},
    "setting": {"global": {"settings": {"LOG_LEVEL": "debug"}}},
    "node": {"global": {"process": {"nodeSelector": {"disk": "ssd"}}}},
    "resources": {"catalog": {"api": {"resources": {"limits": {"memory": "1Gi"}}}}},
    "replicas": {"global": {"process": {"replicas": 3}}},
    "sidecar": {"catalog": {"api": {"extraContainers": [{"name": "proxy", "image": "proxy:1"}]}}},
    "label": {"global": {"labels": {"team": "catalog"}}},
    "network": {"networkPolicy": {"enabled": False}},
}


def test_the_name_is_another_exactly_when_the_spec_is() -> None:
    found = {name: jobs(*given(values))["catalog"] for name, values in VARIANTS.items()}
    same = {pair for pair in combinations(found, 2) if found[pair[0]]["spec"] == found[pair[1]]["spec"]}
    assert same == set(combinations(["nothing", "replicas", "sidecar", "network"], 2))
    assert {
        pair for pair in combinations(found, 2)
        if found[pair[0]]["metadata"]["name"] == found[pair[1]]["metadata"]["name"]
    } == same  # fmt: skip


def test_another_image_is_another_job() -> None:
    changed = names(*given({"global": {"image": {"tag": "9.9.9"}}}))
    assert not set(changed.values()) & set(names().values())


def test_another_setting_is_another_job_of_that_service_only() -> None:
    changed = names(*given({"auth": {"settings": {"REFRESH_TOKEN_DAYS": 1}}}))
    assert {service for service, name in names().items() if changed[service] != name} == {"auth"}
