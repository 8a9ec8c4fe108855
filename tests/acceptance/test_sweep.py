"""A sweep of a real Postgres index finds what differs, repairs it, and deletes nothing without proof."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from clean_ups import CleanUps, leased, stream_of

from airflow_reindex_provider.core.errors import (
    ReindexError,
    SourceIncompleteError,
    TooManyDeletesError,
    TransientError,
)
from airflow_reindex_provider.core.keys import KeyRange
from airflow_reindex_provider.core.model import Counts
from airflow_reindex_provider.core.sweeping.allowing import allow
from airflow_reindex_provider.core.sweeping.records import Difference
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.sources.postgres.session import PostgresSourceSession
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper

Connection = psycopg.Connection[Any]
ROWS = 6_000
KEYS = {
    "integer": ("id bigint", "n"),
    "uuid": ("id uuid", "md5(n::text)::uuid"),
    "text": ("id text", "(ARRAY['Ä', 'a', 'B', 'é ', 'z''s \\', E'\\t', '😀', '%s'])[1 + n % 8] || n"),
    "composite": ("tenant text, id int", "'Tenant ' || n % 7, n"),
}


@pytest.fixture
def db(database: Database) -> Iterator[Connection]:
    with database.connect() as connection:
        yield connection


@pytest.fixture
def swept(database: Database) -> Sweeper:
    return sweeper(database)


def sweeper(database: Database, key: tuple[str, ...] = ("id",), **options: Any) -> Sweeper:
    source = PostgresSource(
        database.conn_id,
        **{
            "table": "items",
            "primary_key": key,
            "cursor_field": "updated_at",
            "soft_delete_column": "gone",
            "margin": timedelta(0),
            **options,
        },
    )
    target = PostgresTarget(database.conn_id, index="items_index")
    return Sweeper(run=Runner(source=source, target=target, sizes=Sizes(batch_rows=2_500, max_batches=64)))


def fill(db: Connection, kind: str = "integer", rows: int = ROWS) -> None:
    """A table of some rows, whose cursor values lie one second apart, up to a minute ago."""
    columns, value = KEYS[kind]
    names = ", ".join(column.split()[0] for column in columns.split(", "))
    db.execute(
        f"CREATE TABLE items ({columns}, v int, gone boolean NOT NULL DEFAULT false,"
        f" updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY ({names}))"
    )
    db.execute(
        f"INSERT INTO items ({names}, v, updated_at) SELECT {value}, n, now() - (1 + n) * interval '1 s'"
        f" FROM generate_series(1, {rows}) AS n"
    )


def generation(db: Connection) -> str:
    row = db.execute("SELECT relname FROM pg_class WHERE relname LIKE 'items\\_index\\_%' AND relkind = 'r'").fetchone()
    assert row is not None
    return f'"{row[0]}"'


def harm(db: Connection, key: tuple[str, ...] = ("id",)) -> None:
    """Ten documents go missing, ten get stale, and ten rows leave the table unseen."""
    index = generation(db)
    names = ", ".join(key)
    chosen = f"SELECT {names} FROM (SELECT {names}, row_number() OVER (ORDER BY md5(v::text)) AS n FROM items) AS s"
    db.execute(f"DELETE FROM {index} WHERE ({names}) IN ({chosen} WHERE n <= 10)")
    db.execute(
        f"UPDATE {index} SET v = -1, _reindex_version = _reindex_version - 1 WHERE ({names}) IN"
        f" ({chosen} WHERE n BETWEEN 11 AND 20)"
    )
    db.execute(f"DELETE FROM items WHERE ({names}) IN ({chosen} WHERE n BETWEEN 21 AND 30)")


def difference(db: Connection) -> list[tuple[Any, ...]]:
    """Between table and index, both ways."""
    table = "SELECT * FROM items WHERE NOT gone"
    index = "SELECT * FROM items_index"
    return db.execute(f"({table} EXCEPT {index}) UNION ALL ({index} EXCEPT {table})").fetchall()


@pytest.mark.parametrize("kind", KEYS)
def test_what_differs_is_found_exactly_and_repaired(database: Database, db: Connection, kind: str) -> None:
    """Ten missing, ten stale, ten orphans: no more and no less, whatever the key; most keys are never listed."""
    fill(db, kind)
    key = ("tenant", "id") if kind == "composite" else ("id",)
    swept = sweeper(database, key)
    swept.run.run()
    harm(db, key)

    found, done = swept.sweep()

    assert found.counts == {Difference.MISSING: 10, Difference.STALE: 10, Difference.ORPHANED: 10}
    assert all(len(keys) == 5 for keys in found.examples.values())
    assert found.indexed == ROWS - 10
    assert (done.counts, done.spared, done.rejected) == (Counts(created=10, updated=10, deleted=10), 0, ())
    assert difference(db) == []
    again, nothing = swept.sweep()
    assert (again.differences, again.listed, nothing.counts) == (0, 0, Counts())


def test_an_equal_index_lists_no_keys(swept: Sweeper, db: Connection) -> None:
    """Checksums settle it; a soft-deleted row is equal to no document."""
    fill(db)
    db.execute("UPDATE items SET gone = true WHERE id % 10 = 0")
    swept.run.run()

    found, _ = swept.sweep()

    assert (found.differences, found.listed, found.indexed) == (0, 0, ROWS * 9 // 10)


def test_a_dropped_document_is_left_as_it_is(swept: Sweeper, db: Connection) -> None:
    """Rows that the transform takes out are no difference, once they have been through a run."""
    fill(db, rows=3_000)
    swept.run.transform = lambda row: None if row["id"] % 3 == 0 else row
    swept.run.run()

    found, done = swept.sweep()

    assert (found.differences, found.indexed, done.counts) == (0, 2_000, Counts())


def test_what_is_above_the_checkpoint_is_not_judged(swept: Sweeper, db: Connection) -> None:
    """Rows that are not indexed yet are not missing, rows that changed since are not stale, and none is an orphan."""
    fill(db, rows=100)
    swept.run.run()
    db.execute("UPDATE items SET v = 0, updated_at = now() WHERE id <= 10")
    db.execute("INSERT INTO items (id) SELECT generate_series(1001, 1010)")
    db.execute("UPDATE items SET updated_at = now(), gone = true WHERE id = 20")
    db.execute(f"INSERT INTO {generation(db)} SELECT 5000, 0, false, now(), 9e15::bigint, false")

    found, done = swept.sweep()

    assert (found.differences, done.counts) == (0, Counts())
    swept.run.run()
    assert [row[0] for row in difference(db)] == [5000]


def test_a_newer_document_is_reported_and_left_alone(swept: Sweeper, db: Connection) -> None:
    """As after a restore of the source from a backup: what is right, a sweep cannot know."""
    fill(db, rows=100)
    swept.run.run()
    db.execute("UPDATE items SET v = 0, updated_at = updated_at - interval '1 h' WHERE id <= 10")

    found, done = swept.sweep()

    assert (found.counts, done.counts) == ({Difference.NEWER: 10}, Counts())
    assert len(difference(db)) == 20


def test_a_row_that_has_left_the_filter_goes(database: Database, db: Connection) -> None:
    """A filter that the stream was given later takes documents out, under the cap on deletions."""
    fill(db, rows=100)
    swept = sweeper(database)
    swept.run.run()
    swept.run.source = replace(swept.run.source, row_filter="id > 4")  # type: ignore[type-var]

    found, done = swept.sweep()

    assert (found.counts, done.counts) == ({Difference.ORPHANED: 4}, Counts(deleted=4))
    swept.run.source = replace(swept.run.source, row_filter="id > 40")  # type: ignore[type-var]
    with pytest.raises(TooManyDeletesError, match=r"36 of 96 documents.*max_delete_fraction=0.05 allows \(4\)"):
        swept.sweep()
    assert count(db) == 96


def test_an_index_that_has_lost_all_is_filled_again(swept: Sweeper, db: Connection) -> None:
    """Far more differences than are held at once."""
    fill(db)
    swept.run.run()
    db.execute(f"DELETE FROM {generation(db)}")

    found, done = swept.sweep()

    assert (found.counts, done.counts) == ({Difference.MISSING: ROWS}, Counts(created=ROWS))
    assert difference(db) == []


def test_more_orphans_than_are_held_at_once(swept: Sweeper, db: Connection) -> None:
    """With the cap lifted, thousands of them go, in pieces that have each been gone through."""
    fill(db)
    swept.run.run()
    db.execute("DELETE FROM items WHERE id > 500")
    swept.max_delete_fraction = 1.0

    found, done = swept.sweep()

    assert (found.counts, done.counts) == ({Difference.ORPHANED: ROWS - 500}, Counts(deleted=ROWS - 500))
    assert difference(db) == []


# -- deletions need proof


def test_a_view_that_gives_half_of_its_rows_deletes_nothing(database: Database, db: Connection) -> None:
    """The cap stops it before a single repair."""
    fill(db)
    db.execute("CREATE VIEW seen AS SELECT * FROM items")
    swept = sweeper(database, table="seen")
    swept.run.run()
    db.execute("CREATE OR REPLACE VIEW seen AS SELECT * FROM items WHERE id % 2 = 0")

    with pytest.raises(TooManyDeletesError, match="3,000 of 6,000 documents"):
        swept.sweep()

    assert count(db) == ROWS


def test_a_view_that_loses_rows_after_the_comparison_deletes_nothing(database: Database, db: Connection) -> None:
    """The repair may delete what the comparison found, and not what has come to be since."""
    fill(db)
    db.execute("CREATE VIEW seen AS SELECT * FROM items")
    swept = sweeper(database, table="seen")
    swept.run.run()
    db.execute("DELETE FROM items WHERE id <= 10")
    plan, ranges = swept.plan()
    jobs = allow(plan, [(part, swept.compare(plan, part)) for part in ranges])
    db.execute("CREATE OR REPLACE VIEW seen AS SELECT * FROM items WHERE id > 1000")

    with pytest.raises(TooManyDeletesError, match="more orphans by now"):
        swept.repair(plan, jobs[0])

    assert count(db) == ROWS


def test_a_scan_that_left_rows_out_is_found_out(
    database: Database, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few rows are hidden from the scan alone: the look-up finds them, and nothing is deleted, true orphans included."""
    fill(db)
    db.execute("CREATE TABLE hidden (id bigint)")
    db.execute("CREATE VIEW seen AS SELECT * FROM items WHERE id NOT IN (SELECT id FROM hidden)")
    swept = sweeper(database, table="seen", lag=timedelta(0))
    swept.run.run()
    db.execute("DELETE FROM items WHERE id <= 10")
    db.execute("INSERT INTO hidden VALUES (100), (101)")
    look_up = PostgresSourceSession.look_up

    def after_the_scan(self: PostgresSourceSession, *args: Any, **kwargs: Any) -> Any:
        db.execute("TRUNCATE hidden")
        return look_up(self, *args, **kwargs)

    monkeypatch.setattr(PostgresSourceSession, "look_up", after_the_scan)
    with pytest.raises(SourceIncompleteError, match="a look-up finds it"):
        swept.sweep()

    assert count(db) == ROWS


