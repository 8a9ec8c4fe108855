"""Rebuilds or rolls back in a process of its own, which can be told to kill itself with SIGKILL at a place."""

from __future__ import annotations

import os
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess as Process

import forking
from dying import Place, die_at

from airflow_reindex_provider.checkpoints.table import TableCheckpoint
from airflow_reindex_provider.core.rebuilding import steps
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.sources.postgres.session import PostgresSourceSession
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.targets.postgres import session as postgres_session
from airflow_reindex_provider.targets.postgres import swap as postgres_swap
from airflow_reindex_provider.targets.postgres.session import PostgresTargetSession
from airflow_reindex_provider.targets.postgres.writer import PostgresWriter
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner

ROLLBACK = "rollback"

forking.load(__name__)


def rebuilder(conn_id: str, *, retain: int = 1) -> Rebuilder:
    """Of the table ``items`` and the index ``items_index``, both in one database."""
    source = PostgresSource(
        conn_id,
        table="items",
        primary_key="id",
        cursor_field="updated_at",
        soft_delete_column="gone_at",
        margin=timedelta(0),
    )
    run = Runner(
        source=source,
        target=PostgresTarget(conn_id, index="items_index", indexes=("(body)",)),
        store=TableCheckpoint(conn_id),
        sizes=Sizes(batch_rows=1000, max_batches=8),
        chunk_rows=500,
    )
    return Rebuilder(run=run, retain=retain)


PLACES: dict[str, Place] = {
    "prepare: the generation is made": (PostgresTargetSession, "create", 1, "after"),
    "copy: in the middle of a batch": (PostgresWriter, "stage", 3, "before"),
    "copy: done, its checkpoint not saved": (Runner, "settle", 1, "before"),
    "before catching up": (Rebuilder, "catch_up", 1, "before"),
    "catching up: planned, nothing written": (PostgresSourceSession, "slices", 2, "after"),
    "catching up: written, its checkpoint not saved": (TableCheckpoint, "save", 2, "before"),
    "before the swap": (steps, "promote", 1, "before"),
    "swap: writes to the live one wait": (postgres_session, "hold_writes", 1, "after"),
    "swap: documents are carried over": (PostgresTargetSession, "_mark", 2, "before"),
    "swap: the view is another one, not committed": (postgres_swap, "point_view", 1, "after"),
    "swapped, nothing read since": (steps, "promote", 1, "after"),
    "before retiring": (Rebuilder, "retire", 1, "before"),
    "retire: dropped, its checkpoint not forgotten": (TableCheckpoint, "reset", 1, "before"),
}


def started(database: Database, what: str, place: str | None = None, *, retain: int = 1) -> Process:
    """A process that has begun. :param what: a stamp or ``ROLLBACK``."""
    ours, theirs = forking.pipe()
    process = forking.started(_work, dict(database.env), database.conn_id, what, place, retain, theirs)
    theirs.close()
    ours.recv()
    return process


def _work(env: dict[str, str], conn_id: str, what: str, place: str | None, retain: int, begun: Connection) -> None:
    os.environ.update(env)
    shop = rebuilder(conn_id, retain=retain)
    if place is not None:
        die_at(PLACES[place])
    begun.send(None)
    if what == ROLLBACK:
        shop.rollback()
    else:
        shop.rebuild(what)
