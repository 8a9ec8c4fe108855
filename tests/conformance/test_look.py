"""How many changes wait at a source, how old the oldest is by its own clock, and what holds them back."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_reindex_provider.control import looking
from airflow_reindex_provider.control.looking import look
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Position
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.groups import GroupRunner
from airflow_reindex_provider.testing.memory import MemoryCheckpoint, MemorySource, MemoryTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner

pytestmark = pytest.mark.versions

_PAST = "now() - interval '1 h'"


def stream_on(database: Database, *, type: str = "timestamptz", index: str = "items_index", **options: Any) -> Stream:
    with database.connect() as db:
        db.execute(f"CREATE TABLE items (id int PRIMARY KEY, tenant text DEFAULT 'a', v {type})")
        db.execute("CREATE INDEX ON items (v, id)")
    return Stream(
        name="products",
        source=PostgresSource(database.conn_id, table="items", primary_key="id", cursor_field="v", **options),
        target=PostgresTarget(database.conn_id, index=index),
        checkpoint=MemoryCheckpoint(),
    )


def live(stream: Stream) -> str:
    with stream.target.open(stream.name) as target:
        (name,) = [generation.name for generation in target.generations() if generation.live]
    return name


def run(stream: Stream) -> None:
    Runner(source=stream.source, target=stream.target, stream=stream.name, store=stream.checkpoint).run()


def insert(database: Database, ids: range, v: str) -> None:
    with database.connect() as db:
        db.execute(f"INSERT INTO items (id, v) SELECT n, {v} FROM generate_series({ids.start}, {ids.stop - 1}) n")


def age_of(database: Database, stamp: str) -> float:
    with database.connect() as db:
        row = db.execute("SELECT extract(epoch FROM clock_timestamp() - %s::timestamptz)::float8", [stamp]).fetchone()
    assert row is not None
    return float(row[0])


def set_back(stream: Stream, by: str, database: Database) -> None:
    """The checkpoint, by so much from now."""
    (generation,) = {name for _, name in stream.checkpoint.texts} - {"stream"}  # type: ignore[attr-defined]
    with database.connect() as db:
        (cursor,) = db.execute("SELECT (now() - %s::interval)::text", [by]).fetchone() or ("",)
    stored = stream.checkpoint.load(stream.name, generation)
    stream.checkpoint.save(replace(stored, position=Position(cursor)))


def test_what_waits_and_how_old_it_is(database: Database) -> None:
    """Rows committed at known times, rows stamped ahead, and a transaction that stays open: exact, and it names who it is."""
    stream = stream_on(database)
    insert(database, range(10), _PAST)
    run(stream)
    nothing = look(stream)
    assert (nothing["waiting"], nothing["oldest_s"], nothing["oldest_at"], nothing["ahead"]) == (0, 0.0, None, 0)
    assert nothing["held_by"] is None
    set_back(stream, "2 min", database)
    with database.connect() as late, late.transaction():
        late.execute("SET LOCAL application_name = 'the late one'")
        late.execute("SELECT 1")
        with database.connect() as db:
            (stamp,) = db.execute(
                "INSERT INTO items (id, v) VALUES (20, now() - interval '90 s') RETURNING v::text"
            ).fetchone() or ("",)
        insert(database, range(30, 35), "now()")
        insert(database, range(40, 43), "now() + interval '10 min'")
        # A transaction of less than a second is not worth a name.
        time.sleep(1.1)
        seen = look(stream)
        assert seen["oldest_s"] == pytest.approx(age_of(database, stamp), abs=1)
    assert (seen["waiting"], seen["ahead"]) == (6, 3)
    assert datetime.fromisoformat(seen["oldest_at"]) == datetime.fromisoformat(stamp)
    assert "the late one" in seen["held_by"]
    assert seen["horizon"] < nothing["at"].replace("T", " ")
    assert any("the late one" in line for line in seen["lines"])
    assert look(stream)["held_by"] is None


def test_a_look_writes_nothing(database: Database) -> None:
    """Neither to the store nor to the target, before the first run and after it."""
    stream = stream_on(database)
    insert(database, range(3), _PAST)
    seen = look(stream)
    assert (seen["waiting"], seen["since"]) == (3, None)
    assert stream.checkpoint.texts == {}  # type: ignore[attr-defined]
    with database.connect() as db:
        assert db.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'items%index%'").fetchone() == (0,)


def test_what_a_roll_back_would_read_again(database: Database) -> None:
    """Each row that has changed since the generation was served, once: not what the runs between have indexed."""
    stream = stream_on(database)
    insert(database, range(10), _PAST)
    run(stream)
    first = live(stream)
    assert look(stream)["generations"] == {}
    Rebuilder(
        run=Runner(source=stream.source, target=stream.target, stream=stream.name, store=stream.checkpoint)
    ).rebuild("20270101t000000")
    insert(database, range(20, 23), "clock_timestamp()")
    for _ in range(2):
        with database.connect() as db:
            db.execute("UPDATE items SET v = clock_timestamp() WHERE id = 1")
        run(stream)
    assert look(stream)["generations"] == {first: 4}


def test_a_stream_that_starts_late(database: Database) -> None:
    """What lies before its initial value does not wait."""
    stream = replace(stream_on(database), initial_value=datetime.now(UTC) - timedelta(minutes=10))
    insert(database, range(3), _PAST)
    insert(database, range(5, 7), "now() - interval '1 min'")
    assert look(stream)["waiting"] == 2


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
@pytest.mark.parametrize("type", ["timestamp", "date"])
def test_local_times(type: str, zone: str, database: Database) -> None:
    """Read by the clock of their writers."""
    stream = stream_on(database, type=type, cursor_timezone=zone)
    here = f"(now() AT TIME ZONE '{zone}')"
    insert(database, range(3), f"{here} - interval '1 d'")
    insert(database, range(5, 7), f"{here} + interval '1 d'")
    seen = look(stream)
    assert (seen["waiting"], seen["ahead"]) == (3, 2)
    day = timedelta(days=1).total_seconds()
    if type == "timestamp":
        assert seen["oldest_s"] == pytest.approx(day, abs=20)
    else:
        assert day - 20 <= seen["oldest_s"] <= 2 * day + 20


def test_a_cursor_that_counts(database: Database) -> None:
    """It says nothing of time; whoever may hold a lower value is named without waiting for it."""
    stream = stream_on(database, type="bigint")
    insert(database, range(1, 6), "n")
    run(stream)
    insert(database, range(10, 14), "n")
    with database.connect() as late, late.transaction():
        late.execute("INSERT INTO items VALUES (9, 'a', 9)")
        began = time.monotonic()
        seen = look(stream)
        assert time.monotonic() - began < 5
    assert (seen["waiting"], seen["oldest_s"], seen["oldest_at"], seen["ahead"]) == (4, None, None, 0)
    assert "transaction of user" in seen["held_by"]
    assert seen["horizon"] is None
    assert look(stream)["horizon"] == "14"


def test_recorded_deletions_wait_too(database: Database) -> None:
    """Those whose keys have no row again."""
    stream = stream_on(database, tombstones=True)
    stream.source.install_tombstones()  # type: ignore[attr-defined]
    insert(database, range(10), _PAST)
    run(stream)
    with database.connect() as db:
        db.execute("DELETE FROM items WHERE id < 4")
    seen = look(stream)
    assert seen["waiting"] == 4
    assert seen["oldest_s"] < 20


def test_a_place_between_two_rows_of_one_stamp(database: Database) -> None:
    """A checkpoint that a failed batch left inside a stamp counts by the key."""
    stream = stream_on(database)
    insert(database, range(10), "'2026-01-01 00:00:00+00'")
    run(stream)
    generation = live(stream)
    stored = stream.checkpoint.load("products", generation)
    assert stored.position is not None
    position = replace(stored.position, cursor="2026-01-01 00:00:00+00", key=("7",))
    stream.checkpoint.save(replace(stored, position=position))
    assert look(stream)["waiting"] == 3


def test_it_costs_what_waits(database: Database) -> None:
    """With an index on the cursor no table is scanned."""
    stream = stream_on(database)
    insert(database, range(20_000), _PAST)
    run(stream)
    with database.connect() as db:
        db.execute("VACUUM ANALYZE items")
    insert(database, range(20_000, 20_010), "now()")
    before = _scans(database)
    assert look(stream)["waiting"] == 10
    assert _scans(database) == before


def _scans(database: Database) -> int:
    with database.connect() as db:
        db.execute("SELECT pg_stat_force_next_flush()")
        row = db.execute("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'items'").fetchone()
    assert row is not None
    return int(row[0])


def test_counts_end_somewhere(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is said then is that there are more."""
    monkeypatch.setattr(looking, "MOST_COUNTED", 5)
    stream = stream_on(database)
    insert(database, range(20), _PAST)
    seen = look(stream)
    assert (seen["waiting"], seen["counted_to"]) == (5, 5)
    assert seen["lines"][0].startswith("5 or more changes wait")