def test_a_connection_that_is_cut_deletes_nothing(database: Database, db: Connection) -> None:
    """The source's sessions are terminated at random moments, again and again: a sweep fails or succeeds, and takes no
    document of a row that is there."""
    fill(db, rows=60_000)
    swept = sweeper(database)
    swept.run.run()
    harm(db)
    kept = f"SELECT id FROM {generation(db)} INTERSECT SELECT id FROM items"
    before = len(db.execute(kept).fetchall())
    rng = random.Random(6)
    cut = 0
    for _ in range(12):
        cutter = threading.Timer(rng.uniform(0.01, 0.5), terminate_readers, [database])
        cutter.start()
        try:
            swept.sweep()
        except ReindexError:
            cut += 1
        cutter.join()
        assert len(db.execute(kept).fetchall()) >= before
        db.execute(f"DELETE FROM {generation(db)} WHERE id IN (1, 2, 3)")
        before = len(db.execute(kept).fetchall())

    assert cut > 0
    swept.sweep()
    assert difference(db) == []


def terminate_readers(database: Database) -> None:
    with database.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'airflow_reindex_reader%'"
            " AND datname = current_database()"
        )


def test_a_listing_that_is_cut_raises(database: Database, db: Connection) -> None:
    """In the middle of a scan, once the first page is there."""
    fill(db, rows=60_000)
    swept = sweeper(database)
    swept.run.run()
    plan, _ = swept.plan()

    with swept.run.source.open() as source:
        pages = source.keys(KeyRange(), below=plan.bound)  # type: ignore[attr-defined]
        next(pages)
        terminate_readers(database)
        with pytest.raises(TransientError):
            list(pages)


