"""How a stream stands, as its closing tasks publish it: small, JSON, and true to the target and the checkpoint store."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_reindex_provider.control.standing import MOST_PARKED, standing
from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.leases import acquire
from airflow_reindex_provider.core.model import Parked, Position
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.elasticsearch import ElasticsearchTarget
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.targets.postgres import PostgresTarget, sizes
from airflow_reindex_provider.testing.groups import GroupRunner
from airflow_reindex_provider.testing.memory import MemoryCheckpoint, MemorySource, MemoryTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner

pytestmark = pytest.mark.versions

KIND = CursorType.TIMESTAMPTZ


def stream_on(database: Database) -> Stream:
    with database.connect() as db:
        db.execute("CREATE TABLE items (id int PRIMARY KEY, v timestamptz DEFAULT now() - interval '1 h')")
        db.execute("INSERT INTO items (id) SELECT n FROM generate_series(1, 8) n")
    return Stream(
        name="products",
        source=PostgresSource(database.conn_id, table="items", primary_key="id", cursor_field="v"),
        target=PostgresTarget(database.conn_id, index="items_index"),
        checkpoint=MemoryCheckpoint(),
    )


def runner(stream: Stream) -> Runner:
    return Runner(source=stream.source, target=stream.target, stream=stream.name, store=stream.checkpoint)


def in_memory() -> Stream:
    return Stream(name="products", source=MemorySource(), target=MemoryTarget(), checkpoint=MemoryCheckpoint())


def test_before_the_first_run(database: Database) -> None:
    """Nothing is known, and that is no error."""
    found = standing(stream_on(database), KIND)
    empty = ("documents", "checkpoint", "fresh_until", "lease")
    assert {name: found[name] for name in empty} == dict.fromkeys(empty)
    assert (found["generations"], found["parked"]) == ([], {"count": 0, "documents": []})
    assert found["source"] == f"items on connection {database.conn_id!r}"


def test_two_generations_on_postgres(database: Database) -> None:
    """Sizes, the one that is live, its checkpoint and how fresh it is; all of it JSON."""
    stream = stream_on(database)
    runner(stream).run()
    Rebuilder(run=runner(stream)).rebuild("20270101t000000")
    with database.connect() as db:
        db.execute("DELETE FROM items WHERE id = 1")
    acquire(stream.checkpoint, "products", holder="somebody", purpose="sweep", now=utc_now())

    found = json.loads(json.dumps(standing(stream, KIND)))

    before, live = found["generations"]
    assert (before["live"], before["served"], live["live"], live["served"]) == (False, True, True, True)
    assert (live["name"], live["made_at"]) == ("items_index_20270101t000000", "2027-01-01T00:00:00+00:00")
    assert (live["documents"], live["documents_estimated"], found["documents"]) == (8, False, 8)
    assert live["fresh_until"] == found["fresh_until"]
    # So much a roll-back would read again.
    assert datetime.fromisoformat(before["fresh_until"]) < datetime.fromisoformat(live["fresh_until"])
    assert live["bytes"] > 8192
    checkpoint = found["checkpoint"]
    assert (checkpoint["generation"], checkpoint["key"]) == (live["name"], [])
    fresh_until = datetime.fromisoformat(found["fresh_until"])
    assert fresh_until == datetime.fromisoformat(checkpoint["cursor"])
    assert timedelta(0) < datetime.now(UTC) - fresh_until < timedelta(minutes=2)
    assert (found["lease"]["holder"], found["lease"]["purpose"]) == ("somebody", "sweep")


@pytest.mark.parametrize("kind", [None, CursorType.INTEGER])
def test_a_cursor_that_says_nothing_of_time(kind: CursorType | None, database: Database) -> None:
    """Then nobody knows from it how fresh the index is."""
    stream = stream_on(database)
    runner(stream).run()
    generation = standing(stream, None)["checkpoint"]["generation"]
    if kind is CursorType.INTEGER:
        stored = stream.checkpoint.load("products", generation)
        assert stored.position is not None
        stream.checkpoint.save(replace(stored, position=replace(stored.position, cursor="42")))
    assert standing(stream, kind)["fresh_until"] is None


def test_a_large_table_is_estimated(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting it would read it; the planner's figure is told as what it is, once there is one."""
    monkeypatch.setattr(sizes, "_COUNTED_BYTES", 0)
    stream = stream_on(database)
    runner(stream).run()
    with stream.target.open("products") as session:
        (generation,) = session.generations()
    with database.connect() as db:
        db.execute(f"ANALYZE {generation.name}")
    assert (standing(stream)["documents"], standing(stream)["generations"][0]["documents_estimated"]) == (8, True)


