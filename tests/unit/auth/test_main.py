"""The command line's own words."""

import pytest

from auth.__main__ import _accepted
from auth.schemas import accept_email, accept_password


def test_what_is_not_accepted_is_named_and_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    for name, accept, value in (("email", accept_email, "n0body"), ("password", accept_password, "sh0rt")):
        with pytest.raises(SystemExit) as exit:
            _accepted(name, accept, value)
        assert exit.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith(f"create-admin: {name}: ")
        assert value not in error
