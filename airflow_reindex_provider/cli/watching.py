"""What moves, live: until Ctrl-C, or until a run has ended."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live

from airflow_reindex_provider.cli.bars import line_of, render_run, render_stream, render_streams
from airflow_reindex_provider.cli.ending import tell
from airflow_reindex_provider.cli.figures import printable, row
from airflow_reindex_provider.cli.finding import database, heard, patiently, status_of
from airflow_reindex_provider.control.status.records import RunStatus, StreamState, StreamStatus, to_json
from airflow_reindex_provider.control.status.scheduler import scheduler_status
from airflow_reindex_provider.control.status.streams import RECENT, list_status

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_STEPS = 10
"""Parts of a run that are told where no bar can be drawn."""


def watch(stream: str | None, *, every_s: float, output: str) -> None:
    """One stream with its batches, or all. With ``json`` and ``yaml``, and where no terminal is, only what has changed: a line
    each."""
    console = Console(emoji=False)
    try:
        if output == "table" and console.is_terminal:
            with Live(console=console, auto_refresh=False) as live:
                for streams, note in _looks(stream, every_s):
                    shown = render_streams(streams, note) if stream is None else render_stream(streams[0], note)
                    live.update(shown, refresh=True)
        else:
            _print_changes(stream, every_s, output)
    except KeyboardInterrupt:
        pass


def _print_changes(stream: str | None, every_s: float, output: str) -> None:
    told: dict[str, Any] = {}
    for streams, _ in _looks(stream, every_s):
        for status in streams:
            moved = _what_moves(status)
            if told.get(status.name) != moved:
                told[status.name] = moved
                print(_said(status, output), flush=True)


def _what_moves(status: StreamStatus) -> Any:
    """Without how old it may be by now, which the clock alone changes."""
    record = to_json(status)
    record["freshness"].pop("at_most_s")
    if status.state is StreamState.BEHIND:
        record.pop("message")
    return record


def _said(status: StreamStatus, output: str) -> str:
    if output in ("json", "yaml"):
        return json.dumps(to_json(status), ensure_ascii=False)
    figures = row(status)
    return printable(f"{status.name}: {figures['state']}, {figures['under way']}. {figures['message']}")


def _looks(stream: str | None, every_s: float) -> Iterator[tuple[list[StreamStatus], str]]:
    """What is, again and again, and what is to be said besides."""

    def look(session: Session) -> tuple[list[StreamStatus], str]:
        scheduler = scheduler_status(session)
        note = "" if scheduler.alive else f"No scheduler of Airflow is alive: {heard(scheduler)}."
        if stream is None:
            return list_status(session), note
        return [status_of(session, stream, newest_runs=RECENT)], note

    with database() as session:
        seen = look(session)
    while True:
        yield seen
        time.sleep(every_s)
        seen = patiently(look)


@contextmanager
def progress_of() -> Iterator[Callable[[RunStatus], None]]:
    """Shows a run on stderr: bars on a terminal, else a line now and then."""
    if sys.stderr.isatty():
        with Live(console=Console(stderr=True, emoji=False), auto_refresh=False, transient=True) as live:
            yield lambda run: live.update(render_run(run), refresh=True)
        return
    told: list[Any] = [None]

    def say(run: RunStatus) -> None:
        step = (run.state, int((run.progress or 0.0) * _STEPS))
        if step != told[0]:
            told[0] = step
            tell(line_of(run))

    yield say
