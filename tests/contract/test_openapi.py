"""The merged OpenAPI document is fresh, valid and complete; that answers are so is checked by fixtures/checked.py."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema_specifications import REGISTRY
from openapi_spec_validator import OpenAPIV31SpecValidator

from tools import openapi

DOCUMENT = openapi.merged()
SCHEMAS = DOCUMENT["components"]["schemas"]
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
# Names of functions in generated clients: to change one that is released breaks their callers.
OPERATION_IDS = {
    "POST /auth/register": "register",
    "POST /auth/login": "log_in",
    "POST /auth/token": "issue_token",
    "POST /auth/refresh": "refresh_tokens",
    "POST /auth/logout": "log_out",
    "GET /auth/me": "get_current_user",
    "GET /.well-known/jwks.json": "get_public_keys",
    "GET /auth/health": "get_auth_health",
    "GET /products": "list_products",
    "GET /products/{product_id}": "get_product",
    "POST /products": "create_product",
    "PUT /products/{product_id}": "change_product",
    "DELETE /products/{product_id}": "delete_product",
    "POST /products/{product_id}/restore": "restore_product",
    "DELETE /products/{product_id}/pins/{field}": "unpin_field",
    "GET /health": "get_catalog_health",
    "POST /sync/trigger": "trigger_sync",
    "GET /sync/status": "get_sync_status",
    "GET /sync/runs/{run_id}": "get_sync_run",
    "GET /sync/health": "get_sync_health",
}
# Beside those of the whole status class, what an answer of each status carries.
HEADERS = {"401": {"WWW-Authenticate"}, "412": {"ETag"}, "429": {"Retry-After"}, "503": {"Retry-After"}}
# The keywords of JSON Schema 2020-12 and what OpenAPI 3.1 adds to them.
KEYWORDS = {"example", "discriminator", "xml", "externalDocs"}
for vocabulary in ("core", "applicator", "unevaluated", "validation", "meta-data", "format-annotation", "content"):
    KEYWORDS |= REGISTRY.contents(f"https://json-schema.org/draft/2020-12/meta/{vocabulary}")["properties"].keys()


def schemas(value: Any = DOCUMENT, path: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema and subschema of the document, with its place."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from schemas(item, f"{path}/{number}")
    elif isinstance(value, dict):
        for name, item in value.items():
            place = f"{path}/{name}"
            if name in ("schema", "items", "additionalProperties") and isinstance(item, dict):
                yield place, item
            elif name in ("schemas", "properties", "$defs"):
                yield from ((f"{place}/{key}", schema) for key, schema in item.items())
            elif name in ("anyOf", "oneOf", "allOf"):
                yield from ((f"{place}/{number}", schema) for number, schema in enumerate(item))
            yield from schemas(item, place)


def valid(schema: dict[str, Any], value: Any) -> bool:
    whole = {"$ref": "#/of", "of": schema, "components": DOCUMENT["components"]}
    checker = Draft202012Validator.FORMAT_CHECKER
    return Draft202012Validator(whole, format_checker=checker).is_valid(value)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from ([value["$ref"]] if isinstance(value.get("$ref"), str) else [])
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_the_served_document_is_fresh() -> None:
    assert openapi.PATH.read_text("utf-8") == openapi.rendered(), "run: make openapi"


class TestValidity:
    def test_it_is_openapi_3_1(self) -> None:
        assert [str(error) for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []

    def test_its_schemas_are_json_schema_2020_12(self) -> None:
        found = dict(schemas())
        assert len(found) > 150
        for place, schema in found.items():
            Draft202012Validator.check_schema(schema)
            assert schema.keys() <= KEYWORDS, f"{place}: {schema.keys() - KEYWORDS}"

    def test_no_schema_divides_by_a_fraction(self) -> None:
        """19.99 is no multiple of 0.01 in the arithmetic of most validators."""
        for place, schema in schemas():
            assert isinstance(schema.get("multipleOf", 1), int), place

    def test_examples_and_defaults_are_valid(self) -> None:
        count = 0
        for place, schema in schemas():
            values = [schema[name] for name in ("example", "default") if name in schema] + schema.get("examples", [])
            count += len(values)
            for value in values:
                assert valid(schema, value), f"{place}: {value}"
        assert count > 15

    def test_every_component_is_referenced_and_there(self) -> None:
        wanted = set(references(DOCUMENT))
        components = DOCUMENT["components"]
        assert wanted == {f"#/components/{kind}/{name}" for kind in ("schemas", "headers") for name in components[kind]}


class TestSchemas:
    @pytest.mark.parametrize("price", [0.01, 19.99, 9.99, 4.35, 9999999999.99])
    def test_a_price_is_valid_in_and_out(self, price: float) -> None:
        assert valid(SCHEMAS["ProductIn"]["properties"]["price"], price)
        assert valid(SCHEMAS["ProductOut"]["properties"]["price"], price)

    @pytest.mark.parametrize("price", [0, -1, 10_000_000_000, "9.99", None])
    def test_another_price_is_not(self, price: Any) -> None:
        assert not valid(SCHEMAS["ProductIn"]["properties"]["price"], price)

    @pytest.mark.parametrize(
        ("parameter", "least", "most"), [("skip", 0, 10**6), ("limit", 1, 500), ("product_id", 1, 2**63 - 1)]
    )
    def test_numbers_in_a_url_have_bounds(self, parameter: str, least: int, most: int) -> None:
        for operation in OPERATIONS.values():
            for it in operation.get("parameters", []):
                if it["name"] == parameter:
                    assert (it["schema"]["minimum"], it["schema"]["maximum"]) == (least, most)

    @pytest.mark.parametrize("name", ["GET /health", "GET /auth/health", "GET /sync/health"])
    def test_health_is_described_ready_or_not(self, name: str) -> None:
        answers = OPERATIONS[name]["responses"]
        ready = SCHEMAS[answers["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]]
        assert {"status", "service", "version", "checks"} <= set(ready["required"])
        not_ready, gateway = answers["503"]["content"]["application/problem+json"]["schema"]["anyOf"]
        assert gateway == {"$ref": "#/components/schemas/Problem"}
        assert {"state", "checks"} <= set(SCHEMAS[not_ready["$ref"].rpartition("/")[2]]["required"])


class TestOperations:
    def test_released_ids_stay_and_each_is_there_once(self) -> None:
        ids = {name: operation["operationId"] for name, operation in OPERATIONS.items()}
        assert ids.items() >= OPERATION_IDS.items()
        assert len(set(ids.values())) == len(ids)
        assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", it) for it in ids.values())

    @pytest.mark.parametrize("name", OPERATIONS)
    def test_every_answer_is_described(self, name: str) -> None:
        operation = OPERATIONS[name]
        assert operation["summary"]
        assert operation["description"]
        answers = operation["responses"]
        assert any(status.startswith("2") for status in answers)
        assert {"422", "503", "default"} <= set(answers)
        if operation.get("security"):
            assert {"401", "403"} <= set(answers)
        if "requestBody" in operation:
            assert {"400", "413", "415"} <= set(answers)

    @pytest.mark.parametrize("name", OPERATIONS)
    def test_every_answer_has_its_headers_and_media_type(self, name: str) -> None:
        for status, answer in OPERATIONS[name]["responses"].items():
            wanted = {"X-Request-ID", "Cache-Control"} | HEADERS.get(status, set())
            assert wanted <= set(answer["headers"]), status
            if status >= "400":
                assert list(answer["content"]) == ["application/problem+json"], status

    def test_a_product_has_its_version_in_a_header(self) -> None:
        ref = "#/components/schemas/ProductOut"
        answers = [it for operation in OPERATIONS.values() for it in operation["responses"].values()]
        products = [it for it in answers if ref in list(references(it.get("content")))]
        assert len(products) == 4
        assert all("ETag" in it["headers"] for it in products)
        assert "ETag" in OPERATIONS["GET /products/{product_id}"]["responses"]["304"]["headers"]

    def test_what_is_made_or_started_has_an_address(self) -> None:
        assert "Location" in OPERATIONS["POST /products"]["responses"]["201"]["headers"]
        assert "Location" in OPERATIONS["POST /sync/trigger"]["responses"]["202"]["headers"]

    def test_tags_are_described_and_auth_stands_first(self) -> None:
        names = [tag["name"] for tag in DOCUMENT["tags"]]
        assert (names[0], names[-1]) == ("auth", "health")
        assert all(tag["description"] for tag in DOCUMENT["tags"])
        used = {tag for operation in OPERATIONS.values() for tag in operation["tags"]}
        assert used == set(names)

    @pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if "requestBody" in operation])
    def test_the_body_has_an_example(self, name: str) -> None:
        for media_type, content in OPERATIONS[name]["requestBody"]["content"].items():
            named = content["schema"] if "anyOf" not in content["schema"] else content["schema"]["anyOf"][0]
            schema = SCHEMAS[named["$ref"].rpartition("/")[2]] if "$ref" in named else named
            assert media_type != "application/json" or "example" in schema

    def test_internal_routes_are_left_out(self) -> None:
        assert "/internal" not in json.dumps(DOCUMENT["paths"])
        assert not [name for name in SCHEMAS if "Import" in name]
