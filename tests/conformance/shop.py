"""A shop of several tables: products with a brand, reviews with their comments and votes, and categories."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg

from airflow_reindex_provider.core.model import Transform
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.sources.sql.children import Child, Parent, Through
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner

SHOP = """
CREATE TABLE countries (id int PRIMARY KEY, name text, updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE brands (id int PRIMARY KEY, name text, country_id int, updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE products (id bigint PRIMARY KEY, title text, brand_id int, updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE reviews (id int PRIMARY KEY, product_id bigint, stars int, body text, hidden boolean NOT NULL DEFAULT false,
  updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE comments (review_id int, place int, body text, updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (review_id, place));
CREATE TABLE categories (id int PRIMARY KEY, name text, updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE product_categories (product_id bigint, category_id int, updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (product_id, category_id));
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.updated_at := now(); RETURN NEW; END';
DO $$ DECLARE name text; BEGIN
  FOREACH name IN ARRAY '{countries,brands,products,reviews,comments,categories,product_categories}'::text[] LOOP
    EXECUTE format('CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON %I FOR EACH ROW EXECUTE FUNCTION stamp()', name);
  END LOOP;
END $$;
CREATE INDEX ON countries (updated_at, id);
CREATE INDEX ON brands (updated_at, id);
CREATE INDEX ON brands (country_id);
CREATE INDEX ON products (updated_at, id);
CREATE INDEX ON products (brand_id);
CREATE INDEX ON reviews (updated_at, product_id);
CREATE INDEX ON reviews (product_id);
CREATE INDEX ON comments (updated_at, review_id);
CREATE INDEX ON categories (updated_at, id);
CREATE INDEX ON product_categories (updated_at, product_id);
CREATE INDEX ON product_categories (category_id);
"""

ROWS = """
INSERT INTO countries SELECT n, 'country ' || n FROM generate_series(1, 2) n;
INSERT INTO brands SELECT n, 'brand ' || n, n % 3 FROM generate_series(1, 3) n;
INSERT INTO products SELECT n, 'product ' || n, n % 4 FROM generate_series(1, 10) n;
INSERT INTO reviews SELECT n, n % 8, n % 5, 'review ' || n, n % 7 = 0 FROM generate_series(1, 30) n;
INSERT INTO comments SELECT n % 20, n, 'comment ' || n FROM generate_series(1, 40) n;
INSERT INTO categories SELECT n, 'category ' || n % 3 FROM generate_series(1, 5) n;
INSERT INTO product_categories SELECT n % 9, n % 6 FROM generate_series(1, 50) n GROUP BY 1, 2;
"""

CHILDREN = (
    Parent(
        "brand",
        table="public.brands",
        via="brand_id",
        cursor_field="updated_at",
        columns=("name",),
        children=(
            Parent("country", table="public.countries", via="country_id", cursor_field="updated_at", columns=("name",)),
        ),
    ),
    Child(
        "reviews",
        table="public.reviews",
        foreign_key="product_id",
        cursor_field="updated_at",
        columns=("id", "stars", "body"),
        order_by="stars",
        soft_delete_column="hidden",
        row_filter="body IS DISTINCT FROM 'spam'",
        children=(
            Child(
                "comments",
                table="public.comments",
                foreign_key="review_id",
                primary_key=("review_id", "place"),
                cursor_field="updated_at",
                columns=("place", "body"),
            ),
        ),
    ),
    Child(
        "categories",
        table="public.categories",
        cursor_field="updated_at",
        columns=("id", "name"),
        order_by="name",
        through=Through(
            "public.product_categories", foreign_key="product_id", target_key="category_id", cursor_field="updated_at"
        ),
    ),
)

SAID = """
SELECT p.id, p.title,
  (SELECT jsonb_build_object('name', b.name, 'country',
     (SELECT jsonb_build_object('name', c.name) FROM countries c WHERE c.id = b.country_id))
   FROM brands b WHERE b.id = p.brand_id) AS brand,
  coalesce((SELECT jsonb_agg(jsonb_build_object('id', r.id, 'stars', r.stars, 'body', r.body, 'comments',
     coalesce((SELECT jsonb_agg(jsonb_build_object('place', m.place, 'body', m.body) ORDER BY m.place)
               FROM comments m WHERE m.review_id = r.id), '[]')) ORDER BY r.stars, r.id)
   FROM reviews r WHERE r.product_id = p.id AND NOT r.hidden AND r.body IS DISTINCT FROM 'spam'), '[]') AS reviews,
  coalesce((SELECT jsonb_agg(jsonb_build_object('id', c.id, 'name', c.name) ORDER BY c.name, c.id)
   FROM product_categories j JOIN categories c ON c.id = j.category_id WHERE j.product_id = p.id), '[]') AS categories
FROM products p ORDER BY p.id
"""
"""What one statement says that the documents are."""

CHANGES = {
    "a row": "UPDATE products SET title = 'new' WHERE id = 3",
    "a child added": "INSERT INTO reviews VALUES (100, 3, 5, 'more')",
    "a child changed": "UPDATE reviews SET body = 'other' WHERE id = 3",
    "a child hidden": "UPDATE reviews SET hidden = true WHERE id = 4",
    "a child filtered": "UPDATE reviews SET body = 'spam' WHERE id = 5",
    "a child moves": "UPDATE reviews SET product_id = 4 WHERE id = 3",
    "a child moves back and forth": "UPDATE reviews SET product_id = 5 WHERE id = 3;"
    "UPDATE reviews SET product_id = 4 WHERE id = 3",
    "a child belongs to nothing": "UPDATE reviews SET product_id = NULL WHERE id = 3",
    "a child belongs to something": "UPDATE reviews SET product_id = 9 WHERE id = 3",
    "a child deleted": "DELETE FROM reviews WHERE id = 3",
    "a grandchild added": "INSERT INTO comments VALUES (9, 100, 'more')",
    "a grandchild changed": "UPDATE comments SET body = 'other' WHERE review_id = 9",
    "a grandchild moves": "UPDATE comments SET review_id = 10 WHERE review_id = 9",
    "a grandchild deleted": "DELETE FROM comments WHERE review_id = 10",
    "a child moves and then its grandchildren go": "UPDATE reviews SET product_id = 4 WHERE id = 11;"
    "DELETE FROM comments WHERE review_id = 11",
    "a child and its grandchildren deleted": "DELETE FROM comments WHERE review_id = 12; DELETE FROM reviews WHERE id = 12",
    "a parent changed": "UPDATE brands SET name = 'other' WHERE id = 3",
    "a parent appears": "INSERT INTO brands VALUES (0, 'brand 0')",
    "another parent": "UPDATE products SET brand_id = 1 WHERE id = 3",
    "no parent": "UPDATE products SET brand_id = NULL WHERE id = 3",
    "a parent deleted": "DELETE FROM brands WHERE id = 3",
    "a parent's parent changed": "UPDATE countries SET name = 'other' WHERE id = 1",
    "a parent's parent deleted": "DELETE FROM countries WHERE id = 1",
    "a link added": "INSERT INTO product_categories VALUES (10, 1)",
    "a link to another": "UPDATE product_categories SET category_id = 5 WHERE product_id = 3 AND category_id = 3",
    "a link from another": "UPDATE product_categories SET product_id = 10 WHERE product_id = 4 AND category_id = 4",
    "a link deleted": "DELETE FROM product_categories WHERE product_id = 5",
    "what is linked changed": "UPDATE categories SET name = 'a' WHERE id = 5",
    "what is linked deleted": "DELETE FROM categories WHERE id = 5",
    "a row put back": "DELETE FROM products WHERE id = 3; INSERT INTO products VALUES (3, 'again', 1)",
    "a row deleted": "DELETE FROM products WHERE id = 3",
    "all of a row deleted": "DELETE FROM reviews WHERE product_id = 4; DELETE FROM products WHERE id = 4",
    "all children truncated": "TRUNCATE reviews",
    "everything deleted": "DELETE FROM product_categories; DELETE FROM products",
}


def shop_source(database: Database, **options: Any) -> PostgresSource:
    return PostgresSource(
        database.conn_id,
        **{
            "table": "public.products",
            "primary_key": "id",
            "cursor_field": "updated_at",
            "columns": ("title",),
            "tombstones": True,
            "children": CHILDREN,
            "margin": timedelta(0),
            **options,
        },
    )


def runner(database: Database, transform: Transform | None = None, **options: Any) -> Runner:
    return Runner(
        source=shop_source(database, **options),
        target=PostgresTarget(database.conn_id, index="products_index"),
        transform=transform,
        sizes=Sizes(batch_rows=3, max_batches=64),
        chunk_rows=2,
    )


def documents(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT id, title, brand, reviews, categories FROM products_index ORDER BY id").fetchall()


def said(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return connection.execute(SAID).fetchall()


def stream(database: Database, run: Runner) -> Stream:
    return Stream(name=run.stream, source=run.source, target=run.target, checkpoint=run.store)
