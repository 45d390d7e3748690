"""Fixtures are modules; this file only names them."""

pytest_plugins = ["tests.fixtures.stack", "tests.fixtures.catalog", "tests.fixtures.queries"]
