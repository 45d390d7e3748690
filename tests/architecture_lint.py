"""The architecture rules that a program can check; `python -m tests.architecture_lint` lists what breaks them.

Each rule is a function over one parsed module of ours and yields what is wrong.
"""

import ast
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["RULES", "Module", "check", "handlers", "parse"]

ROOT = Path(__file__).parent.parent
SOURCES = ("libs", "services", "deploy/gateway", "deploy/local", "deploy/dummyjson", "tools")
COMMON_LINES = 2900
MODULE_LINES = 250
FUNCTION_LINES = 40
HANDLER_STATEMENTS = 8
SERVICES = {path.name for path in (ROOT / "services").iterdir() if path.is_dir()}
# What each library may import beside itself; services may import all of them.
LIBRARIES = {"common": set[str](), "imports": {"common"}}
# What registers a handler: a decorator's method, or a call that is given the function.
ROUTE_DECORATORS = {
    "get",
    "put",
    "post",
    "delete",
    "options",
    "head",
    "patch",
    "trace",
    "route",
    "api_route",
    "websocket",
}
ROUTE_CALLS = {
    "add_api_route",
    "add_route",
    "add_api_websocket_route",
    "add_websocket_route",
    "Route",
    "WebSocketRoute",
}
# The dependencies that read the state of a request, beside those in state.py and transactions.py.
STATE_DEPENDENCIES = {("web", "security.py"), ("web", "health.py"), ("web", "orm.py")}
# COPY; comparing and writing products; claims and leases; the version table of a schema, whose name Alembic does not
# pass on.
RAW_SQL = {
    ("catalog", "staging.py"),
    ("sync", "decisions.py"),
    ("sync", "leases.py"),
    ("catalog", "differences.py"),
    ("catalog", "writes.py"),
    ("sync", "retention.py"),
    ("sync", "runs.py"),
    ("sync", "sources.py"),
    ("sync", "stalled.py"),
    ("common", "migrations.py"),
    ("servers", "migrations.py"),
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """A source file; `path` is relative to the repository."""

    path: Path
    source: str
    tree: ast.Module


Finding = Iterator[tuple[int, str]]


def parse(path: Path, source: str) -> Module:
    return Module(path, source, ast.parse(source))


def small_modules(module: Module) -> Finding:
    """A reader sees a module as a whole."""
    lines = len(module.source.splitlines())
    if lines > MODULE_LINES and "migrations" not in module.path.parts:
        yield 1, f"{lines} lines; at most {MODULE_LINES}"


def named_by_noun(module: Module) -> Finding:
    """Nobody finds anything in utils."""
    if module.path.stem in {"utils", "helpers", "misc", "core"}:
        yield 1, "name the module after its noun"


def short_functions(module: Module) -> Finding:
    for node in _functions(module.tree):
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > FUNCTION_LINES and "migrations" not in module.path.parts:
            yield node.lineno, f"{node.name} has {lines} lines; at most {FUNCTION_LINES}"


def thin_handlers(module: Module) -> Finding:
    """A handler is a signature and a few lines: no try, no SQL; errors are types."""
    for node in handlers(module):
        body = [item for item in node.body if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))]
        if len(body) > HANDLER_STATEMENTS:
            yield node.lineno, f"{node.name} has {len(body)} statements; at most {HANDLER_STATEMENTS}"
        for inner in ast.walk(node):
            if isinstance(inner, ast.Try):
                yield inner.lineno, f"{node.name} catches; let common.web.problems answer"
            if isinstance(inner, ast.Call) and _name(inner.func) in {"text", "select", "insert", "update", "delete"}:
                yield inner.lineno, f"{node.name} holds SQL; give it a function in its noun's module"


def commit_in_one_place(module: Module) -> Finding:
    """The commit belongs to common.web.database, before the answer leaves."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "commit":
            if module.path.parts[-2:] != ("web", "database.py"):
                yield node.lineno, "commit() outside common/web/database.py"


def plain_asgi(module: Module) -> Finding:
    """BaseHTTPMiddleware costs a task per request; HTTPException says nothing about our errors."""
    banned = {"BaseHTTPMiddleware"} | ({"HTTPException"} if "common" not in module.path.parts else set())
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name) and node.id in banned:
            yield node.lineno, f"{node.id} is not used here"


def boundaries(module: Module) -> Finding:
    """No service imports another, and a library imports none."""
    own = next((part for part in module.path.parts if part in SERVICES | LIBRARIES.keys()), None)
    if own is None:
        return
    allowed = {own} | LIBRARIES.get(own, LIBRARIES.keys())
    for line, name in _imports(module.tree):
        if name.partition(".")[0] in (SERVICES | LIBRARIES.keys() | {"stack"}) - allowed:
            yield line, f"{own} imports {name}"


def state_by_dependency(module: Module) -> Finding:
    """What a service keeps reaches handlers by the types of their parameters; only these dependencies read it."""
    if module.path.name in {"state.py", "transactions.py"} or module.path.parts[-2:] in STATE_DEPENDENCIES:
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "request.state":
            yield node.lineno, "request.state outside the typed dependencies"


def raw_sql_in_one_place(module: Module) -> Finding:
    """SQL that is put together as text stands where text is the point."""
    for number, line in enumerate(module.source.splitlines(), 1):
        if "S608" in line and module.path.parts[-2:] not in RAW_SQL:
            yield number, "SQL put together as text; write it with SQLAlchemy Core"


RULES: tuple[Callable[[Module], Finding], ...] = (
    small_modules, named_by_noun, short_functions, thin_handlers, commit_in_one_place, plain_asgi, boundaries,
    state_by_dependency, raw_sql_in_one_place,
)  # fmt: skip


def check(root: Path = ROOT) -> list[str]:
    """All findings under `root`, as `file:line: what`."""
    findings, common = [], 0
    for folder in SOURCES:
        for path in sorted((root / folder).rglob("*.py")):
            module = parse(path.relative_to(root), path.read_text("utf-8"))
            common += _code_lines(module) if module.path.parts[:2] == ("libs", "common") else 0
            findings += [f"{module.path}:{line}: {what}" for rule in RULES for line, what in rule(module)]
    if common > COMMON_LINES:
        findings.append(f"libs/common: {common} lines of code; at most {COMMON_LINES}")
    return findings


def handlers(module: Module) -> Iterator[Function]:
    """The functions that the module registers as a route's handler, whatever the router is called."""
    given = {
        argument.id
        for call in ast.walk(module.tree)
        if isinstance(call, ast.Call) and _called(call) in ROUTE_CALLS
        for argument in (*call.args, *(keyword.value for keyword in call.keywords))
        if isinstance(argument, ast.Name)
    }
    for node in _functions(module.tree):
        decorators = [
            it for it in node.decorator_list if isinstance(it, ast.Call) and isinstance(it.func, ast.Attribute)
        ]
        if node.name in given or any(_called(it) in ROUTE_DECORATORS for it in decorators):
            yield node


def _code_lines(module: Module) -> int:
    """Lines that are neither blank nor docstring."""
    documented = 0
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function):
            if ast.get_docstring(node) is not None:
                documented += (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
    return sum(bool(line.strip()) for line in module.source.splitlines()) - documented


def _imports(tree: ast.Module) -> Finding:
    """Line and name of each imported module, relative ones left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, node.module or ""


def _functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def _called(call: ast.Call) -> str:
    """The last name of what is called."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else _name(call.func)


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


if __name__ == "__main__":
    found = check()
    print("\n".join(found) or "architecture rules: fine")
    sys.exit(bool(found))
