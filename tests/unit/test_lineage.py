"""Lineage of the operators: names by OpenLineage's rules, events by its schemas, and nothing counted by two tries."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from lineage_schemas import require_valid
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
from openlineage.client.naming.dataset import MySQL, Postgres
from openlineage.client.serde import Serde

import airflow_reindex_provider
from airflow_reindex_provider import Child, PostgresSource, PostgresTarget, SqlSource, Stream, Through
from airflow_reindex_provider.core.cleaning.records import Orphan, OrphanKind
from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.model import Batch, Counts, Field, Position, Schema, Window
from airflow_reindex_provider.core.progress import Progress
from airflow_reindex_provider.operators import dataset_names
from airflow_reindex_provider.operators.checkpoint import CheckpointOperator
from airflow_reindex_provider.operators.dataset_names import Databases, Name, index_name, source_names
from airflow_reindex_provider.operators.extract import ExtractChangesOperator
from airflow_reindex_provider.operators.index import IndexBatchOperator
from airflow_reindex_provider.operators.lineage import WithLineage
from airflow_reindex_provider.operators.maintenance import DropOrphansOperator, FindOrphansOperator
from airflow_reindex_provider.operators.rebuild import PromoteOperator, VerifyOperator
from airflow_reindex_provider.sensors.changes import ChangesSensor
from airflow_reindex_provider.targets.elasticsearch import ElasticsearchTarget
from airflow_reindex_provider.targets.lance import LanceTarget
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.targets.weaviate import WeaviateTarget
from airflow_reindex_provider.testing.memory import MemoryReporter

PACKAGE = Path(airflow_reindex_provider.__file__).parent
SCHEMA = Schema(
    (
        Field("id", "bigint", "bigint"),
        Field("title", "text", "text"),
        Field("updated_at", "timestamptz", "timestamptz"),
    ),
    ("id",),
    CursorType.TIMESTAMPTZ,
)
BATCH = Batch("products", "products_index_20260101t000000", 0, 1, Window(None, Position("9")), rows=50)


@pytest.fixture(autouse=True)
def _connections(monkeypatch: pytest.MonkeyPatch) -> None:
    for conn_id, uri in {
        "shop_db": "postgres://me:secret@db.example:6432/shop",
        "search_db": "postgres://me:secret@search.example/search",
        "crm_db": "mysql://me:secret@crm.example/crm",
        "files_db": "sqlite:///data/shipments.db",
        "opensearch": "opensearch://me:secret@os.example",
        "elastic": json.dumps({"conn_type": "elasticsearch", "host": "https://es.example:9243"}),
        "lance_bucket": json.dumps({"conn_type": "generic", "host": "s3://bucket/some/where"}),
        "weaviate": json.dumps({"conn_type": "weaviate", "host": "wv.example", "extra": {"http_secure": True}}),
        "lance_folder": json.dumps({"conn_type": "generic", "host": "/srv/lance/"}),
    }.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", uri)


def stream(**options: Any) -> Stream:
    return Stream(
        name="products",
        source=PostgresSource("shop_db", table="public.products", primary_key="id", cursor_field="updated_at"),
        target=PostgresTarget("search_db", index="public.products_index"),
        **options,
    )


def names(source: Any) -> dict[str, Name]:
    return dict(source_names(source, Databases()))


def indexing(stream: Stream, *, resumed: Counts | None = None, acknowledged: Counts = Counts()) -> IndexBatchOperator:
    """The task as it is when it ends, having had so much acknowledged in this try."""
    task = IndexBatchOperator(task_id="index", stream=stream, batch=BATCH.to_json())
    task.touched.generation, task.touched.schema = BATCH.generation, SCHEMA
    progress = Progress(BATCH, "incremental", MemoryReporter())
    task.touched.follow(progress)
    progress.start(resumed)
    progress.add(acknowledged)
    return task


def event(task: WithLineage, state: RunState = RunState.COMPLETE) -> dict[str, Any]:
    """What its lineage looks like on the way, valid by the schemas."""
    ended = (
        task.get_openlineage_facets_on_complete
        if state is RunState.COMPLETE
        else task.get_openlineage_facets_on_failure
    )
    lineage = task.get_openlineage_facets_on_start() if state is RunState.START else ended(None)
    now = datetime.now(UTC).isoformat()
    made = RunEvent(
        eventType=state,
        eventTime=now,
        run=Run(str(uuid4())),
        job=Job("tests", "index"),
        producer="https://example.com/tests",
        inputs=lineage.inputs,
        outputs=lineage.outputs,
    )
    value: dict[str, Any] = json.loads(Serde.to_json(made))
    require_valid(value)
    return value


def test_a_clean_up_has_looked_at_all_indexes_and_changed_some() -> None:
    """Of a stream of which a generation has gone, the index; a checkpoint that has gone changes none."""
    other = Stream(
        name="orders", source=stream().source, target=PostgresTarget("search_db", index="public.orders_index")
    )
    find = FindOrphansOperator(task_id="find", streams=[stream(), other])
    drop = DropOrphansOperator(task_id="drop", find_task_id="find", streams=[stream(), other])
    drop.dropped = [
        Orphan(OrphanKind.GENERATION, "products", "products_index_20250101t000000", "", ""),
        Orphan(OrphanKind.CHECKPOINT, "orders", "orders_index_20250101t000000", "", ""),
    ]
    search = "postgres://search.example:5432"
    both = [Name(search, "search.public.products_index"), Name(search, "search.public.orders_index")]
    for task, outputs in ((find, []), (drop, both[:1])):
        for lineage in (task.get_openlineage_facets_on_complete(None), task.get_openlineage_facets_on_failure(None)):
            assert [Name(d.namespace, d.name) for d in lineage.inputs] == both
            assert [Name(d.namespace, d.name) for d in lineage.outputs] == outputs
    assert drop.get_openlineage_facets_on_start().outputs == []


# -- names


def test_tables_of_postgres_and_mysql() -> None:
    """As OpenLineage's own client names them."""
    theirs = Postgres("db.example", "6432", "shop", "public", "products")
    assert names(stream().source) == {"": Name(theirs.get_namespace(), theirs.get_name())}
    for table in ("contacts", "crm.contacts"):
        of_mysql = MySQL("crm.example", "3306", "crm", "contacts")
        source = SqlSource("crm_db", table=table, primary_key="id", cursor_field="changed_at", lag=0)
        assert names(source) == {"": Name(of_mysql.get_namespace(), of_mysql.get_name())}


