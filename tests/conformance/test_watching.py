"""The watcher of a stream on a real Postgres: when it tells, what it asks for that, and what it survives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from airflow.serialization.encoders import encode_trigger

from airflow_reindex_provider import ReindexDag, Stream, changes_of
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.sources.postgres.session import PostgresSourceSession
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.memory import MemorySource
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.triggers import sharing
from airflow_reindex_provider.triggers.watching import TOLD_KEY, StreamChangesTrigger

pytestmark = pytest.mark.versions


class State:
    """What Airflow keeps for the watched asset."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.broken = False

    async def aget(self, key: str) -> Any:
        if self.broken:
            raise RuntimeError("no answer")
        return self.kept.get(key)

    async def aset(self, key: str, value: Any) -> None:
        if self.broken:
            raise RuntimeError("no answer")
        self.kept[key] = value


def watcher(
    database: Database, *, state: State | None = None, name: str = "items", **options: Any
) -> StreamChangesTrigger:
    wanted = {"table": f"public.{name}", "margin": timedelta(0), "primary_key": "id", "cursor_field": "v"}
    source = PostgresSource(database.conn_id, **{**wanted, **options})
    trigger = StreamChangesTrigger(
        stream=name,
        source_class=f"{type(source).__module__}.{type(source).__qualname__}",
        source=source.serialize(),
        poll_interval_s=0.05,
        min_interval_s=0.2,
    )
    trigger.asset_state_store = state or State()  # type: ignore[assignment]  # of it, what a trigger uses
    return trigger


@asynccontextmanager
async def watching(*triggers: StreamChangesTrigger) -> AsyncIterator[list[dict[str, Any]]]:
    """What they have told so far."""
    told: list[dict[str, Any]] = []

    async def run(trigger: StreamChangesTrigger) -> None:
        async for event in trigger.run():
            told.append(event.payload)

    tasks = [asyncio.create_task(run(trigger)) for trigger in triggers]
    try:
        yield told
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(look: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not look():
            await asyncio.sleep(0.02)


@pytest.fixture
def items(database: Database) -> Database:
    make(database, "items")
    return database


def make(database: Database, name: str) -> None:
    with database.connect() as db:
        db.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, v timestamptz NOT NULL DEFAULT now())".encode())
        db.execute(f"CREATE INDEX ON {name} (v, id)".encode())


def insert(database: Database, id: int, name: str = "items") -> None:
    with database.connect() as db:
        db.execute(f"INSERT INTO {name} (id) VALUES ({id})".encode())


def test_each_change_is_told_once(items: Database) -> None:
    """One that is there already, then nothing, then the next one; with the kept state, another triggerer goes on there."""
    state = State()

    async def story() -> None:
        insert(items, 1)
        async with watching(watcher(items, state=state)) as told:
            await until(lambda: len(told) == 1 and state.kept)
            await asyncio.sleep(0.5)
            assert len(told) == 1
            insert(items, 2)
            await until(lambda: len(told) == 2)
            below = told[-1]["below"]
            await until(lambda: state.kept[TOLD_KEY] == {"below": below})
        async with watching(watcher(items, state=state)) as told:
            await asyncio.sleep(0.5)
            assert told == []
            insert(items, 3)
            await until(lambda: told)

    asyncio.run(story())


def test_what_was_not_handed_over_is_told_again(items: Database) -> None:
    """A triggerer that dies right after an event has not noted it."""
    state = State()

    async def story() -> None:
        insert(items, 1)
        async with watching(watcher(items, state=state)) as told:
            await until(lambda: told)
        assert state.kept == {}
        async with watching(watcher(items, state=state)) as told:
            await until(lambda: told)

    asyncio.run(story())


def test_a_change_is_not_told_before_it_is_safe_to_read(items: Database) -> None:
    """While an older transaction is open, a run would not read it."""

    async def story() -> None:
        with items.connect() as late:
            late.execute("BEGIN")
            late.execute("INSERT INTO items (id) VALUES (1)")
            insert(items, 2)
            async with watching(watcher(items)) as told:
                await asyncio.sleep(0.6)
                assert told == []
                late.execute("COMMIT")
                await until(lambda: told)

    asyncio.run(story())


