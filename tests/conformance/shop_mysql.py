"""The shop of ``shop.py`` in MariaDB and MySQL: the same tables, the same documents, the same changes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

from airflow_reindex_provider.core.protocols import Target
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.sources.mysql import MySqlSource
from airflow_reindex_provider.sources.sql.children import Child, Parent
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.mariadb import MariaDatabase
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from tests.conformance.shop import CHILDREN

AT = "updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)"
COLUMNS = {
    "countries": "id, name",
    "brands": "id, name, country_id",
    "products": "id, title, brand_id",
    "reviews": "id, product_id, stars, body",
    "comments": "review_id, place, body",
    "categories": "id, name",
    "product_categories": "product_id, category_id",
}
SHOP = (
    f"CREATE TABLE countries (id INT PRIMARY KEY, name TEXT, {AT}, KEY (updated_at, id))",
    f"CREATE TABLE brands (id INT PRIMARY KEY, name TEXT, country_id INT, {AT}, KEY (updated_at, id), KEY (country_id))",
    f"CREATE TABLE products (id BIGINT PRIMARY KEY, title TEXT, brand_id INT, {AT}, KEY (updated_at, id), KEY (brand_id))",
    "CREATE TABLE reviews (id INT PRIMARY KEY, product_id BIGINT, stars INT, body TEXT, hidden TINYINT(1) NOT NULL DEFAULT 0,"
    f" {AT}, KEY reviews_changes (updated_at, product_id), KEY reviews_of (product_id))",
    f"CREATE TABLE comments (review_id INT, place INT, body TEXT, {AT}, PRIMARY KEY (review_id, place),"
    " KEY (updated_at, review_id))",
    f"CREATE TABLE categories (id INT PRIMARY KEY, name VARCHAR(99), {AT}, KEY (updated_at, id))",
    f"CREATE TABLE product_categories (product_id BIGINT, category_id INT, {AT}, PRIMARY KEY (product_id, category_id),"
    " KEY (updated_at, product_id), KEY (category_id))",
)
LISTED = "CONCAT('[', COALESCE(GROUP_CONCAT({} ORDER BY {}), ''), ']')"
SAID = f"""
SELECT p.id, p.title,
  (SELECT JSON_OBJECT('name', b.name, 'country', JSON_EXTRACT(COALESCE(
     (SELECT JSON_OBJECT('name', c.name) FROM countries c WHERE c.id = b.country_id), 'null'), '$'))
   FROM brands b WHERE b.id = p.brand_id) AS brand,
  (SELECT {
    LISTED.format(
        "JSON_OBJECT('id', r.id, 'stars', r.stars, 'body', r.body, 'comments', JSON_EXTRACT((SELECT "
        + LISTED.format("JSON_OBJECT('place', m.place, 'body', m.body)", "m.place")
        + " FROM comments m WHERE m.review_id = r.id), '$'))",
        "r.stars IS NULL, r.stars, r.id",
    )
} FROM reviews r WHERE r.product_id = p.id AND NOT r.hidden AND NOT r.body <=> 'spam') AS reviews,
  (SELECT {LISTED.format("JSON_OBJECT('id', c.id, 'name', c.name)", "c.name, c.id")}
   FROM product_categories j JOIN categories c ON c.id = j.category_id WHERE j.product_id = p.id) AS categories