def test_a_database_that_is_a_file() -> None:
    source = SqlSource("files_db", table="shipments", primary_key="id", cursor_field="number", lag=0)
    assert names(source) == {"": Name("sqlite:///data/shipments.db", "shipments")}


def test_tables_of_children_and_of_a_query() -> None:
    """Each by its place in the document; a join table has one where no field is. A query's are those that it reads."""
    shop = "postgres://db.example:6432"
    tags = Through("public.taggings", foreign_key="product", target_key="tag", cursor_field="at")
    children = (
        Child("reviews", table="public.reviews", foreign_key="product", cursor_field="at"),
        Child("tags", table="public.tags", through=tags, cursor_field="at"),
    )
    source = PostgresSource(
        "shop_db", table="public.products", primary_key="id", cursor_field="updated_at", children=children
    )
    assert names(source) == {
        "": Name(shop, "shop.public.products"),
        "reviews": Name(shop, "shop.public.reviews"),
        "tags (join)": Name(shop, "shop.public.taggings"),
        "tags": Name(shop, "shop.public.tags"),
    }
    query = "SELECT p.id, p.updated_at, b.name FROM public.products p JOIN public.brands b ON b.id = p.brand"
    source = PostgresSource("shop_db", query=query, primary_key="id", cursor_field="updated_at", lag=0)
    assert {name.name for name in names(source).values()} == {"shop.public.products", "shop.public.brands"}


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (OpenSearchTarget("opensearch", index="things"), Name("opensearch://os.example:9200", "things")),
        (ElasticsearchTarget("elastic", index="things"), Name("elasticsearch://es.example:9243", "things")),
        (PostgresTarget("search_db", index="public.t"), Name("postgres://search.example:5432", "search.public.t")),
        (PostgresTarget("search_db", index="public.t_{group}"), None),
        (LanceTarget("lance_bucket", index="things"), Name("s3://bucket", "some/where/things")),
        (LanceTarget("lance_folder", index="things"), Name("file", "/srv/lance/things")),
        (WeaviateTarget("weaviate", index="Things"), Name("weaviate://wv.example:443", "Things")),
    ],
)
def test_indexes(target: Any, name: Name | None) -> None:
    assert index_name(target, Databases()) == name


# -- events


def test_a_batch_is_written() -> None:
    """Rows read and documents written, columns with their types, and where each field comes from."""
    told = event(indexing(stream(), acknowledged=Counts(created=30, updated=5, deleted=1, noops=4)))
    (source,), (index,) = told["inputs"], told["outputs"]
    assert source["inputFacets"]["inputStatistics"]["rowCount"] == 40
    assert index["outputFacets"]["outputStatistics"]["rowCount"] == 36
    assert index["facets"]["version"]["datasetVersion"] == BATCH.generation
    columns = [("id", "bigint"), ("title", "text"), ("updated_at", "timestamptz")]
    assert [(f["name"], f["type"]) for f in source["facets"]["schema"]["fields"]] == columns
    assert [(f["name"], f["type"]) for f in index["facets"]["schema"]["fields"]] == columns
    title = index["facets"]["columnLineage"]["fields"]["title"]["inputFields"]
    assert [(f["namespace"], f["name"], f["field"]) for f in title] == [
        ("postgres://db.example:6432", "shop.public.products", "title")
    ]
    assert "secret" not in json.dumps(told)


