"""The SQL that services load is that of their statements."""

import pytest

from tools import statements


@pytest.mark.parametrize("service", statements.PATHS)
def test_the_committed_sql_is_that_of_the_statements(service: str) -> None:
    assert statements.PATHS[service].read_text("utf-8") == statements.rendered(service), "run: make statements"


@pytest.mark.parametrize("service", statements.PATHS)
def test_a_statement_has_no_values_that_json_would_change(service: str) -> None:
    for statement in statements.STATEMENTS[service].values():
        constants = statement.compile(dialect=statements.DIALECT).params.values()
        assert {type(value) for value in constants} <= {type(None), bool, int, str}
