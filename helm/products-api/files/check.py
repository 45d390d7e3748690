"""`helm test`: one promise of an installation, named by the argument. What a check makes, it deletes.

AUTH, CATALOG and SYNC are the addresses of the services. A check that needs accounts also has the settings of auth, and
makes and deletes them with `python -m auth`.
"""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

AUTH, CATALOG, SYNC = (os.environ.get(name, "") for name in ("AUTH", "CATALOG", "SYNC"))
RUN, PASSWORD = uuid.uuid4().hex[:12], uuid.uuid4().hex
SYNC_SECONDS = 120


def health() -> None:
    """Each service that is deployed can work."""
    deployed = [url for url in ((AUTH, "/auth/health"), (CATALOG, "/health"), (SYNC, "/sync/health")) if url[0]]
    for address, path in deployed or sys.exit("FAILED no service is named"):
        call("GET", address + path, 200)


def login() -> None:
    """Who registers can log in, with the right password only, and the token says who that is."""
    with account("user") as email:
        call("POST", f"{AUTH}/auth/login", 401, json={"email": email, "password": "wrong-password"})
        expect("the email", call("GET", f"{AUTH}/auth/me", 200, token(email))["email"], email)


def products() -> None:
    """An admin creates a product, a user may not, and everybody reads it."""
    body = {"name": f"Check {RUN}", "description": "Made by helm test", "price": 9.99, "category": "check"}
    with account("admin") as admin, account("user") as user:
        call("POST", f"{CATALOG}/products", 403, token(user), json=body)
        made = call("POST", f"{CATALOG}/products", 201, token(admin), json=body)
        path = f"{CATALOG}/products/{made['id']}"
        try:
            expect("the price", call("GET", path, 200)["price"], 9.99)
        finally:
            call("DELETE", path, 204, token(admin))
        call("GET", path, 404)


def sync() -> None:
    """A sync run that is asked for succeeds, and there are products after it."""
    with account("admin") as admin:
        bearer = token(admin)
        path = SYNC + call("POST", f"{SYNC}/sync/trigger", 202, bearer)["status_url"]
        end = time.monotonic() + SYNC_SECONDS
        while (state := call("GET", path, 200, bearer)["state"]) in ("queued", "running"):
            if time.monotonic() > end:
                sys.exit(f"FAILED the run is still {state} after {SYNC_SECONDS} s")
            time.sleep(1)
        expect("the state of the run", state, "succeeded")
        if not call("GET", f"{CATALOG}/products?limit=1", 200)["total"]:
            sys.exit("FAILED there are no products after the run")


@contextmanager
def account(role: str) -> Iterator[str]:
    """The email of a new account, which is deleted afterwards."""
    email = f"{role}-{RUN}@check.test"
    if role == "admin":
        auth("create-admin", email)
    else:
        call("POST", f"{AUTH}/auth/register", 201, json={"email": email, "password": PASSWORD})
    try:
        yield email
    finally:
        auth("delete-user", "--force", email)


def auth(*command: str) -> None:
    environment = os.environ | {"AUTH_ADMIN_PASSWORD": PASSWORD, "LOG_LEVEL": "warning"}
    subprocess.run([sys.executable, "-m", "auth", *command], check=True, env=environment, timeout=60)


def token(email: str) -> str:
    return str(call("POST", f"{AUTH}/auth/login", 200, json={"email": email, "password": PASSWORD})["access_token"])


def call(method: str, url: str, expected: int, bearer: str = "", **more: Any) -> Any:
    """The body of an answer, which must have the expected status."""
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    answer = httpx.request(method, url, headers=headers, timeout=10, **more)
    if answer.status_code != expected:
        sys.exit(f"FAILED {method} {url}: {answer.status_code}, not {expected}: {answer.text[:500]}")
    print(f"ok     {method} {url}: {expected}", flush=True)
    return answer.json() if answer.content else None


def expect(what: str, actual: object, expected: object) -> None:
    if actual != expected:
        sys.exit(f"FAILED {what}: {actual!r}, not {expected!r}")


CHECKS = {"health": health, "login": login, "products": products, "sync": sync}

if __name__ == "__main__":
    CHECKS[sys.argv[1]]()
