"""What a monitor reads of a run says what its log says: who holds the horizon back, and what a generation lacks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from airflow_reindex_provider import PostgresSource, PostgresTarget
from airflow_reindex_provider.core.groups import GroupPlans
from airflow_reindex_provider.core.model import Mode, Plan
from airflow_reindex_provider.core.running.outcomes import GroupOutcomes
from airflow_reindex_provider.core.windows import Request
from airflow_reindex_provider.operators.base import tell
from airflow_reindex_provider.sources.postgres import horizon
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper

LACK = "does not have the source's columns 'maker'; rebuild the index to add them"


@pytest.fixture
def runner(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    """A stream that has been loaded. Since then a column has come, and a transaction is open that a person should know of."""
    monkeypatch.setattr(horizon, "NAMED_AFTER_S", -1.0)
    with database.connect() as connection:
        connection.execute(
            "CREATE TABLE items (id int PRIMARY KEY, updated_at timestamptz NOT NULL);"
            "INSERT INTO items VALUES (1, now() - interval '1 h'); CREATE INDEX ON items (updated_at, id)"
        )
        made = Runner(
            source=PostgresSource(
                database.conn_id,
                table="public.items",
                primary_key="id",
                cursor_field="updated_at",
                margin=timedelta(0),
            ),
            target=PostgresTarget(database.conn_id, index="public.items_index"),
        )
        made.run()
        connection.execute("ALTER TABLE items ADD maker text")
        connection.execute("UPDATE items SET updated_at = now()")
    with database.connect() as holder, holder.transaction():
        holder.execute("SELECT pg_current_xact_id()")
        yield made


def held(database: Database) -> str:
    with database.connect() as connection:
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()"
        ).fetchone()
        assert found is not None
        return f"pid {found[0]}"


def says(report: dict[str, Any], database: Database, *, lacks: bool = True) -> None:
    """The report names the holder, and the column; and the log has no more than these two fields."""
    assert held(database) in report["held_by"]
    assert any(held(database) in warning for warning in report["warnings"])
    assert any(LACK in warning for warning in report["warnings"]) == lacks


@pytest.mark.parametrize("request_", [Request(), Request(Mode.BACKFILL, "2020-01-01T00:00:00Z"), Request(dry_run=True)])
def test_a_run(runner: Runner, database: Database, request_: Request) -> None:
    """`reindex_plan` and `reindex_run`, of every kind of run."""
    plan = runner.plan(request_)
    says(plan.to_json(), database)
    assert Plan.from_json(plan.to_json(), ()).warnings == plan.warnings
    if not request_.dry_run:
        says(runner.settle(plan, [runner.index(batch) for batch in plan.batches]).to_json(), database)


def test_a_run_of_groups(runner: Runner, database: Database) -> None:
    """At the top, once for all of them."""
    plan = runner.plan(Request())
    plans = GroupPlans("items", Mode.INCREMENTAL, (plan, plan), {})
    says(plans.to_json(), database)
    assert len(plans.warnings) == len(plan.warnings)
    of_all = replace(plans, of_all=("somebody has removed the index",))
    assert of_all.to_json()["warnings"][0] == "somebody has removed the index"
    assert GroupPlans.from_json(of_all.to_json(), ()).warnings == of_all.warnings
    counted = replace(plan, null_cursors=3, ahead_cursors=5)
    counts = {"null_cursors": 3, "ahead_cursors": 5}
    plans_of_two = GroupPlans("items", Mode.INCREMENTAL, (plan, counted), {})
    assert counts.items() <= plans_of_two.to_json().items()
    assert counts.items() <= GroupOutcomes(plans_of_two, (), {}).to_json().items()
    says(GroupOutcomes(plans, (), {}).to_json(), database)


def test_a_rebuild(runner: Runner, database: Database) -> None:
    """Its plan, and each catching up; the new generation lacks nothing."""
    rebuilder = Rebuilder(run=runner)
    plan = rebuilder.begin("20270101t000000")
    says(plan.to_json(), database, lacks=False)
    rebuilder.copy(plan)
    says(rebuilder.catch_up(plan.generation).to_json(), database, lacks=False)


def test_a_sweep(runner: Runner, database: Database) -> None:
    """Its plan, which is a part of its report."""
    plan, _ = Sweeper(run=runner).plan()
    says(plan.to_json(), database)


def test_the_log_says_no_more(caplog: pytest.LogCaptureFixture) -> None:
    """One line a warning, and who holds the horizon back in one of its own unless a warning says so."""
    with caplog.at_level(logging.WARNING):
        tell("Stream 's'", "the session of pid 7", ["held back by the session of pid 7.", "no index"])
        assert len(caplog.messages) == 2
        tell("Stream 's'", "the session of pid 7", [])
        assert "held back by the session of pid 7" in caplog.messages[-1]
        tell("Stream 's'", None, [])
        assert len(caplog.messages) == 3
