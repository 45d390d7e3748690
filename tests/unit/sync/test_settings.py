"""What sync refuses to start with."""

import pytest
from pydantic import ValidationError

from common.settings import load_settings, read_environment
from sync.settings import SyncSettings

GOOD = {
    "DATABASE_URL": "postgresql://sync_svc:pw@db/products",
    "REDIS_URL": "redis://redis",
    "SYNC_CLIENT_SECRET": "0f3b1c9a7e5d4826b1f0a9c8d7e6f504",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (
        "APP_ENV",
        "AUTH_URL",
        "CATALOG_URL",
        "EXTERNAL_API_URL",
        "EXTERNAL_API_PROVIDER",
        "SYNC_INTERVAL_MINUTES",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_defaults(environment: pytest.MonkeyPatch) -> None:
    settings = load_settings(SyncSettings)
    assert (settings.source, settings.source_url) == ("dummyjson", "https://dummyjson.com/products")
    assert settings.sync_interval_minutes == 30


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SYNC_CLIENT_SECRET", "short"),
        ("SYNC_INTERVAL_MINUTES", "0"),
        ("SYNC_INTERVAL_MINUTES", "10081"),
        ("EXTERNAL_API_URL", "file:///etc/passwd"),
        ("EXTERNAL_API_URL", "https:///products"),
        ("EXTERNAL_API_PROVIDER", "../x"),
        ("AUTH_URL", "auth:8000"),
        ("CATALOG_URL", "ftp://catalog"),
    ],
)
def test_unusable_values_are_refused(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(name, value)
    with pytest.raises(ValidationError) as caught:
        SyncSettings(**read_environment(SyncSettings))
    assert [fault["loc"] for fault in caught.value.errors()] == [(name.lower(),)]
    assert value not in str(caught.value)


def test_production_names_all_faults_at_once_without_values(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("APP_ENV", "production")
    environment.setenv("SYNC_CLIENT_SECRET", "change-me-change-me-change-me-change-me")
    environment.setenv("AUTH_URL", "nowhere")
    environment.setenv("DATABASE_URL", "postgresql://sync_svc@db/products")
    with pytest.raises(SystemExit) as caught:
        load_settings(SyncSettings)
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert [line.split(":")[1].strip() for line in told.splitlines()] == [
        "DATABASE_URL", "AUTH_URL", "SYNC_CLIENT_SECRET",
    ]  # fmt: skip
    assert "change-me" not in told


def test_secrets_of_the_source_do_not_show(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("EXTERNAL_API_URL", "https://me:hunter2@api.example:8443/v1/products?key=abc")
    settings = load_settings(SyncSettings)
    assert settings.source_url == "https://api.example:8443/v1/products"
    assert "hunter2" not in repr(settings)
    assert "abc" not in repr(settings)
