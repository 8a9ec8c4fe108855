"""Documents of any shape are what one statement says, after whatever has happened to their tables: keys of several columns,
tables that refer to themselves or are there twice, other schemas, partitions, foreign keys that delete and change by
themselves, names that need quoting, and transactions that commit late."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from clean_ups import stream_of
from document_shapes import Shape
from shape_words import PostgresWords
from shape_worlds import MySqlWorld, PostgresWorld, World
from storms import tries

from airflow_reindex_provider.control.tombstones import purge_tombstones
from airflow_reindex_provider.core.model import Mode
from airflow_reindex_provider.core.recording import RecordingSource
from airflow_reindex_provider.core.sweeping.records import Compare
from airflow_reindex_provider.core.windows import Request, Sizes
from airflow_reindex_provider.sources.sql import session
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.mariadb import MariaDatabase
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper

STEPS = 8
CASES = [(server, seed) for seed in range(tries(1, of=10)) for server in ("mariadb", "mysql")]


def runner(world: World, database: Database, shape: Shape, chance: random.Random) -> Runner:
    root = shape.root
    source = world.source(
        world.conn_id,
        table=root.dotted,
        primary_key=root.key,
        cursor_field=root.cursor,
        columns=(*root.key, root.body),
        tombstones=True,
        margin=timedelta(0),
        children=tuple(relation.child() for relation in shape.relations),
    )
    assert isinstance(source, RecordingSource)
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
    """Of Postgres."""
    live(PostgresWorld(database), database, seed)


@pytest.mark.storm
@pytest.mark.parametrize(("either_server", "seed"), CASES, indirect=["either_server"])
def test_a_document_of_any_shape_of_mariadb_and_mysql(
    either_database: MariaDatabase, database: Database, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How long a run watches a transaction that stays open.
    monkeypatch.setattr(session, "WAIT_S", 0.5)
    live(MySqlWorld(either_database), database, seed, steps=tries(3, of=STEPS))


def live(world: World, database: Database, seed: int, *, steps: int = STEPS) -> None:
    """The index, and in between sweeps, purges, backfills, rebuilds and rollbacks that change none of it."""
    # The first ones have something of all.
    chance = random.Random(seed + 1)
    shape = Shape(chance, world.words)
    quoted = PostgresWords().quoted
    index = f"SELECT {quoted(*shape.fields)} FROM shapes_index ORDER BY {quoted(*shape.root.key)}"
    with world.writers() as (now, late), database.connect() as connection:
        for statement in shape.ddl():
            now.execute(statement)
        for statements in shape.rows():
            now.write(statements)
        for statement in shape.constraints():
            now.may(statement)
        run = runner(world, database, shape, chance)

        def must_agree(what: str) -> None:
            assert connection.execute(index.encode()).fetchall() == world.said(shape), what

        def must_find_nothing(compare: Compare) -> None:
            assert not Sweeper(run=run, max_delete_fraction=1, what=compare).sweep()[0].counts

        run.run()
        must_agree("first load")
        for step in range(steps):
            began = datetime.now(UTC)
            late.execute("BEGIN")
            now.execute("BEGIN")
            for _ in range(chance.randint(1, 5)):
                now.write(shape.change())
            now.execute("COMMIT")
            for _ in range(chance.randint(0, 3)):
                late.write(shape.change(stays_open=True))
            run.run()
            late.execute(chance.choice(("COMMIT", "COMMIT", "ROLLBACK")))
            run.run()
            must_agree(f"step {step}")
            then = chance.choice(("purge", "sweep", "backfill", "rebuild", "nothing", "nothing"))
            if then == "purge":
                purge_tombstones(stream_of(run), older_than=timedelta(0))
                must_find_nothing(Compare.VERSIONS)
            elif then == "sweep":
                must_find_nothing(Compare.CONTENT)
            elif then == "backfill":
                run.run(Request(Mode.BACKFILL, began, datetime.now(UTC)))
            elif then == "rebuild":
                rebuild = Rebuilder(run=run)
                plan = rebuild.begin(f"20270101t{step:06}")
                rebuild.copy(plan)
                now.write(shape.change())
                rebuild.promote(plan.generation)
                run.run()
                must_agree("a rebuild")
                rebuild.rollback()
                run.run()
            must_agree(then)
        must_find_nothing(Compare.VERSIONS)
        must_find_nothing(Compare.CONTENT)
