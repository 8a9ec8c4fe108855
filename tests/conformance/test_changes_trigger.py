"""The sensor's trigger, on a real Postgres: when it fires, when it goes on waiting, and what it needs to be moved."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

import pytest
from airflow.serialization.serialized_objects import BaseSerialization

from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.triggers.changes import ChangesTrigger

pytestmark = pytest.mark.versions


def trigger(database: Database, **options: Any) -> ChangesTrigger:
    source = PostgresSource(database.conn_id, table="public.items", primary_key="id", cursor_field="updated_at")
    values = {"start": None, "initial_value": None, "where": "It is kept here.", "poll_interval_s": 0.05}
    path = f"{type(source).__module__}.{type(source).__qualname__}"
    return ChangesTrigger(source_class=path, source=source.serialize(), **(values | options))


async def fired(trigger: ChangesTrigger) -> dict[str, Any]:
    async for event in trigger.run():
        return event.payload
    raise AssertionError("the trigger ended without an event")


@pytest.fixture
def items(database: Database) -> Database:
    with database.connect() as connection:
        connection.execute("CREATE TABLE items (id int PRIMARY KEY, updated_at timestamptz NOT NULL)")
    return database


def insert(database: Database, when: str) -> None:
    with database.connect() as connection:
        connection.execute(f"INSERT INTO items VALUES (1, {when})")


def test_it_fires_once_there_is_a_row(items: Database):
    """It waits while the table is empty, and fires for a row that lies below the horizon."""

    async def wait() -> dict[str, Any]:
        event = asyncio.create_task(fired(trigger(items)))
        await asyncio.sleep(0.5)
        assert not event.done()
        insert(items, "now() - interval '1 minute'")
        return await asyncio.wait_for(event, 60)

    assert asyncio.run(wait()) == {"status": "changes", "message": ""}


def test_it_does_not_fire_for_what_is_indexed(items: Database):
    """A row below the checkpoint is none to wait for."""
    insert(items, "'2026-03-01 00:00:00+00'")
    waiting = fired(trigger(items, start={"cursor": "2026-03-02 00:00:00+00"}))

    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(waiting, 1))


def test_what_a_person_must_mend_ends_the_wait(items: Database):
    """A checkpoint ahead of the source's clock, or a table that is not there, is an event that says so."""
    ahead = asyncio.run(fired(trigger(items, start={"cursor": "2099-01-01 00:00:00+00"})))
    with items.connect() as connection:
        connection.execute("DROP TABLE items")
    missing = asyncio.run(fired(trigger(items)))

    assert (ahead["status"], missing["status"]) == ("error", "error")
    assert "ahead of the source's clock" in ahead["message"]
    assert ahead["message"].endswith("It is kept here.")
    assert "public.items" in missing["message"]


def test_a_source_that_does_not_answer_is_asked_again(items: Database, monkeypatch: pytest.MonkeyPatch):
    """An outage is waited out."""
    insert(items, "now() - interval '1 minute'")
    ((name, uri),) = items.env.items()
    monkeypatch.setenv(name, uri + "?port=1")

    async def wait() -> dict[str, Any]:
        event = asyncio.create_task(fired(trigger(items)))
        await asyncio.sleep(0.5)
        assert not event.done()
        monkeypatch.setenv(name, uri)
        return await asyncio.wait_for(event, 60)

    assert asyncio.run(wait())["status"] == "changes"


def test_it_survives_the_way_into_the_triggerer(items: Database):
    """Serialised as Airflow does it and made anew, it is the same trigger."""
    path, arguments = trigger(items, start={"cursor": "7", "key": ["1"]}).serialize()
    moved = BaseSerialization.deserialize(BaseSerialization.serialize(arguments))
    module, _, name = path.rpartition(".")

    again = getattr(import_module(module), name)(**moved)

    assert again.serialize() == (path, arguments)
    assert PostgresSource.deserialize(again.source) == PostgresSource.deserialize(arguments["source"])
