"""Commands that start a run of one of the stream's Dags, and wait for it."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from airflow_reindex_provider.cli.commands import acting
from airflow_reindex_provider.cli.ending import FAILED, MISTAKEN, NOT_YET, Ending, tell
from airflow_reindex_provider.cli.finding import database, entry_of, heard
from airflow_reindex_provider.cli.output import show, show_lines
from airflow_reindex_provider.cli.waiting import wait_for
from airflow_reindex_provider.cli.watching import progress_of
from airflow_reindex_provider.cli.who import who
from airflow_reindex_provider.cli.words import DOINGS, Doing
from airflow_reindex_provider.control.acts import Act
from airflow_reindex_provider.control.status.records import RunState, RunStatus, to_json
from airflow_reindex_provider.control.status.scheduler import scheduler_status
from airflow_reindex_provider.control.steering import Started, start

_OF_COMMAND = {doing.words: doing for doing in DOINGS}


@acting
def act_command(args: Namespace, *, words: tuple[str, ...]) -> None:
    doing = _OF_COMMAND[words]
    given = {name: getattr(args, name) for name in (*doing.properties, *(("dry_run",) if doing.has_dry_run else ()))}
    act, arguments = doing.resolved(given)
    act.checked(arguments)
    if doing.asks and not arguments.get("dry_run"):
        _ask(args, doing, act, arguments)
    started = begin(args.stream, act, arguments, waits=not args.no_wait)
    if args.no_wait:
        _show_started(args, started)
        return
    run = end_of(args, started)
    show_lines({"created": started.created, **to_json(run)}, lines_of(run), args.output)


def begin(stream: str, act: Act, arguments: dict[str, Any], *, waits: bool) -> Started:
    """A run that does it, or the one that does it already.

    :raises Ending: there is no such stream; its Dag does not take this; no scheduler is there to wait for."""
    conf = act.conf(arguments)
    with database() as session:
        entry = entry_of(session, stream)
        scheduler = scheduler_status(session)
        if waits and not scheduler.alive:
            raise Ending(
                NOT_YET,
                f"No scheduler of Airflow is alive ({heard(scheduler)}), so no run would begin; none was made. Start"
                " `airflow scheduler`, or give --no-wait to have the run begin once one is there.",
            )
        started = start(session, entry, act.role, conf, by=who())
    if not started.created:
        tell(f"Run {started.run_id!r} of Dag {started.dag_id!r} does that already.")
    return started


def end_of(args: Namespace, started: Started) -> RunStatus:
    """The run once it has ended well.

    :raises Ending: it has not; or it is not over in time."""
    run = wait_for(args.stream, started, timeout_s=args.timeout, progress=progress_of)
    if run.state is RunState.COMPLETED:
        return run
    tasks = [f"{batch.label}: {batch.message}" for batch in run.batches if batch.status == "failed" and batch.message]
    why = run.reason or run.message or "its log may say why."
    more = "".join(f"\n  {text}" for text in tasks if text.partition(": ")[2] != why)
    raise Ending(FAILED, f"Run {run.run_id!r} of Dag {run.dag_id!r} is {run.state}: {why}{more}")


def lines_of(run: RunStatus) -> list[str]:
    """What came of it, for people."""
    result = run.result or {}
    lines = [str(line) for line in (*(result.get("lines") or ()), *filter(None, [result.get("ddl")]))]
    return lines or [run.message or "Done."]


def _ask(args: Namespace, doing: Doing, act: Act, arguments: dict[str, Any]) -> None:
    """:raises Ending: a person says no, or there is none to ask."""
    if args.yes:
        return
    if doing.lists_first:
        listed = end_of(args, begin(args.stream, act, {**arguments, "dry_run": True}, waits=True))
        for line in lines_of(listed):
            tell(line)
    if not sys.stdin.isatty():
        raise Ending(MISTAKEN, "Nothing was done: there is nobody to ask. Give --yes to do it without a question.")
    tell(doing.asks.format(stream=args.stream))
    if input("[y/N] ").strip().lower() not in ("y", "yes"):
        raise Ending(FAILED, "Nothing was done.")


def _show_started(args: Namespace, started: Started) -> None:
    record = {"dag_id": started.dag_id, "run_id": started.run_id, "created": started.created}
    show(record, [record], args.output)
