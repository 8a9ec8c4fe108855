"""Groups on the real search engines: their names are taken, rows move, a group is rebuilt."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_reindex_provider import PostgresSource, Stream
from airflow_reindex_provider.core.groups import known_groups
from airflow_reindex_provider.core.running.settling_groups import require_all
from airflow_reindex_provider.targets.elasticsearch import ElasticsearchTarget
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.targets.search.target import SearchTarget
from airflow_reindex_provider.testing.groups import GroupRunner
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.search_engine import SearchEngine

VALUES = ("acme", "acme_first", "ACME", "größe / *", "")


@pytest.mark.parametrize("kind", [OpenSearchTarget, ElasticsearchTarget])
def test_groups_on_a_search_engine(
    request: pytest.FixtureRequest, database: Database, kind: type[SearchTarget]
) -> None:
    """Every group has an alias of its own, whatever its value; one's generations are not another's, though their names begin
    alike; a row that moves leaves the old index, and a rebuilt group has its own rows alone."""
    engine: SearchEngine = request.getfixturevalue(kind.engine_name.lower())
    run = GroupRunner(
        stream=Stream(
            name="items",
            source=PostgresSource(
                database.conn_id,
                table="items",
                primary_key="id",
                cursor_field="updated_at",
                group_by="tenant",
                margin=timedelta(0),
            ),
            target=kind(engine.name, index="items_{group}"),
        )
    )
    with database.connect() as db:
        db.execute(
            "CREATE TABLE items (id int PRIMARY KEY, tenant text, updated_at timestamptz NOT NULL DEFAULT now())"
        )
        db.execute("CREATE INDEX ON items (updated_at, id)")

        def require_true() -> None:
            for value in known_groups("items", run.store):
                rows = {str(i) for (i,) in db.execute("SELECT id FROM items WHERE tenant = %s", [value])}
                target = run.stream.of_group(value).target
                assert isinstance(target, SearchTarget)
                assert set(engine.documents(target.index) or {}) == rows, value

        for number, value in enumerate(VALUES):
            db.execute(
                "INSERT INTO items SELECT n, %s FROM generate_series(%s::int, %s) n",
                [value, number * 10, number * 10 + 9],
            )
        require_all(run.run())
        assert known_groups("items", run.store) == tuple(sorted(VALUES))
        require_true()

        db.execute("UPDATE items SET tenant = 'acme', updated_at = now() WHERE id IN (10, 20, 30)")
        require_all(run.run())
        require_true()

        Rebuilder(run=run.of_group("acme")).rebuild("20990101t000001")
        db.execute("UPDATE items SET tenant = 'acme_first', updated_at = now() WHERE tenant = 'acme'")
        require_all(run.run())
        require_true()
