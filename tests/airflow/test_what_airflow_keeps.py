"""Records of finished runs: they are Airflow's own, and go by its own clean-up."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from airflow_reindex_provider.testing.airflow import Airflow
from airflow_reindex_provider.testing.postgres import EmbeddedPostgres

_PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
_OF_THE_DAG = {
    "asset_dag_run_queue",
    "dag",
    "dag_bundle",
    "dag_code",
    "dag_favorite",
    "dag_owner_attributes",
    "dag_schedule_asset_reference",
    "dag_tag",
    "dag_version",
    "dag_warning",
    "serialized_dag",
    "task_inlet_asset_reference",
    "task_outlet_asset_reference",
}
"""Tables that say what the Dag is, of which no run leaves a row."""
_BY_TIME_ALONE = {"asset_event"}
"""Told of Dags, Airflow's clean-up looks for a column there that it has under another name, warns, and leaves it."""


@pytest.mark.overlaps
def test_what_finished_runs_leave_goes_by_airflows_clean_up(stream, airflow: Airflow, postgres: EmbeddedPostgres):
    """By the two commands of the docs: the newest runs stay, of those before them nothing does, in whatever table; and the stream
    goes on as if nothing had been there."""
    items = stream("kept")
    items.insert([1, 2, 3])
    items.run()
    items.insert([4])
    items.run()
    newest = items.run()
    reached = newest.window[1]
    choose, clean = _commands()

    # The docs' hundred, as one.
    listed = items.cli("dags", "list-runs", items.dag_id, "--output", "json").out
    words = [sys.executable if word == "python3" else word.replace("-100:", "-1:") for word in choose]
    since = subprocess.run(words, input=listed, capture_output=True, text=True, check=True).stdout.strip()
    items.cli(*_with(clean, since, items.dag_id))
    assert [run["dag_run_id"] for run in airflow.rest.get(f"/dags/{items.dag_id}/dagRuns")["dag_runs"]] == [
        newest.run_id
    ]
    assert items.cli.reindex("status", "kept", "--output", "json").json
    left = _rows(postgres, items.dag_id)
    assert left["xcom"]

    items.cli(*_with(clean, "2100-01-01", items.dag_id))
    assert set(_rows(postgres, items.dag_id)) <= _OF_THE_DAG | _BY_TIME_ALONE
    assert items.cli.reindex("status", "kept", "--output", "json").json

    items.insert([5])
    after = items.run()
    assert after.sums["created"] == 1
    assert after.window[0] == reached
    assert items.index == items.table


def _commands() -> tuple[list[str], list[str]]:
    """Of the page: what chooses the time, from the runs as Airflow lists them, and the clean-up."""
    page = _PAGE.read_text()
    chosen = re.search(r"^since=\$\(airflow dags list-runs \S+ --output json \|\s*\\?\s*(.+)\)$", page, re.M)
    clean = re.search(r"^airflow (db clean .+)$", page, re.M)
    assert chosen
    assert clean
    return shlex.split(chosen[1]), shlex.split(clean[1])


def _with(clean: list[str], since: str, dag_id: str) -> list[str]:
    values = {"--clean-before-timestamp": since, "--dag-ids": dag_id}
    return [values.get(before, word) for before, word in zip(["", *clean], clean, strict=False)]


def _rows(postgres: EmbeddedPostgres, dag_id: str) -> dict[str, int]:
    """Of each table of Airflow's that names the Dag: how many rows do, where some do."""
    found = {}
    with psycopg.connect(postgres.dsn("airflow")) as metadata:
        columns = metadata.execute(
            "SELECT table_name, column_name FROM information_schema.columns JOIN information_schema.tables"
            " USING (table_schema, table_name) WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
            " AND column_name IN ('dag_id', 'source_dag_id', 'target_dag_id')"
        ).fetchall()
        for table, column in columns:
            query = sql.SQL("SELECT count(*) FROM {} WHERE {} = %s").format(
                sql.Identifier(table), sql.Identifier(column)
            )
            row = metadata.execute(query, [dag_id]).fetchone()
            if row and row[0]:
                found[table] = row[0]
    return found
