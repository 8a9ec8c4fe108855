"""The tables of the shop whose streams ``dags/shop.py`` keeps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_reindex_provider.testing.postgres import Database

PRODUCTS = 4_000
UNPRICED = 7
"""The product whose price is no number."""
MISRATED = 3
"""Reviews with six stars: one more than the stream lets pass in a batch."""

_TABLES = """
CREATE TABLE products (id bigint PRIMARY KEY, name text, price text, updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE reviews (id bigint PRIMARY KEY, product bigint, stars int, updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE articles (id bigint PRIMARY KEY, title text, updated_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON products (updated_at, id);
CREATE INDEX ON reviews (updated_at, id);
CREATE INDEX ON articles (updated_at, id);
"""


@dataclass(frozen=True)
class Shop:
    source: Database
    target: Database
    pace: Path
    """How long the transform of ``products`` takes a row, in seconds, while there is such a file."""

    def fill(self) -> None:
        self.do(_TABLES)
        self.do("INSERT INTO products SELECT id, 'Product ' || id, '9.90' FROM generate_series(1, %s) AS id", PRODUCTS)
        self.do("UPDATE products SET price = 'ask us' WHERE id = %s", UNPRICED)
        self.do("INSERT INTO reviews SELECT id, id % 400, 1 + id % 5 FROM generate_series(1, 1500) AS id")
        self.do("UPDATE reviews SET stars = 6 WHERE id <= %s", MISRATED)
        self.do("INSERT INTO articles SELECT id, 'Article ' || id FROM generate_series(1, 900) AS id")
        with self.target.connect() as connection:
            connection.execute("CREATE SCHEMA IF NOT EXISTS search")

    def do(self, statement: str, *values: Any) -> None:
        with self.source.connect() as connection:
            connection.execute(statement, values or None)

    def touch(self, products: int) -> None:
        """Change the first products, so that the next run has something to do."""
        self.do("UPDATE products SET updated_at = now() WHERE id <= %s", products)

    def mend(self) -> None:
        self.do("UPDATE products SET price = '12.50', updated_at = now() WHERE id = %s", UNPRICED)

    def indexed(self, product: int) -> str | None:
        """The product's price as a search finds it."""
        with self.target.connect() as connection:
            row = connection.execute("SELECT price::text FROM search.products WHERE id = %s", [product]).fetchone()
        return row and row[0]

    def slow_down(self, seconds: float) -> None:
        self.pace.write_text(str(seconds))

    def hurry_up(self) -> None:
        self.pace.unlink(missing_ok=True)
