"""Creates .venv and installs into it a lock file and the packages of this repository; shows the progress.

`python3 deploy/install.py requirements.lock libs/common services/auth ...`; the Makefile runs it before there is a
.venv, so it uses nothing but the standard library.
"""

import re
import subprocess
import sys
import venv
from pathlib import Path

PYTHON = Path(".venv/bin/python")
PIP = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
# What pip prints when no index answers: a warning for every attempt, and no other reason.
NO_NETWORK = re.compile(r"Retrying \(|NewConnectionError|NameResolutionError|ConnectTimeout|ProxyError|Max retries")


def main(lock: str, *members: str) -> int:
    if not _works():
        venv.create(PYTHON.parent.parent, clear=True, with_pip=True, symlinks=True)
    total = len(re.findall(r"^[\w.-]+==", Path(lock).read_text("utf-8"), re.M))
    print(f"installing {total} packages of {lock} into .venv; the first time this takes a minute or two", flush=True)
    editable = [part for member in members for part in ("-e", member)]
    return _pip(total, "--require-hashes", "-r", lock) or _pip(0, "--no-build-isolation", "--no-deps", *editable)


def _works() -> bool:
    return PYTHON.exists() and subprocess.run([PYTHON, "-c", ""], capture_output=True, check=False).returncode == 0


def _pip(total: int, *arguments: str) -> int:
    """Run pip and show what it fetches; if it fails, the end of its output, or one line if there is no network."""
    output: list[str] = []
    done, megabytes = 0, 0.0
    with subprocess.Popen(
        [*PIP, "--retries", "2", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            output.append(line)
            if found := re.match(r"(?:Collecting|Requirement already satisfied:) ([\w.-]+)", line):
                done += 1
                _show(f"  {min(done, total)}/{total} {found[1]}, {megabytes:.0f} MB", last=False) if total else None
            elif found := re.match(r"\s+Downloading \S+ \(([\d.]+) ([kM])B", line):
                megabytes += float(found[1]) / (1000 if found[2] == "k" else 1)
    if pip.returncode == 0:
        _show(f"  {total}/{total}, {megabytes:.0f} MB fetched", last=True) if total else None
    elif any(map(NO_NETWORK.search, output)):
        print("\nno package index answers: the install needs a network, or an index in pip's settings", file=sys.stderr)
    else:
        sys.stderr.write("".join(output[-30:]))
    return pip.returncode


def _show(text: str, *, last: bool) -> None:
    """On a terminal one line that is overwritten; elsewhere only the last one."""
    if sys.stdout.isatty():
        print(f"\r{text:<78}", end="\n" if last else "", flush=True)
    elif last:
        print(text, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
