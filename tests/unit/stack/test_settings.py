"""Settings of the launcher: the environment wins over .env, and each error is one line."""

from pathlib import Path

import pytest

from stack.errors import StackError
from stack.settings import load

NOWHERE = Path("/nowhere/.env")


def test_defaults() -> None:
    settings = load({}, NOWHERE)

    assert settings.port == 8000
    assert settings.run_dir == Path.cwd() / ".run"
    assert set(settings.replicas.values()) == {1}
    assert settings.external_api_url is None


def test_environment_wins_over_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=9001\nSYNC_INTERVAL_MINUTES=5\nLOG_LEVEL=\n")

    settings = load({"PORT": "9002"}, tmp_path / ".env")

    assert settings.port == 9002
    assert settings.environment["SYNC_INTERVAL_MINUTES"] == "5"
    assert "LOG_LEVEL" not in settings.environment


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "x"),
        ("PORT", "70000"),
        ("PORT", "-1"),
        ("PORT", "\u0663"),
        ("REPLICAS_AUTH", "0"),
        ("REPLICAS_SYNC_API", "17"),
    ],
)
def test_bad_numbers_are_named(name: str, value: str) -> None:
    with pytest.raises(StackError, match=rf"^{name} must be a whole number"):
        load({name: value}, NOWHERE)


def test_background_work_can_be_left_out() -> None:
    assert load({"REPLICAS_SYNC_WORKER": "0"}, NOWHERE).replicas["sync-worker"] == 0
