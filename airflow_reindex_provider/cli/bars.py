"""Streams and runs as a terminal shows them while they move."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from airflow_reindex_provider.cli.figures import behind, count, moment, part, printable, span
from airflow_reindex_provider.control.status.records import RunStatus, StreamStatus
from airflow_reindex_provider.core.progress import utc_now

_BAR_WIDTH = 30
_MOST_BATCHES = 20
_STYLES = {
    "failing": "red",
    "failed": "red",
    "retrying": "yellow",
    "behind": "yellow",
    "waiting for approval": "yellow",
    "paused": "dim",
    "cancelled": "dim",
    "running": "cyan",
    "completed": "green",
}
_FIRST = ("failed", "retrying", "running", "pending")
"""Of batches, where there are more than can be shown."""


def render_streams(streams: Sequence[StreamStatus], note: str = "") -> RenderableType:
    table = Table(box=None, pad_edge=False, expand=False)
    for name in ("stream", "state", "behind", "under way", "", "message"):
        table.add_column(name, overflow="ellipsis", no_wrap=True)
    for status in streams:
        run = status.run
        bar: RenderableType = _bar(run.progress) if run else ""
        table.add_row(
            Text(status.name),
            _state(status.state),
            behind(status),
            bar,
            _figures(run) if run else "",
            Text(status.message),
        )
    return Group(table, _foot(note))


def render_stream(status: StreamStatus, note: str = "") -> RenderableType:
    """With the batches of the run that is under way."""
    head = Text.assemble((status.name, "bold"), "  ", _state(status.state), f"  behind {behind(status)}")
    parts: list[RenderableType] = [head, _said(f"{status.source} to {status.target}", "dim")]
    parts.append(render_run(status.run) if status.run else _said(status.message))
    return Group(*parts, _foot(note))


def render_run(run: RunStatus) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_row(_said(f"{run.mode} {run.run_id}"), _state(run.state), _bar(run.progress), _figures(run))
    table.add_row(_said(run.reason or run.message, "dim"))
    batches = sorted(run.batches, key=lambda b: _FIRST.index(b.status) if b.status in _FIRST else len(_FIRST))
    lines = Table.grid(padding=(0, 2))
    for batch in batches[:_MOST_BATCHES]:
        done = batch.processed / batch.total if batch.total else 1.0 if batch.status == "completed" else None
        figures = f"{count(batch.processed)} of {count(batch.total)}"
        lines.add_row(_said(f"  {batch.label}"), _state(batch.status), _bar(done), figures, _said(batch.message, "dim"))
    more = len(batches) - _MOST_BATCHES
    return Group(table, lines, *([Text(f"  and {more} more", style="dim")] if more > 0 else []))


def line_of(run: RunStatus) -> str:
    """For a terminal that cannot draw."""
    figures = _figures(run)
    return f"Run {run.run_id} of {run.dag_id}: {run.state}" + (f", {figures}" if figures else "")


def _said(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style)


def _state(state: str) -> Text:
    return Text(str(state), style=_STYLES.get(str(state), ""))


def _bar(progress: float | None) -> RenderableType:
    return ProgressBar(total=1.0, completed=progress or 0.0, width=_BAR_WIDTH)


def _figures(run: RunStatus) -> str:
    """Empty before anything is known."""
    figures = [] if run.progress is None else [part(run.progress)]
    if run.total_count:
        figures.append(f"{run.indexed_count:,} of {run.total_count:,}")
    if run.docs_per_s:
        figures.append(f"{run.docs_per_s:,.0f} docs/s")
    if run.eta_ms is not None:
        figures.append(f"{span(run.eta_ms / 1000)} left")
    return ", ".join(figures)


def _foot(note: str) -> Text:
    return Text(f"{moment(utc_now())} UTC{'. ' + note if note else ''}", style="dim")
