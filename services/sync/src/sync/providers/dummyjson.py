"""DummyJSON (https://dummyjson.com/docs/products), and any server that pages by `limit` and `skip` alike."""

from typing import Any, ClassVar

from sync.providers.addresses import shown
from sync.providers.base import ExternalProduct, ProviderAnswerInvalid, ProviderConfig
from sync.providers.http import JsonClient
from sync.providers.pages import PagedProvider
from sync.providers.paging import OffsetPaging
from sync.providers.records import Mapped, Optionals, parse_id, parse_price, parse_text, read_record

__all__ = ["DummyJSON"]

# `reviews` are left out, since they name people.
ATTRIBUTES = (
    "rating",
    "tags",
    "discountPercentage",
    "weight",
    "dimensions",
    "warrantyInformation",
    "shippingInformation",
    "availabilityStatus",
    "returnPolicy",
    "minimumOrderQuantity",
    "images",
)


class DummyJSON(PagedProvider):
    """Products from a DummyJSON server; `config.url` is like https://dummyjson.com/products.

    A pass ends on an empty page, or on one that is short of what was asked for, once the total that the same
    answer states is reached. So a total that grows is followed, one that shrinks ends the pass early, and one
    that is too low (some servers state the length of the page) is ignored after a full page.
    """

    name: ClassVar[str] = "dummyjson"

    def __init__(self, config: ProviderConfig) -> None:
        client = JsonClient(config)
        self._base = shown(client.url)
        paging = OffsetPaging(client, _records, _total, limit_param="limit", offset_param="skip")
        super().__init__(config, client, paging, self._mapped)

    def _mapped(self, record: object) -> Mapped:
        return read_record(record, self._product, lambda it: it.get("id"))

    def _product(self, record: dict[str, Any], optional: Optionals) -> ExternalProduct:
        return ExternalProduct(
            external_id=parse_id(record.get("id")),
            name=parse_text(record.get("title"), "name"),
            description=optional.text(record.get("description"), "description") or "",
            price=parse_price(record.get("price")),
            category=parse_text(record.get("category"), "category"),
            brand=optional.text(record.get("brand"), "brand"),
            sku=optional.text(record.get("sku"), "sku"),
            stock=optional.stock(record.get("stock")),
            image_url=optional.url(record.get("thumbnail"), self._base),
            attributes=optional.attributes(_attributes(record)),
        )


def _records(answer: Any) -> list[Any]:
    _total(answer)
    records = answer.get("products")
    if not isinstance(records, list):
        raise _no_page()
    return records


def _total(answer: Any) -> int:
    total = answer.get("total") if isinstance(answer, dict) else None
    if not isinstance(total, int) or isinstance(total, bool) or total < 0:
        raise _no_page()
    return total


def _no_page() -> ProviderAnswerInvalid:
    return ProviderAnswerInvalid(
        'The answer is not {"products": [...], "total": n}: check the address and the provider.'
    )


def _attributes(record: dict[str, Any]) -> dict[str, Any]:
    found = {name: record[name] for name in ATTRIBUTES if record.get(name) is not None}
    meta = record.get("meta")
    if isinstance(meta, dict) and meta.get("barcode") is not None:
        found["barcode"] = meta["barcode"]
    return found