def test_without_the_right_to_see_others(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is told all the same, and why there is no horizon."""
    stream = stream_on(database)
    insert(database, range(3), _PAST)
    with database.connect() as db:
        db.execute("CREATE ROLE blind_looker LOGIN; GRANT SELECT ON items TO blind_looker")
    try:
        monkeypatch.setenv("AIRFLOW_CONN_BLIND", database.uri.replace("postgres@", "blind_looker@"))
        seen = look(replace(stream, source=replace(stream.source, conn_id="blind")))  # type: ignore[type-var]
    finally:
        with database.connect() as db:
            db.execute("DROP OWNED BY blind_looker; DROP ROLE blind_looker")
    assert (seen["waiting"], seen["horizon"]) == (3, None)
    assert "GRANT pg_read_all_stats" in seen["held_by"]


def test_of_groups_the_one_furthest_behind_counts(database: Database) -> None:
    """And all of them, where one has not been loaded."""
    stream = stream_on(database, index="items_{group}", group_by="tenant")
    insert(database, range(4), _PAST)
    with database.connect() as db:
        db.execute("UPDATE items SET tenant = 'b' WHERE id > 1")
    store = stream.checkpoint
    GroupRunner(stream=stream, store=store).run()  # type: ignore[arg-type]
    assert look(stream)["waiting"] == 0
    own = stream.of_group("b")
    (generation,) = [
        name
        for stream_name, name in store.texts
        if stream_name == own.name and "index" not in name and name.startswith("items")
    ]  # type: ignore[attr-defined]
    stored = store.load(own.name, generation)
    assert stored.position is not None
    store.save(replace(stored, position=replace(stored.position, cursor="2020-01-01 00:00:00+00")))
    assert look(stream)["waiting"] == 4


def test_in_memory() -> None:
    """The parts for tests say it too."""
    source = MemorySource(now_us=10_000_000)
    stream = Stream(name="products", source=source, target=MemoryTarget(), checkpoint=MemoryCheckpoint())
    with source.transaction() as transaction:
        transaction.put({"id": "1", "title": "x"})
    source.now_us += 3_000_000
    seen = look(stream)
    assert (seen["waiting"], seen["oldest_s"], seen["ahead"]) == (1, 3.0, 0)
    run(stream)
    assert look(stream)["waiting"] == 0


def test_a_source_that_cannot_tell() -> None:
    """Is refused by name."""

    class Blind(MemorySource):
        def open(self) -> Any:  # type: ignore[override]
            from contextlib import nullcontext

            return nullcontext(object())

    stream = Stream(name="products", source=Blind(), target=MemoryTarget(), checkpoint=MemoryCheckpoint())
    with pytest.raises(ConfigurationError, match="cannot say how many changes wait"):
        look(stream)
