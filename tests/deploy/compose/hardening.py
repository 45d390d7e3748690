"""One open port; every process without rights; nothing secret in sight."""

import json

from tests.deploy.compose.project import SERVICES, Project, service_of
from tests.deploy.images import REPOSITORIES
from tests.deploy.secrets import check_secrets

__all__ = ["hardening"]

PART = "hardening"
COMPILERS = "cc gcc g++ c++ cpp clang tcc ld as make rustc cargo go"
SECRETS = ("PASSWORD", "SECRET", "SECRET_KEY", "REDISCLI_AUTH")


def hardening(project: Project) -> None:
    """What Docker says of the containers, what the kernel says of the processes in them, and the secrets."""
    report = project.report
    containers = {service_of(it): it for it in project.containers()}
    ports = {
        name: [
            f"{binding['HostIp']}:{binding['HostPort']}" for bindings in bound.values() for binding in bindings or ()
        ]
        for name, it in containers.items()
        if (bound := it["HostConfig"]["PortBindings"])
    }
    report.check(PART, "published ports", {"gateway": [f"127.0.0.1:{project.port}"]}, ports)
    writable = [name for name, it in containers.items() if not it["HostConfig"]["ReadonlyRootfs"]]
    report.check(PART, "containers with a writable root", [], writable)
    roots = [name for name, it in containers.items() if it["Config"]["User"].partition(":")[0] in ("", "0", "root")]
    report.check(PART, "containers that start as root", [], roots)
    for name in SERVICES:
        status = project.docker("exec", containers[name]["Id"], "cat", "/proc/1/status")
        fields = dict(line.split(":", 1) for line in status.splitlines())
        seen = [fields["Uid"].split()[0] != "0", int(fields["CapBnd"], 16), int(fields["NoNewPrivs"])]
        report.check(PART, f"{name}: not root, capabilities, no-new-privileges", [True, 0, 1], seen)
    for image in REPOSITORIES:
        script = f"for name in {COMPILERS}; do command -v $name; done; true"
        found = project.docker("run", "--rm", "--entrypoint=sh", image, "-c", script).split()
        report.check(PART, f"compilers in {image}", [], found)
    secrets(project)


def secrets(project: Project) -> None:
    """Passwords are not in arguments, logs or images."""
    values = {
        value
        for service in project.config().values()
        for name, value in service.get("environment", {}).items()
        if name.endswith(SECRETS) and value
    }
    containers = project.containers()
    running = [it["Id"] for it in containers if it["State"]["Running"]]
    history = (project.docker("history", "--no-trunc", image) for image in REPOSITORIES)
    texts = {
        "arguments": json.dumps([[it["Path"], it["Args"], it["Config"].get("Healthcheck")] for it in containers]),
        "titles of processes": "".join(project.docker("top", it, "-eo", "pid,args") for it in running),
        "logs": project.compose("logs", "--no-color"),
        "images": project.docker("inspect", *REPOSITORIES) + "".join(history),
    }
    check_secrets(project.report, PART, values, texts)
