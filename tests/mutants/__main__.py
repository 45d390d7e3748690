"""Removes one guard after the other in a copy of the repository, and runs the tests near it: they must turn red.

`python -m tests.mutants` tries all; names them that nobody missed and exits with 1 if there are any.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.guards import GUARDS, Guard

ROOT = Path(__file__).parents[2]
PACKAGES = [str(path.relative_to(ROOT)) for path in ROOT.glob("*/*/src")]
AT_ONCE = 2
MOST_SECONDS = 300


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="only guards whose name or file holds one of these")
    parser.add_argument("--touched-by", metavar="REV", help="first those in files that differ from REV, such as HEAD~1")
    parser.add_argument("--most", type=int, default=len(GUARDS), help="so many at most")
    parser.add_argument("--list", action="store_true", help="list the guards and do nothing")
    given = parser.parse_args()
    chosen = choose(given.words, given.touched_by, given.most)
    if given.list:
        print("\n".join(f"{guard.file}: {guard.name}" for guard in chosen))
        return 0
    began = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        survived = [guard for guard, killed in zip(chosen, threads.map(_try, chosen), strict=True) if not killed]
    print(f"{len(chosen) - len(survived)} of {len(chosen)} killed in {time.monotonic() - began:.0f} s")
    for guard in survived:
        print(f"survived: {guard.name} ({guard.file})")
    return 1 if survived else 0


def choose(words: Sequence[str], revision: str | None, most: int) -> list[Guard]:
    """The guards to try; with a revision those it touches come first, and then others, different ones each time."""
    named = [guard for guard in GUARDS if not words or any(word in f"{guard.name} {guard.file}" for word in words)]
    if revision is None:
        return named[:most]
    try:
        changed = set(_git("diff", "--name-only", revision).splitlines())
    except subprocess.CalledProcessError:  # a clone without history
        changed = set()
    head = int(_git("rev-parse", "HEAD")[:8], 16) % len(named)
    touched = [guard for guard in named if guard.file in changed]
    others = [guard for guard in named[head:] + named[:head] if guard.file not in changed]
    return (touched[head % max(1, len(touched)) :] + touched[: head % max(1, len(touched))] + others)[:most]


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _try(guard: Guard) -> bool:
    """Whether the tests near a guard turn red without it; says so."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="products-api-mutant-") as folder:
        copy = Path(folder)
        copy.chmod(0o711)
        for file in _git("ls-files").splitlines():
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, copy / file)
        remove(guard, copy)
        paths = os.pathsep.join(str(copy / package) for package in PACKAGES)
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *guard.tests.split()]
        tests = subprocess.Popen(
            command, cwd=copy, env=os.environ | {"PYTHONPATH": paths}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip
        try:
            output, _ = tests.communicate(timeout=MOST_SECONDS)
        except subprocess.TimeoutExpired:
            tests.terminate()
            output, _ = tests.communicate()
    # 1: tests failed. Others mean that they did not run at all.
    killed = tests.returncode == 1 or "did not end within" in output
    where = next((line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))), output[-300:])
    print(f"{'killed  ' if killed else 'SURVIVED'} {time.monotonic() - began:4.0f} s  {guard.name}", flush=True)
    print(f"            by {where.partition(' - ')[0].removeprefix('FAILED ')[:140]}" if killed else where, flush=True)
    return killed


def remove(guard: Guard, folder: Path) -> None:
    """Change the file of a guard; raises ValueError if the text is not there exactly once."""
    file = folder / guard.file
    text = file.read_text("utf-8")
    if text.count(guard.old) != 1:
        raise ValueError(f"{guard.name}: {guard.file} has its text {text.count(guard.old)} times")
    changed = text.replace(guard.old, guard.new)
    compile(changed, guard.file, "exec")
    file.write_text(changed, "utf-8")


if __name__ == "__main__":
    sys.exit(main())
