"""Commands that ask the source and the target at once, from this machine."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from typing import Any

from airflow_reindex_provider.cli.ending import MISTAKEN, Ending
from airflow_reindex_provider.cli.finding import database, entry_of, status_of
from airflow_reindex_provider.cli.importing import stream_of
from airflow_reindex_provider.cli.starting import begin, end_of
from airflow_reindex_provider.control.acts import ACTS
from airflow_reindex_provider.control.looking import look as look_at
from airflow_reindex_provider.control.status.records import StreamStatus


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
