"""Acme's shops: articles in pages, each of which says by which token the next one is asked for."""

from typing import Any, ClassVar, Literal

import msgspec

from sync.providers import ExternalProduct, ProviderAnswerInvalid, ProviderConfig
from sync.providers.credentials import AUTH_KINDS, CREDENTIAL_OPTIONS, Auth, NoAuth, credentials
from sync.providers.http import JsonClient
from sync.providers.options import kinds, read
from sync.providers.pages import PagedProvider
from sync.providers.paging import CursorPaging
from sync.providers.records import (
    InvalidRecord,
    Mapped,
    Optionals,
    parse_id,
    parse_price,
    parse_text,
    read_record,
)

__all__ = ["AcmeOptions", "AcmeShop"]


class AcmeOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a source may set."""

    currency: Literal["EUR", "SEK"] = "EUR"
    auth: Auth = NoAuth()


class AcmeShop(PagedProvider):
    """`config.url` is like https://shop.acme.example/v2/articles."""

    name: ClassVar[str] = "acme-shop"
    Options = AcmeOptions

    def __init__(self, config: ProviderConfig) -> None:
        choices = {"currency": ("EUR", "SEK"), "auth.kind": kinds(*AUTH_KINDS)}
        self._options = read(config.options, AcmeOptions, choices=choices, credentials=CREDENTIAL_OPTIONS)
        client = JsonClient(config, credentials(self._options.auth, config))
        paging = CursorPaging(
            client, _articles, lambda answer: answer.get("after"), cursor_param="after", size_param="limit"
        )
        super().__init__(config, client, paging, self._mapped)

    def _mapped(self, record: object) -> Mapped:
        return read_record(record, self._product, lambda article: article.get("code"))

    def _product(self, article: dict[str, Any], optional: Optionals) -> ExternalProduct:
        price = article.get("price")
        if not isinstance(price, dict):
            raise InvalidRecord("price", "must be an object")
        return ExternalProduct(
            external_id=parse_id(article.get("code")),
            name=parse_text(article.get("label"), "name"),
            price=parse_price(price.get("gross")),
            currency=self._options.currency,
            category=parse_text(article.get("department"), "category"),
            stock=optional.stock(article.get("left")),
        )


def _articles(answer: Any) -> list[Any]:
    if not isinstance(answer, dict) or not isinstance(answer.get("articles"), list):
        raise ProviderAnswerInvalid("The answer has no list of articles: check the address.")
    found: list[Any] = answer["articles"]
    return found
