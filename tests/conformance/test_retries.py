"""What fails at once, and what is tried again: in every task of every Dag, and for a connection that cannot be right."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from airflow.sdk import DAG, ExceptionRetryPolicy, RetryAction

from airflow_reindex_provider import (
    PostgresSource,
    PostgresTarget,
    RebuildDag,
    ReindexDag,
    Stream,
    SweepDag,
    TableCheckpoint,
)
from airflow_reindex_provider.core import errors
from airflow_reindex_provider.core.errors import ConfigurationError, ReindexError
from airflow_reindex_provider.operators.base import RETRY_POLICY, StreamOperator
from airflow_reindex_provider.testing.postgres import Database


def stream_of(conn_id: str, **group: Any) -> Stream:
    return Stream(
        name="items",
        source=PostgresSource(conn_id, table="public.items", primary_key="id", cursor_field="updated_at", **group),
        target=PostgresTarget(conn_id, index="public.items_{group}" if group else "public.items_index"),
        checkpoint=TableCheckpoint(conn_id),
    )


def action(error: BaseException) -> RetryAction:
    return RETRY_POLICY.evaluate(error, 1, 3).action


@pytest.mark.parametrize(
    "kind", [e for _, e in inspect.getmembers(errors, inspect.isclass) if issubclass(e, ReindexError)]
)
def test_every_error_is_decided(kind: type[ReindexError]) -> None:
    """What a person has to act on first is not tried again; all else is, as often as the task says."""
    expected = RetryAction.FAIL if issubclass(kind, ConfigurationError) else RetryAction.DEFAULT
    assert action(kind("why")) is expected


@pytest.mark.parametrize("group", [{}, {"group_by": "tenant"}], ids=["single", "groups"])
@pytest.mark.parametrize("kind", [ReindexDag, RebuildDag, SweepDag])
def test_every_task_has_the_policy(kind: Any, group: dict[str, str]) -> None:
    """Mapped or not, in a task group or not, with the same number of tries; and an author's own wins."""
    own = ExceptionRetryPolicy(rules=[])
    for task_args, policy, retries in [({}, RETRY_POLICY, 3), ({"retry_policy": own, "retries": 7}, own, 7)]:
        dag: DAG = kind(stream_of("shop", **group), dag_id="made", task_args=task_args)
        ours = [t for t in dag.tasks if issubclass(getattr(t, "operator_class", type(t)), StreamOperator)]
        assert len(ours) >= len(dag.tasks) - 1
        for task in ours:
            given = {**vars(task), **getattr(task, "partial_kwargs", {})}
            assert (given["retry_policy"], given["retries"]) == (policy, retries), task.task_id


@pytest.mark.parametrize(
    "open_it",
    [
        lambda stream: stream.source.open().__enter__(),
        lambda stream: stream.target.open(stream.name).__enter__(),
        lambda stream: stream.checkpoint.load(stream.name, "g"),
    ],
    ids=["source", "target", "checkpoint"],
)
@pytest.mark.parametrize(
    "extra",
    [{"no_such_option": "1"}, {"connect_timeout": "soon"}, {"sslmode": "perhaps"}, {"options": "-c no_such_setting=1"}],
    ids=lambda extra: next(iter(extra)),
)
def test_an_extra_that_cannot_be_right_fails_at_once(
    extra: dict[str, str], open_it: Callable[[Stream], Any], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection with such a key is named, and not tried again."""
    address = urlsplit(database.uri)
    host = parse_qs(address.query).get("host", [address.hostname or ""])[0]
    connection = {
        "conn_type": "postgres",
        "host": host.replace("%2F", "/").replace("%2f", "/"),
        "login": "postgres",
        "schema": database.name,
        "extra": extra,
    }
    monkeypatch.setenv("AIRFLOW_CONN_ODD_DB", json.dumps(connection))
    with pytest.raises(ConfigurationError, match="odd_db") as refused:
        open_it(stream_of("odd_db"))
    assert action(refused.value) is RetryAction.FAIL
