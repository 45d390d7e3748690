"""The merged OpenAPI document is fresh, complete and true."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tools import openapi

DOCUMENT = openapi.merged()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}


def test_the_served_document_is_fresh() -> None:
    assert openapi.PATH.read_text("utf-8") == openapi.rendered(), "run: make openapi"


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_is_described(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert operation["tags"]
    answers = operation["responses"]
    assert any(status.startswith("2") for status in answers)
    for status, answer in answers.items():
        if status >= "400":
            assert list(answer["content"]) == ["application/problem+json"], (status, answer)
    if operation.get("security"):
        assert {"401", "403"} <= set(answers)
    if "requestBody" in operation:
        assert {"400", "413", "415", "422"} <= set(answers)
    if not name.endswith("health"):
        assert "503" in answers


def test_references_resolve() -> None:
    def references(value: Any) -> Any:
        if isinstance(value, dict):
            yield from ([value["$ref"]] if isinstance(value.get("$ref"), str) else [])
            for item in value.values():
                yield from references(item)
        elif isinstance(value, list):
            for item in value:
                yield from references(item)

    for reference in set(references(DOCUMENT)):
        name = reference.removeprefix("#/components/schemas/")
        assert name in DOCUMENT["components"]["schemas"], reference


def test_internal_routes_are_nobodys_business() -> None:
    assert "/internal" not in json.dumps(DOCUMENT["paths"])


def test_auth_stands_before_products() -> None:
    assert [tag["name"] for tag in DOCUMENT["tags"]] == ["auth", "products", "sync", "health"]
    assert {tag for operation in OPERATIONS.values() for tag in operation["tags"]} == {
        tag["name"] for tag in DOCUMENT["tags"]
    }


@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if "requestBody" in operation])
def test_the_example_of_each_body_is_valid(name: str) -> None:
    for media_type, content in OPERATIONS[name]["requestBody"]["content"].items():
        if media_type == "application/json":
            assert _schema(content["schema"])["example"] is not None
            schema = {"$ref": "#/body", "body": content["schema"], "components": DOCUMENT["components"]}
            Draft202012Validator(schema).validate(_schema(content["schema"])["example"])


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The named schema that a body's schema means."""
    if "example" in schema:
        return schema
    named = schema if "$ref" in schema else schema["anyOf"][0]
    found: dict[str, Any] = DOCUMENT["components"]["schemas"][named["$ref"].rpartition("/")[2]]
    return found
