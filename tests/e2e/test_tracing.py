"""One trace from the trigger to the merge, at a real OTLP receiver; and nothing loaded when tracing is off."""

import subprocess
import sys

from tests.e2e.test_main_job import sync_now
from tests.fixtures import checked
from tests.fixtures.otlp import Span, receiving
from tests.fixtures.stack import running
from tests.fixtures.waiting import until

ADMIN = {"email": "admin@example.com", "password": "admin123"}


def test_one_trace_from_trigger_to_merge() -> None:
    with receiving() as receiver, running({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}) as launcher:
        with checked.Client(base_url=launcher.stack["gateway_url"], timeout=15) as gateway:
            gateway.post("/auth/register", json=ADMIN | {"role": "admin"}).raise_for_status()
            token = gateway.post("/auth/login", json=ADMIN).json()["access_token"]
            # The trigger would get the first run while that is active.
            until(lambda: gateway.get("/sync/health").json()["last_success_at"])
            admin = {"Authorization": f"Bearer {token}"}
            # Not one that was active already.
            run = until(lambda: it if (it := sync_now(gateway, admin))["trigger"] == "manual" else None)
            assert run
            assert run["state"] == "succeeded"

        def whole_trace() -> list[Span] | None:
            """The trace of the trigger, once its last parts have arrived."""
            triggers = [it for it in receiver.spans if it.name == "POST /sync/trigger"]
            spans = [it for it in receiver.spans if triggers and it.trace == triggers[-1].trace]
            names = {it.name for it in spans}
            merged = any(it.name.startswith("POST /internal/imports/") and it.name.endswith("/apply") for it in spans)
            # Each process sends its own spans, in any order.
            arrived = services <= {it.service for it in spans} and {it.parent for it in spans} <= {
                "",
                *(it.id for it in spans),
            }
            return spans if merged and arrived and "sync.run" in names else None

        services = {"products-sync-api", "products-sync-worker", "products-catalog"}
        spans = until(whole_trace)
        assert spans
        for service in ("products-catalog", "products-sync-api"):
            statements = [it.name for it in spans if it.service == service]
            assert any(name.upper().startswith(("SELECT", "INSERT", "UPDATE", "WITH")) for name in statements), (
                statements
            )
        kinds = {it.name for it in spans if it.service == "products-sync-worker"}
        assert any(name.startswith(("GET", "POST", "PUT")) for name in kinds), kinds
        # Redis: the commands that send the message.
        assert any(it.service == "products-sync-api" and it.name.isupper() for it in spans), {it.name for it in spans}


def test_costs_nothing_when_off() -> None:
    code = (
        "import sys, os; os.environ.pop('OTEL_EXPORTER_OTLP_ENDPOINT', None)\n"
        "from catalog.app import build; from catalog.settings import CatalogSettings\n"
        "from common import tracing\n"
        "settings = CatalogSettings(database_url='postgresql://x@127.0.0.1/x', redis_url='redis://127.0.0.1')\n"
        "tracing.setup(settings, 'catalog'); build(settings)\n"
        "costly = ('opentelemetry.sdk.trace.export', 'opentelemetry.exporter')\n"
        "sys.exit(any(name.startswith(costly) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
