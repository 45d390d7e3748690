"""The command line's own words."""

import pytest

from auth.__main__ import _validated
from auth.schemas import validate_email, validate_password


def test_what_is_not_accepted_is_named_and_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    for name, validate, value in (("email", validate_email, "n0body"), ("password", validate_password, "sh0rt")):
        with pytest.raises(SystemExit) as exit:
            _validated("create-admin", name, validate, value)
        assert exit.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith(f"create-admin: {name}: ")
        assert value not in error
