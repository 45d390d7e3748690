"""Options of sources: what is refused, in which words, and that no credential is ever shown."""

import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sync import providers
from sync.providers import ProviderConfig, ProviderMisconfigured, load
from sync.providers.secrets import Reference, resolve

MAPPING = {"external_id": "id", "name": "title", "price": "price", "category": {"const": "all"}}
CANARY = "hush-hush"


def refusal(options: dict[str, Any], name: str = "rest", **more: Any) -> str:
    with pytest.raises(ProviderMisconfigured) as caught:
        load(name, ProviderConfig(url="https://source.test/products", options=options, **more))
    assert CANARY not in f"{caught.value!r}"
    return caught.value.detail


def with_auth(**auth: Any) -> dict[str, Any]:
    return {"mapping": MAPPING, "auth": auth}


class TestTexts:
    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({}, "options.mapping: is required."),
            ({"mapping": {}}, "options.mapping.external_id: is required."),
            ({"mapping": MAPPING, "pagging": {}}, "options.pagging: there is no such option."),
            ({"mapping": MAPPING | {"titel": "t"}}, "options.mapping.titel: there is no such option."),
            ({"mapping": MAPPING, "paging": {}}, "options.paging.kind: must be one of cursor, link, next_url, none, "
             "offset, page."),
            ({"mapping": MAPPING, "paging": {"kind": CANARY}}, "options.paging.kind: must be one of cursor, link, "
             "next_url, none, offset, page."),
            (with_auth(kind="digest"), "options.auth.kind: must be one of basic, bearer, header, none, oauth2."),
            ({"mapping": MAPPING, "paging": {"kind": "page", "page": "p"}}, "options.paging.page: there is no such "
             "option."),
            ({"mapping": MAPPING, "paging": {"kind": "cursor"}}, "options.paging.next: is required."),
            ({"mapping": MAPPING, "paging": {"kind": "page", "first": 2}}, "options.paging.first: must be `int` <= 1."),
            ({"mapping": MAPPING, "items": 7}, "options.items: must be `str`, got `int`."),
            ({"mapping": MAPPING, "items": "a["}, "options.items: is not a valid JMESPath expression."),
            ({"mapping": MAPPING, "items": ""}, "options.items: must be a JMESPath expression of 1 to 500 characters."),
            ({"mapping": MAPPING | {"brand": "a." * 250 + "b"}}, "options.mapping.brand: must be `str` of length <= "
             "500."),
            ({"mapping": MAPPING | {"brand": "foo(@)["}}, "options.mapping.brand: is not a valid JMESPath expression."),
            ({"mapping": MAPPING | {"brand": {"path": "]"}}}, "options.mapping.brand.path: is not a valid JMESPath "
             "expression."),
            ({"mapping": MAPPING | {"brand": {}}}, "options.mapping.brand: must have exactly one of `path`, `const` "
             "and `join`."),
            ({"mapping": MAPPING | {"brand": {"path": "a", "const": "b"}}}, "options.mapping.brand: must have exactly "
             "one of `path`, `const` and `join`."),
            ({"mapping": MAPPING | {"attributes": {"size": "a["}}}, "options.mapping.attributes.size: is not a valid "
             "JMESPath expression."),
            ({"mapping": MAPPING, "detail": {"url": "/items"}}, "options.detail.url: must hold {id} once."),
            ({"mapping": MAPPING, "detail": {"url": "https://evil.test/{id}"}}, "options.detail.url: This address "
             "leads to another host, scheme or port than the source, so it is not followed."),
            ({"mapping": MAPPING, "detail": {"url": "/{id}", "concurrency": 9}}, "options.detail.concurrency: must be "
             "`int` <= 8."),
        ],
        ids=lambda value: value[:60] if isinstance(value, str) else "",
    )  # fmt: skip
    def test_name_the_option_and_the_rule(self, options: dict[str, Any], text: str) -> None:
        assert refusal(options) == text

    def test_of_a_file(self) -> None:
        assert refusal({"mapping": MAPPING}, "file") == "options.format: must be one of csv, json, ndjson."
        assert refusal({"mapping": MAPPING, "format": "xml"}, "file") == (
            "options.format: must be one of csv, json, ndjson."
        )
        text = refusal({"mapping": MAPPING, "format": "csv", "encoding": "utf-16"}, "file")
        assert text == "options.encoding: must be one of latin-1, utf-8, utf-8-sig."

    @pytest.mark.parametrize("name", ["dummyjson", "fakestore"])
    def test_of_a_provider_that_has_none(self, name: str) -> None:
        assert refusal({"page_size": 7}, name) == f"options.page_size: provider {name!r} has no options."

    @pytest.mark.parametrize(
        "expression",
        [
            "|".join(["[@,@][]"] * 12),
            "|".join(["[[@,@],[@,@]]"] * 5),
            "|".join(["to_string(@)"] * 11),
            "map(&[@,@,@,@], @) | map(&[@,@,@,@], @) | map(&[@,@,@,@], @) | map(&[@,@,@,@], @) | map(&[@,@,@,@], @)",
        ],
    )
    def test_expressions_that_grow_are_refused(self, expression: str) -> None:
        text = refusal({"mapping": MAPPING, "items": expression})
        assert text == "options.items: must have at most 10 functions, and lists and objects of fewer parts."

    @pytest.mark.parametrize("expression", ["(" * 499, "[" * 400, "!" * 500, "&" * 500, "a." * 249, "`" * 499])
    def test_no_expression_breaks_it(self, expression: str) -> None:
        assert refusal({"mapping": MAPPING, "items": expression}).startswith("options.items: is not a valid")


