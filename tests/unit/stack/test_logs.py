"""Log files: how they are written, read and shown."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.logs import LogFile, parse_lines, stream, tail
from stack.run_dir import RunDir

JSON_LINE = json.dumps({"time": "2026-01-31T12:00:01+00:00", "level": "info", "message": "hello", "port": 8000})
GATEWAY_LINE = json.dumps({"ts": 1769860802.5, "level": "warn", "msg": "away"})
POSTGRES_LINE = "2026-01-31 12:00:03.250 UTC [7] LOG:  ready"
VALKEY_LINE = "7:M 31 Jan 2026 12:00:04.125 * Ready"


class TestLogFile:
    def test_the_log_of_the_run_before_is_kept_once(self, tmp_path: Path) -> None:
        for text in (b"first\n", b"second\n", b"third\n"):
            log = LogFile(tmp_path / "x.log")
            log.write(text)
            log.close()

        assert (tmp_path / "x.log").read_text() == "third\n"
        assert (tmp_path / "x.log.1").read_text() == "second\n"

    def test_stays_bounded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("stack.logs.LARGEST", 100)
        log = LogFile(tmp_path / "x.log")
        for _ in range(100):
            log.write(b"0123456789" * 3)
        log.close()

        assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 300

    def test_tail(self, tmp_path: Path) -> None:
        (tmp_path / "x.log").write_text("a\nb\nc\n")

        assert tail(tmp_path / "x.log", 2) == ["b", "c"]
        assert tail(tmp_path / "x.log", 0) == []
        assert tail(tmp_path / "missing.log", 2) == []


class TestLines:
    def test_the_time_of_every_kind_of_log(self) -> None:
        lines = parse_lines("x", [JSON_LINE, GATEWAY_LINE, POSTGRES_LINE, VALKEY_LINE])

        noon = datetime.fromisoformat("2026-01-31T12:00:00+00:00").timestamp()
        assert [line.time - noon for line in lines] == [1, 2.5, 3.25, 4.125]

    def test_a_line_without_a_time_belongs_to_the_one_before(self) -> None:
        first, second, third = parse_lines("x", ["so early", JSON_LINE, "Traceback ..."])

        assert first.time == 0
        assert third.time == second.time > 0

    def test_a_json_line_is_pretty(self) -> None:
        (line,) = parse_lines("x", [JSON_LINE])

        assert line.pretty.endswith("hello port=8000")
        assert "INFO" in line.pretty
        assert "{" not in line.pretty

    @pytest.mark.parametrize("text", ["\x1b[2Jcleared", json.dumps({"message": "\x1b[2Jcleared"})])
    def test_control_characters_do_not_reach_the_terminal(self, text: str) -> None:
        (line,) = parse_lines("x", [text])

        assert "\\x1b[2Jcleared" in line.pretty
        assert "\x1b[2J" not in line.pretty


class TestStream:
    """Of a stack that has ended: the last lines, and no waiting for more."""

    @pytest.fixture
    def run_dir(self, tmp_path: Path) -> RunDir:
        made = RunDir(tmp_path / "run")
        made.create()
        (made.logs / "sync-api.log").write_text(f"{JSON_LINE}\n")
        (made.logs / "postgres.log").write_text(f"{POSTGRES_LINE}\n")
        (made.logs / "gateway.log").write_text(f"{GATEWAY_LINE}\n")
        return made

    def test_lines_of_all_logs_come_in_the_order_of_time(
        self, run_dir: RunDir, capsys: pytest.CaptureFixture[str]
    ) -> None:
        stream(run_dir, [])

        prefixes = [line.partition("|")[0].strip() for line in capsys.readouterr().out.splitlines()]
        assert prefixes == ["sync-api", "gateway", "postgres"]

    def test_the_beginning_of_a_name_selects(self, run_dir: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
        stream(run_dir, ["sync"])

        assert capsys.readouterr().out == f"sync-api        | {JSON_LINE}\n"

    def test_unknown_names_are_refused_with_the_known_ones(self, run_dir: RunDir) -> None:
        with pytest.raises(StackError, match="no log begins with nope; there are: gateway, postgres, sync-api"):
            stream(run_dir, ["nope"])
