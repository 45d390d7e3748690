"""The first start of a clean clone: all healthy, hardened, closed but for the gateway; the README's tour."""

import json
import time
from typing import Any

from tests.compose.stack import MIGRATIONS, SERVICES, Stack, service_of
from tests.k8s.cluster import until
from tests.k8s.install import inside, tours
from tests.k8s.load import PASSWORD
from tests.k8s.release import REPOSITORIES

__all__ = ["cold_up", "hardening", "outside", "settings"]

COMPILERS = "cc gcc g++ c++ cpp clang tcc ld as make rustc cargo go"
SECRETS = ("PASSWORD", "SECRET", "SECRET_KEY", "REDISCLI_AUTH")
READERS = ("sync-api", "worker", "scheduler")


def cold_up(stack: Stack) -> None:
    """`docker compose up --build --detach --wait` without an .env; all services, all products."""
    report, part = stack.report, "1 cold up"
    before = images(stack)
    began = time.monotonic()
    stack.compose("build", timeout=420)
    built = time.monotonic() - began
    kept = len(set(images(stack)) & set(before))
    report.note(part, "build", f"{built:.0f} s, {kept} of {len(REPOSITORIES)} images came from the builder's cache")
    began = time.monotonic()
    stack.compose("up", "--build", "--detach", "--wait", timeout=240)
    seconds = time.monotonic() - began
    report.check(part, "up --build --wait with images built", "< 60 s", f"{seconds:.0f} s", seconds < 60)
    states = {service_of(it): it["State"] for it in stack.containers()}
    healthy = sorted(name for name, state in states.items() if state.get("Health", {}).get("Status") == "healthy")
    report.check(part, "healthy services", ", ".join(sorted(SERVICES)), ", ".join(healthy))
    ended = {name: (state["Status"], state["ExitCode"]) for name, state in states.items() if name not in SERVICES}
    report.check(part, "migrations", dict.fromkeys(sorted(MIGRATIONS), ("exited", 0)), dict(sorted(ended.items())))
    began = time.monotonic()
    until("194 products", lambda: stack.get("/products?limit=1").json()["total"] == 194, 30)
    report.note(part, "194 products after it", f"{time.monotonic() - began:.1f} s")
    restarted = {service_of(it): it["RestartCount"] for it in stack.containers() if it["RestartCount"]}
    report.check(part, "containers restarted", {}, restarted)


def images(stack: Stack) -> list[str]:
    """The ids of our images that there are."""
    return [stack.docker("image", "ls", "--quiet", f"{name}:latest").strip() or "none" for name in REPOSITORIES]


def hardening(stack: Stack) -> None:
    """One open port; every process without rights; nothing secret in sight."""
    report, part = stack.report, "2 hardening"
    containers = {service_of(it): it for it in stack.containers()}
    ports = {
        name: [f"{way['HostIp']}:{way['HostPort']}" for ways in bound.values() for way in ways or ()]
        for name, it in containers.items()
        if (bound := it["HostConfig"]["PortBindings"])
    }
    report.check(part, "published ports", {"gateway": [f"127.0.0.1:{stack.port}"]}, ports)
    writable = [name for name, it in containers.items() if not it["HostConfig"]["ReadonlyRootfs"]]
    report.check(part, "containers with a writable root", [], writable)
    roots = [name for name, it in containers.items() if it["Config"]["User"].partition(":")[0] in ("", "0", "root")]
    report.check(part, "containers that start as root", [], roots)
    for name in SERVICES:
        status = stack.docker("exec", containers[name]["Id"], "cat", "/proc/1/status")
        fields = dict(line.split(":", 1) for line in status.splitlines())
        seen = [fields["Uid"].split()[0] != "0", int(fields["CapBnd"], 16), int(fields["NoNewPrivs"])]
        report.check(part, f"{name}: not root, capabilities, no-new-privileges", [True, 0, 1], seen)
    for image in REPOSITORIES:
        script = f"for name in {COMPILERS}; do command -v $name; done; true"
        found = stack.docker("run", "--rm", "--entrypoint=sh", image, "-c", script).split()
        report.check(part, f"compilers in {image}", [], found)
    secrets(stack)


def secrets(stack: Stack) -> None:
    """Passwords are where only their owner looks: not in arguments, logs or images."""
    config = json.loads(stack.compose("config", "--format=json"))
    values = {PASSWORD} | {
        value
        for service in config["services"].values()
        for name, value in service.get("environment", {}).items()
        if name.endswith(SECRETS) and value
    }
    stack.report.check("2 hardening", "secrets to look for", "> 5", len(values), len(values) > 5)
    containers = stack.containers()
    running = [it["Id"] for it in containers if it["State"]["Running"]]
    said = {
        "arguments": json.dumps([[it["Path"], it["Args"], it["Config"].get("Healthcheck")] for it in containers]),
        "titles of processes": "".join(stack.docker("top", it, "-eo", "pid,args") for it in running),
        "logs": stack.compose("logs", "--no-color"),
        "images": stack.docker("inspect", *REPOSITORIES)
        + "".join(stack.docker("history", "--no-trunc", image) for image in REPOSITORIES),
    }
    for where, text in said.items():
        stack.report.check("2 hardening", f"secrets in {where}", 0, sum(value in text for value in values))


def outside(stack: Stack) -> None:
    """Inner paths stay inside, and the README's tour goes through, with the checks that the chart gets."""
    inside(stack.release, "localhost", "the gateway of compose")
    tours(stack.release, "localhost", "the gateway of compose")


def settings(stack: Stack) -> None:
    """One variable leads to the live provider, another to another port."""
    default, live = "http://provider:8080/products", "https://dummyjson.com/products"

    def config(**settings: str) -> dict[str, Any]:
        services: dict[str, Any] = json.loads(stack.compose("config", "--format=json", settings=settings))["services"]
        return services

    for url, services in ((default, config()), (live, config(EXTERNAL_API_URL=live))):
        used = {service["environment"].get("EXTERNAL_API_URL") for name, service in services.items() if name in READERS}
        stack.report.check("8 settings", "provider" + (" by EXTERNAL_API_URL" if url == live else ""), {url}, used)
    published = config(PORT="18080")["gateway"]["ports"][0]
    seen = f"{published['host_ip']}:{published['published']}"
    stack.report.check("8 settings", "port by PORT", "127.0.0.1:18080", seen)
