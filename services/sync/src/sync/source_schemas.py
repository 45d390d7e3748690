"""What clients send and get of sources."""

from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from common.json_encoding import dumps
from common.urls import without_secrets
from sync.limits import Brake, Limits
from sync.schedule import check_cron, check_timezone
from sync.schemas import SourceName
from sync.sources import Missing, SourceRow

__all__ = ["MoveIn", "SourceChange", "SourceIn", "SourceOut", "SourcePage", "TrialIn", "TrialOut"]

_MAX_OPTIONS = 12 * 1024
_EXAMPLE: JsonDict = {
    "name": "shop",
    "provider": "rest",
    "url": "https://shop.example/api/products",
    "options": {
        "items": "data",
        "paging": {"kind": "page", "page_param": "page"},
        "mapping": {"external_id": "id", "name": "title", "price": "price", "category": "category"},
    },
    "interval_minutes": 60,
}


def _check_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https", "file"):
        raise ValueError("must be an http:// or https:// URL, or file:name for a file of the mounted folder")
    if parts.scheme != "file" and not parts.hostname:
        raise ValueError("must name a host")
    if without_secrets(value) != value:
        raise ValueError("must be without user, query and fragment: parameters and credentials go into `options`")
    return value


def _check_options(value: dict[str, Any]) -> dict[str, Any]:
    if len(dumps(value)) > _MAX_OPTIONS:
        raise ValueError(f"must be at most {_MAX_OPTIONS} bytes of JSON")
    return value


def _checked(kind: type[msgspec.Struct]) -> AfterValidator:
    """The fields of `kind` that a client sends, within its limits."""

    def check(value: dict[str, Any]) -> dict[str, Any]:
        if unknown := sorted(value.keys() - set(kind.__struct_fields__)):
            raise ValueError(f"unknown: {unknown[0][:60]!r}; known here: {', '.join(kind.__struct_fields__)}")
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            rule, _, path = str(error).partition(" - at `$.")
            raise ValueError(f"{path.rstrip('`')}: {rule}" if path else rule) from None
        return value

    return AfterValidator(check)


def _document(kind: type[msgspec.Struct]) -> JsonDict:
    """The JSON Schema of a struct, in place."""
    _, definitions = msgspec.json.schema_components([kind])
    return {"properties": definitions[kind.__name__]["properties"], "additionalProperties": False}


Provider = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Url = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_check_url)]
Options = Annotated[dict[str, Any], AfterValidator(_check_options)]
LimitsIn = Annotated[dict[str, Any], _checked(Limits), Field(json_schema_extra=_document(Limits))]
BrakeIn = Annotated[dict[str, Any], _checked(Brake), Field(json_schema_extra=_document(Brake))]
Interval = Annotated[int, Field(strict=True, ge=1, le=10_080)]
Cron = Annotated[str, Field(max_length=100, description="Five fields."), AfterValidator(check_cron)]
Timezone = Annotated[str, Field(max_length=100, description="Of `cron`."), AfterValidator(check_timezone)]


class _Settings(BaseModel):
    """How a source is synced."""

    options: Options = Field({}, description="Of the provider; see docs/providers.md.")
    limits: LimitsIn = Field({}, description="How much of the source a run reads.")
    brake: BrakeIn = Field({}, description="Above which shares a pass is held for an admin.")
    enabled: bool = Field(True, strict=True, description="Whether it is synced on schedule.")
    timezone: Timezone = "UTC"
    missing: Missing = Field("keep", description="What becomes of products that a complete pass lacks.")
    auto_apply: bool = Field(True, strict=True, description="If false, each run is a plan that an admin applies.")


class SourceIn(_Settings):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _EXAMPLE})

    name: SourceName
    provider: Provider
    url: Url
    interval_minutes: Interval | None = Field(None, description="30 unless it or `cron` is given.")
    cron: Cron | None = None

    @model_validator(mode="after")
    def _schedule(self) -> "SourceIn":
        if self.cron and self.interval_minutes:
            raise ValueError("send interval_minutes or cron, not both")
        if not self.cron and self.interval_minutes is None:
            self.interval_minutes = 30
        return self


class SourceChange(BaseModel):
    """A JSON Merge Patch (RFC 7396): what is not named stays; null brings back the default."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"enabled": True}})

    provider: Provider | None = None
    url: Url | None = None
    options: Options | None = None
    limits: dict[str, Any] | None = None
    brake: dict[str, Any] | None = None
    enabled: bool | None = None
    interval_minutes: Interval | None = None
    cron: Cron | None = None
    timezone: Timezone | None = None
    missing: Missing | None = None
    auto_apply: bool | None = None
    shop: Literal["same", "other"] | None = Field(
        None, description="Needed with another provider or url, once products came: are they of the same shop?"
    )


class MoveIn(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"shop": "same"}})

    shop: Literal["same", "other"] = Field(
        description="`same`: the shop is at a new address, and its products are matched by their external ids. "
        "`other`: the products that there are stay and are not synced any more; those of the other shop are new ones."
    )


class TrialIn(BaseModel):
    """A source as it could be, or one that there is with changes."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"source": "dummyjson", "count": 3}})

    source: SourceName | None = Field(None, description="One that there is; without it, `provider` and `url`.")
    provider: Provider | None = None
    url: Url | None = None
    options: Options = Field({}, description="In place of those of the source, as a JSON Merge Patch.")
    limits: LimitsIn = Field({}, description="The same.")
    count: int = Field(10, strict=True, ge=1, le=50, description="How many records to show.")

    @model_validator(mode="after")
    def _address(self) -> "TrialIn":
        if not self.source and not (self.provider and self.url):
            raise ValueError("name a source, or a provider and a url")
        return self


class SampleOut(BaseModel):
    raw: Any = Field(description="The record as it came, without long and deep parts; null if the provider hides it.")
    product: dict[str, Any] | None = Field(description="What it becomes; null if it is no product.")
    reason: str | None = Field(description="Why it is no product.")
    dropped: list[str] = Field(description="Optional fields whose values are not valid, and stay empty.")


class TrialOut(BaseModel):
    items: list[SampleOut]
    error: str | None = Field(description="Why there are no items, where there is a proposal nevertheless.")
    proposal: dict[str, Any] | None = Field(description="Of `rest`: paging, items and mapping as the answer suggests.")


class SourceOut(BaseModel):
    """A source and how it is synced. References to credentials are shown, their values never."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    managed_by: Literal["environment", "api"]
    provider: str
    url: str = Field(description="Without credentials and query.")
    options: dict[str, Any]
    limits: dict[str, Any]
    brake: dict[str, Any]
    enabled: bool
    interval_minutes: int | None
    cron: str | None
    timezone: str
    missing: Missing
    auto_apply: bool
    product_source: str = Field(description="The `source` of its products.")
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: SourceRow) -> "SourceOut":
        known = {name: getattr(row, name) for name in cls.model_fields}
        # With their defaults.
        known["limits"] = {name: getattr(row.limits, name) for name in Limits.__struct_fields__}
        known["brake"] = {name: getattr(row.brake, name) for name in Brake.__struct_fields__}
        return cls(**known | {"url": without_secrets(row.url)})


class SourcePage(BaseModel):
    items: list[SourceOut]