FROM products p ORDER BY p.id
"""
"""What one statement says that the documents are."""


def _local(child: Child | Parent) -> Child | Parent:
    """The same of tables without a schema."""
    local: Any = {"table": child.table.removeprefix("public."), "children": tuple(map(_local, child.children))}
    if isinstance(child, Child):
        if child.row_filter:
            local["row_filter"] = "NOT body <=> 'spam'"
        if child.through is not None:
            local["through"] = replace(child.through, table=child.through.table.removeprefix("public."))
    return replace(child, **local)


MY_CHILDREN = tuple(map(_local, CHILDREN))


def my_shop_source(**options: Any) -> MySqlSource:
    return MySqlSource(
        "shop_mysql",
        **{
            "table": "products",
            "primary_key": "id",
            "cursor_field": "updated_at",
            "columns": ("title",),
            "tombstones": True,
            "children": MY_CHILDREN,
            "margin": timedelta(0),
            **options,
        },
    )


def rows() -> Iterator[str]:
    """As ``shop.ROWS`` makes them."""
    found: dict[str, list[tuple[Any, ...]]] = {
        "countries": [(n, f"country {n}") for n in range(1, 3)],
        "brands": [(n, f"brand {n}", n % 3) for n in range(1, 4)],
        "products": [(n, f"product {n}", n % 4) for n in range(1, 11)],
        "reviews": [(n, n % 8, n % 5, f"review {n}") for n in range(1, 31)],
        "comments": [(n % 20, n, f"comment {n}") for n in range(1, 41)],
        "categories": [(n, f"category {n % 3}") for n in range(1, 6)],
        "product_categories": sorted({(n % 9, n % 6) for n in range(1, 51)}),
    }
    for table, values in found.items():
        yield f"INSERT INTO {table} ({COLUMNS[table]}) VALUES {', '.join(map(repr, values))}"
    yield "UPDATE reviews SET hidden = 1 WHERE id % 7 = 0"


VALUES = {
    "DECIMAL(38,10)": ("-1234567890123456789012345678.1234567890", "-1234567890123456789012345678.1234567890"),
    "BIGINT UNSIGNED": ("18446744073709551615", "18446744073709551615"),
    "DOUBLE": ("0.1", "0.1"),
    "FLOAT": ("0.1", "0.1"),
    "TIMESTAMP(6) NULL": ("'2026-03-01 12:00:00.000100'", '"2026-03-01T12:00:00.0001+00:00"'),
    "DATETIME": ("'2026-03-01 12:00:00'", '"2026-03-01T12:00:00"'),
    "DATE": ("'2026-03-01'", '"2026-03-01"'),
    "TIME(3)": ("'-12:30:00.500'", '"-12:30:00.500"'),
    "BIT(8)": ("b'101'", "5"),
    "BIT(1)": ("b'1'", "true"),
    "ENUM('a','b')": ("'b'", '"b"'),
    "SET('a','b')": ("'b,a'", '["a", "b"]'),
    "JSON": ("""'{"a": [1, null, "x"]}'""", '{"a": [1, null, "x"]}'),
    "VARBINARY(9)": ("x'00ff'", '"AP8="'),
    "TEXT": ("'\"\\\\ \\n\U0001f600'", '"\\"\\\\ \\n\U0001f600"'),
    "INT": ("NULL", "null"),
}
"""Of a column's type, a value as SQL writes it and as JSON has it."""
_AS_HERE = (
    (r"INSERT (INTO .*) ON CONFLICT DO NOTHING", r"INSERT IGNORE \1"),
    (r"ON CONFLICT \([^)]*\) DO UPDATE SET", "ON DUPLICATE KEY UPDATE"),
    (r"DELETE FROM (\w+) USING (\w+ \w+) WHERE", r"DELETE \1 FROM \1 JOIN \2 WHERE"),
    (r"UPDATE (\w+) SET (.*) FROM (\w+ r) WHERE", r"UPDATE \1 JOIN \3 SET \1.\2 WHERE"),
    (r"\(SELECT (.*) FROM (\w+) (WHERE .* LIMIT 1)\)", r"(SELECT \1 FROM (SELECT * FROM \2 \3) AS s)"),
)


def statements(change: str) -> list[str]:
    """One after the other, of MySQL's."""
    found = []
    for statement in filter(str.strip, change.split(";")):
        made = re.sub(r"INTO (\w+) VALUES \(([^)]*)\)", _named, statement)
        for theirs, ours in _AS_HERE:
            made = re.sub(theirs, ours, made)
        found.append(made)
    return found


def _named(insert: re.Match[str]) -> str:
    """With the columns that an INSERT leaves unsaid."""
    table, values = insert.groups()
    return f"INTO {table} ({', '.join(COLUMNS[table].split(', ')[: values.count(',') + 1])}) VALUES ({values})"


def said(database: MariaDatabase) -> list[tuple[Any, ...]]:
    found = database.execute("SET SESSION group_concat_max_len = 10000000", SAID)
    return [(*row[:2], *(None if value is None else json.loads(value) for value in row[2:])) for row in found]


def set_up(database: MariaDatabase) -> MariaDatabase:
    """The shop, with all that runs need."""
    database.execute(*SHOP, *rows())
    my_shop_source().install_tombstones()
    return database


def runner(database: Database, target: Target | None = None, **options: Any) -> Runner:
    """:param target: default: an index in Postgres."""
    return Runner(
        source=my_shop_source(**options),
        target=target or PostgresTarget(database.conn_id, index="products_index"),
        sizes=Sizes(batch_rows=3, max_batches=64),
        chunk_rows=2,
    )


def documents(database: Database, index: str = "products_index") -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        said = f"SELECT id, title, brand, reviews, categories FROM {index} ORDER BY id"
        return connection.execute(said.encode()).fetchall()
