"""What is taken for an email address and for a password."""

import contextlib
import time
import unicodedata
from collections.abc import Callable

import pytest
from pydantic import ValidationError

from auth.emails import Email
from auth.schemas import LoginIn, RefreshIn, RegisterIn, TokenIn, validate_email, validate_password


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ("ada@example.com", "ada@example.com"),
        ("Ada.Lovelace+shop@Example.CO.uk", "ada.lovelace+shop@example.co.uk"),
        ("o'neil_x@sub-domain.example", "o'neil_x@sub-domain.example"),
        ("RE\u0301NE\u0301@example.com", "r\u00e9n\u00e9@example.com"),
        ("Stra\u00dfe@example.com", "stra\u00dfe@example.com"),
        ("a@Stra\u00dfe.example", "a@xn--strae-oqa.example"),
        ("用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v"),
        ("a@" + "b" * 63 + ".com", "a@" + "b" * 63 + ".com"),
        ("a" * 64 + "@example.com", "a" * 64 + "@example.com"),
    ],
)
def test_emails(sent: str, key: str) -> None:
    typed = validate_email(sent)
    assert typed == unicodedata.normalize("NFC", sent)
    assert Email(typed).key == key
    assert Email(key).key == key


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "ada",
        "ada@",
        "@example.com",
        "ada@example",
        "ada@@example.com",
        "ada@example..com",
        "ada@.example.com",
        "ada@example.com.",
        "ada@-example.com",
        "ada@example-.com",
        ".ada@example.com",
        "ada.@example.com",
        "a..da@example.com",
        "ada lovelace@example.com",
        " ada@example.com",
        "ada@example.com ",
        "ada@example.com\n",
        "ada\0@example.com",
        "ada\u200b@example.com",
        "ada\u202e@example.com",
        "ada\ud800@example.com",
        "Ada <ada@example.com>",
        "ada@example.com,bob@example.com",
        "a" * 65 + "@example.com",
        "a@" + "b" * 64 + ".com",
        "a@" + "b." * 126 + "com",
        "a" * 100_000,
        "a." * 50_000 + "@example.com",
    ],
)
def test_what_is_no_email(sent: str) -> None:
    with pytest.raises(ValidationError):
        validate_email(sent)


@pytest.mark.parametrize(("sent", "good"), [("x" * 7, False), ("x" * 8, True), ("x" * 128, True), ("x" * 129, False)])
def test_length_of_passwords(sent: str, good: bool) -> None:
    if good:
        assert validate_password(sent) == sent
    else:
        with pytest.raises(ValidationError):
            validate_password(sent)


def test_length_counts_what_is_seen() -> None:
    assert validate_password("e\u0301" * 128) == "\u00e9" * 128
    with pytest.raises(ValidationError):
        validate_password("e\u0301" * 7)


def test_a_login_may_send_any_short_text() -> None:
    assert LoginIn(email="No Email", password="").email == "No Email"


@pytest.mark.parametrize(
    "parse",
    [
        lambda text: RegisterIn(email=text, password="long enough"),
        lambda text: RegisterIn(email="a@example.com", password=text),
        lambda text: LoginIn(email=text, password=""),
        lambda text: LoginIn(email="", password=text),
        lambda text: RefreshIn(refresh_token=text),
        lambda text: TokenIn.model_validate({"username": text}),
        lambda text: TokenIn.model_validate({"password": text}),
        lambda text: TokenIn.model_validate({"client_id": text}),
        lambda text: TokenIn.model_validate({"client_secret": text}),
        lambda text: TokenIn.model_validate({"grant_type": text}),
    ],
)
def test_the_length_is_checked_before_anything_that_costs_more(parse: Callable[[str], object]) -> None:
    """Marks in an order that normalisation has to sort, which took 23 s for 128 KB."""

    def cost(text: str) -> float:
        began = time.process_time()
        with contextlib.suppress(ValidationError):
            parse(text)
        return time.process_time() - began

    marks = "a" + "\u0315\u0300\u05ae\u0301" * 30_000
    long = min(cost(marks) for _ in range(3))
    assert long < 0.1
