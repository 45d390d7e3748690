"""What we measure ourselves against: the same requests, as most people write them with FastAPI.

Async SQLAlchemy 2 entities on asyncpg, pydantic models, a count beside the page; the same columns and products, in a
table of its own (`tests.load.seed`) that has none of the catalog's indexes and triggers. It verifies no token, and a
page after an id costs it no more than the first one. DATABASE_URL is a postgresql+asyncpg:// URL. Run:
`uvicorn tests.load.reference:app --no-access-log`.
"""

import os
from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from catalog.models import Product

Product.__table__.schema = "reference"
engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=16)
sessions = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


class ProductCreate(BaseModel):
    name: str = Field(min_length=1, max_length=200)
    description: str
    price: Decimal = Field(gt=0, decimal_places=2)
    currency: str = "USD"
    category: str
    brand: str | None = None
    sku: str | None = None
    stock: int | None = Field(None, ge=0)
    image_url: str | None = None
    attributes: dict[str, Any] = {}


class ProductUpdate(BaseModel):
    name: str | None = Field(None, min_length=1, max_length=200)
    description: str | None = None
    price: Decimal | None = Field(None, gt=0, decimal_places=2)
    stock: int | None = Field(None, ge=0)


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
    session: Session,
    skip: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    after: Annotated[int, Query(ge=0)] = 0,
) -> dict[str, Any]:
    live = Product.deleted_at.is_(None)
    total = await session.scalar(select(func.count()).select_from(Product).where(live))
    page = select(Product).where(live, Product.id > after).order_by(Product.id).offset(skip).limit(limit)
    items = await session.scalars(page)
    return {"items": items.all(), "total": total, "skip": skip, "limit": limit}


async def existing(session: AsyncSession, product_id: int) -> Product:
    product = await session.get(Product, product_id)
    if product is None or product.deleted_at is not None:
        raise HTTPException(404, "Product not found")
    return product


@app.get("/products/{product_id}", response_model=ProductRead)
async def get_product(
    session: Session, product_id: int, response: Response, if_none_match: Annotated[str | None, Header()] = None
) -> Any:
    product = await existing(session, product_id)
    response.headers["ETag"] = f'"{product.id}-{product.version}"'
    if if_none_match == response.headers["ETag"]:
        return Response(status_code=304, headers={"ETag": if_none_match})
    return product


@app.post("/products", response_model=ProductRead, status_code=201)
async def create_product(session: Session, body: ProductCreate) -> Product:
    product = Product(**body.model_dump())
    session.add(product)
    await session.commit()
    await session.refresh(product)
    return product


@app.put("/products/{product_id}", response_model=ProductRead)
async def update_product(session: Session, product_id: int, body: ProductUpdate) -> Product:
    product = await existing(session, product_id)
    for name, value in body.model_dump(exclude_unset=True).items():
        setattr(product, name, value)
    product.version += 1
    await session.commit()
    await session.refresh(product)
    return product
