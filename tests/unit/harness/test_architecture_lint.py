"""The architecture rules hold, and each of them can fail."""

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import architecture_lint
from tests.architecture_lint import ROOT, RULES, handlers, parse
from tests.fixtures.apps import built, registered

ROUTES = "services/catalog/src/catalog/routes.py"
LONG = "\n".join(["def one():", *["    x = 1"] * 50])
# Of each rule: files that break it, and files that are like them and keep it.
CASES: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]]]] = {
    "small_modules": (
        [(ROUTES, "x = 1\n" * 251)],
        [(ROUTES, "x = 1\n" * 250), ("services/auth/src/auth/migrations/0001.py", "x = 1\n" * 251)],
    ),
    "named_by_noun": (
        [(f"libs/common/src/common/{name}.py", "") for name in ("utils", "helpers", "misc", "core")],
        [("libs/common/src/common/clock.py", "")],
    ),
    "short_functions": (
        [(ROUTES, LONG), (ROUTES, LONG.replace("def", "async def"))],
        [(ROUTES, LONG[:200]), ("services/auth/src/auth/migrations/0001.py", LONG)],
    ),
    "thin_handlers": (
        [
            (ROUTES, '@router.get("/x")\nasync def x(db):\n    try:\n        return 1\n    finally:\n        pass'),
            (ROUTES, '@forms.post("/x")\nasync def x(db):\n    return await db.execute(select(1))'),
            (ROUTES, '@router.api_route("/x", methods=["GET"])\ndef x(db):\n    return text("SELECT 1")'),
            (ROUTES, "@forms.put(PATH)\ndef x():\n" + "    y = 1\n" * 9),
            (ROUTES, "def x():\n    return delete(Product)\nrouter.add_api_route('/x', endpoint=x)"),
            (ROUTES, "async def x(request):\n    return select(1)\nROUTES = [Route('/x', x)]"),
        ],
        [
            (ROUTES, '@router.get("/x")\nasync def x():\n    """Say x."""\n' + "    y = 1\n" * 8),
            (ROUTES, "@cached\nasync def x(db):\n    return await db.execute(select(1))"),
            (ROUTES, "async def x(db):\n    try:\n        return select(1)\n    finally:\n        pass"),
        ],
    ),
    "commit_in_one_place": (
        [(ROUTES, "async def x(db):\n    await db.commit()"), ("libs/common/src/common/web/app.py", "db.commit()")],
        [("libs/common/src/common/web/database.py", "async def x(db):\n    await db.commit()"), (ROUTES, "commit(db)")],
    ),
    "plain_asgi": (
        [(ROUTES, "class X(BaseHTTPMiddleware): ..."), (ROUTES, "raise HTTPException(404)")],
        [("libs/common/src/common/web/problems.py", "raise HTTPException(404)"), (ROUTES, "raise NotFound()")],
    ),
    "boundaries": (
        [
            (ROUTES, "from sync import runs"),
            (ROUTES, "def x():\n    import auth.users"),
            (ROUTES, "import stack"),
            ("libs/common/src/common/app.py", "from catalog.app import build"),
            ("libs/common/src/common/app.py", "from imports import rules"),
            ("libs/imports/src/imports/product.py", "from sync import runs"),
        ],
        [
            (ROUTES, "from common import app\nfrom catalog import products\nfrom . import paging"),
            (ROUTES, "from imports import rules"),
            ("deploy/local/src/stack/plan.py", "import sync"),
        ],
    ),
    "state_by_dependency": (
        [(ROUTES, "async def x(request):\n    return request.state['db']")],
        [("services/catalog/src/catalog/state.py", "async def x(request):\n    return request.state['db']")],
    ),
    "raw_sql_in_one_place": (
        [("services/catalog/src/catalog/products.py", "x = f'SELECT {y}'  # noqa: S608")],
        [("services/catalog/src/catalog/staging.py", "x = f'SELECT {y}'  # noqa: S608")],
    ),
}


def findings(name: str, path: str, source: str) -> list[tuple[int, str]]:
    rule: Callable[..., object] = getattr(architecture_lint, name)
    return list(rule(parse(Path(path), source)))  # type: ignore[call-overload, no-any-return]


def test_our_code_keeps_the_rules() -> None:
    assert architecture_lint.check() == []


def test_every_rule_has_its_cases() -> None:
    assert set(CASES) == {rule.__name__ for rule in RULES}


@pytest.mark.parametrize(
    ("name", "path", "source"), [(name, *case) for name, (bad, _) in CASES.items() for case in bad]
)
def test_a_rule_finds_what_breaks_it(name: str, path: str, source: str) -> None:
    assert findings(name, path, source)


@pytest.mark.parametrize(
    ("name", "path", "source"), [(name, *case) for name, (_, good) in CASES.items() for case in good]
)
def test_a_rule_finds_nothing_else(name: str, path: str, source: str) -> None:
    assert findings(name, path, source) == []


def test_the_size_of_common_is_bounded(tmp_path: Path) -> None:
    module = tmp_path / "libs/common/src/common/clock.py"
    module.parent.mkdir(parents=True)
    module.write_text('"""Documented\n\nat length."""\n\nx = 1\n', "utf-8")
    assert architecture_lint.check(tmp_path) == []
    most = architecture_lint.COMMON_LINES
    for number in range(most // 200):
        module.with_stem(f"clock_{number}").write_text("x = 1\n" * 210, "utf-8")
    lines = most // 200 * 210
    assert architecture_lint.check(tmp_path) == [f"libs/common: {lines} lines of code; at most {most}"]


def test_every_handler_that_a_service_registers_is_found() -> None:
    missed = []
    for endpoint in {route.endpoint for service in built().values() for route in registered(service)}:
        path = Path(inspect.getfile(endpoint))
        found = [node.name for node in handlers(parse(path.relative_to(ROOT), path.read_text("utf-8")))]
        if endpoint.__name__ not in found:
            missed.append(f"{path}: {endpoint.__name__}")
    assert missed == []