def test_a_row_that_comes_back_is_kept(swept: Sweeper, db: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are inserted again after the scan: those that the look-up finds are spared, and those that come right
    after it are indexed by the next run, since their cursor values are past the deletion's version."""
    fill(db)
    swept.run.run()
    db.execute("DELETE FROM items WHERE id <= 20")
    look_up = PostgresSourceSession.look_up

    def among_inserts(self: PostgresSourceSession, *args: Any, **kwargs: Any) -> Any:
        db.execute("INSERT INTO items (id, v) SELECT generate_series(1, 5), 0")
        found = look_up(self, *args, **kwargs)
        db.execute("INSERT INTO items (id, v) SELECT generate_series(6, 10), 0")
        return found

    monkeypatch.setattr(PostgresSourceSession, "look_up", among_inserts)
    found, done = swept.sweep()

    assert (found.counts, done.counts.deleted, done.spared) == ({Difference.ORPHANED: 20}, 15, 5)
    swept.run.run()
    assert difference(db) == []


def test_a_sweep_among_writers_and_runs(database: Database, db: Connection) -> None:
    """Rows are inserted, changed, deleted softly and outright, and inserted again, while runs, sweeps and clean-ups go on: in the
    end no row is without its document, and one more sweep makes both equal. Rows that nobody touches are there all the time."""
    fill(db, rows=4_000)
    swept = sweeper(database)
    swept.max_delete_fraction = 0.5
    swept.run.run()
    stop = threading.Event()

    def write(seed: int) -> None:
        rng = random.Random(seed)
        with database.connect() as connection:
            while not stop.is_set():
                key = rng.randrange(1, 1_000)
                with connection.transaction():
                    connection.execute("SELECT now()")
                    stop.wait(rng.uniform(0, 0.02))
                    match rng.randrange(4):
                        case 0:
                            connection.execute("DELETE FROM items WHERE id = %s", [key])
                        case 1:
                            connection.execute(
                                "UPDATE items SET gone = NOT gone, updated_at = now() WHERE id = %s", [key]
                            )
                        case _:
                            connection.execute(
                                "INSERT INTO items (id, v) VALUES (%s, %s) ON CONFLICT (id)"
                                " DO UPDATE SET v = excluded.v, gone = false, updated_at = now()",
                                [key, rng.randrange(10**6)],
                            )

    def run() -> None:
        while not stop.is_set():
            swept.run.run()

    cleaning = CleanUps(stream_of(swept.run))
    with ThreadPoolExecutor(5) as pool:
        working = [pool.submit(write, seed) for seed in range(3)] + [
            pool.submit(run),
            pool.submit(lambda: cleaning.run(stop, pause_s=0.3)),
        ]
        try:
            swept_away = 0
            for _ in range(8):
                with leased(swept.run.store, swept.run.stream, "sweep"):
                    _, done = swept.sweep()
                swept_away += done.counts.deleted
                untouched = db.execute("SELECT count(*) FROM items_index WHERE id >= 1000").fetchone()
                assert untouched == (3_001,)
        finally:
            stop.set()
        for each in working:
            each.result()

    assert swept_away > 0
    assert cleaning.done > 0
    assert cleaning.dropped == []
    swept.run.run()
    lost = db.execute("SELECT id FROM items WHERE NOT gone EXCEPT SELECT id FROM items_index").fetchall()
    assert lost == []
    found, _ = swept.sweep()
    assert found.count(Difference.MISSING, Difference.STALE, Difference.NEWER) == 0
    assert difference(db) == []


def count(db: Connection) -> int:
    row = db.execute("SELECT count(*) FROM items_index").fetchone()
    assert row is not None
    return int(row[0])
