"""A shop of several tables: products with a brand, reviews with their comments and votes, and categories."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.sources.sql.children import Child, Parent, Through
from airflow_reindex_provider.testing.postgres import Database

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
