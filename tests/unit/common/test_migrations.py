"""`python -m <service> migrate` without a database that it could migrate."""

import pytest
from alembic.util import CommandError

from common import migrations


def test_without_an_address_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(CommandError, match=r"^DATABASE_URL is not set: postgresql://"):
        migrations.upgrade("catalog")


def test_it_gives_up_a_server_that_does_not_come(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://catalog_svc:Pa5sw0rd@127.0.0.1:1/products")
    monkeypatch.setattr(migrations, "WAIT_SECONDS", 0.0)
    with pytest.raises(SystemExit) as ended:
        migrations.upgrade("catalog")
    assert ended.value.code == "migrate: no PostgreSQL within 0 s: check DATABASE_URL and the network"
