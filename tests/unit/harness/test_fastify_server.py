"""Where Node or npm's registry are missing, the benchmark goes on without Fastify and says why."""

from pathlib import Path

import pytest

from tests.load import fastify_server


@pytest.mark.parametrize(
    ("node", "npm", "reason"),
    [
        (None, None, "no Node"),
        ("echo v22.1.0", None, "no Node"),
        ("echo v18.20.8", "exit 0", "Node 20 is needed"),
        ("echo v20.20.2", "exit 1", "no npm registry"),
        ("echo v20.20.2", "test -f package-lock.json", ""),
    ],
)
def test_it_says_why_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, node: str | None, npm: str | None, reason: str
) -> None:
    for name, script in (("node", node), ("npm", npm)):
        if script:
            program = tmp_path / name
            program.write_text(f"#!/bin/sh\n{script}\n")
            program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert fastify_server.missing() == reason


def test_the_packages_are_installed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "npm"
    program.write_text(f"#!/bin/sh\necho once >> {tmp_path}/calls\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert fastify_server.install()
    assert fastify_server.install()
    assert (tmp_path / "calls").read_text() == "once\n"
