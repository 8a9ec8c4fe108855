"""What the demo shows: a first load, changes around a late transaction, a backfill, searches, and a question."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from rich.console import Console
from rich.table import Table
from rich.text import Text

from airflow_reindex_provider.checkpoints.stored import storage_key
from airflow_reindex_provider.demo.asking import Asking
from airflow_reindex_provider.demo.docs_table import NaiveCursor, change
from airflow_reindex_provider.demo.progress_view import ProgressView
from airflow_reindex_provider.testing.airflow import Airflow
from airflow_reindex_provider.testing.postgres import Database

DAG_ID = "reindex_api_docs"
_WHAT = ("created", "updated", "deleted")
_QUERIES = ("retry backoff", "parse iso date", '"temporary directory" -test')
_SEARCH = """
SELECT package || ' ' || version, qualified_name, split_part(docstring, E'\n', 1), count(*) OVER ()
FROM api_docs_index, websearch_to_tsquery('english', %s) AS q
WHERE search @@ q ORDER BY ts_rank(search, q, 1) DESC, id LIMIT 3
"""


class Story:
    """The acts, in their order. Each checks what it shows.

    :param docs: the source database, with the corpus loaded. :param search: the database of the index.
    """

    def __init__(self, airflow: Airflow, docs: Database, search: Database, console: Console) -> None:
        self._airflow = airflow
        self._docs = docs
        self._search = search
        self._console = console
        self._asking = Asking(airflow, console)
        self._generation = ""
        self._table = _table("run", "window", *_WHAT, "expected", "")
        self._surprises: list[str] = []

    def tell(self) -> None:
        """:raises RuntimeError: a run failed, or brought anything else than the changes before it; says which."""
        with self._docs.connect() as source, self._search.connect() as index:
            self._load_and_change(source)
            self._console.print(self._table)
            self._check(self._differences(source, index) == 0, "the index differs from the table")
            first_load = self._asking.prepare(index)
            self._backfill(source, index)
            self._find(index)
            self._surprises += self._asking.tell(first_load, source, index)
        if self._surprises:
            raise RuntimeError("Not as expected: " + "; ".join(self._surprises))

    def _load_and_change(self, source: psycopg.Connection[Any]) -> None:
        naive = NaiveCursor(source)
        rows = _count(source, "deleted_at IS NULL")
        naive.run()
        self._say("The Dag is unpaused, and Airflow starts its scheduled run: the first load.")
        self._airflow.wait_for_dag(DAG_ID)
        self._airflow.pause(DAG_ID, False)
        self._record("first load", self._first_run(), Counter(created=rows))

        self._say("Rows change. Then a transaction begins, changes rows, and stays open while others begin and commit.")
        with source.transaction():
            early = change(source, share=0, created=30, updated=120, deleted=20)
        self._pass_margin(source)
        with self._docs.connect(application_name="late") as late:
            late.execute("BEGIN")
            belated = change(late, share=1, created=3, updated=7, deleted=2)
            with source.transaction():
                between = change(source, share=2, created=10, updated=80, deleted=5)
            naive.run()
            self._record("while it is open", self._run(), early)
            late.execute("COMMIT")
        self._say("It commits, its rows stamped with the time of its begin.")
        self._pass_margin(source)
        naive.run()
        self._record("after it committed", self._run(), between + belated)
        naive.run()
        self._record("nothing changed", self._run(), Counter())
        with self._search.connect() as index:
            lost, ours = naive.lost(), self._differences(source, index)
        self._check(lost == belated.total(), f"the naive cursor lost {lost} rows, not those {belated.total()}")
        self._table.caption = f"The naive cursor, updated_at > last_run, lost {lost} rows; this lost {ours}."

    def _backfill(self, source: psycopg.Connection[Any], index: psycopg.Connection[Any]) -> None:
        last = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=3)
        days = [last - timedelta(days=2), last - timedelta(days=1), last]
        key = storage_key("reindex", "api_docs", self._generation)
        checkpoint = self._airflow.variable(key)
        delete = sql.SQL("DELETE FROM {} WHERE updated_at >= %s AND updated_at < %s")
        window = [days[0], last + timedelta(days=1)]
        lost = index.execute(delete.format(sql.Identifier(self._generation)), window).rowcount
        dates = ["--from-date", f"{days[0]:%Y-%m-%d}", "--to-date", f"{last:%Y-%m-%d}"]
        command = ["backfill", "create", "--dag-id", DAG_ID, *dates]
        self._say(f"The index loses three days ({lost:,} rows, behind its back): airflow {' '.join(command)}")
        self._airflow.cli(*command)
        runs = self._runs(run_type="backfill", order_by="logical_date")
        self._check(len(runs) == len(days), f"{len(runs)} backfill runs for {len(days)} days")
        self._table = _table("backfill of", "window", *_WHAT, "expected", "")
        for day, run_id in zip(days, runs, strict=False):
            rows = _count(source, "updated_at >= %s AND updated_at < %s", day, day + timedelta(days=1))
            self._record(f"{day:%Y-%m-%d}", self._follow(run_id), Counter(created=rows))
        untouched = self._airflow.variable(key) == checkpoint
        self._check(checkpoint is not None and untouched, "the backfill touched the checkpoint")
        self._check(self._differences(source, index) == 0, "the index differs from the table after the backfill")
        self._table.caption = "The checkpoint is " + ("untouched." if untouched else "another one!")
        self._console.print(self._table)

    def _find(self, index: psycopg.Connection[Any]) -> None:
        self._say("The index is searched.")
        for query in _QUERIES:
            hits = index.execute(_SEARCH, [query]).fetchall()
            self._check(bool(hits), f"no hit for {query!r}")
            self._console.print(Text(f"  {query}: {hits[0][-1] if hits else 0:,} hits", style="cyan"))
            for package, name, text, _ in hits:
                self._console.print(Text(f"    {package}  {name}  {text}"), no_wrap=True, overflow="ellipsis")

    # -- runs

    def _first_run(self) -> dict[str, Any]:
        """The scheduled run, which Airflow makes a moment after the Dag is unpaused."""
        deadline = time.monotonic() + 60
        while not (runs := self._runs()):
            if time.monotonic() > deadline:
                raise RuntimeError(f"Airflow has not scheduled {DAG_ID} within a minute of its being unpaused")
            time.sleep(0.2)
        outcome = self._follow(runs[0])
        self._generation = outcome["generation"]
        return outcome

    def _runs(self, **filters: str) -> list[str]:
        answer = self._airflow.rest.get(f"/dags/{DAG_ID}/dagRuns", **filters)
        return [run["dag_run_id"] for run in answer["dag_runs"]]

    def _run(self) -> dict[str, Any]:
        return self._follow(self._airflow.trigger(DAG_ID))

    def _follow(self, run_id: str) -> dict[str, Any]:
        """Show the run until it ends, and return what its last task says of it."""
        with ProgressView(self._airflow, self._console) as view:
            self._airflow.wait_for_run(DAG_ID, run_id, timeout_s=300, on_poll=view.update)
        return dict(self._airflow.xcom(DAG_ID, run_id, "checkpoint", "reindex_run") or {})

    # -- checks

    def _record(self, name: str, outcome: Mapping[str, Any], expected: Counter[str]) -> None:
        as_expected = all(outcome[what] == expected[what] for what in _WHAT)
        self._check(as_expected, f"run {name!r}")
        window = outcome["window"]
        self._table.add_row(
            name,
            f"{_clock(window['start'])} - {_clock(window['end'])}" if window else "-",
            *(f"{outcome[what]:,}" for what in _WHAT),
            " / ".join(f"{expected[what]:,}" for what in _WHAT),
            "[green]ok" if as_expected else "[red]not so",
        )

    def _differences(self, source: psycopg.Connection[Any], index: psycopg.Connection[Any]) -> int:
        """How many documents are missing in the index, too many, or not in their last state."""
        wanted = source.execute("SELECT id, updated_at, md5(docstring) FROM api_docs WHERE deleted_at IS NULL")
        held = index.execute("SELECT id, updated_at, md5(docstring) FROM api_docs_index")
        return len({row[0] for row in set(wanted.fetchall()) ^ set(held.fetchall())})

    def _check(self, holds: bool, surprise: str) -> None:
        if not holds:
            self._surprises.append(surprise)

    def _pass_margin(self, source: psycopg.Connection[Any]) -> None:
        """Wait until what is committed lies below the horizon, which keeps two seconds behind the oldest transaction."""
        source.execute("SELECT pg_sleep(2.1)")

    def _say(self, text: str) -> None:
        self._console.print(f"\n[bold]{text}")


def _table(*columns: str) -> Table:
    table = Table(caption_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if column in (*_WHAT, "hits") else "left")
    return table


def _count(connection: psycopg.Connection[Any], condition: LiteralString, *arguments: object) -> int:
    row = connection.execute(f"SELECT count(*) FROM api_docs WHERE {condition}", arguments).fetchone()
    return row[0] if row else 0


def _clock(position: Mapping[str, Any] | None) -> str:
    return position["cursor"][5:19] if position else "first row"
