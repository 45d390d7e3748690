"""The release under test: its values, and its clients."""

import json
import tempfile
from dataclasses import dataclass, field
from typing import Any

from tests.deploy.client import Client
from tests.deploy.k8s.cluster import CHART, Cluster
from tests.deploy.load import Load
from tests.deploy.report import Report

__all__ = ["APIS", "DEPLOYMENTS", "Release"]

APIS = ("auth", "catalog", "sync-api")
DEPLOYMENTS = (*APIS, "sync-worker", "sync-scheduler", "gateway", "dummyjson")


@dataclass
class Release:
    """One installation of the chart, with hosts of its own at the cluster's gateway."""

    cluster: Cluster
    report: Report
    namespace: str
    tag: str
    name: str = "shop"
    replicas: int = 2
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """Of the Ingress."""
        return f"{self.namespace}.test"

    @property
    def route_host(self) -> str:
        """Of the HTTPRoute."""
        return f"route.{self.namespace}.test"

    def helm(self, verb: str, *more: str, timeout: float = 240, chart: str = CHART, **values: Any) -> str:
        """`helm install` or `upgrade` with the chart and all values; `values` win."""
        gateway, gateway_namespace = self.cluster.gateway()
        # Many pods start at once in an upgrade. On a small node they must leave something for the cluster's gateway,
        # which often asks for no CPU, and then gets next to none beside pods that do.
        api, other, store = modest("1m", "200m"), modest("1m", "75m"), modest("50m", "1")
        one = {"replicas": 1, **other}
        everything: dict[str, Any] = {
            "global": {
                "image": {"tag": self.tag},
                "settings": {"APP_ENV": "local"},
                "process": {"replicas": self.replicas} | api,
            },
            "auth": {"settings": {"ADMIN_REGISTRATION": "first"}, "api": api},
            "sync": {"worker": one, "scheduler": one, "provider": {"enabled": True, "process": one}},
            "gateway": {"process": one},
            "postgres": store,
            "redis": store,
            "ingress": {"enabled": True, "hosts": [self.host]},
            "httpRoute": {
                "enabled": True,
                "parentRefs": [{"name": gateway, "namespace": gateway_namespace}],
                "hostnames": [self.route_host],
            },
            "networkPolicy": {
                "gateways": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": gateway_namespace}}}]
            },
        }
        everything = merged(everything, merged(self.values, values))
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(everything, file)
            file.flush()
            command = [verb, self.name, chart, "-n", self.namespace, "-f", file.name, *more]
            return self.cluster.helm(*command, timeout=timeout)

    def object(self, kind: str, component: str) -> str:
        return f"{kind}/{self.name}-{component}"

    @property
    def client(self) -> Client:
        """Through the Ingress."""
        return Client(self.cluster.gateway_url, self.host)

    @property
    def route_client(self) -> Client:
        """Through the HTTPRoute."""
        return Client(self.cluster.gateway_url, self.route_host)

    def load(self, rate: float = 100.0) -> Load:
        """Mixed requests by the tour's admin, through the Ingress."""
        return Load(self.client, self.client.token(), rate)


def modest(request: str, limit: str) -> dict[str, Any]:
    """The CPU of a process: what it has a claim to, and what it uses at most."""
    return {"resources": {"requests": {"cpu": request}, "limits": {"cpu": limit}}}


def merged(values: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """One tree of values laid over another."""
    both = {key: merged(values[key], over[key]) for key in values.keys() & over.keys() if isinstance(over[key], dict)}
    return values | over | both
