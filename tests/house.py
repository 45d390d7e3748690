"""The house rules that a program can check; `python -m tests.house` lists what breaks them.

Each rule is a function over one parsed module of ours and yields what is wrong.
"""

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = ("libs", "services", "deploy/local", "tools")
COMMON_LINES = 2200
MODULE_LINES = 250
FUNCTION_LINES = 40
HANDLER_STATEMENTS = 8
SERVICES = {"auth", "catalog", "sync"}
# What each package of ours may import beside itself; services take both libraries.
LIBRARIES = {"common": set[str](), "imports": {"common"}}
Finding = Iterator[tuple[int, str]]


def small_modules(path: Path, tree: ast.Module) -> Finding:
    """A module fits in a reader's head."""
    lines = len((ROOT / path).read_text("utf-8").splitlines())
    if lines > MODULE_LINES and "migrations" not in path.parts:
        yield 1, f"{lines} lines; at most {MODULE_LINES}"


def named_by_noun(path: Path, tree: ast.Module) -> Finding:
    """Nobody finds anything in utils."""
    if path.stem in {"utils", "helpers", "misc", "core"}:
        yield 1, "name the module after its noun"


def short_functions(path: Path, tree: ast.Module) -> Finding:
    for node in _functions(tree):
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > FUNCTION_LINES and "migrations" not in path.parts:
            yield node.lineno, f"{node.name} has {lines} lines; at most {FUNCTION_LINES}"


def thin_handlers(path: Path, tree: ast.Module) -> Finding:
    """A handler is a signature and a few lines: no try, no SQL; errors are types."""
    for node in _functions(tree):
        if not any("router." in ast.unparse(decorator) for decorator in node.decorator_list):
            continue
        body = [item for item in node.body if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))]
        if len(body) > HANDLER_STATEMENTS:
            yield node.lineno, f"{node.name} has {len(body)} statements; at most {HANDLER_STATEMENTS}"
        for inner in ast.walk(node):
            if isinstance(inner, ast.Try):
                yield inner.lineno, f"{node.name} catches; let common.web.problems answer"
            if isinstance(inner, ast.Call) and _name(inner.func) in {"text", "select", "insert", "update", "delete"}:
                yield inner.lineno, f"{node.name} holds SQL; give it a function in its noun's module"


def commit_in_one_place(path: Path, tree: ast.Module) -> Finding:
    """The commit belongs to common.web.database, before the answer leaves."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "commit":
            if path.parts[-2:] != ("web", "database.py"):
                yield node.lineno, "commit() outside common/web/database.py"


def plain_asgi(path: Path, tree: ast.Module) -> Finding:
    """BaseHTTPMiddleware costs a task per request; HTTPException says nothing about our errors."""
    banned = {"BaseHTTPMiddleware"} | ({"HTTPException"} if "common" not in path.parts else set())
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in banned:
            yield node.lineno, f"{node.id} is not used here"


def boundaries(path: Path, tree: ast.Module) -> Finding:
    """No service imports another, and a library imports none."""
    own = next((part for part in path.parts if part in SERVICES | LIBRARIES.keys()), None)
    if own is None:
        return
    allowed = {own} | LIBRARIES.get(own, LIBRARIES.keys())
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        for name in names:
            if name.partition(".")[0] in (SERVICES | LIBRARIES.keys() | {"stack"}) - allowed:
                yield node.lineno, f"{own} imports {name}"


RULES: tuple[Callable[[Path, ast.Module], Finding], ...] = (
    small_modules, named_by_noun, short_functions, thin_handlers, commit_in_one_place, plain_asgi, boundaries,
)  # fmt: skip


def check(root: Path = ROOT) -> list[str]:
    """All findings under `root`, as `file:line: what`."""
    findings, common = [], 0
    for folder in SOURCES:
        for path in sorted((root / folder).rglob("*.py")):
            relative = path.relative_to(root)
            source = path.read_text("utf-8")
            tree = ast.parse(source)
            common += _code_lines(source, tree) if relative.parts[:2] == ("libs", "common") else 0
            findings += [f"{relative}:{line}: {what}" for rule in RULES for line, what in rule(relative, tree)]
    if common > COMMON_LINES:
        findings.append(f"libs/common: {common} lines of code; at most {COMMON_LINES}")
    return findings


def _code_lines(source: str, tree: ast.Module) -> int:
    """Lines that are neither blank nor docstring."""
    documented = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node) is not None:
                documented += (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
    return sum(bool(line.strip()) for line in source.splitlines()) - documented


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


if __name__ == "__main__":
    found = check()
    print("\n".join(found) or "house rules: fine")
    sys.exit(bool(found))