def test_deleted_documents_are_not_counted(database: Database) -> None:
    """What a search finds is."""
    stream = stream_on(database)
    stream = replace(stream, source=replace(stream.source, row_filter="id <> 3"))  # type: ignore[type-var]
    runner(stream).run()
    assert standing(stream)["documents"] == 7


def test_many_parked_documents_are_counted_and_the_next_ones_shown() -> None:
    """An XCom has no room for thousands with their reasons."""
    stream = in_memory()
    with stream.source.transaction() as transaction:  # type: ignore[attr-defined]
        transaction.put({"id": "1", "title": "x"})
    stream.source.now_us += 1  # type: ignore[attr-defined]
    run = runner(stream).run()
    stored = stream.checkpoint.load("products", run.plan.generation)
    first, later = "2026-01-01T00:00:00+00:00", "2036-01-01T00:00:00+00:00"
    parked = [Parked((str(n),), "no", 1, first, first if n == 150 else later) for n in range(MOST_PARKED + 100)]
    stream.checkpoint.save(replace(stored, parked=tuple(parked)))
    found = standing(stream)["parked"]
    assert (found["count"], len(found["documents"])) == (MOST_PARKED + 100, MOST_PARKED)
    assert found["documents"][0]["key"] == ["150"]
    assert len(json.dumps(standing(stream))) < 48 * 1024


@pytest.mark.parametrize("engine", ["opensearch", "elasticsearch"])
def test_in_a_search_engine(engine: str, database: Database, request: pytest.FixtureRequest) -> None:
    """The engine's own statistics, of each generation."""
    request.getfixturevalue(engine)
    made: Any = OpenSearchTarget if engine == "opensearch" else ElasticsearchTarget
    target = made(engine, index=f"standing-{database.name.replace('_', '-')}")
    stream = replace(stream_on(database), target=target)
    assert standing(stream, KIND)["generations"] == []
    runner(stream).run()
    Rebuilder(run=runner(stream)).rebuild("20270101t000000")
    found = json.loads(json.dumps(standing(stream, KIND)))
    assert [(g["live"], g["documents"], g["documents_estimated"]) for g in found["generations"]] == [
        (False, 8, False),
        (True, 8, False),
    ]
    assert all(g["bytes"] > 0 for g in found["generations"])
    assert found["documents"] == 8


def with_groups(database: Database) -> Stream:
    with database.connect() as db:
        db.execute(
            "CREATE TABLE tickets (id int PRIMARY KEY, tenant text, v timestamptz DEFAULT now() - interval '1 h')"
        )
        db.execute(
            "INSERT INTO tickets SELECT n, CASE WHEN n > 6 THEN 'zeta' ELSE 'acme' END FROM generate_series(1, 8) n"
        )
    source = PostgresSource(database.conn_id, table="tickets", primary_key="id", cursor_field="v", group_by="tenant")
    target = PostgresTarget(database.conn_id, index="tickets_{group}")
    return Stream(name="tickets", source=source, target=target, checkpoint=MemoryCheckpoint())


def test_a_stream_with_groups_tells_of_each(database: Database) -> None:
    """Generations and parked documents with their group; as fresh as the one furthest behind, if all say where."""
    stream = with_groups(database)
    assert (standing(stream, KIND)["generations"], standing(stream, KIND)["fresh_until"]) == ([], None)
    run = GroupRunner(stream=stream, store=stream.checkpoint)
    run.run()
    Rebuilder(run=run.of_group("acme")).rebuild("20270101t000000")
    acme = stream.of_group("acme")
    kept = stream.checkpoint.load(acme.name, "tickets_acme_20270101t000000")
    waits = Parked(("7",), "too long", 2, "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00")
    stream.checkpoint.save(replace(kept, position=Position("2026-01-01 10:00:00+00"), parked=(waits,)))

    found = json.loads(json.dumps(standing(stream, KIND)))

    assert [(one["group"], one["live"], one["documents"]) for one in found["generations"]] == [
        ("acme", False, 6),
        ("acme", True, 6),
        ("zeta", True, 2),
    ]
    assert (found["documents"], found["fresh_until"]) == (8, "2026-01-01T10:00:00+00:00")
    assert found["parked"] == {"count": 1, "documents": [{**waits.to_json(), "group": "acme"}]}
    assert found.keys() == standing(acme, KIND).keys()

    with database.connect() as db:
        db.execute("DROP VIEW tickets_zeta")
        db.execute("CREATE TABLE tickets_zeta (id int)")
    unknown = standing(stream, KIND)
    assert (unknown["fresh_until"], unknown["documents"]) == (None, None)
    assert unknown["parked"]["count"] == 1
