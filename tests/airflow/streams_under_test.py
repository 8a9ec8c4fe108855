"""One stream of the test Dags as its test sees it: the table, the index, the checkpoint, the runs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from command_line import CommandLine
from psycopg import sql

from airflow_reindex_provider.testing.airflow import Airflow
from airflow_reindex_provider.testing.postgres import Database

T = TypeVar("T")

TIMEOUT_S = 800
"""Of every wait: generous, since all tests here share the machine. It is no figure that a test is about."""


def until(look: Callable[[], T | None], what: str) -> T:
    """What `look` finds, as soon as that is true."""
    deadline = time.monotonic() + TIMEOUT_S
    pause_s = 0.3
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        # Many tests look at once, and each look costs Airflow some of the machine.
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.3, 1.5)
    return found


@dataclass(frozen=True)
class Run:
    """A run of a stream's Dag. Task ids are those of a ReindexDag: `extract`, `index`, `checkpoint`."""

    airflow: Airflow
    dag_id: str
    run_id: str
    group: str = ""

    def end(self, expect: str = "success") -> Run:
        """Wait for the run to end in this state."""
        self.airflow.wait_for_run(self.dag_id, self.run_id, timeout_s=TIMEOUT_S, expect=expect)
        return self

    @property
    def shown(self) -> dict[str, Any]:
        """The run as the API shows it."""
        return self.airflow.rest.get(f"/dags/{self.dag_id}/dagRuns/{quote(self.run_id, safe='')}")

    def xcom(self, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        return self.airflow.xcom(self.dag_id, self.run_id, self.group + task_id, key, map_index=map_index)

    def progress(self, map_index: int = 0) -> dict[str, Any] | None:
        return self.xcom("index", "reindex_progress", map_index)

    @property
    def sums(self) -> dict[str, Any]:
        """What the closing task says of the run."""
        return self.xcom("checkpoint", "reindex_run")

    @property
    def window(self) -> tuple[str | None, str]:
        window = self.sums["window"]
        return window["start"] and window["start"]["cursor"], window["end"]["cursor"]

    @property
    def interval(self) -> tuple[datetime, datetime]:
        """A window with both bounds, as points in time."""
        start, end = self.window
        assert start is not None
        return datetime.fromisoformat(start), datetime.fromisoformat(end)

    @property
    def states(self) -> dict[tuple[str, int], str]:
        return {(t["task_id"].removeprefix(self.group), t["map_index"]): t["state"] for t in self.tasks}

    @property
    def tasks(self) -> list[dict[str, Any]]:
        return self.airflow.task_instances(self.dag_id, self.run_id)

    def task(self, task_id: str, map_index: int = -1) -> dict[str, Any]:
        return next(t for t in self.tasks if (t["task_id"], t["map_index"]) == (self.group + task_id, map_index))

    def log(self, task_id: str, map_index: int = -1) -> str:
        return self.airflow.log_of(self.dag_id, self.run_id, self.group + task_id, map_index=map_index)

    def transformed(self, map_index: int) -> list[list[int]]:
        """What the braked transform has seen of one batch: for each try the keys, in order."""
        tries = self.log("index", map_index).split("::group::Pre Execute")[1:]
        return [[int(key) for key in re.findall(r"row (\d+)\.", text)] for text in tries]

    def path(self, task_id: str, map_index: int = -1) -> str:
        """Of the task instance in the REST API."""
        run = quote(self.run_id, safe="")
        mapped = f"/{map_index}" if map_index >= 0 else ""
        return f"/dags/{self.dag_id}/dagRuns/{run}/taskInstances/{self.group}{task_id}{mapped}"


@dataclass(frozen=True)
class StreamUnderTest:
    name: str
    dag_id: str
    airflow: Airflow
    source: Database
    target: Database
    brake: Path
    group: str
    cli: CommandLine

    # -- the table

    def create_table(self) -> None:
        self.at_source(
            "CREATE TABLE {} (id bigint PRIMARY KEY, title text, updated_at timestamptz NOT NULL DEFAULT now())"
        )
        self.at_source("CREATE INDEX ON {} (updated_at, id)")

    def at_source(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run it in a transaction of its own; `{}` is the table."""
        return _rows(self.source, statement, self.name, values)

    def insert(self, ids: Iterable[int], *, title: str = "some", updated_at: str = "now()") -> None:
        """:param updated_at: an SQL expression, which may use `id`."""
        self.at_source(
            f"INSERT INTO {{}} SELECT id, %s, {updated_at} FROM unnest(%s::bigint[]) AS id", title, list(ids)
        )

    def retitle(self, ids: Iterable[int], title: str) -> None:
        self.at_source("UPDATE {} SET title = %s, updated_at = now() WHERE id = ANY(%s)", title, list(ids))

    @property
    def table(self) -> dict[int, str]:
        """Title by id."""
        return dict(self.at_source("SELECT id, title FROM {}"))

    # -- the index

    def at_target(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run it in a transaction of its own; `{}` is the table behind the index."""
        return _rows(self.target, statement, self.generations[-1], values)

    @property
    def index(self) -> dict[int, str]:
        """Title by id, as the public name shows it."""
        return dict(_rows(self.target, "SELECT id, title FROM {}", f"{self.name}_index", ()))

    @property
    def generations(self) -> list[str]:
        query = "SELECT tablename FROM pg_tables WHERE tablename ~ %s ORDER BY 1"
        return [name for (name,) in _rows(self.target, query, "", (f"^{self.name}_index_[0-9t]+$",))]

    # -- the checkpoint

    @property
    def checkpoint_key(self) -> str:
        return f"reindex.{self.name}.{self.generations[-1]}"

    @property
    def checkpoint_text(self) -> str | None:
        return self.airflow.variable(self.checkpoint_key)

    @property
    def checkpoint(self) -> dict[str, Any]:
        assert self.checkpoint_text is not None, f"there is no Variable {self.checkpoint_key}"
        return json.loads(self.checkpoint_text)

    def edit_checkpoint(self, value: str | Mapping[str, Any]) -> None:
        """As a person does it in the UI."""
        text = value if isinstance(value, str) else json.dumps(value)
        self.airflow.rest.patch(f"/variables/{self.checkpoint_key}", {"key": self.checkpoint_key, "value": text})

    # -- its runs

    def start(self, **conf: Any) -> Run:
        return Run(self.airflow, self.dag_id, self.airflow.trigger(self.dag_id, conf=conf), self.group)

    def run(self, **conf: Any) -> Run:
        """A run that must end well."""
        return self.start(**conf).end()

    def backfill(self, first_day: str, last_day: str, *options: str) -> None:
        """`airflow backfill create`, both days included; the Dag must be active."""
        self.airflow.wait_for_dag(self.dag_id)
        self.airflow.pause(self.dag_id, False)
        days = ["--from-date", first_day, "--to-date", last_day]
        self.cli("backfill", "create", "--dag-id", self.dag_id, *days, *options)

    def runs(self, run_type: str) -> list[Run]:
        """By logical date."""
        found = self.airflow.rest.get(f"/dags/{self.dag_id}/dagRuns", run_type=run_type, order_by="logical_date")
        return [Run(self.airflow, self.dag_id, run["dag_run_id"], self.group) for run in found["dag_runs"]]

    # -- the brake, see `dags/streams_for_tests.py`

    def pull_brake(self, seconds: float = 0) -> None:
        self.brake.write_text(str(seconds))

    def release_brake(self) -> None:
        self.brake.unlink()

    def wait_until_held(self) -> None:
        until(self.brake.with_suffix(".held").exists, f"a row of {self.name} to be held")


def _rows(database: Database, statement: str, name: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        cursor = connection.execute(sql.SQL(statement).format(sql.Identifier(name)), values or None)
        return cursor.fetchall() if cursor.description else []