def test_behind_a_transform_nobody_knows_where_a_field_comes_from() -> None:
    (index,) = event(indexing(stream(transform=lambda row: row), acknowledged=Counts(created=1)))["outputs"]
    assert index["facets"].keys() == {"version"}


def test_two_tries_count_what_each_has_done() -> None:
    """The first one had 20 documents acknowledged and failed; the second went on behind them."""
    first = event(indexing(stream(), acknowledged=Counts(created=20)), RunState.FAIL)
    second = event(indexing(stream(), resumed=Counts(created=20), acknowledged=Counts(created=30)))
    rows = [told["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] for told in (first, second)]
    assert rows == [20, 30]


def test_several_windows_of_one_task_are_added_up() -> None:
    task = indexing(stream(), acknowledged=Counts(created=20))
    task.touched.follow(next_one := Progress(BATCH, "rebuild", MemoryReporter()))
    next_one.start()
    next_one.add(Counts(updated=3))
    assert task.touched.counts == Counts(created=20, updated=3)


def test_a_task_that_begins_names_its_datasets() -> None:
    told = event(indexing(stream()), RunState.START)
    assert [d["name"] for d in told["inputs"]] == ["shop.public.products"]
    assert [d["name"] for d in told["outputs"]] == ["search.public.products_index"]
    assert "statistics" not in json.dumps(told).lower()


def test_a_connection_of_both_sides_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A running task asks Airflow's api-server for it."""
    asked = []
    look_up = dataset_names._connection

    def counted(conn_id: str) -> Any:
        asked.append(conn_id)
        return look_up(conn_id)

    monkeypatch.setattr(dataset_names, "_connection", counted)
    both = replace(stream(), target=PostgresTarget("shop_db", index="public.products_index"))
    told = event(indexing(both, acknowledged=Counts(created=1)))
    assert [d["name"] for d in told["outputs"]] == ["shop.public.products_index"]
    assert asked == ["shop_db"]


def test_children_have_a_lineage_of_their_own() -> None:
    """A field of an object comes from the object's table."""
    reviews = Child("reviews", table="public.reviews", foreign_key="product", cursor_field="at")
    source = PostgresSource(
        "shop_db", table="public.products", primary_key="id", cursor_field="updated_at", children=(reviews,)
    )
    task = indexing(Stream(name="products", source=source, target=stream().target), acknowledged=Counts(created=1))
    inner = (Field("id", "bigint", "bigint"), Field("stars", "integer", "integer"))
    task.touched.schema = Schema(
        (*SCHEMA.fields, Field("reviews", "jsonb", "jsonb", fields=inner)), ("id",), SCHEMA.cursor_type
    )
    told = event(task)
    assert [f["name"] for f in told["inputs"][1]["facets"]["schema"]["fields"]] == ["id", "stars"]
    (stars,) = told["outputs"][0]["facets"]["columnLineage"]["fields"]["reviews.stars"]["inputFields"]
    assert (stars["name"], stars["field"]) == ("shop.public.reviews", "stars")


@pytest.mark.parametrize(
    ("task", "reads", "writes"),
    [
        (lambda s: ExtractChangesOperator(task_id="extract", stream=s), 1, 0),
        (lambda s: ChangesSensor(task_id="wait", stream=s), 1, 0),
        (lambda s: CheckpointOperator(task_id="close", stream=s, extract_task_id="e", index_task_id="i"), 0, 1),
        (lambda s: VerifyOperator(task_id="v", **rebuild(s), min_size_ratio=0.5, promote="wait", hold=None), 2, 0),
        (lambda s: PromoteOperator(task_id="p", **rebuild(s)), 1, 1),
    ],
)
def test_who_reads_and_who_writes(task: Any, reads: int, writes: int) -> None:
    """A row count is told by who counts rows alone: a closing task would count those of the batches again."""
    told = event(task(stream()))
    assert (len(told["inputs"]), len(told["outputs"])) == (reads, writes)
    assert "inputStatistics" not in json.dumps(told)
    if not reads:
        assert "outputStatistics" not in json.dumps(told)


def rebuild(stream: Stream) -> dict[str, Any]:
    return {"stream": stream, "prepare_task_id": "prepare", "copy_task_id": "copy"}


def test_without_the_provider_nothing_of_it_is_imported() -> None:
    """One module needs it, and none imports that one before its provider asks."""
    needs = "airflow_reindex_provider.operators.openlineage"
    importers = {
        module
        for path in PACKAGE.rglob("*.py")
        for module in [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)]
        for node in ast.parse(path.read_text()).body
        for name in _imported(node)
        if name.startswith(("openlineage", "airflow.providers.openlineage", needs))
    }
    assert importers == {needs}


def _imported(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
