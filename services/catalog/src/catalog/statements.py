"""The statements on the tables of schema `catalog`, in SQLAlchemy Core.

`make statements` compiles them into statements.json, which is what a server loads: SQLAlchemy would be a third of its
start. What is written as SQL is in `catalog.staging`, `differences` and `writes`.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from catalog.models import Import, ImportReject, ImportRow, ImportRun, Product, ProductCount, RunChange
from catalog.rows import ProductRow
from imports.product import FIELDS

__all__ = ["STATEMENTS"]

# For how long a deleted product without a source can be restored.
RESTORE_DAYS = 30

_LIVE = Product.deleted_at.is_(None)
_IS_IT = Product.id == sa.bindparam("product_id")


def _column(name: str) -> sa.ColumnElement[Any]:
    """JSON is a varchar, so that it has a psycopg loader of its own, `rows.JSON_LOADERS`."""
    column: sa.ColumnElement[Any] = Product.__table__.c[name]
    return sa.cast(column, sa.VARCHAR).label(name) if name == "attributes" else column


_COLUMNS = [_column(name) for name in ProductRow.__struct_fields__]


def _by_ids() -> sa.Select[Any]:
    ids = sa.bindparam("ids", type_=ARRAY(sa.BigInteger))
    return sa.select(*_COLUMNS).where(Product.id == sa.any_(ids), _LIVE)


def _first_of_page() -> sa.Select[Any]:
    """The first id of a page, from the index alone."""
    live = sa.select(Product.id).where(_LIVE, Product.id > sa.bindparam("after")).order_by(Product.id)
    return live.limit(1).offset(sa.bindparam("skip", type_=sa.BigInteger))


def _page() -> sa.Select[Any]:
    """One statement for page and total, also of an empty page.

    `found` is how many rows were read: one more than is asked for tells whether there is a next page.
    """
    live = sa.select(*_COLUMNS).where(_LIVE, Product.id > sa.bindparam("after")).order_by(Product.id)
    read = (
        live.limit(sa.bindparam("limit", type_=sa.BigInteger))
        .offset(sa.bindparam("skip", type_=sa.BigInteger))
        .subquery("read")
    )
    size = sa.func.octet_length(read.c.attributes) + sa.func.octet_length(read.c.description)
    measured = sa.select(
        *read.c,
        sa.func.count().over().label("found"),
        (sa.func.sum(size).over(order_by=read.c.id) - size).label("bytes_before"),
    ).subquery("measured")
    fitting = (
        sa.select(measured)
        .where(measured.c.bytes_before < sa.bindparam("max_bytes", type_=sa.BigInteger))
        .lateral("page")
    )
    total = sa.func.coalesce(sa.func.sum(ProductCount.delta), sa.literal_column("0")).cast(sa.BigInteger)
    counted = sa.select(total.label("total")).subquery("counted")
    return sa.select(counted.c.total, fitting).select_from(counted.outerjoin(fitting, sa.true())).order_by(fitting.c.id)


def _locked(*conditions: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return sa.select(*_COLUMNS).where(_IS_IT, *conditions).with_for_update()


def _changed(*conditions: sa.ColumnElement[bool], **values: Any) -> Any:
    """Every change raises the version."""
    changed = values | {"version": Product.version + 1, "updated_at": sa.func.now()}
    return sa.update(Product).where(_IS_IT, *conditions).values(changed).returning(*_COLUMNS)


def _update() -> Any:
    """Writes `pinned`, and those of the fields that `names` has."""
    names = sa.bindparam("names", type_=ARRAY(sa.Text))
    columns = {name: Product.__table__.c[name] for name in FIELDS}
    values = {
        name: sa.case(
            (sa.literal_column(f"'{name}'") == sa.any_(names), sa.bindparam(name, type_=column.type)), else_=column
        )
        for name, column in columns.items()
    }
    return _changed(**values, pinned=sa.bindparam("pinned"))


def _purge() -> sa.Delete:
    """Deletes `at_most` rows of products without a source that were deleted long ago."""
    restorable = sa.func.make_interval(sa.text(f"days => {RESTORE_DAYS}"))
    old = sa.select(Product.id).where(Product.deleted_at < sa.func.now() - restorable, Product.source.is_(None))
    some = old.order_by(Product.deleted_at).limit(sa.bindparam("at_most", type_=sa.BigInteger))
    return sa.delete(Product).where(Product.id.in_(some.with_for_update(skip_locked=True)))


_OF_SOURCE: sa.BindParameter[str] = sa.bindparam("source")
_STATE = (
    Import.run_id, Import.fencing_token, Import.cursor, Import.complete, Import.staged, Import.rejected, Import.result,
)  # fmt: skip
_RUN: sa.BindParameter[Any] = sa.bindparam("run_id", type_=sa.Uuid())
_RUN_STATE = (ImportRun.source, ImportRun.phase, ImportRun.missing, ImportRun.position, ImportRun.counts)
_CHANGE = sa.update(Import).where(Import.source == sa.bindparam("of_source")).values(updated_at=sa.func.now())
_NEW = insert(Import).values({name: sa.bindparam(name) for name in ("source", "run_id", "fencing_token")})
# Locks the row that is there.
_SAME = _NEW.on_conflict_do_update(index_elements=[Import.source], set_={"source": _NEW.excluded.source})
_FIRST_PAGE = {"cursor": sa.null(), "complete": False, "staged": 0, "rejected": 0, "result": sa.null()}


def _begin_run() -> Any:
    """Of a run that was stopped, too, but not the time of its first change."""
    values: dict[str, Any] = {name: sa.bindparam(name) for name in ("source", "phase", "missing", "counts")}
    new = insert(ImportRun).values(values | {"run_id": sa.bindparam("run_id")})
    again = {name: new.excluded[name] for name in values} | {"position": sa.literal_column("0")}
    return new.on_conflict_do_update(index_elements=[ImportRun.run_id], set_=again)


STATEMENTS: dict[str, Any] = {
    "products_by_ids": _by_ids(),
    "first_of_page": _first_of_page(),
    "page": _page(),
    "create_product": sa.insert(Product).values({name: sa.bindparam(name) for name in FIELDS}).returning(*_COLUMNS),
    "lock_live_product": _locked(_LIVE),
    "lock_product": _locked(),
    "update_product": _update(),
    "delete_product": _changed(deleted_at=sa.func.now()),
    "restore_product": _changed(sa.not_(_LIVE), deleted_at=sa.null()),
    "purge_products": _purge(),
    "open_import": _SAME.returning(*_STATE),
    "lock_import": sa.select(*_STATE).where(Import.source == _OF_SOURCE).with_for_update(),
    "resume_import": _CHANGE.values(fencing_token=sa.bindparam("fencing_token")),
    "begin_import": _CHANGE.values(
        run_id=sa.bindparam("run_id"), fencing_token=sa.bindparam("fencing_token"), **_FIRST_PAGE
    ),
    "advance_import": _CHANGE.values(
        {name: sa.bindparam(name) for name in ("cursor", "complete", "staged", "rejected")}
    ),
    "store_import_result": _CHANGE.values(result=sa.bindparam("result")),
    "delete_staged_rows": sa.delete(ImportRow).where(ImportRow.source == _OF_SOURCE),
    "delete_rejects": sa.delete(ImportReject).where(ImportReject.source == _OF_SOURCE, ImportReject.run_id == _RUN),
    "has_staged": sa.select(sa.exists().where(ImportRow.source == _OF_SOURCE).label("has_staged")),
    "count_staged": sa.select(sa.func.count().label("staged")).where(ImportRow.source == _OF_SOURCE),
    "read_import": sa.select(*_STATE).where(Import.source == _OF_SOURCE),
    "read_import_run": sa.select(*_RUN_STATE).where(ImportRun.run_id == _RUN),
    "begin_import_run": _begin_run(),
    "advance_import_run": sa.update(ImportRun)
    .where(ImportRun.run_id == sa.bindparam("of_run"))
    .values({name: sa.bindparam(name) for name in ("phase", "position", "counts")}),
    "stop_import_run": sa.update(ImportRun).where(ImportRun.run_id == _RUN).values(phase="stopped"),
    "delete_unapplied_changes": sa.delete(RunChange).where(
        RunChange.run_id == _RUN, RunChange.applied_version.is_(None)
    ),
}
