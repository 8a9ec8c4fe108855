"""Commands about runs that are under way: end them, and answer what they ask."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

from airflow_reindex_provider.cli.commands import acting
from airflow_reindex_provider.cli.ending import CONFLICT, MISTAKEN, Ending
from airflow_reindex_provider.cli.finding import database, status_of
from airflow_reindex_provider.cli.output import show
from airflow_reindex_provider.cli.who import who
from airflow_reindex_provider.control.status.records import RunState, RunStatus
from airflow_reindex_provider.control.status.streams import RECENT
from airflow_reindex_provider.control.steering import SteeringError, answer, cancel


@acting
def cancel_command(args: Namespace) -> None:
    runs = _runs(args, lambda run: not run.is_over, "is under way", many=args.all)
    with database() as session:
        ended = {run.run_id: cancel(session, run.dag_id, run.run_id, by=who()) for run in runs}
    rows = [{"dag_id": run.dag_id, "run_id": run.run_id, "cancelled": ended[run.run_id]} for run in runs]
    show(rows, rows, args.output)
    if not any(ended.values()):
        raise Ending(CONFLICT, "It was over before it could be cancelled.")


@acting
def approve_command(args: Namespace) -> None:
    _answer(args, approve=True)


@acting
def reject_command(args: Namespace) -> None:
    _answer(args, approve=False)


def _answer(args: Namespace, *, approve: bool) -> None:
    (run,) = _runs(args, lambda run: run.state is RunState.APPROVAL, "waits for an approval")
    try:
        with database() as session:
            task_id = answer(session, run.dag_id, run.run_id, approve=approve, by=who())
    except SteeringError as error:
        raise Ending(CONFLICT, str(error)) from error
    row = {"dag_id": run.dag_id, "run_id": run.run_id, "task_id": task_id, "approved": approve}
    show(row, [row], args.output)


def _runs(args: Namespace, wanted: Callable[[RunStatus], bool], what: str, *, many: bool = False) -> list[RunStatus]:
    """One run, or all of them.

    :raises Ending: there is none, or there are several and nobody said which."""
    with database() as session:
        status = status_of(session, args.stream, newest_runs=RECENT)
    found = [run for run in status.recent if wanted(run) and args.run_id in (None, run.run_id)]
    if not found:
        named = f"Run {args.run_id!r}" if args.run_id else "No run"
        not_so = f"is none that {what}" if args.run_id else what
        raise Ending(
            CONFLICT, f"{named} of stream {args.stream!r} {not_so}: it may be over. See `airflow reindex status`."
        )
    if len(found) > 1 and not many:
        told = "\n".join(f"  {run.run_id} of {run.dag_id}: {run.mode}, {run.state}" for run in found)
        raise Ending(MISTAKEN, f"{len(found)} runs of stream {args.stream!r}: name one.\n{told}")
    return found
