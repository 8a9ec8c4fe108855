"""Documents of any shape are what one statement says, after whatever has happened to their tables: keys of several columns,
tables that refer to themselves or are there twice, other schemas, partitions, foreign keys that delete and change by
themselves, names that need quoting, and transactions that commit late."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from document_shapes import Shape, quoted
from storms import tries

from airflow_reindex_provider.control.tombstones import purge_tombstones
from airflow_reindex_provider.core.model import Mode
from airflow_reindex_provider.core.sweeping.records import Compare
from airflow_reindex_provider.core.windows import Request, Sizes
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper

STEPS = 8
_CANNOT_BE = (psycopg.errors.IntegrityError, psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


def write(connection: psycopg.Connection[Any], statements: Sequence[str]) -> None:
    """In one transaction, or as a part of the one that is open; what the tables do not allow does not happen."""
    for statement in statements:
        try:
            with connection.transaction():
                connection.execute(statement.encode())
        except _CANNOT_BE:
            continue


def runner(database: Database, shape: Shape, chance: random.Random) -> Runner:
    root = shape.root
    source = PostgresSource(
        database.conn_id,
        table=root.dotted,
        primary_key=root.key,
        cursor_field=root.cursor,
        columns=(*root.key, root.body),
        tombstones=True,
        margin=timedelta(0),
        children=tuple(relation.child() for relation in shape.relations),
    )
    source.install_tombstones()
    return Runner(
        source=source,
        target=PostgresTarget(database.conn_id, index="shapes_index"),
        transform=(lambda row: row) if chance.random() < 0.3 else None,
        sizes=Sizes(batch_rows=chance.choice((1, 2, 100)), max_batches=chance.choice((2, 64))),
        chunk_rows=chance.choice((1, 2, 50)),
    )


@pytest.mark.storm
@pytest.mark.parametrize("seed", range(tries(2, of=20)))
def test_a_document_of_any_shape(database: Database, seed: int) -> None:
    """The index, and in between sweeps, purges, backfills, rebuilds and rollbacks that change none of it."""
    # The first ones have something of all.
    chance = random.Random(seed + 1)
    shape = Shape(chance)
    with database.connect() as connection, database.connect() as late:
        for session in (connection, late):
            session.execute("SET lock_timeout = '20ms'; SET client_min_messages = error")
        for statement in shape.ddl():
            connection.execute(statement.encode())
        for statements in shape.rows():
            write(connection, statements)
        for statement in shape.constraints():
            write(connection, [statement])
        run = runner(database, shape, chance)
        index = f"SELECT {quoted(*shape.fields)} FROM shapes_index ORDER BY {quoted(*shape.root.key)}"

        def must_agree(what: str) -> None:
            found = connection.execute(index.encode()).fetchall()
            assert found == connection.execute(shape.said().encode()).fetchall(), what

        def must_find_nothing(compare: Compare) -> None:
            assert not Sweeper(run=run, max_delete_fraction=1, what=compare).sweep()[0].counts

        run.run()
        must_agree("first load")
        for step in range(STEPS):
            began = datetime.now(UTC)
            late.execute("BEGIN")
            with connection.transaction():
                for _ in range(chance.randint(1, 5)):
                    write(connection, shape.change())
            for _ in range(chance.randint(0, 3)):
                write(late, shape.change(stays_open=True))
            run.run()
            late.execute(chance.choice((b"COMMIT", b"COMMIT", b"ROLLBACK")))
            run.run()
            must_agree(f"step {step}")
            then = chance.choice(("purge", "sweep", "backfill", "rebuild", "nothing", "nothing"))
            if then == "purge":
                stream = Stream(name=run.stream, source=run.source, target=run.target, checkpoint=run.store)
                purge_tombstones(stream, older_than=timedelta(0))
                must_find_nothing(Compare.VERSIONS)
            elif then == "sweep":
                must_find_nothing(Compare.CONTENT)
            elif then == "backfill":
                run.run(Request(Mode.BACKFILL, began, datetime.now(UTC)))
            elif then == "rebuild":
                rebuild = Rebuilder(run=run)
                plan = rebuild.begin(f"20270101t{step:06}")
                rebuild.copy(plan)
                write(connection, shape.change())
                rebuild.promote(plan.generation)
                run.run()
                must_agree("a rebuild")
                rebuild.rollback()
                run.run()
            must_agree(then)
        must_find_nothing(Compare.VERSIONS)
        must_find_nothing(Compare.CONTENT)
