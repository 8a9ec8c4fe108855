"""Documents of several tables in search engines: whole in both formats, as objects or each object apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Transform
from airflow_reindex_provider.core.sweeping.records import Compare
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.targets.elasticsearch import ElasticsearchTarget
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.targets.search.target import SearchTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.search_engine import SearchEngine
from airflow_reindex_provider.testing.sweeps import Sweeper
from tests.conformance.shop import SAID, SHOP, shop_source

pytestmark = pytest.mark.versions

TARGETS: dict[str, type[SearchTarget]] = {"opensearch": OpenSearchTarget, "elasticsearch": ElasticsearchTarget}
FORMATS = [pytest.param(None, id="bulk"), pytest.param(lambda row: row, id="rows")]
ROWS = """
INSERT INTO brands SELECT n, 'brand ' || n, NULL FROM generate_series(1, 3) n;
INSERT INTO products SELECT n, 'product ' || n, n % 4 FROM generate_series(1, 6) n;
INSERT INTO reviews VALUES (1, 1, 5, 'dark'), (2, 1, 1, 'bright'), (3, 2, 5, 'bright'), (4, 2, 1, 'dark');
INSERT INTO comments SELECT n, n, 'comment ' || n FROM generate_series(1, 4) n;
INSERT INTO categories SELECT n, 'category ' || n FROM generate_series(1, 3) n;
INSERT INTO product_categories SELECT n, 1 + n % 3 FROM generate_series(1, 6) n;
"""


@pytest.fixture(params=sorted(TARGETS))
def engine(request: pytest.FixtureRequest) -> SearchEngine:
    engine: SearchEngine = request.getfixturevalue(request.param)
    return engine


@pytest.fixture
def shop(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with database.connect() as connection:
        connection.execute(SHOP + ROWS)
        shop_source(database).install_tombstones()
        yield connection


def runner(database: Database, engine: SearchEngine, transform: Transform | None = None, **options: Any) -> Runner:
    return Runner(
        source=shop_source(database),
        target=TARGETS[engine.name](engine.name, index=f"children-{uuid4().hex[:8]}", **options),
        transform=transform,
        sizes=Sizes(batch_rows=4),
        chunk_rows=2,
    )


def found(run: Runner, engine: SearchEngine) -> dict[str, dict[str, Any]] | None:
    return engine.documents(run.target.index)  # type: ignore[attr-defined]


def said(connection: psycopg.Connection[Any]) -> dict[str, dict[str, Any]]:
    cursor = connection.execute(SAID)
    names = [column.name for column in cursor.description or ()]
    return {str(row[0]): dict(zip(names, row, strict=True)) for row in cursor}


@pytest.mark.parametrize("transform", FORMATS)
def test_documents_are_whole(
    shop: psycopg.Connection[Any], database: Database, engine: SearchEngine, transform: Transform | None
) -> None:
    """After a load, after changes of children, and after a rebuild; and a sweep of contents finds nothing."""
    run = runner(database, engine, transform)
    run.run()
    assert found(run, engine) == said(shop)
    shop.execute("UPDATE reviews SET product_id = 3 WHERE id = 1; DELETE FROM comments WHERE review_id = 3")
    shop.execute("UPDATE brands SET name = 'other' WHERE id = 1; DELETE FROM product_categories WHERE product_id = 6")
    run.run()
    assert found(run, engine) == said(shop)
    assert not Sweeper(run=run, what=Compare.CONTENT).sweep()[0].counts
    Rebuilder(run=run).rebuild("20270101t000000")
    assert found(run, engine) == said(shop)


@pytest.mark.parametrize(("nested", "hits"), [((), ["1", "2"]), (("reviews", "reviews.comments"), ["2"])])
def test_objects_and_nested_ones(
    shop: psycopg.Connection[Any], database: Database, engine: SearchEngine, nested: tuple[str, ...], hits: list[str]
) -> None:
    """Five stars and `bright`, of one review or of two: with ``nested`` an engine knows the difference."""
    run = runner(database, engine, nested=nested)
    run.run()
    index = run.target.index  # type: ignore[attr-defined]
    both = [{"term": {"reviews.stars": 5}}, {"match": {"reviews.body": "bright"}}]
    query: dict[str, Any] = {"bool": {"filter": both}}
    if nested:
        query = {"nested": {"path": "reviews", "query": query}}
    found(run, engine)
    answer = engine.call("POST", f"/{index}/_search", {"query": query, "sort": ["id"]})
    assert [hit["_id"] for hit in answer["hits"]["hits"]] == hits
    assert found(run, engine) == said(shop)
    (mapping,) = engine.call("GET", f"/{index}/_mapping").values()
    brand = mapping["mappings"]["properties"]["brand"]
    assert brand["properties"]["name"]["type"] == "text"


def test_nested_ones_that_are_no_children(
    shop: psycopg.Connection[Any], database: Database, engine: SearchEngine
) -> None:
    """Refused before an index is made."""
    run = runner(database, engine, nested=("reviews.words",))
    with pytest.raises(ConfigurationError, match=r"no child of the source\. It has: brand, brand\.country"):
        run.run()
    assert found(run, engine) is None
