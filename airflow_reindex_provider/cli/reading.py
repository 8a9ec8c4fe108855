"""Commands that say how streams are, from Airflow's metadata database alone."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from airflow_reindex_provider.cli.commands import showing
from airflow_reindex_provider.cli.ending import CONFLICT, MISTAKEN, Ending, tell
from airflow_reindex_provider.cli.figures import NOTHING, behind, count, moment, part, row, size, span, under_way
from airflow_reindex_provider.cli.finding import database, status_of, tell_of_the_scheduler
from airflow_reindex_provider.cli.options import key_text
from airflow_reindex_provider.cli.output import show, show_tables
from airflow_reindex_provider.control.status.records import RunStatus, StreamStatus, to_json
from airflow_reindex_provider.control.status.streams import RECENT, list_status

_RUNS_SHOWN = 5


@showing
def list_command(args: Namespace) -> None:
    found = look_at_all(state=args.state, match=args.match)
    if not found and args.state is None and args.match is None:
        tell(
            "No Dag that Airflow knows carries a stream: it is known once its Dag file has been parsed. See `airflow dags"
            " list-import-errors`, and `airflow reindex check --file PATH` for a file that Airflow has not met."
        )
    show([to_json(status) for status in found], [row(status) for status in found], args.output)


@showing
def status_command(args: Namespace) -> None:
    if args.watch and args.exact:
        raise Ending(MISTAKEN, "--watch looks at what Airflow knows, --exact at the source: give one of them.")
    if args.watch:
        from airflow_reindex_provider.cli.watching import watch

        watch(args.stream, every_s=args.every, output=args.output)
    elif args.exact:
        from airflow_reindex_provider.cli.looking import look

        _show(look(args), args.output)
    elif args.stream is None:
        found = look_at_all()
        show([to_json(status) for status in found], [row(status) for status in found], args.output)
    else:
        with database() as session:
            tell_of_the_scheduler(session)
            status = status_of(session, args.stream)
        _show(status, args.output)


def _show(status: StreamStatus, output: str) -> None:
    show_tables(to_json(status), [table for table in _tables(status) if table], output)


@showing
def parked_command(args: Namespace) -> None:
    status = _standing(args.stream)
    parked: Mapping[str, Any] = status.parked or {"count": 0, "documents": []}
    documents = parked["documents"]
    rows = [
        {
            **({"group": document["group"]} if "group" in document else {}),
            "key": key_text(document["key"]),
            "reason": document["reason"],
            "attempts": document["attempts"],
            "parked at": moment(document["parked_at"]),
            "next try": moment(document["next_try_at"]),
        }
        for document in documents
    ]
    show(documents, rows, args.output)
    if parked["count"] > len(documents):
        tell(f"{len(documents):,} of {parked['count']:,} are shown: those that are tried next.")


@showing
def checkpoint_command(args: Namespace) -> None:
    if (status := _standing(args.stream)).has_groups:
        _show_groups(status, args.output)
        return
    checkpoint = status.checkpoint
    if checkpoint is None:
        raise Ending(CONFLICT, f"Stream {args.stream!r} has no checkpoint yet: its first run makes one.")
    told = {**checkpoint, "key": key_text(checkpoint["key"]) if checkpoint["key"] else NOTHING}
    show(checkpoint, _facts(told), args.output)


@showing
def generations_command(args: Namespace) -> None:
    status = _standing(args.stream)
    generations, looked = status.generations, status.freshness.looked or {}
    since = looked.get("generations") or {}
    rows = [
        {
            **({"group": generation["group"]} if "group" in generation else {}),
            "generation": generation["name"],
            "state": "live" if generation["live"] else "served before" if generation["served"] else "never served",
            "made at": moment(generation["made_at"]),
            "documents": ("about " if generation["documents_estimated"] else "") + count(generation["documents"]),
            "size": size(generation["bytes"]),
            **({"changes since": count(since.get(generation["name"]))} if since else {}),
        }
        for generation in generations
    ]
    show(list(generations), rows, args.output)
    if since:
        tell(f"Changes since, which a roll-back reads again first: as looked at {moment(looked['at'])} UTC.")


def look_at_all(*, state: str | None = None, match: str | None = None) -> list[StreamStatus]:
    with database() as session:
        tell_of_the_scheduler(session)
        found = list_status(session)
    return [s for s in found if state in (None, s.state) and (not match or _matches(s, match.lower()))]


def _matches(status: StreamStatus, text: str) -> bool:
    return any(text in name.lower() for name in (status.name, status.source, status.target))


def _standing(stream: str) -> StreamStatus:
    """With what closing tasks have published of it. Says how old that is."""
    with database() as session:
        status = status_of(session, stream, newest_runs=RECENT)
    if status.standing_at is None:
        tell(f"No run of {stream!r} has said yet how it stands: `airflow reindex refresh {stream}` asks for it.")
    else:
        tell(f"As of {moment(status.standing_at)} UTC; `airflow reindex refresh {stream}` looks again.")
    return status


def _tables(status: StreamStatus) -> list[list[dict[str, Any]]]:
    checkpoint = status.checkpoint or {}
    held = f", held back by {status.held_by}" if status.held_by else ""
    facts = {
        "stream": status.name,
        "state": status.state,
        "message": status.message,
        "from": status.source,
        "to": f"{status.target}, {status.guarantee}",
        "behind": behind(status),
        **_looked(status.freshness.looked),
        "horizon": f"{status.horizon or NOTHING}{held}",
        "checkpoint": checkpoint.get("cursor") or NOTHING,
        "documents": count(status.documents),
        "parked": count(status.parked["count"] if status.parked else None),
        "under way": under_way(status.run),
        "held by": f"{status.lease['purpose']} of {status.lease['holder']}" if status.lease else NOTHING,
        "Dags": ", ".join(
            f"{dag.dag_id} ({'paused' if dag.paused else dag.schedule or 'by hand'})" for dag in status.dags
        ),
        **{f"warning {number}": text for number, text in enumerate(status.warnings, 1)},
    }
    return [
        _facts(facts),
        _groups(status),
        _batches(status.run),
        [_run_row(run) for run in status.recent[:_RUNS_SHOWN]],
    ]


def _looked(looked: Mapping[str, Any] | None) -> dict[str, Any]:
    if looked is None:
        return {}
    return {f"looked at {moment(looked['at'])} UTC": " ".join(looked["lines"])}


def _show_groups(status: StreamStatus, output: str) -> None:
    tell(f"Stream {status.name!r} has groups: of each, what the last run said that met it.")
    show(status.groups or {}, _groups(status), output)


def _groups(status: StreamStatus) -> list[dict[str, Any]]:
    """Those that have failed first."""
    told = sorted((status.groups or {}).items(), key=lambda item: (item[1]["status"] == "completed", item[0]))
    return [
        {
            "group": value,
            "state": group["status"],
            "generation": group["generation"],
            "parked": count(group["parked"]),
            "checkpoint": (group["checkpoint_after"] or {}).get("cursor", NOTHING),
        }
        for value, group in told
    ]


def _facts(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"what": name, "is": value} for name, value in facts.items()]


def _batches(run: RunStatus | None) -> list[dict[str, Any]]:
    return [
        {
            "batch": batch.label,
            "state": batch.status,
            "done": count(batch.processed),
            "of": count(batch.total),
            "docs/s": count(None if batch.docs_per_s is None else round(batch.docs_per_s)),
            "message": batch.message,
        }
        for batch in (run.batches if run else ())
    ]


def _run_row(run: RunStatus) -> dict[str, Any]:
    took = (run.ended_at - run.started_at).total_seconds() if run.started_at and run.ended_at else None
    return {
        "run": run.run_id,
        "Dag": run.dag_id,
        "does": run.mode + (", dry run" if run.dry_run else ""),
        "state": run.state,
        "began": moment(run.started_at),
        "took": span(took),
        "done": part(run.progress),
        "message": run.reason or run.message,
    }
