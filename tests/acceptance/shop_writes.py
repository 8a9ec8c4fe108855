"""What writers do to the shop of several tables, for storms: ``{p}`` is a product, ``{r}`` a review, ``{b}`` a brand, ``{c}`` a
category or a country, ``{n}`` a number."""

from __future__ import annotations

WRITES = (
    "INSERT INTO products VALUES ({p}, 'again', {b}) ON CONFLICT (id) DO UPDATE SET title = 'at {n}'",
    "UPDATE products SET brand_id = {b} WHERE id = {p}",
    "DELETE FROM products WHERE id = {p}",
    "DELETE FROM comments USING reviews r WHERE r.id = review_id AND r.product_id = {p};"
    "DELETE FROM reviews WHERE product_id = {p}; DELETE FROM product_categories WHERE product_id = {p};"
    "DELETE FROM products WHERE id = {p}",
    "INSERT INTO reviews VALUES ({r}, {p}, {n} % 5, 'review at {n}') ON CONFLICT (id) DO UPDATE SET body = 'at {n}'",
    "UPDATE reviews SET product_id = {p} WHERE id = {r}",
    "UPDATE reviews SET product_id = NULL WHERE id = {r}",
    "UPDATE reviews SET hidden = NOT hidden WHERE id = {r}",
    "DELETE FROM reviews WHERE id = {r}",
    "DELETE FROM reviews WHERE product_id = {p}",
    "INSERT INTO comments VALUES ({r}, {n} % 300, 'at {n}') ON CONFLICT (review_id, place) DO UPDATE SET body = 'at {n}'",
    "UPDATE comments SET review_id = {r}, place = {n} WHERE (review_id, place) ="
    " (SELECT review_id, place FROM comments WHERE review_id > {r} LIMIT 1)",
    "DELETE FROM comments WHERE review_id = {r}",
    "INSERT INTO brands VALUES ({b}, 'brand', {c}) ON CONFLICT (id) DO UPDATE SET name = 'at {n}', country_id = {c}",
    "DELETE FROM brands WHERE id = {b}",
    "INSERT INTO countries VALUES ({c}, 'country') ON CONFLICT (id) DO UPDATE SET name = 'at {n}'",
    "DELETE FROM countries WHERE id = {c}",
    "INSERT INTO categories VALUES ({c}, 'category') ON CONFLICT (id) DO UPDATE SET name = 'at {n}'",
    "DELETE FROM categories WHERE id = {c}",
    "INSERT INTO product_categories VALUES ({p}, {c}) ON CONFLICT DO NOTHING",
    "UPDATE product_categories SET category_id = 100 + {n} WHERE product_id = {p} AND category_id = {c}",
    "DELETE FROM product_categories WHERE product_id = {p}",
)
ALONE = (
    "UPDATE reviews SET body = 'last' WHERE product_id = {p}",
    "UPDATE comments SET body = 'last' FROM reviews r WHERE r.id = review_id AND r.product_id = {p}",
    "UPDATE brands SET name = 'last' WHERE id = {b}",
    "INSERT INTO product_categories VALUES ({p}, {b} % 40) ON CONFLICT DO NOTHING",
    "UPDATE categories SET name = 'last' WHERE id = {b}",
    "UPDATE products SET title = 'last' WHERE id = {p}",
    "DELETE FROM reviews WHERE product_id = {p}",
    "UPDATE reviews SET product_id = NULL WHERE product_id = {p}",
    "DELETE FROM comments USING reviews r WHERE r.id = review_id AND r.product_id = {p}",
    "DELETE FROM product_categories WHERE product_id = {p}",
    "DELETE FROM brands WHERE id = {b}",
)
"""What one table alone tells of, or its losses: the last of the changes, so that no other brings the same documents."""
