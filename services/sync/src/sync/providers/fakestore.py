"""FakeStore API (https://fakestoreapi.com/docs): all products in one list."""

from typing import Any, ClassVar

from sync.providers.addresses import shown
from sync.providers.base import ExternalProduct, ProviderAnswerInvalid, ProviderConfig
from sync.providers.http import JsonClient
from sync.providers.pages import PagedProvider
from sync.providers.paging import SinglePage
from sync.providers.records import Mapped, Optionals, parse_id, parse_price, parse_text, read_record

__all__ = ["FakeStore"]


class FakeStore(PagedProvider):
    """Products from a server like FakeStore; `config.url` is like https://fakestoreapi.com/products."""

    name: ClassVar[str] = "fakestore"

    def __init__(self, config: ProviderConfig) -> None:
        client = JsonClient(config)
        self._base = shown(client.url)
        super().__init__(config, client, SinglePage(client, _records), self._mapped)

    def _mapped(self, record: object) -> Mapped:
        return read_record(record, self._product, lambda it: it.get("id"))

    def _product(self, record: dict[str, Any], optional: Optionals) -> ExternalProduct:
        rating = record.get("rating")
        return ExternalProduct(
            external_id=parse_id(record.get("id")),
            name=parse_text(record.get("title"), "name"),
            description=optional.text(record.get("description"), "description") or "",
            price=parse_price(record.get("price")),
            category=parse_text(record.get("category"), "category"),
            image_url=optional.url(record.get("image"), self._base),
            attributes=optional.attributes({} if rating is None else {"rating": rating}),
        )


def _records(answer: Any) -> list[Any]:
    if not isinstance(answer, list):
        raise ProviderAnswerInvalid("The answer is not a list of products: check the address and the provider.")
    return answer
