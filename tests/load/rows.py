"""The rows of `make bench`: what is sent, to whom, and the ratios that are asked for."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tests.load.client import Request

__all__ = ["ADMIN", "CHANGES", "ROWS", "SPARE", "Bound", "Figures", "Row", "every", "spare"]

# Products after those that are read, which only writes change, so that the tags of the others stay as they are.
SPARE = 1_000
ADMIN = {"email": "admin@example.com", "password": "correct horse battery"}
CHANGE = '{"description": "Changed under load", "price": 19.99, "stock": {n}}'
PRODUCT = '{"name": "Product {n}", "description": "Made under load", "price": 9.99, "category": "bench", "stock": 7}'
CURSOR, AFTER = "/products?limit=100&cursor={cursor}", "/products?limit=100&after={id}"

CHANGES = Request("/products/{id}", "PUT", body=CHANGE)
"""Of spare products, by an admin."""
Figures = Mapping[str, float]
"""What is known of a row, by name: rps, p50, p99, cpu_ms, errors; baseline, reference and fastify, which are ratios;
bare and pgbench, which are requests a second."""


@dataclass(frozen=True)
class Bound:
    """What a figure has to be at least, or at most."""

    figure: Literal["reference", "fastify", "baseline", "cpu_ms"]
    value: float
    at_most: bool = False

    def met(self, figures: Figures) -> bool:
        """True also for what was not measured."""
        found = figures.get(self.figure, self.value)
        return found <= self.value if self.at_most else found >= self.value

    def __str__(self) -> str:
        unit = " ms CPU" if self.figure == "cpu_ms" else f"x {'Fastify' if self.figure == 'fastify' else self.figure}"
        return f"{'at most ' if self.at_most else ''}{self.value:.3g}{unit}"


def every(products: int) -> range:
    return range(1, products + 1)


def hot(products: int) -> range:
    return range(1, products + 1, max(1, products // 1000))[:1000]


def pages(products: int) -> range:
    """The ids that 1 000 full pages begin after."""
    return range(0, products - 100, max(1, (products - 100) // 1000))[:1000]


def deep(products: int) -> range:
    return range(products * 9 // 10, products * 9 // 10 + 1)


def spare(products: int) -> range:
    return range(products + 1, products + SPARE + 1)


@dataclass(frozen=True, eq=False)
class Row:
    """`request` goes to `server`, and to those of `compared` that are there; `their_path` is its path at those that
    are not ours. Without a request it is the start of `server` that is measured."""

    name: str
    title: str
    request: Request | None = None
    ids: Callable[[int], range] = every
    their_path: str | None = None
    server: str = "catalog"
    compared: tuple[str, ...] = ("baseline", "reference", "fastify", "bare")
    connections: int = 16
    # Which statement of the catalog pgbench runs, and what of the baseline is compared.
    statement: Literal["product", "page"] | None = None
    figure: Literal["rps", "p50", "cpu_ms"] = "rps"
    token: bool = False
    writes: bool = False
    budgets: tuple[Bound, ...] = ()
    goals: tuple[Bound, ...] = ()

    def verdict(self, figures: Figures) -> str:
        """What the table says of it: nothing without a budget."""
        if errors := figures.get("errors"):
            return f"{errors:.0f} errors"
        if not all(bound.met(figures) for bound in self.budgets):
            return "MISSED"
        return "ok" if any(bound.figure in figures for bound in self.budgets) else ""


def _reference(value: float) -> Bound:
    return Bound("reference", value)


def _baseline(value: float) -> Bound:
    return Bound("baseline", value, at_most=True)


def _get(name: str, title: str, path: str = "/products/{id}", **more: Any) -> Row:
    more = {"statement": "page" if "limit" in path else "product", "request": Request(path)} | more
    return Row(name, title, **more)


_THROUGH: Mapping[str, Any] = {"server": "gateway", "compared": (), "statement": None}
_WRITE: Mapping[str, Any] = {"compared": ("baseline", "reference", "fastify"), "token": True, "figure": "cpu_ms"}
_UNCHANGED = Request("/products/{id}", headers={"If-None-Match": '"{id}-1"'}, status=304)
_START: Mapping[str, Any] = {
    "compared": ("baseline",), "figure": "cpu_ms", "budgets": (_baseline(0.7),), "goals": (_baseline(0.5),),
}  # fmt: skip

ROWS = (
    _get(
        "by-id", "one product by id",
        budgets=(_reference(9), Bound("cpu_ms", 0.14, at_most=True)),
        goals=(_reference(15), Bound("fastify", 1.4), Bound("cpu_ms", 0.10, at_most=True)),
    ),
    _get("hot", "by id, of 1 000 products", ids=hot),
    _get("304", "by id, 304", request=_UNCHANGED, budgets=(_reference(9),), goals=(_reference(15),)),
    _get("latency", "by id, one connection", connections=1, figure="p50",
         budgets=(_baseline(1.0),), goals=(_baseline(1 / 1.5),)),
    _get("list", "list of 100, the same page", "/products?limit=100",
         budgets=(_reference(40),), goals=(_reference(100),)),
    _get("pages", "lists of 100, 1 000 pages", CURSOR, ids=pages, their_path=AFTER,
         budgets=(_reference(12),), goals=(_reference(20), Bound("fastify", 10))),
    _get("deep", "list of 100, deep cursor", CURSOR, ids=deep, their_path=AFTER),
    _get("gateway-by-id", "by id, through the gateway", **_THROUGH),
    _get("gateway-list", "list of 100, through the gateway", "/products?limit=100", **_THROUGH),
    _get("writes", "by id, 20 writes a second meanwhile", token=True, writes=True, statement=None,
         compared=("baseline", "reference", "fastify"), budgets=(_reference(8),), goals=(_reference(13),)),
    Row("put", "`PUT`", CHANGES, ids=spare, **_WRITE),
    Row("post", "`POST`", Request("/products", "POST", body=PRODUCT, status=201),
        budgets=(_baseline(1 / 1.5),), goals=(_baseline(0.5),), **_WRITE),
    Row("login", "login", Request("/auth/login", "POST", body=json.dumps(ADMIN)), server="auth", compared=()),
    Row("start-api", "start of catalog, exec to ready", **_START),
    Row("start-worker", "start of a worker, exec to ready", server="worker", **_START),
)  # fmt: skip
