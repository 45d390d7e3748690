"""A Job for each revision and service brings the schema up; it is no hook, so nothing waits in a circle."""

from tests.helm.render import Manifest, given, only, render


def jobs(*arguments: str) -> dict[str, Manifest]:
    """By service; no two of one."""
    found = only(render("01-minimal", *arguments), "Job")
    by_service = {it["spec"]["template"]["spec"]["containers"][0]["args"][2]: it for it in found}
    assert len(by_service) == len(found)
    return by_service


def names(*arguments: str) -> dict[str, str]:
    return {service: job["metadata"]["name"] for service, job in jobs(*arguments).items()}


def test_each_service_has_one_job_that_is_no_hook() -> None:
    assert jobs().keys() == {"auth", "catalog", "sync"}
    for service, job in jobs().items():
        pod = job["spec"]["template"]["spec"]
        assert pod["containers"][0]["args"] == ["python", "-m", service, "migrate"]
        assert not [key for key in job["metadata"].get("annotations", {}) if key.startswith("helm.sh/hook")]
        assert pod["restartPolicy"] == "OnFailure" and job["spec"]["backoffLimit"] == 6
        assert "ttlSecondsAfterFinished" not in job["spec"], "helm would miss it, and make it again"


def test_the_same_values_are_the_same_job() -> None:
    assert names("--timeout=5m") == names()
    assert names(*given({"gateway": {"enabled": False}, "sync": {"worker": {"replicas": 3}}})) == names()


def test_another_image_is_another_job() -> None:
    changed = names(*given({"global": {"image": {"tag": "9.9.9"}}}))
    assert not set(changed.values()) & set(names().values())


def test_another_setting_is_another_job_of_that_service_only() -> None:
    changed = names(*given({"auth": {"settings": {"REFRESH_TOKEN_DAYS": 1}}}))
    assert {service for service, name in names().items() if changed[service] != name} == {"auth"}
