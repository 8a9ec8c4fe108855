"""The sensor on a real Postgres, where it must wait again: what it sees on a real Airflow is tested there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import TaskDeferred

from airflow_reindex_provider import ChangesSensor, PostgresSource, PostgresTarget, Stream
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.testing.postgres import Database

pytestmark = pytest.mark.versions


@pytest.fixture
def sensor(database: Database) -> ChangesSensor:
    """Over an empty table, with ten minutes to wait."""
    with database.connect() as connection:
        connection.execute("CREATE TABLE items (id int PRIMARY KEY, updated_at timestamptz NOT NULL)")
    stream = Stream(
        name="items",
        source=PostgresSource(database.conn_id, table="public.items", primary_key="id", cursor_field="updated_at"),
        target=PostgresTarget(database.conn_id, index="public.items_index"),
    )
    return ChangesSensor(task_id="changes", stream=stream, deferrable=True, timeout=600)


def started(ago: timedelta) -> dict[str, object]:
    """The context of a task that first started so long ago."""
    return {"ti": SimpleNamespace(start_date=datetime.now(UTC) - ago)}


def test_waiting_again_does_not_begin_the_timeout_anew(sensor: ChangesSensor):
    """Where another run has taken the changes that the trigger saw, the sensor waits for what is left of its time."""
    event = {"status": "changes", "message": ""}
    with pytest.raises(TaskDeferred) as again:
        sensor.execute_complete(started(timedelta(minutes=7)), event)
    with pytest.raises(TaskDeferred) as late:
        sensor.execute_complete(started(timedelta(minutes=11)), event)

    assert timedelta(minutes=2) < again.value.timeout <= timedelta(minutes=3)
    assert late.value.timeout == timedelta(0)


def test_an_error_that_the_trigger_saw_fails_the_task(sensor: ChangesSensor):
    """It is a configuration error, which is not worth a retry."""
    with pytest.raises(ConfigurationError, match="the table is gone"):
        sensor.execute_complete(started(timedelta(0)), {"status": "error", "message": "the table is gone"})