class TestDescriptions:
    def test_every_provider_is_described(self) -> None:
        for name in ("rest", "file"):
            schema = providers.describe(name)
            jsonschema.Draft202012Validator.check_schema(schema)
            jsonschema.validate({"mapping": MAPPING} | ({"format": "csv"} if name == "file" else {}), schema)
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate({"mapping": MAPPING, "unknown": 1}, schema)
        assert providers.describe("dummyjson") == providers.describe("fakestore") == {}

    def test_of_none(self) -> None:
        with pytest.raises(ProviderMisconfigured, match="no provider 'shop'"):
            providers.describe("shop")


class TestCredentials:
    @pytest.mark.parametrize(
        ("auth", "option"),
        [
            ({"kind": "bearer", "token": CANARY}, "auth.token"),
            ({"kind": "header", "name": "X-Key", "value": CANARY}, "auth.value"),
            ({"kind": "basic", "username": {"env": "SOURCE_A"}, "password": CANARY}, "auth.password"),
            (
                {"kind": "oauth2", "token_url": "https://a.test/", "client_id": "a", "client_secret": CANARY},
                "auth.client_secret",
            ),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_written_out_are_refused(self, auth: dict[str, Any], option: str) -> None:
        text = refusal(with_auth(**auth))
        assert text.startswith(f"options.{option}: must be a reference to the credential and not the credential")

    @pytest.mark.parametrize(
        "name", ["Authorization", "Cookie", "X-Api-Key", "x-auth-token", "Proxy-Authorization", "X-Client-Secret"]
    )
    def test_in_constant_headers_are_refused(self, name: str) -> None:
        text = refusal({"mapping": MAPPING, "headers": {name: CANARY}})
        assert text == f"options.headers.{name}: must not be here; give it by `auth`."

    @pytest.mark.parametrize("name", ["key", "api_key", "apikey", "access_token", "token", "client-secret", "sig_key"])
    def test_in_constant_parameters_are_refused(self, name: str) -> None:
        options = {"mapping": MAPPING, "query": {name: CANARY}}
        if name == "sig_key":
            load("rest", ProviderConfig(url="https://source.test/", options=options))
        else:
            assert "must be a reference to the credential" in refusal(options)

    @pytest.mark.parametrize(
        "name", ["Host", "Content-Length", "transfer-encoding", "Accept-Encoding", "a b", "a\r\nb"]
    )
    def test_headers_that_are_ours(self, name: str) -> None:
        assert refusal({"mapping": MAPPING, "headers": {name: "x"}}).endswith("is not a header that a source can set.")
        auth = {"kind": "header", "name": name, "value": {"env": "SOURCE_A"}}
        assert refusal(with_auth(**auth)).startswith("options.auth.name: ")

    @pytest.mark.parametrize("value", ["a\r\nb", "\x00", "ü", "x" * 2_001])
    def test_headers_are_one_line(self, value: str) -> None:
        assert refusal({"mapping": MAPPING, "headers": {"X-A": value}}).startswith(
            "options.headers.X-A: must be at most"
        )

    @pytest.mark.parametrize(
        "name",
        ["SYNC_CLIENT_SECRET", "DATABASE_URL", "PATH", "source_a", "SOURCE_", "SOURCE_a", "SOURCE_A=B", "XSOURCE_A"],
    )
    def test_only_variables_of_sources(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who writes options must not send the worker's own secrets to a server of his."""
        if "=" not in name:
            monkeypatch.setenv(name, CANARY)
        text = refusal(with_auth(kind="bearer", token={"env": name}))
        assert text == "options.auth.token.env: must be the name of an environment variable that begins with SOURCE_."

    def test_a_missing_one_is_named(self) -> None:
        text = refusal(with_auth(kind="bearer", token={"env": "SOURCE_MISSING"}))
        assert text == "options.auth.token: the worker has no environment variable SOURCE_MISSING."

    @pytest.mark.parametrize("value", ["", "\n", "ü", "a\nb", "a\x00b", "x" * 8_193])
    def test_what_is_no_credential(self, value: str, tmp_path: Path) -> None:
        (tmp_path / "key").write_bytes(value.encode())
        config = ProviderConfig(url="https://source.test/", secrets_folder=str(tmp_path))
        for reference in (Reference(env="SOURCE_A"), Reference(file="key")):
            with pytest.raises(ProviderMisconfigured, match="must hold 1 to 8192 characters") as caught:
                resolve(reference, config, "auth.token", {"SOURCE_A": value})
            assert len(value) < 3 or value not in str(caught.value)

    @pytest.mark.parametrize("reference", [{}, {"env": "SOURCE_A", "file": "a"}])
    def test_either_one_or_the_other(self, reference: dict[str, str]) -> None:
        text = refusal(with_auth(kind="bearer", token=reference))
        assert text == "options.auth.token: must have either `env` or `file`."

    def test_a_user_has_no_colon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SOURCE_A", f"{CANARY}:b")
        reference = {"env": "SOURCE_A"}
        text = refusal(with_auth(kind="basic", username=reference, password=reference))
        assert text.startswith("options.auth.username: must not hold a colon")

    def test_files(self, tmp_path: Path) -> None:
        (tmp_path / "key").write_text(f"{CANARY}\n", "utf-8")
        config = ProviderConfig(url="https://source.test/", secrets_folder=str(tmp_path))
        secret = resolve(Reference(file="key"), config, "auth.token")
        assert secret.reveal() == CANARY
        assert CANARY not in f"{secret!r} {secret}"

    @pytest.mark.parametrize(
        "name", ["../key", "/etc/passwd", "..", "a/b", "", "out", "folder", "folder/inner", "pipe", "none"]
    )
    def test_nothing_but_the_files_of_the_folder(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "key").write_text(CANARY, "utf-8")
        folder = tmp_path / "secrets"
        (folder / "folder").mkdir(parents=True)
        (folder / "folder" / "inner").write_text("{}", "utf-8")
        (folder / "out").symlink_to(tmp_path / "key")
        os.mkfifo(folder / "pipe")
        text = refusal(with_auth(kind="bearer", token={"file": name}), secrets_folder=str(folder))
        assert text.startswith(f"options.auth.token.file: {name!r} ")

    def test_without_a_folder(self) -> None:
        text = refusal(with_auth(kind="bearer", token={"file": "key"}))
        assert text == "options.auth.token.file: the worker has no folder of secrets, so use `env`."

    def test_no_object_shows_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SOURCE_A", CANARY)
        reference = {"env": "SOURCE_A"}
        options = with_auth(kind="basic", username=reference, password=reference) | {"query": {"key": reference}}
        config = ProviderConfig(url="https://source.test/", options=options)
        provider = load("rest", config)
        seen: list[Any] = [provider]
        for each in seen[:200]:
            assert CANARY not in repr(each)
            seen += vars(each).values() if hasattr(each, "__dict__") else ()
        assert CANARY not in f"{config!r} {config}"
