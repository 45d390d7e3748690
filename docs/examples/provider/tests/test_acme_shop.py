"""The contract of providers, kept by AcmeShop; no network and no clock is needed."""

from typing import Any

import httpx
from acme_shop import AcmeShop

from sync.providers import ProviderConfig
from sync.testing import ProviderContract


class TestAcmeShop(ProviderContract):
    def make(self, config: ProviderConfig) -> AcmeShop:
        return AcmeShop(config)

    def record(self, number: int) -> dict[str, Any]:
        return {"code": f"A-{number}", "label": "Lamp", "price": {"gross": 12.5}, "department": "lights", "left": 3}

    def bad_records(self) -> list[Any]:
        good = self.record(90)
        return [good | {"code": None}, good | {"price": 12.5}, good | {"price": {"gross": -1}}, good | {"label": ""}]

    def serve(self, request: httpx.Request, records: list[Any]) -> httpx.Response:
        size, start = int(request.url.params["limit"]), int(request.url.params.get("after", "0"))
        end = start + size
        return httpx.Response(
            200, json={"articles": records[start:end], "after": str(end) if end < len(records) else None}
        )
