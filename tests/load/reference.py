"""What we measure ourselves against: the same two reads, as most people write them with FastAPI.

Async SQLAlchemy 2 entities on asyncpg, pydantic response models, a count beside the page; same table, same columns.
DATABASE_URL is a postgresql+asyncpg:// URL. Run: `uvicorn tests.load.reference:app --no-access-log`.
"""

import os
from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query
from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from catalog.models import Product

engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=16)
sessions = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


class ProductRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    description: str
    price: Decimal
    currency: str
    category: str
    brand: str | None
    sku: str | None
    stock: int | None
    image_url: str | None
    attributes: dict[str, Any]
    source: str | None
    external_id: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    synced_at: datetime | None
    pinned: list[str]


class ProductList(BaseModel):
    items: list[ProductRead]
    total: int
    skip: int
    limit: int


async def get_session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(get_session)]


@app.get("/products", response_model=ProductList)
async def list_products(
    session: Session, skip: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=500)] = 100
) -> dict[str, Any]:
    live = Product.deleted_at.is_(None)
    total = await session.scalar(select(func.count()).select_from(Product).where(live))
    items = await session.scalars(select(Product).where(live).order_by(Product.id).offset(skip).limit(limit))
    return {"items": items.all(), "total": total, "skip": skip, "limit": limit}


@app.get("/products/{product_id}", response_model=ProductRead)
async def get_product(session: Session, product_id: int) -> Product:
    product = await session.get(Product, product_id)
    if product is None or product.deleted_at is not None:
        raise HTTPException(404, "Product not found")
    return product
