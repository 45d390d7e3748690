"""The product as its clients reach it, whatever it is deployed on."""

import http.client
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.deploy.commands import until

__all__ = ["EMAIL", "PASSWORD", "Client"]

EMAIL, PASSWORD = "admin@example.com", "admin123"  # the README's tour makes this admin


@dataclass(frozen=True)
class Client:
    """Requests to the gateway at `url`, under the name `host`."""

    url: str
    host: str

    def request(self, method: str, path: str, headers: dict[str, str] | None = None, **options: Any) -> httpx.Response:
        headers = {"Host": self.host} | (headers or {})
        return httpx.request(method, self.url + path, headers=headers, timeout=10, **options)

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return self.request("GET", path, headers)

    def raw_status(self, path: str) -> int:
        """The status of a path that is sent as it is; httpx would normalize it."""
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=10)
        try:
            connection.putrequest("GET", path, skip_host=True)
            connection.putheader("Host", self.host)
            connection.endheaders()
            return connection.getresponse().status
        finally:
            connection.close()

    def healthy(self) -> bool:
        """Whether the gateway leads to all three services, and all are ready."""
        return all(self.get(path).status_code == 200 for path in ("/auth/health", "/health", "/sync/health"))

    def serves(self) -> bool:
        """Whether a login, a write and a read succeed."""
        self.create("Still here")
        return self.get("/products?limit=1").status_code == 200 and self.healthy()

    def register(self) -> None:
        """Make the tour's admin where the tour does not run."""
        account = {"email": EMAIL, "password": PASSWORD, "role": "admin"}
        self.request("POST", "/auth/register", json=account).raise_for_status()

    def token(self) -> str:
        """An access token of the tour's admin, as soon as there is one."""
        return until("an admin can log in", self._login)

    def admin(self) -> dict[str, str]:
        """Headers of the tour's admin."""
        return {"Authorization": f"Bearer {self.token()}"}

    def total(self) -> int:
        """How many products there are."""
        total: int = self.get("/products?limit=1").json()["total"]
        return total

    def create(self, name: str) -> int:
        """A new product's number."""
        body = {"name": name, "description": "Written by a test", "price": 1, "category": "test"}
        made = self.request("POST", "/products", self.admin(), json=body).raise_for_status()
        number: int = made.json()["id"]
        return number

    def source_ids(self) -> list[str]:
        """The external ids of all products that came from the source."""
        found: list[str] = []
        path = "/products?limit=500&cursor="
        while path:
            page = self.get(path).json()
            found += [item["external_id"] for item in page["items"] if item["source"] == "dummyjson"]
            path = page["next"]
        return found

    def trigger(self) -> str:
        """Trigger a sync; the path of its run."""
        answer = self.request("POST", "/sync/trigger", self.admin()).raise_for_status()
        return str(answer.json()["status_url"])

    def ended(self, path: str) -> dict[str, Any]:
        """A run, once it has ended."""
        headers = self.admin()

        def run() -> dict[str, Any]:
            answer = self.get(path, headers)
            found: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
            return {} if found.get("state") in ("queued", "running") else found

        return until("the sync ends", run, 90)

    def _login(self) -> str:
        answer = self.request("POST", "/auth/login", json={"email": EMAIL, "password": PASSWORD})
        return str(answer.raise_for_status().json()["access_token"])
