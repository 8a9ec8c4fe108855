"""Commands that ask the source and the target: at once, from this machine, or by a task."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from airflow_reindex_provider.cli.commands import showing
from airflow_reindex_provider.cli.ending import FAILED, MISTAKEN, Ending, tell
from airflow_reindex_provider.cli.filing import SUFFIXES, streams_of_file
from airflow_reindex_provider.cli.finding import database, entry_of, status_of
from airflow_reindex_provider.cli.importing import named, stream_of, streams_in
from airflow_reindex_provider.cli.output import show
from airflow_reindex_provider.cli.starting import begin, end_of
from airflow_reindex_provider.control.acts import ACTS
from airflow_reindex_provider.control.checking import findings, worst
from airflow_reindex_provider.control.looking import look as look_at
from airflow_reindex_provider.control.status.catalogue import list_streams
from airflow_reindex_provider.control.status.records import StreamStatus
from airflow_reindex_provider.core.errors import ReindexError
from airflow_reindex_provider.core.findings import wrong
from airflow_reindex_provider.core.model import Level
from airflow_reindex_provider.stream import Stream

Checked = dict[str, Any]
"""``stream``, ``worst`` and ``findings``."""


def look(args: Namespace) -> StreamStatus:
    """A stream's status with how fresh it is exactly.

    :raises Ending: nobody said which, or its Dag file cannot be had here. :raises ReindexError: the source does not tell."""
    if args.stream is None:
        raise Ending(MISTAKEN, "--exact asks one source: name the stream.")
    looked: dict[str, Any] | None = None
    if args.as_run:
        end_of(args, begin(args.stream, ACTS["look"], {}, waits=True))
    else:
        with database() as session:
            stream = stream_of(session, entry_of(session, args.stream), args.file)
        looked = look_at(stream)
    with database() as session:
        status = status_of(session, args.stream)
    return status if looked is None else replace(status, freshness=replace(status.freshness, looked=looked))


@showing
def check_command(args: Namespace) -> None:
    if args.as_run and args.file:
        raise Ending(
            MISTAKEN, "--as-run takes the streams that Airflow knows, --file those of a file: give one of them."
        )
    checked = list(_of_file(args) if args.file else _of_airflow(args))
    rows = [
        {"stream": found["stream"], "level": finding["level"], "what": finding["what"], "says": finding["says"]}
        for found in checked
        for finding in found["findings"]
    ]
    show(checked, rows, args.output)
    if bad := [found["stream"] for found in checked if found["worst"] == Level.WRONG]:
        raise Ending(FAILED, f"Something is wrong with {', '.join(bad)}.")


def _of_file(args: Namespace) -> Iterator[Checked]:
    if Path(args.file).suffix in SUFFIXES:
        yield from _of_streams_file(args)
        return
    found = streams_in(Path(args.file))
    if not found:
        raise Ending(MISTAKEN, f"No Dag in {args.file} carries a stream.")
    for name in args.streams or found:
        yield _checked(named(found, name, args.file))


def _of_streams_file(args: Namespace) -> Iterator[Checked]:
    """Of those that are not enabled only what is named: `init` writes them for a person to finish."""
    found = {one.name: one for one in streams_of_file(Path(args.file), args.overlay or ())}
    rest = [name for name, one in found.items() if not one.enabled]
    if rest and not args.streams:
        tell(f"Not enabled, and not looked at: {', '.join(rest)}. Name one of them to have it checked.")
    for name in args.streams or (name for name in found if name not in rest):
        if name not in found:
            raise Ending(MISTAKEN, f"No stream {name!r} is in {args.file}: it has {', '.join(found) or 'none'}.")
        if (stream := found[name].stream) is not None:
            yield _checked(stream)
        else:
            told = [wrong("file", str(problem)) for problem in found[name].problems]
            yield {"stream": name, "worst": str(worst(told)), "findings": [finding.to_json() for finding in told]}


def _of_airflow(args: Namespace) -> Iterator[Checked]:
    with database() as session:
        entries = list_streams(session)
        wanted = [entry_of(session, name) for name in args.streams] or list(entries.values())
    if not wanted:
        raise Ending(MISTAKEN, "No Dag that Airflow knows carries a stream. Name a Dag file with --file.")
    for entry in wanted:
        # One that cannot be looked at leaves the others theirs.
        try:
            if args.as_run:
                yield _by_run(args, entry.name)
            else:
                with database() as session:
                    stream = stream_of(session, entry, None)
                yield _checked(stream)
        except (Ending, ReindexError) as error:
            finding = wrong("run" if args.as_run else "Dag file", str(error))
            yield {"stream": entry.name, "worst": str(finding.level), "findings": [finding.to_json()]}


def _by_run(args: Namespace, name: str) -> Checked:
    run = end_of(Namespace(stream=name, timeout=args.timeout), begin(name, ACTS["check"], {}, waits=True))
    result = run.result or {}
    return {"stream": name, "worst": result["worst"], "findings": result["findings"]}


def _checked(stream: Stream) -> Checked:
    tell(f"Checks {stream.name}.")
    found = findings(stream)
    return {"stream": stream.name, "worst": str(worst(found)), "findings": [finding.to_json() for finding in found]}
