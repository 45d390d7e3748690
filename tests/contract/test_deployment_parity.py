"""`make run`, compose and the chart start the same processes, with the same settings, probes and public paths."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from gateway import routes as gateway_routes

from common.settings import ServiceSettings
from stack import credentials
from stack.plan import Plan
from stack.run_dir import RunDir
from stack.servers.postgres import BOOTSTRAP_SQL, PostgresServer
from stack.services import APIS, SETTINGS
from stack.settings import load
from tests.contract.test_settings import PROMISED
from tests.fixtures.stack import folder
from tests.helm.render import CHART, TESTS, Manifest, containers, only, pods, render

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text("utf-8")
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
# Production is safe by default, a laptop convenient; the chart's pods drain while gateways learn that they leave.
MEANT = {"APP_ENV", "ADMIN_REGISTRATION", "LOG_FORMAT", "DRAIN_SECONDS", "EXTERNAL_API_URL"}
# Only to compose a URL of: the kubelet puts it together from a Secret.
PARTS = {"DATABASE_PASSWORD", "REDIS_PASSWORD"}
EVERYTHING = ("--set", "sync.provider.enabled=true", "--set", "ingress.enabled=true", "--set", "httpRoute.enabled=true",
              "--set", "httpRoute.parentRefs[0].name=public", "--set", "networkPolicy.enabled=false")  # fmt: skip

needs_helm = pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not on PATH")


@dataclass(frozen=True)
class Process:
    """One process of ours: what it runs, which settings it is given, where it is asked for its health."""

    command: tuple[str, ...]
    settings: frozenset[str]
    health: str


@contextmanager
def planned(**given: str) -> Iterator[Plan]:
    """What the launcher would start with these settings."""
    with folder() as path:
        run_dir = RunDir(path)
        run_dir.create()
        settings = load(given | {"PORT": "0"}, Path("/nowhere/.env"))
        yield Plan.create(settings, run_dir, credentials.load(run_dir, given), pretty=False)


@pytest.fixture(scope="module")
def plan() -> Iterator[Plan]:
    given = {name: "8" for kind in SETTINGS.values() for name in names(kind)}
    with planned(**given | {"REDIS_URL": ""}) as made:
        yield made


def names(kind: type[ServiceSettings]) -> set[str]:
    return {name.upper() for name in kind.model_fields}


def made(plan: Plan) -> dict[str, Process]:
    """The launcher's processes by name; it calls a migration otherwise than compose and chart."""
    migrations = [plan.migration(service) for service in SETTINGS]
    found = {}
    for spec in [*plan.services(), *migrations]:
        name = f"migrate-{spec.name.removesuffix('-migrate')}" if spec.name.endswith("-migrate") else spec.name
        # The launcher passes on what it was given; a service reads only its own. A migration opens no port.
        settings = names(SETTINGS[spec.argv[2]]) & {*spec.env, *({"PORT", "METRICS_PORT"} if "migrate" in name else ())}
        found[name] = Process(tuple(spec.argv[2:]), frozenset(settings), door(spec.health_url, plan, spec.name))
    return found


def door(url: str | None, plan: Plan, name: str) -> str:
    """A health URL with the port's name instead of its number."""
    if url is None:
        return ""
    http, _ = plan.ports[name]
    return f"{'http' if urlsplit(url).port == http else 'metrics'}{urlsplit(url).path}"


def composed() -> dict[str, Process]:
    found = {}
    for name, it in COMPOSE.items():
        if it.get("command", [""])[0] != "python":
            continue
        environment = it["environment"]
        ports = {str(environment["PORT"]): "http", str(environment["METRICS_PORT"]): "metrics"}
        asked = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", str(it.get("healthcheck", "")))
        health = f"{ports[asked[1]]}{asked[2]}" if asked else ""
        found[name] = Process(tuple(it["command"][2:]), frozenset(environment), health)
    return found


def charted(*arguments: str) -> dict[str, Process]:
    """The chart's processes, with all settings that it would take for each."""
    manifests = render("01-minimal", *arguments)
    maps = {it["metadata"]["name"]: it["data"] for it in only(manifests, "ConfigMap")}
    found = {}
    for component, pod in pods(manifests).items():
        container = pod["spec"]["containers"][0]
        if container.get("args", [""])[:2] != ["python", "-m"]:
            continue
        service = container["args"][2]
        settings = {entry["name"] for entry in container["env"]} | set(VALUES["global"]["settings"])
        settings |= set(VALUES[service]["settings"])
        for source in container["envFrom"]:
            settings |= set(maps[source["configMapRef"]["name"]])
        probe = container.get("readinessProbe", {}).get("httpGet")
        health = f"{probe['port']}{probe['path']}" if probe else ""
        found[component] = Process(tuple(container["args"][2:]), frozenset(settings - PARTS), health)
    return found


@needs_helm
def test_a_component_has_one_name() -> None:
    with planned() as plan:
        assert isinstance(plan.postgres, PostgresServer)
        launched = {spec.name for spec in (plan.postgres.spec(), *plan.servers(), *plan.services())}
    once = {name for name in COMPOSE if name.startswith("migrate-")}
    assert launched == COMPOSE.keys() - once == pods(render("01-minimal", *EVERYTHING)).keys() - once - TESTS


def test_make_and_compose_start_the_same(plan: Plan) -> None:
    assert made(plan) == composed()


@needs_helm
def test_compose_and_the_chart_start_the_same() -> None:
    assert charted() == composed()


