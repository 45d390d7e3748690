"""AuthSettings: what production refuses."""

from typing import Any

import pytest
from pydantic import ValidationError

from auth.settings import AuthSettings

GOOD: dict[str, Any] = {
    "app_env": "production",
    "database_url": "postgresql://auth_svc:x@db/products",
    "redis_url": "redis://redis/0",
    "secret_key": "Jv3kQ0cX8nYw2LrT5uZb7HdF1mPs6GaE",
    "sync_client_secret": "Qe8rT1yU4iO7pA3sD6fG9hJ2kL5zX0cV",
    "admin_registration": "never",
}


def faults(**changes: Any) -> set[str]:
    """The names of the settings that are refused."""
    values = {name: value for name, value in (GOOD | changes).items() if value is not None}
    try:
        AuthSettings(**values)
    except ValidationError as error:
        return {str(fault["loc"][0]) for fault in error.errors()}
    return set()


def test_good_settings_pass() -> None:
    assert faults() == set()


@pytest.mark.parametrize("policy", ["first", "open", None])
def test_strangers_never_register_admins_in_production(policy: str | None) -> None:
    assert faults(admin_registration=policy) == {"admin_registration"}
    assert faults(app_env="local", admin_registration=policy) == set()


@pytest.mark.parametrize("name", ["secret_key", "sync_client_secret"])
@pytest.mark.parametrize("value", [None, "x" * 31, "change-me-" + "7a" * 16, "a" * 40])
def test_secrets_are_secrets(name: str, value: str | None) -> None:
    assert faults(**{name: value}) == {name}


def test_the_default_is_the_first_admin_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADMIN_REGISTRATION", raising=False)
    values = {name: value for name, value in GOOD.items() if name != "admin_registration"} | {"app_env": "local"}
    assert AuthSettings(**values).admin_registration == "first"


def test_secrets_are_not_in_the_repr() -> None:
    text = repr(AuthSettings(**GOOD))
    assert not any(str(GOOD[name]) in text for name in ("secret_key", "sync_client_secret", "database_url"))
