"""`helm test`: what a new installation must be able to do, through its services. Cleans up after itself.

Needs the environment of auth (it makes its own admin with `python -m auth create-admin`) and the services' addresses.
"""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx

AUTH, CATALOG, SYNC = (os.environ[name] for name in ("TEST_AUTH_URL", "TEST_CATALOG_URL", "TEST_SYNC_URL"))
RUN = uuid.uuid4().hex[:12]
PASSWORD = uuid.uuid4().hex
ADMIN, USER = f"admin-{RUN}@smoke.test", f"user-{RUN}@smoke.test"
PATIENCE = float(os.environ.get("TEST_SECONDS", "120"))


def auth(*command: str) -> None:
    environment = os.environ | {"AUTH_ADMIN_PASSWORD": PASSWORD, "LOG_LEVEL": "warning"}
    subprocess.run([sys.executable, "-m", "auth", *command], check=True, env=environment, timeout=60)


def call(method: str, url: str, expected: int, token: str = "", **more: Any) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = httpx.request(method, url, headers=headers, timeout=10, **more)
    if answer.status_code != expected:
        sys.exit(f"FAILED {method} {url}: {answer.status_code}, not {expected}: {answer.text[:500]}")
    print(f"ok     {method} {url}: {expected}", flush=True)
    return answer.json() if answer.content else None


def until(what: str, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"FAILED {what}: not within {PATIENCE:g} s")
        time.sleep(0.5)
    print(f"ok     {what}", flush=True)


def login(email: str) -> str:
    return str(call("POST", f"{AUTH}/auth/login", 200, json={"email": email, "password": PASSWORD})["access_token"])


def smoke() -> None:
    for url in (f"{AUTH}/auth/health", f"{CATALOG}/health", f"{SYNC}/sync/health"):
        call("GET", url, 200)
    auth("create-admin", ADMIN)
    call("POST", f"{AUTH}/auth/register", 201, json={"email": USER, "password": PASSWORD})
    admin, user = login(ADMIN), login(USER)
    body = {"name": f"Smoke {RUN}", "description": "Made by helm test", "price": 9.99, "category": "smoke"}
    call("POST", f"{CATALOG}/products", 403, user, json=body)
    made = call("POST", f"{CATALOG}/products", 201, admin, json=body)
    path = f"{CATALOG}/products/{made['id']}"
    try:
        if call("GET", path, 200)["price"] != 9.99:
            sys.exit("FAILED the price came back changed")
    finally:
        call("DELETE", path, 204, admin)
    call("GET", path, 404)
    run = call("POST", f"{SYNC}/sync/trigger", 202, admin)
    status = f"{SYNC}{run['status_url']}"
    until("the sync has ended", lambda: state(status, admin) not in ("queued", "running"))
    if state(status, admin) != "succeeded":
        sys.exit(f"FAILED the sync: {call('GET', status, 200, admin)}")
    if not call("GET", f"{CATALOG}/products?limit=1", 200)["total"]:
        sys.exit("FAILED there are no products after the sync")


def state(url: str, token: str) -> str:
    return str(httpx.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10).json().get("state"))


try:
    smoke()
finally:
    for email in (ADMIN, USER):
        subprocess.run([sys.executable, "-m", "auth", "delete-user", "--force", email], timeout=60, check=False)
