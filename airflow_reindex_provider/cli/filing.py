"""Commands about files of streams, and the doctor's way into one. Nothing here asks Airflow's database."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from airflow_reindex_provider.checkpoints.asset import AssetCheckpoint
from airflow_reindex_provider.checkpoints.variable import VariableCheckpoint
from airflow_reindex_provider.cli.commands import showing
from airflow_reindex_provider.cli.ending import MISTAKEN, Ending, tell
from airflow_reindex_provider.core.errors import ReindexError
from airflow_reindex_provider.core.findings import ok, wrong
from airflow_reindex_provider.core.model import Finding
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.sources.postgres.proposing import propose
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.streamfile.kinds import TARGET, kinds_of
from airflow_reindex_provider.streamfile.problems import Problem
from airflow_reindex_provider.streamfile.proposing import file_of, source_of, sql_of
from airflow_reindex_provider.streamfile.reading import read_file
from airflow_reindex_provider.streamfile.schema import file_schema

SUFFIXES = (".yaml", ".yml")


class UnaskedVariables(VariableCheckpoint):
    """The checkpoints in Variables, of which a file says nothing: none is known."""

    def _text(self, key: str) -> str | None:
        return None

    def check(self) -> Iterator[Finding]:
        yield ok("store", "Airflow's Variables, which were not asked for.")


@dataclass(frozen=True)
class UnaskedAssets(AssetCheckpoint):
    """The same of those in an asset's state."""

    def check(self) -> Iterator[Finding]:
        yield ok("store", f"The state of asset {self.name!r}, which was not asked for.")


@dataclass(frozen=True)
class OfFile:
    """A stream of a file, or what is wrong with it. :ivar enabled: whether it has Dags."""

    name: str
    stream: Stream | None
    problems: tuple[Problem, ...]
    enabled: bool = True


def streams_of_file(path: Path, overlays: Sequence[Path]) -> Iterator[OfFile]:
    """Each stream, and what is wrong with the Dags of all.

    :raises StreamFileError: something is wrong that no stream has caused alone."""
    file = read_file(path, overlays)
    for entry in file.entries:
        yield OfFile(entry.name, entry.stream and _unasked(entry.stream), entry.problems, entry.enabled)
    yield from (OfFile(entry.name, None, entry.problems) for entry in file.of_all if entry.problems)


def _unasked(stream: Stream) -> Stream:
    store = stream.checkpoint
    if isinstance(store, VariableCheckpoint):
        return replace(stream, checkpoint=UnaskedVariables(store.prefix))
    return replace(stream, checkpoint=UnaskedAssets(store.asset)) if isinstance(store, AssetCheckpoint) else stream


@showing
def schema_command(args: Namespace) -> None:
    print(json.dumps(file_schema(), indent=1, ensure_ascii=False))


@showing
def init_command(args: Namespace) -> None:
    file, statements = _proposed(args.conn, args.schema, args.target_conn)
    if args.write is None:
        print(file, end="")
        if statements:
            tell(f"This is missing, in SQL:\n\n{statements}")
        return
    path = Path(args.write)
    sql, schema = path.with_suffix(".sql"), path.with_name("reindex.schema.json")
    if there := [str(one) for one in (path, sql) if one.exists()]:
        raise Ending(MISTAKEN, f"{' and '.join(there)} would be written over. Name another file, or move it away.")
    path.write_text(file, encoding="utf-8")
    schema.write_text(json.dumps(file_schema(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if statements:
        sql.write_text(statements, encoding="utf-8")
    tell(f"Wrote {path}{f', what is missing into {sql}' if statements else ''}, and its JSON Schema into {schema}.")


def _proposed(conn_id: str, schemas: Sequence[str] | None, target_conn: str | None) -> tuple[str, str]:
    """The file, and the SQL that is missing. :raises ReindexError: the database cannot be asked."""
    # What Airflow's own commands do that have connections of the metadata database to read.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    target = None if target_conn is None else (_target_type(target_conn), target_conn)
    proposals = propose(conn_id, schemas)
    found = {p.table: _examined(source_of(p, conn_id)) for p in proposals if p.is_ready}
    return file_of(proposals, found, conn_id=conn_id, target=target), sql_of(proposals, found)


def _examined(source: PostgresSource) -> list[Finding]:
    try:
        with source.open() as session:
            return list(session.check())
    except ReindexError as error:
        return [wrong("source", error)]


def _target_type(conn_id: str) -> str:
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        kind = str(BaseHook.get_connection(conn_id).conn_type)
    except AirflowNotFoundException as error:
        raise Ending(
            MISTAKEN, f"There is no connection {conn_id!r}: name that of the indexes in --target-conn."
        ) from error
    known = [kind.word for kind in kinds_of(TARGET)]
    if kind not in known:
        raise Ending(
            MISTAKEN, f"Connection {conn_id!r} is of type {kind!r}, and an index is in one of {', '.join(known)}."
        )
    return kind
