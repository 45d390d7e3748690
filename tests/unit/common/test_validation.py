"""What is wrong with an input is told in our sentences, bounded, and without the input."""

from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError

from auth.schemas import LoginIn, RefreshIn, RegisterIn, TokenIn
from catalog.schemas import ProductChange, ProductIn
from common.web.errors import Unprocessable
from common.web.tokens import Role
from common.web.validation import unprocessable
from sync.schemas import TriggerIn

MODELS = (ProductIn, ProductChange, RegisterIn, LoginIn, RefreshIn, TokenIn, TriggerIn)
# Everything that JSON can hold, and texts that fit nowhere.
JUNK: list[Any] = [
    None, True, 0, -1, 10**30, 2**31, Decimal("1.5"), Decimal("0.001"), Decimal("10000000000"), Decimal("1e-30"),
    Decimal("9999999999.995"), "", " ", "abc", "XXX", "x" * 400, "x" * 100_000, "\x00", [], [1], {},
    {"x": "y" * 40_000}, {"a": Decimal("1e999")},
]  # fmt: skip


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=5, pattern="^[a-z]*$")] = "a"
    count: Annotated[StrictInt, Field(ge=1, le=500)] = 1
    price: Annotated[Decimal, Field(gt=0, le=Decimal("9999999999.99"), decimal_places=2)] = Decimal(1)
    role: Literal[Role.USER, Role.ADMIN] = Role.USER
    kind: Literal["round", "square"] = "round"
    attributes: dict[str, Any] = {}
    id: UUID = UUID(int=0)


def refused(model: type[BaseModel], value: Any) -> Unprocessable | None:
    try:
        model.model_validate(value)
    except ValidationError as error:
        faults = [fault | {"loc": ("body", *fault["loc"])} for fault in error.errors()]
        return unprocessable(faults, list(model.model_fields))
    return None


@pytest.mark.parametrize(
    ("value", "pointer", "detail"),
    [
        ({"name": 1}, "#/name", "must be a string"),
        ({"name": ""}, "#/name", "must have at least 1 character"),
        ({"name": "abcdef"}, "#/name", "must have at most 5 characters"),
        ({"name": "A"}, "#/name", "must match ^[a-z]*$"),
        ({"count": "1"}, "#/count", "must be a whole number"),
        ({"count": 0}, "#/count", "must be at least 1"),
        ({"count": 501}, "#/count", "must be at most 500"),
        ({"price": 0}, "#/price", "must be greater than 0"),
        ({"price": Decimal(10**10)}, "#/price", "must be at most 9999999999.99"),
        ({"price": Decimal("0.001")}, "#/price", "must have at most 2 decimals"),
        ({"role": "root"}, "#/role", "must be 'user' or 'admin'"),
        ({"kind": "flat"}, "#/kind", "must be 'round' or 'square'"),
        ({"attributes": []}, "#/attributes", "must be an object"),
        ({"id": "7"}, "#/id", "must be a UUID"),
        ({"nmae": "a"}, "#/nmae", "unknown field; known here: name, count, price, role, kind, attributes, id"),
        ({"a/b~c": 1}, "#/a~1b~0c", "unknown field; known here: name, count, price, role, kind, attributes, id"),
    ],
)
def test_each_rule_has_its_sentence(value: Any, pointer: str, detail: str) -> None:
    error = refused(Model, value)
    assert error is not None
    assert error.members["errors"] == [{"pointer": pointer, "detail": detail}]
    assert error.detail == f"{pointer}: {detail}"


def test_what_is_left_out_is_told() -> None:
    error = refused(LoginIn, {})
    assert error is not None
    assert error.members["errors"] == [
        {"pointer": "#/email", "detail": "is required"},
        {"pointer": "#/password", "detail": "is required"},
    ]


def test_a_short_password_is_told_in_characters() -> None:
    error = refused(RegisterIn, {"email": "ada@example.com", "password": "1234567"})
    assert error is not None
    assert error.members["errors"] == [{"pointer": "#/password", "detail": "must have at least 8 characters"}]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_no_sentence_is_pydantics(model: type[BaseModel]) -> None:
    refusals = 0
    for name in (*model.model_fields, "unknown"):
        for value in JUNK:
            error = refused(model, {name: value})
            for told in error.members["errors"] if error else []:
                refusals += 1
                assert not any(word in told["detail"] for word in ("nput", "alue", "valid", "should")), told
                assert told["detail"] == told["detail"][:1].lower() + told["detail"][1:]
    assert refusals


def test_they_are_bounded_in_number_and_size() -> None:
    error = refused(Model, {f"{'x' * 1000}{number}": number for number in range(10_000)})
    assert error is not None
    assert len(error.members["errors"]) == Unprocessable.MAX_ERRORS
    assert error.members["truncated"] is True
    assert all(len(told["pointer"]) <= 200 and len(told["detail"]) <= 300 for told in error.members["errors"])


@pytest.mark.parametrize("model", [LoginIn, RegisterIn, RefreshIn], ids=lambda model: model.__name__)
def test_they_hold_nothing_of_a_secret(model: type[BaseModel]) -> None:
    for name in model.model_fields:
        error = refused(model, {name: ["hunter2" * 100]})
        assert error is not None
        assert "hunter2" not in str(error.members)
