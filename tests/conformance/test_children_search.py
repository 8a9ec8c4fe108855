"""Documents of several tables in search engines: whole in both formats, as objects or each object apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

import pytest

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Transform
from airflow_reindex_provider.core.protocols import Source
from airflow_reindex_provider.core.recording import RecordingSource
from airflow_reindex_provider.core.sweeping.records import Compare
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.targets.elasticsearch import ElasticsearchTarget
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.targets.search.target import SearchTarget
from airflow_reindex_provider.testing.mariadb import MariaDatabase
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.search_engine import SearchEngine
from airflow_reindex_provider.testing.sweeps import Sweeper
from tests.conformance.shop import SAID, SHOP, shop_source
from tests.conformance.shop_mysql import MY_CHILDREN, VALUES, my_shop_source
from tests.conformance.shop_mysql import SHOP as MY_SHOP
from tests.conformance.shop_mysql import said as my_said

pytestmark = pytest.mark.versions

TARGETS: dict[str, type[SearchTarget]] = {"opensearch": OpenSearchTarget, "elasticsearch": ElasticsearchTarget}
FORMATS = [
    pytest.param("postgres", None, id="postgres, bulk"),
    pytest.param("postgres", lambda row: row, id="postgres, rows"),
    pytest.param("mariadb", None, id="mariadb"),
]
ROWS = (
    "INSERT INTO brands (id, name) VALUES (1, 'brand 1'), (2, 'brand 2'), (3, 'brand 3')",
    "INSERT INTO products (id, title, brand_id) VALUES (1, 'product 1', 1), (2, 'product 2', 2), (3, 'product 3', 3),"
    " (4, 'product 4', 0), (5, 'product 5', 1), (6, 'product 6', 2)",
    "INSERT INTO reviews (id, product_id, stars, body) VALUES"
    " (1, 1, 5, 'dark'), (2, 1, 1, 'bright'), (3, 2, 5, 'bright'), (4, 2, 1, 'dark')",
    "INSERT INTO comments (review_id, place, body) VALUES (1, 1, 'one'), (2, 2, 'two'), (3, 3, 'three'), (4, 4, 'four')",
    "INSERT INTO categories (id, name) VALUES (1, 'category 1'), (2, 'category 2'), (3, 'category 3')",
    "INSERT INTO product_categories (product_id, category_id) VALUES (1, 2), (2, 3), (3, 1), (4, 2), (5, 3), (6, 1)",
)
Documents = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Shop:
    """In one database or the other. :ivar said: what one statement says that the documents are."""

    source: Source
    execute: Callable[..., object]
    said: Callable[[], Documents]


@pytest.fixture(params=sorted(TARGETS))
def engine(request: pytest.FixtureRequest) -> SearchEngine:
    engine: SearchEngine = request.getfixturevalue(request.param)
    return engine


@pytest.fixture
def shop(request: pytest.FixtureRequest) -> Shop:
    if request.param == "mariadb":
        maria: MariaDatabase = request.getfixturevalue("maria_database")
        maria.execute(*MY_SHOP, *ROWS)
        return _installed(Shop(my_shop_source(), maria.execute, lambda: _by_key(my_said(maria))))
    database: Database = request.getfixturevalue("database")

    def execute(*statements: str) -> None:
        with database.connect() as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def said() -> Documents:
        with database.connect() as connection:
            return _by_key(connection.execute(SAID).fetchall())

    execute(SHOP, *ROWS)
    return _installed(Shop(shop_source(database), execute, said))


def _installed(shop: Shop) -> Shop:
    assert isinstance(shop.source, RecordingSource)
    shop.source.install_tombstones()
    return shop


def _by_key(rows: Sequence[Sequence[Any]]) -> Documents:
    names = ("id", "title", "brand", "reviews", "categories")
    return {str(row[0]): dict(zip(names, row, strict=True)) for row in rows}


def runner(source: Source, engine: SearchEngine, transform: Transform | None = None, **options: Any) -> Runner:
    return Runner(
        source=source,
        target=TARGETS[engine.name](engine.name, index=f"children-{uuid4().hex[:8]}", **options),
        transform=transform,
        sizes=Sizes(batch_rows=4),
        chunk_rows=2,
    )


def index_of(run: Runner) -> str:
    assert isinstance(run.target, SearchTarget)
    return run.target.index


def found(run: Runner, engine: SearchEngine) -> Documents | None:
    return engine.documents(index_of(run))


@pytest.mark.parametrize(("shop", "transform"), FORMATS, indirect=["shop"])
def test_documents_are_whole(shop: Shop, engine: SearchEngine, transform: Transform | None) -> None:
    """After a load, after changes of children, and after a rebuild; and a sweep of contents finds nothing."""
    run = runner(shop.source, engine, transform)
    run.run()
    assert found(run, engine) == shop.said()
    shop.execute("UPDATE reviews SET product_id = 3 WHERE id = 1", "DELETE FROM comments WHERE review_id = 3")
    shop.execute("UPDATE brands SET name = 'other' WHERE id = 1", "DELETE FROM product_categories WHERE product_id = 6")
    run.run()
    assert found(run, engine) == shop.said()
    assert not Sweeper(run=run, what=Compare.CONTENT).sweep()[0].counts
    Rebuilder(run=run).rebuild("20270101t000000")
    assert found(run, engine) == shop.said()


@pytest.mark.parametrize("shop", ["postgres", "mariadb"], indirect=True)
@pytest.mark.parametrize(("nested", "hits"), [((), ["1", "2"]), (("reviews", "reviews.comments"), ["2"])])
def test_objects_and_nested_ones(shop: Shop, engine: SearchEngine, nested: tuple[str, ...], hits: list[str]) -> None:
    """Five stars and `bright`, of one review or of two: with ``nested`` an engine knows the difference."""
    run = runner(shop.source, engine, nested=nested)
    run.run()
    index = index_of(run)
    both = [{"term": {"reviews.stars": 5}}, {"match": {"reviews.body": "bright"}}]
    query: dict[str, Any] = {"bool": {"filter": both}}
    if nested:
        query = {"nested": {"path": "reviews", "query": query}}
    found(run, engine)
    answer = engine.call("POST", f"/{index}/_search", {"query": query, "sort": ["id"]})
    assert [hit["_id"] for hit in answer["hits"]["hits"]] == hits
    assert found(run, engine) == shop.said()
    (mapping,) = engine.call("GET", f"/{index}/_mapping").values()
    properties = mapping["mappings"]["properties"]
    assert properties["brand"]["properties"]["name"]["type"] == "text"
    assert properties["reviews"].get("type", "object") == ("nested" if nested else "object")
    comments = properties["reviews"]["properties"]["comments"]
    assert comments.get("type", "object") == ("nested" if nested else "object")
    assert {name: field["type"] for name, field in comments["properties"].items()} == {
        "place": "integer",
        "body": "text",
    }


MAPPED = {
    "DECIMAL(38,10)": "double",
    "BIGINT UNSIGNED": "double",
    "DOUBLE": "double",
    "FLOAT": "float",
    "TIMESTAMP(6) NULL": "date",
    "DATETIME": "date",
    "DATE": "date",
    "TIME(3)": "keyword",
    "BIT(8)": "integer",
    "BIT(1)": "boolean",
    "ENUM('a','b')": "text",
    "SET('a','b')": "text",
    "JSON": "object",
    "VARBINARY(9)": "binary",
    "TEXT": "text",
    "INT": "integer",
}


def test_values_of_nested_ones(maria_database: MariaDatabase, engine: SearchEngine) -> None:
    """Of MariaDB are right to the last digit, each in a field of its type, and found there."""
    names = [f"v{n}" for n in range(len(VALUES))]
    columns = ", ".join(f"ADD {name} {kind}" for name, kind in zip(names, VALUES, strict=True))
    maria_database.execute(*MY_SHOP, *ROWS, "SET time_zone = '+00:00'", f"ALTER TABLE reviews {columns}")
    values = ", ".join(f"{name} = {value}" for name, (value, _) in zip(names, VALUES.values(), strict=True))
    maria_database.execute("SET time_zone = '+00:00'", f"UPDATE reviews SET {values} WHERE id = 3")
    reviews = replace(MY_CHILDREN[1], columns=("id", *names), children=())
    shop = _installed(Shop(my_shop_source(children=(reviews,)), maria_database.execute, dict))
    run = runner(shop.source, engine, nested=("reviews",))
    run.run()
    documents = found(run, engine) or {}
    (review,) = (r for r in documents["2"]["reviews"] if r["id"] == 3)
    assert {n: review[n] for n in names} == dict(zip(names, (json.loads(w) for _, w in VALUES.values()), strict=True))
    index = index_of(run)
    with urlopen(f"{engine.url}/{index}/_doc/2") as answer:
        assert f'"v0":{VALUES["DECIMAL(38,10)"][1]}'.encode() in answer.read().replace(b" ", b"")
    (mapping,) = engine.call("GET", f"/{index}/_mapping").values()
    fields = mapping["mappings"]["properties"]["reviews"]["properties"]
    assert {kind: fields[name]["type"] for name, kind in zip(names, MAPPED, strict=True)} == MAPPED
    for query in (
        {"term": {"reviews.v1": 18446744073709551615}},
        {"range": {"reviews.v4": {"gte": "2026-03-01T12:00:00Z", "lt": "2026-03-01T12:00:01Z"}}},
        {"term": {"reviews.v9": True}},
        {"term": {"reviews.v11.keyword": "b"}},
    ):
        nested = {"nested": {"path": "reviews", "query": query}}
        answer = engine.call("POST", f"/{index}/_search", {"query": nested})
        assert [hit["_id"] for hit in answer["hits"]["hits"]] == ["2"], query


@pytest.mark.parametrize("shop", ["postgres", "mariadb"], indirect=True)
def test_nested_ones_that_are_no_children(shop: Shop, engine: SearchEngine) -> None:
    """Refused before an index is made."""
    run = runner(shop.source, engine, nested=("reviews.words",))
    with pytest.raises(ConfigurationError, match=r"no child of the source\. It has: brand, brand\.country"):
        run.run()
    assert found(run, engine) is None
