"""The fixtures of `tests/fixtures/auth.py`."""

from tests.fixtures.auth import auth, auth_database, auth_db, auth_settings, clock, free_port

__all__ = ["auth", "auth_database", "auth_db", "auth_settings", "clock", "free_port"]