def test_an_idle_source_costs_one_query_a_poll(items: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """One look at the index, and none at the catalogue or at the open transactions."""
    insert(items, 1)
    asked: list[str] = []
    for name in ("peek", "glance", "has_changes"):
        before = getattr(PostgresSourceSession, name)

        def count(self: Any, *args: Any, name: str = name, before: Any = before) -> Any:
            asked.append(name)
            return before(self, *args)

        monkeypatch.setattr(PostgresSourceSession, name, count)

    async def story() -> None:
        async with watching(watcher(items)) as told:
            await until(lambda: told)
            asked.clear()
            await until(lambda: len(asked) > 5)
        assert set(asked) == {"peek"}

    asyncio.run(story())


def test_streams_of_one_database_share_a_connection(items: Database) -> None:
    """Twenty of them, each told of its own change; the connection goes with the last one."""
    names = [f"items_{n}" for n in range(20)]
    for name in names:
        make(items, name)

    async def story() -> None:
        async with watching(*(watcher(items, name=name) for name in names)) as told:
            for n, name in enumerate(names):
                insert(items, n, name)
            await until(lambda: {event["stream"] for event in told} == set(names))
            assert sessions(items) == 1
        assert sharing._connections == {}
        await until(lambda: sessions(items) == 0)

    asyncio.run(story())


def sessions(database: Database) -> int:
    with database.connect() as db:
        (found,) = db.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
    return int(found)


def test_a_lost_connection_is_opened_again(items: Database) -> None:
    """Whoever ends it, and however often; a state store that does not answer costs an event more and nothing else."""
    state = State()
    state.broken = True

    async def story() -> None:
        async with watching(watcher(items, state=state)) as told:
            for n in range(3):
                await until(lambda: sessions(items))
                with items.connect() as db:
                    db.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                insert(items, n)
                await until(lambda seen=len(told): len(told) > seen)

    asyncio.run(story())


def test_one_that_cannot_be_watched_leaves_the_others_alone(items: Database) -> None:
    """A table that is missing is somebody's to mend; the streams beside it are watched on, over the same connection."""

    async def story() -> None:
        async with watching(watcher(items, name="missing"), watcher(items)) as told:
            insert(items, 1)
            await until(lambda: told)
            assert {event["stream"] for event in told} == {"items"}
            assert sessions(items) == 1

    asyncio.run(story())


def test_events_keep_their_distance(items: Database) -> None:
    """A table that changes all the time is told of at the pace that is asked for."""

    async def story() -> None:
        async with watching(watcher(items)) as told:
            for n in range(40):
                insert(items, n)
                await asyncio.sleep(0.02)
            assert 1 <= len(told) <= 12

    asyncio.run(story())


# The schedule


def stream(source: Any) -> Stream:
    return Stream(name="items", source=source, target=PostgresTarget("search_db", index="public.items_index"))


def test_the_schedule_is_kept_by_airflow() -> None:
    """The watcher can be written down and made again, and the hourly run gives intervals for backfills."""
    source = PostgresSource(
        "shop_db", table="public.items", primary_key=("id", "sku"), cursor_field="v", lag=timedelta(1)
    )
    schedule = changes_of(stream(source), at_most_every=timedelta(minutes=1))
    dag = ReindexDag(stream(source), schedule=schedule)
    (watched,) = (
        schedule.asset_condition.objects if hasattr(schedule.asset_condition, "objects") else [schedule.asset_condition]
    )
    (found,) = watched.watchers
    encoded = encode_trigger(found.trigger)
    assert encoded["kwargs"]["min_interval_s"] == 60.0
    assert dag.timetable.timetable.expression == "0 * * * *"
    assert dag.max_active_runs == 1


def test_a_source_that_cannot_be_watched_is_refused() -> None:
    """It says so where the Dag is made."""
    with pytest.raises(ConfigurationError, match="cannot be watched"):
        changes_of(stream(MemorySource(now_us=1)))