def test_all_settings_of_the_code_and_no_others(plan: Plan) -> None:
    for process in [*made(plan).values(), *composed().values()]:
        assert process.settings == names(SETTINGS[process.command[0]])
    settable = set(VALUES["global"]["settings"]).union(*(VALUES[service]["settings"] for service in SETTINGS))
    assert settable >= PROMISED - {"DATABASE_URL", "REDIS_URL", "SECRET_KEY"}, "those three are secrets"


def test_defaults_differ_only_where_they_are_meant_to() -> None:
    for service, kind in SETTINGS.items():
        for name, value in (VALUES["global"]["settings"] | VALUES[service]["settings"]).items():
            if name in MEANT or not name or value == "" or name == "TRUSTED_PROXY_HOPS":
                continue
            default = kind.model_fields[name.lower()].default
            assert str(value) == str(default), f"{service}: {name}"


@needs_helm
def test_ports_have_the_same_numbers_and_names() -> None:
    manifests = render("01-minimal", *EVERYTHING)
    for component, pod in pods(manifests).items():
        if component not in COMPOSE:
            assert component in TESTS
            continue
        opened = {it["name"]: it["containerPort"] for it in pod["spec"]["containers"][0].get("ports", [])}
        environment = COMPOSE[component].get("environment", {})
        if "METRICS_PORT" in environment and opened:
            wanted = {"metrics": environment["METRICS_PORT"]}
            # The gateway's image says what it runs, and compose leaves it its port.
            serves = COMPOSE[component].get("command", ["serve"])[-1] == "serve"
            wanted |= {"http": environment.get("PORT", 8000)} if serves else {}
            assert opened == wanted, component
    numbers = {it["spec"]["selector"]["app.kubernetes.io/component"]: it["spec"]["ports"][0]["port"]
               for it in only(manifests, "Service")}  # fmt: skip
    urls = re.findall(r"(?:http|redis|postgresql)://(?:[^@\s]*@)?([a-z-]+):(\d+)", str(COMPOSE))
    reached = {(host, int(port)) for host, port in urls if host in COMPOSE}
    assert reached == {(host, numbers[host]) for host, _ in reached}
    assert len(reached) >= 5
    assert numbers["gateway"] == 8000
    assert COMPOSE["gateway"]["ports"] == ["127.0.0.1:${PORT:-8000}:8000"]


@needs_helm
def test_the_same_images_servers_and_files() -> None:
    found = pods(render("01-minimal", *EVERYTHING))
    for component, pod in found.items():
        if component in COMPOSE:
            image = pod["spec"]["containers"][0]["image"]
            # The product's own images have its version in the chart, and compose builds them here.
            ours = image.startswith("products-api")
            assert (image.partition(":")[0] if ours else image) == compose_image(component), component
    redis, postgres = (containers(found[name])[0] for name in ("redis", "postgres"))
    assert redis["args"][0] == COMPOSE["redis"]["command"][2].replace("$$", "$")
    assert postgres["args"] == COMPOSE["postgres"]["command"]
    copied = re.findall(r"^COPY (\S+\.sql) ", DOCKERFILE, re.M)
    assert {ROOT / path for path in copied} == {*(CHART / "files").glob("*.sql")}
    assert BOOTSTRAP_SQL in (CHART / "files").glob("*.sql"), "make creates the roles by it"


def compose_image(component: str) -> str:
    """The image of a service of compose; of PostgreSQL the one that ours is built from."""
    if component == "postgres":
        return str(re.findall(r"^FROM (\S+) AS postgres$", DOCKERFILE, re.M)[0])
    return str(COMPOSE[component]["image"])


@needs_helm
def test_what_ends_gets_the_same_time() -> None:
    for component, pod in pods(render("01-minimal", *EVERYTHING)).items():
        if (grace := pod["spec"].get("terminationGracePeriodSeconds")) and component not in ("gateway", "dummyjson"):
            given = int(COMPOSE[component]["stop_grace_period"].removesuffix("s"))
            assert grace == given or component == "redis", component


@needs_helm
@pytest.mark.parametrize("kind", ["Ingress", "HTTPRoute"])
def test_the_same_paths_are_public(kind: str) -> None:
    """`make run`, compose and the chart's bundled gateway have its routes; Ingress and HTTPRoute have their own."""
    manifests = only(render("01-minimal", *EVERYTHING), kind)
    assert {path for it in manifests for path in public_paths(it)} == gateway_paths()


def gateway_paths() -> set[tuple[str, str]]:
    """(path, service): a path with a star below it, or one alone; what lies below a star of its service is left out."""
    found = {
        *((it.health, APIS[it.name]) for it in gateway_routes.SERVICES),
        *((path, APIS[it.name]) for it in gateway_routes.SERVICES for path in (*it.paths, *it.below)),
        *((f"{path}/*", APIS[it.name]) for it in gateway_routes.SERVICES for path in it.below),
    }
    return {(path, to) for path, to in found if path.endswith("*") or (f"{path.rpartition('/')[0]}/*", to) not in found}


def public_paths(manifest: Manifest) -> Iterator[tuple[str, str]]:
    for rule in manifest["spec"]["rules"]:
        # An Ingress has one backend a path, an HTTPRoute one a rule.
        for path in rule.get("http", {}).get("paths", []):
            yield from stars(path["path"], path["pathType"] == "Prefix", path["backend"]["service"]["name"])
        for match in rule.get("matches", []):
            prefix = match["path"]["type"] == "PathPrefix"
            yield from stars(match["path"]["value"], prefix, rule["backendRefs"][0]["name"])


def stars(path: str, prefix: bool, name: str) -> Iterator[tuple[str, str]]:
    """A prefix of path elements in the gateway's way: itself and all below."""
    component = name.removeprefix("shop-")
    yield path, component
    if prefix:
        yield f"{path}/*", component
