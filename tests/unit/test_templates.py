"""A template in a field that nothing renders is refused where the Dag file is parsed, with the remedy."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.definitions.context import Context

from airflow_reindex_provider.checkpoints.table import TableCheckpoint
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.templates import TEMPLATE_NAMES
from airflow_reindex_provider.sources.dbapi import SqlSource
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.targets.postgres import PostgresTarget


def source(**given: Any) -> PostgresSource:
    where = {} if "query" in given else {"table": "public.items"}
    return PostgresSource(**{"conn_id": "shop", "primary_key": "id", "cursor_field": "v", **where, **given})


def stream(**given: Any) -> Stream:
    return Stream(**{"name": "items", "source": source(), "target": PostgresTarget("search", index="items"), **given})


_QUERIES = (
    "SELECT * FROM items WHERE v >= '{{ ds }}'",
    "SELECT * FROM items WHERE v >= '{{data_interval_start.isoformat()}}'",
    "SELECT * FROM items WHERE tenant = '{{ params['tenant'] }}'",
    "SELECT * FROM items {% if params.all %} {% endif %}",
    "SELECT * FROM {{ var.value.get('table', 'items') }}",
)


@pytest.mark.parametrize(
    ("field", "given"),
    [
        *(("source.query", {"source": lambda q=q: source(query=q)}) for q in _QUERIES),
        ("source.row_filter", {"source": lambda: source(row_filter="v < '{{ ts }}'")}),
        ("source.conn_id", {"source": lambda: source(conn_id="{{ var.value.shop }}")}),
        ("source.primary_key", {"source": lambda: source(primary_key=("id", "{{ params.key }}"))}),
        ("target.conn_id", {"target": lambda: PostgresTarget("{{ conn.search.conn_id }}", index="items")}),
        ("target.conn_id", {"target": lambda: OpenSearchTarget("{{ var.json.x }}", index="items")}),
        ("checkpoint.conn_id", {"checkpoint": lambda: TableCheckpoint("{{ var.value.store }}")}),
        ("initial_value", {"initial_value": lambda: "{{ dag_run.logical_date | ds }}"}),
        (
            "source.conn_id",
            {"source": lambda: SqlSource("{{ params.db }}", table="items", primary_key="id", cursor_field="v", lag=1)},
        ),
    ],
)
def test_a_template_is_refused_with_the_remedy(field: str, given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        stream(**{name: make() for name, make in given.items()})
    assert f"Stream 'items': {field} has '{{" in str(raised.value).replace('"', "'")
    assert "os.environ" in str(raised.value)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT *, '{{1,2},{3,4}}'::int[] AS both FROM items",
        "SELECT *, '{{a,b}}'::text[] AS both FROM items",
        "SELECT * FROM items WHERE note LIKE '{%for%}' OR note = '{{mustache}}'",
    ],
)
def test_other_braces_are_what_they_are(query: str) -> None:
    given = source(query=query)
    assert stream(source=given).source is given


def test_a_group_may_look_like_a_template() -> None:
    grouped = stream(source=source(group_by="tenant"), target=PostgresTarget("search", index="items_{group}"))
    assert grouped.of_group("{{ ds }}").source.group == "{{ ds }}"  # type: ignore[attr-defined]


def test_every_name_that_airflow_gives_a_template_is_known() -> None:
    assert set(Context.__annotations__) - {"exception"} <= TEMPLATE_NAMES
