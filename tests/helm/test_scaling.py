"""Autoscalers: the APIs by CPU, workers by the depth of the queue; metrics where the cluster can take them."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from stack import services
from sync.gauges import SyncGauges
from sync.monitoring import Monitor
from sync.settings import SyncSettings
from tests.helm.render import SHAPES, given, named, only, pods, render

APIS = set(services.APIS.values())
SERVING = APIS | {"gateway"}
BACKGROUND = services.PROGRAMS.keys() - APIS | {"dummyjson"}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_deployment_has_replicas_or_an_autoscaler(shape: str) -> None:
    manifests = render(shape)
    scalers = [*only(manifests, "HorizontalPodAutoscaler"), *only(manifests, "ScaledObject")]
    scaled = {it["spec"]["scaleTargetRef"]["name"] for it in scalers}
    deployments = {it["metadata"]["name"]: it["spec"] for it in only(manifests, "Deployment")}
    assert len(scaled) == len(scalers)
    assert scaled <= deployments.keys()
    assert {name for name, spec in deployments.items() if "replicas" not in spec} == scaled


def replicas(*arguments: str) -> dict[str, int]:
    """By component, of those that say it."""
    manifests = render("01-minimal", "--set", "sync.provider.enabled=true", *arguments)
    specs = {name: it["spec"] for name, it in named(manifests, "Deployment").items()}
    return {name: spec["replicas"] for name, spec in specs.items() if "replicas" in spec}


def test_more_pods_of_all_are_more_of_those_that_serve_requests() -> None:
    assert replicas() == dict.fromkeys({*SERVING, *BACKGROUND}, 1)
    assert replicas(*given({"global": {"process": {"replicas": 2}}})) == (
        dict.fromkeys(SERVING, 2) | dict.fromkeys(BACKGROUND, 1)
    )
    own = {"worker": {"replicas": 3}, "scheduler": {"replicas": 2}, "provider": {"process": {"replicas": 4}}}
    assert replicas(*given({"sync": own})) == (
        dict.fromkeys(SERVING, 1) | {"sync-worker": 3, "sync-scheduler": 2, "dummyjson": 4}
    )


def test_autoscaling_of_all_is_not_of_those_that_have_no_load_of_their_own() -> None:
    on = {"process": {"autoscaling": {"enabled": True}}}
    manifests = render("01-minimal", "--set", "sync.provider.enabled=true", *given({"global": on}))
    assert named(manifests, "HorizontalPodAutoscaler").keys() == SERVING
    assert replicas(*given({"global": on}))["sync-scheduler"] == replicas(*given({"global": on}))["dummyjson"] == 1


@pytest.mark.parametrize(
    ("path", "left_out"),
    [
        ("global.process", {*APIS, "gateway"}), ("catalog.api", {"catalog"}), ("gateway.process", {"gateway"}),
        ("sync.worker", {"sync-worker"}), ("sync.scheduler", {"sync-scheduler"}),
        ("sync.provider.process", {"dummyjson"}),
    ],
)  # fmt: skip
def test_replicas_of_null_leave_the_field_to_kubectl_scale(path: str, left_out: set[str]) -> None:
    assert replicas("--set", f"{path}.replicas=null") == dict.fromkeys({*SERVING, *BACKGROUND} - left_out, 1)


def test_the_apis_scale_by_cpu() -> None:
    scalers = named(render("03-everything"), "HorizontalPodAutoscaler")
    assert scalers.keys() == APIS | {"gateway"}
    for component, scaler in scalers.items():
        spec = scaler["spec"]
        assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"shop-{component}"}
        assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 6)
        target = {"type": "Utilization", "averageUtilization": 60}
        assert spec["metrics"] == [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
        assert spec["behavior"] == {"scaleDown": {"stabilizationWindowSeconds": 60}}
        requests = pods(render("03-everything"))[component]["spec"]["containers"][0]["resources"]["requests"]
        assert "cpu" in requests, "a share of nothing"


def test_one_api_may_scale_alone() -> None:
    scalers = named(render("05-replicas"), "HorizontalPodAutoscaler")
    assert scalers.keys() == {"catalog", "sync-worker"}
    assert (scalers["catalog"]["spec"]["minReplicas"], scalers["catalog"]["spec"]["maxReplicas"]) == (2, 10)


def test_workers_scale_by_an_external_metric() -> None:
    spec = named(render("05-replicas", capabilities=()), "HorizontalPodAutoscaler")["sync-worker"]["spec"]
    labels = {"state": "queued", "namespace": "products"}
    metric = {"name": "products_sync_queue_jobs", "selector": {"matchLabels": labels}}
    target = {"type": "AverageValue", "averageValue": "1"}
    assert spec["metrics"] == [{"type": "External", "external": {"metric": metric, "target": target}}]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 4)


def test_keda_asks_the_scheduler() -> None:
    manifests = render("03-everything")
    (scaled,) = only(manifests, "ScaledObject")
    assert scaled["spec"]["scaleTargetRef"] == {"name": "shop-sync-worker"}
    assert (scaled["spec"]["minReplicaCount"], scaled["spec"]["maxReplicaCount"]) == (1, 8)
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["type"] == "metrics-api"
    assert trigger["metadata"] | {"valueLocation": ""} == {
        "url": "http://shop-sync-scheduler-metrics.products:9100/metrics", "format": "prometheus",
        "valueLocation": "", "targetValue": "2",
    }  # fmt: skip
    service = named(manifests, "Service")["sync-scheduler-metrics"]
    assert service["metadata"]["name"] == "shop-sync-scheduler-metrics"
    assert [(it["port"], it["targetPort"]) for it in service["spec"]["ports"]] == [(9100, "metrics")]
    assert service["spec"]["selector"]["app.kubernetes.io/component"] == "sync-scheduler"


def test_what_keda_looks_for_is_what_the_scheduler_serves(valkey_url: str) -> None:
    """KEDA takes `name{label="value"}` and the first sample of that family that has the labels."""
    (scaled,) = only(render("03-everything"), "ScaledObject")
    location = scaled["spec"]["triggers"][0]["metadata"]["valueLocation"]
    ((name, labels),) = [
        (sample.name, sample.labels)
        for family in text_string_to_metric_families(f"{location} 0\n")
        for sample in family.samples
    ]
    registry = CollectorRegistry()
    settings = SyncSettings.model_validate(
        {
            "database_url": "postgresql://sync_svc:none@127.0.0.1:1/products",
            # Not the database in which other tests leave jobs.
            "redis_url": f"{valkey_url.removesuffix('/0')}/1",
            "sync_client_secret": "x" * 40,
        }
    )
    with Monitor(settings, "test") as monitor:
        registry.register(SyncGauges(monitor))
        scraped = generate_latest(registry).decode()
    families = {it.name: it for it in text_string_to_metric_families(scraped)}
    assert labels
    assert [it.value for it in families[name].samples if labels.items() <= it.labels.items()] == [0.0]


@pytest.mark.parametrize(
    ("values", "known", "made"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"monitoring": {"podMonitor": {"enabled": False}}}, True, False),
    ],
)
def test_a_pod_monitor_needs_the_operator_and_the_value(values: dict[str, Any], known: bool, made: bool) -> None:
    capabilities = ("monitoring.coreos.com/v1",) if known else ()
    assert bool(only(render("01-minimal", *given(values), capabilities=capabilities), "PodMonitor")) is made


def test_metrics_are_scraped_from_each_process_once() -> None:
    manifests = render("03-everything")
    (monitor,) = only(manifests, "PodMonitor")
    labels = monitor["spec"]["selector"]["matchLabels"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint == {"port": "metrics", "path": "/metrics", "interval": "15s"}
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    scraped = {
        name for name, pod in pods(manifests).items()
        if labels.items() <= pod["metadata"]["labels"].items()
        and any(it["name"] == "metrics" for it in pod["spec"]["containers"][0].get("ports", []))
    }  # fmt: skip
    assert scraped == SERVING | {"sync-worker", "sync-scheduler"}
    annotated = {
        name for name, pod in pods(manifests).items()
        if pod["metadata"].get("annotations", {}).get("prometheus.io/port") == "9100"
    }  # fmt: skip
    assert annotated == scraped
    silent = render("03-everything", *given({"global": {"scrapeAnnotations": False}}))
    assert not [it for it in pods(silent).values() if "prometheus.io/scrape" in it["metadata"].get("annotations", {})]
