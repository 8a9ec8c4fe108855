"""A run as it goes on, in the terminal: one bar a task, read over REST."""

from __future__ import annotations

import time
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from airflow_reindex_provider.testing.airflow import Airflow

_REFRESH_S = 0.5
_ORDER = ("extract", "index", "checkpoint")
_STATES = {"success": "completed", "up_for_retry": "failed, to be tried again", None: "waiting", "scheduled": "waiting"}
_ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")


class ProgressView:
    """Context manager: shows the task instances of one run; hand :meth:`update` to ``Airflow.wait_for_run``.

    Whether a task runs is what Airflow says of it; how far it is, its XCom ``reindex_progress``. So a task that has ended
    is never shown as running, whatever it last reported. Without a terminal there is a line for every task that ends.
    """

    def __init__(self, airflow: Airflow, console: Console) -> None:
        self._airflow = airflow
        self._console = console
        self._bars: dict[tuple[str, int], Any] = {}
        self._ended: set[tuple[str, int]] = set()
        self._batches: list[dict[str, Any]] = []
        self._updated_at = 0.0
        self._progress = Progress(
            TextColumn("  {task.description:<12}"),
            BarColumn(40, complete_style="cyan", finished_style="green"),
            TextColumn("{task.fields[rows]:>14}"),
            TextColumn("{task.fields[state]}"),
            TextColumn("[dim]{task.fields[rate]}"),
            console=console,
            auto_refresh=False,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def update(self, run: dict[str, Any]) -> None:
        """Look again, at most twice a second, and once more when the run has ended."""
        over = run["state"] in ("success", "failed")
        if not over and time.monotonic() - self._updated_at < _REFRESH_S:
            return
        tasks = self._airflow.task_instances(run["dag_id"], run["dag_run_id"])
        for task in sorted(tasks, key=lambda task: (_ORDER.index(task["task_id"]), task["map_index"])):
            place = task["task_id"], task["map_index"]
            # Before the plan is there, the mapped task is one instance without an index.
            if place not in self._ended and place != ("index", -1):
                self._show(place, task)
        self._progress.refresh()
        self._updated_at = time.monotonic()

    def _show(self, place: tuple[str, int], task: dict[str, Any]) -> None:
        state, ended = task["state"], task["state"] in _ENDED
        label, total, done, rows, rate = place[0], 1, int(state == "success"), "", ""
        if place[1] >= 0:
            plan = self._plan(task)
            record = self._record(task) if ended or state == "running" else {}
            total, done = record.get("total", plan[place[1]]["rows"]), record.get("processed", 0)
            label, rows = f"index {place[1] + 1}/{len(plan)}", f"{done:,}/{total:,}"
            rate = f"{record['docs_per_s']:,.0f} rows/s" if record.get("docs_per_s") else ""
        shown = _STATES.get(state, state)
        if place not in self._bars:
            self._bars[place] = self._progress.add_task(label, total=total, rows="", state="", rate="")
        self._progress.update(self._bars[place], completed=done, total=total, rows=rows, state=shown, rate=rate)
        if ended:
            self._ended.add(place)
            if not self._console.is_terminal:
                self._console.print(" ".join(filter(None, (" ", label, shown, rows, rate))), highlight=False)

    def _record(self, task: dict[str, Any]) -> dict[str, Any]:
        run = task["dag_id"], task["dag_run_id"]
        found = self._airflow.xcom(*run, task["task_id"], "reindex_progress", map_index=task["map_index"])
        return found or {}

    def _plan(self, task: dict[str, Any]) -> list[dict[str, Any]]:
        """The batches, as planned; the mapped tasks are there only once the plan is."""
        if not self._batches:
            self._batches = self._airflow.xcom(task["dag_id"], task["dag_run_id"], "extract") or []
        return self._batches
