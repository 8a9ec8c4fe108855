"""Rows that no window reaches: they are counted and said, by runs and by sweeps, at the cost of an index range."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_reindex_provider.core.model import Mode, Plan
from airflow_reindex_provider.core.sweeping.records import SweepPlan
from airflow_reindex_provider.core.windows import Request
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.sources.postgres import horizon as horizons
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper

KINDS = {"timestamptz": "now()", "timestamp": "now()::timestamp", "date": "current_date"}
AHEAD = {
    "timestamptz": ["now() + interval '10 min'", "'2062-01-01'", "'infinity'"],
    "timestamp": ["now()::timestamp + interval '2 h'", "'2062-01-01'", "'infinity'"],
    "date": ["current_date + 3", "'2062-01-01'", "'infinity'"],
}
IN_TIME = {
    "timestamptz": ["now() + interval '1 min'"],
    "timestamp": ["now()::timestamp + interval '59 min'"],
    "date": ["current_date", "current_date + 1"],
}


def made(database: Database, kind: str, *values: str, indexed: bool = True) -> Runner:
    with database.connect() as db:
        db.execute(f"CREATE TABLE items (id int PRIMARY KEY, changed {kind} NOT NULL)")
        if indexed:
            db.execute("CREATE INDEX ON items (changed, id)")
        for number, value in enumerate((f"{KINDS[kind]} - interval '3 d'", *values)):
            db.execute(f"INSERT INTO items VALUES ({number}, {value})")
    source = PostgresSource(
        database.conn_id,
        table="items",
        primary_key="id",
        cursor_field="changed",
        cursor_timezone=None if kind == "timestamptz" else "UTC",
        margin=timedelta(0),
    )
    return Runner(source=source, target=PostgresTarget(database.conn_id, index="items_index"))


def out_of_reach(plan: Plan) -> list[str]:
    return [w for w in plan.warnings if "ahead of the source's clock" in w or "'-infinity'" in w]


@pytest.mark.parametrize("kind", list(KINDS))
def test_rows_ahead_of_the_clock_are_counted_and_said(database: Database, kind: str) -> None:
    """In a first load and in every later run that has a window; those that clocks can explain are not: time brings them."""
    run = made(database, kind, *AHEAD[kind], *IN_TIME[kind])

    first, later = run.run(), run.run()

    for outcome in (first, later) if later.plan.window else (first,):
        assert outcome.plan.ahead_cursors == len(AHEAD[kind])
        (warning,) = out_of_reach(outcome.plan)
        assert f"{len(AHEAD[kind])} rows" in warning
        assert outcome.to_json()["ahead_cursors"] == len(AHEAD[kind])
    assert Plan.from_json(first.plan.to_json(), [b.to_json() for b in first.plan.batches]) == first.plan


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp"])
def test_minus_infinity_is_read_by_a_load_and_said_by_later_runs(database: Database, kind: str) -> None:
    """No checkpoint lies before it, so a row that gets it later is reached by nothing but a sweep."""
    run = made(database, kind, "'-infinity'")
    first = run.run()
    with database.connect() as db:
        db.execute("INSERT INTO items VALUES (7, '-infinity')")

    later = run.run()

    assert (first.counts.created, out_of_reach(first.plan)) == (2, [])
    assert later.counts.created == 0
    (warning,) = out_of_reach(later.plan)
    assert "2 rows have the cursor value '-infinity'" in warning
    assert Sweeper(run=run).sweep()[1].counts.created == 1


def test_without_an_index_a_load_counts_and_later_runs_do_not(database: Database) -> None:
    """Counting would read the whole table each time; the plan says that nobody counted."""
    run = made(database, "timestamptz", "'infinity'", indexed=False)

    first, later = run.run(), run.run()

    assert (first.plan.ahead_cursors, later.plan.ahead_cursors) == (1, None)
    assert (len(out_of_reach(first.plan)), out_of_reach(later.plan)) == (1, [])


def test_a_plan_counts_up_to_a_thousand(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, no more of the index is read; more are said to be more."""
    run = made(database, "timestamptz")
    with database.connect() as db:
        db.execute("INSERT INTO items SELECT n, 'infinity' FROM generate_series(1001, 4000) n")

    plan = run.plan()

    assert plan.ahead_cursors == 1000
    assert "1,000 rows or more" in out_of_reach(plan)[0]
    backfill = run.plan(Request(Mode.BACKFILL, "2020-01-01", "2020-01-02"))
    assert backfill.ahead_cursors == 1000


def test_a_sweep_says_what_it_has_not_judged(database: Database) -> None:
    """All of them, in its plan, which is part of its report, and whose warnings stand in the log."""
    run = made(database, "timestamptz", "'2062-01-01'", "'infinity'")
    run.run()
    with database.connect() as db:
        db.execute("ALTER TABLE items ALTER changed DROP NOT NULL")
        db.execute("INSERT INTO items VALUES (9, NULL)")

    plan, _ = Sweeper(run=run).plan()

    assert (plan.null_cursors, plan.ahead_cursors) == (1, 2)
    assert "1 rows without a cursor value and 2 rows that are ahead" in plan.warnings[-1]
    assert SweepPlan.from_json(plan.to_json()) == plan


def test_who_holds_the_horizon_back_stands_in_the_plan(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a monitor reads says what the log says, also while older rows are still read."""
    run = made(database, "timestamptz")
    with database.connect(application_name="batch job") as holder, holder.transaction():
        holder.execute("SELECT 1")
        assert run.plan().held_by is None
        monkeypatch.setattr(horizons, "NAMED_AFTER_S", 0.0)
        outcome = run.run()
        pid = str(holder.info.backend_pid)
    assert outcome.counts.created == 1
    for text in (pid, "batch job", "idle in transaction"):
        assert text in (outcome.plan.held_by or "")
        assert text in outcome.plan.warnings[0]
    assert outcome.to_json()["held_by"] == outcome.plan.held_by
