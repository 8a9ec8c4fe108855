"""Writers of MariaDB and MySQL with late commits, deletes, long transactions and waits for the table's metadata lock, beside
runs that are killed and clean-ups: the naive way loses rows under the very same writers, ours none."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from typing import Any

import forking
import pymysql
import pytest
from clean_ups import CleanUps, stream_of
from dying import run_until_killed
from rebuilding_load import beside
from storms import tries

from airflow_reindex_provider.checkpoints.table import TableCheckpoint
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.sources.mysql import MySqlSource
from airflow_reindex_provider.sources.sql import session
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.mariadb import MariaDatabase
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner

CASES = [(server, seed) for seed in range(10) for server in ("mariadb", "mysql")][: tries(1, of=20)]
WRITERS = 4
KILLS = 3
WORK_S = (0.05, 0.4)
"""When a process is killed, in seconds of processor time: in its first run, or after several."""
WAIT_S = 1.0
"""How long a run watches sessions here, so that a long transaction outlasts it."""
TABLE = """CREATE TABLE items (id BIGINT AUTO_INCREMENT PRIMARY KEY, n INT NOT NULL DEFAULT 0, gone TINYINT NOT NULL DEFAULT 0,
 tenant VARCHAR(9) NOT NULL DEFAULT 'a',
 updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), KEY (updated_at, id))"""
# The row that is late by construction has id 1, and nobody changes it.
CHANGES = (
    "INSERT INTO items (n) VALUES (1), (2)",
    "UPDATE items SET n = n + 1 WHERE id > %s ORDER BY id LIMIT 1",
    "UPDATE items SET gone = 1 WHERE id > %s ORDER BY id LIMIT 1",
    "UPDATE items SET tenant = IF(BINARY tenant = 'a', 'A', 'a') WHERE id > %s ORDER BY id LIMIT 1",
    "DELETE FROM items WHERE id > %s ORDER BY id LIMIT 1",
    "UPDATE IGNORE items SET id = -id WHERE id > %s ORDER BY id LIMIT 1",
    "INSERT INTO items (id, n) VALUES (1 + %s, 1) ON DUPLICATE KEY UPDATE n = n + 1",
)
_PASSING = (1205, 1213, 1020)
"""A wait that was given up, a deadlock, a row that has changed meanwhile: the writer begins anew."""
forking.load(__name__, "airflow_reindex_provider.sources.mysql.session", "airflow.providers.mysql.hooks.mysql")


def write(database: MariaDatabase, number: int, seed: int, stop: threading.Event, errors: list[BaseException]) -> None:
    """Transactions of one statement or several, some rolled back, some open for long; one writer of them locks the table now and
    then, so that statements of the others wait for it, stamped already."""
    chance = random.Random(f"{seed} {number}")
    try:
        with closing(database.connect(autocommit=False)) as connection, connection.cursor() as cursor:
            while not stop.is_set():
                try:
                    if number == 0 and chance.random() < 0.3:
                        cursor.execute("LOCK TABLES items WRITE")
                        stop.wait(chance.uniform(0.05, 0.3))
                        cursor.execute("UNLOCK TABLES")
                    for _ in range(chance.randint(1, 4)):
                        change(cursor, chance)
                    kind = chance.random()
                    if kind < 0.2:
                        stop.wait(chance.uniform(0.1, 0.5))
                    elif kind < 0.23:
                        stop.wait(1.5 * WAIT_S)
                    (connection.rollback if chance.random() < 0.1 else connection.commit)()
                except pymysql.err.OperationalError as error:
                    if error.args[0] not in _PASSING:
                        raise
                    connection.rollback()
                stop.wait(chance.uniform(0, 0.02))
    except BaseException as error:
        errors.append(error)


def change(cursor: Any, chance: random.Random) -> None:
    statement = chance.choice(CHANGES)
    cursor.execute(statement, [chance.randint(1, 500)] if "%s" in statement else None)


def runner(conn_id: str, group: str | None = None) -> Runner:
    """Of all rows, as lines that the server writes, or of a group, as Python's values."""
    session.WAIT_S = WAIT_S
    return Runner(
        stream="items" if group is None else "items.of_group",
        transform=None if group is None else dict,
        source=MySqlSource(
            "shop_mysql",
            table="items",
            primary_key="id",
            cursor_field="updated_at",
            soft_delete_column="gone",
            tombstones=True,
            group_by=None if group is None else "tenant",
            group=group,
            margin=timedelta(milliseconds=20),
        ),
        target=PostgresTarget(conn_id, index="public.items_index" if group is None else "public.items_of_group"),
        store=TableCheckpoint(conn_id),
        sizes=Sizes(batch_rows=50, max_batches=5),
        chunk_rows=20,
    )


def run_on(conn_id: str, env: Mapping[str, str], work_s: float, wait_s: float) -> None:
    def both() -> None:
        runner(conn_id).run()
        runner(conn_id, "a").run()

    run_until_killed(both, env, work_s, wait_s)


class Naive:
    """What most people write first: all rows changed since the greatest change seen."""

    def __init__(self, database: MariaDatabase) -> None:
        self._database = database
        self._since = "1971-01-01"
        self.rows: dict[int, tuple[int, int]] = {}

    def run(self) -> None:
        changed = self._database.execute(
            "SELECT id, n, gone, CAST(updated_at AS CHAR) FROM items"
            f" WHERE updated_at > '{self._since}' ORDER BY updated_at"
        )
        self.rows.update({key: (n, gone) for key, n, gone, _ in changed})
        if changed:
            self._since = changed[-1][3]


@pytest.mark.storm
@pytest.mark.parametrize(("either_server", "seed"), CASES, indirect=["either_server"])
def test_nothing_is_lost_under_writers(
    seed: int, either_database: MariaDatabase, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end the index equals the table, with runs killed at random while it was written, and clean-ups that forget every
    deletion that both indexes have passed; the naive copy, made side by side, does not: it prints how many rows it lost."""
    monkeypatch.setattr(session, "WAIT_S", WAIT_S)
    either_database.execute(TABLE)
    run = runner(database.conn_id)
    assert isinstance(run.source, MySqlSource)
    run.source.install_tombstones()
    naive = Naive(either_database)
    # By construction, whatever the writers do: stamped now, committed after the naive way has seen a later one. No writer may
    # be there yet: one that locks the table would wait for this transaction, and the naive way for the lock.
    with closing(either_database.connect(autocommit=False)) as late, late.cursor() as cursor:
        cursor.execute("INSERT INTO items (n) VALUES (100)")
        either_database.execute("INSERT INTO items (n) VALUES (1)")
        naive.run()
        late.commit()
    stop, errors = threading.Event(), list[BaseException]()
    writers = [
        threading.Thread(target=write, args=(either_database, number, seed, stop, errors), daemon=True)
        for number in range(WRITERS)
    ]
    for thread in writers:
        thread.start()
    env, chance = {**database.env, **either_database.env}, random.Random(seed)
    killed = written_meanwhile = 0
    over, cleaning = threading.Event(), CleanUps(stream_of(run), beside=[stream_of(runner(database.conn_id, "a"))])
    with beside(over, lambda: cleaning.run(over)):
        while killed < KILLS or not written_meanwhile or not cleaning.purged:
            # Longer each time: on a slow machine the table would grow faster than the second index is ever brought on.
            work_s = chance.uniform(*WORK_S) * (1 + killed // KILLS)
            process = forking.started(run_on, database.conn_id, env, work_s, chance.uniform(0, 0.1))
            while process.is_alive():
                naive.run()
                process.join(0.05)
            assert process.exitcode == -signal.SIGALRM
            killed += 1
            written_meanwhile += run.run().counts.processed
        cleaning.wait_for_a_whole_one()
    stop.set()
    for thread in writers:
        thread.join()
    assert errors == []
    naive.run()
    time.sleep(0.1)
    run.run()
    runner(database.conn_id, "a").run()

    found = either_database.execute("SELECT id, n, gone, tenant FROM items")
    there = {key: (n, gone) for key, n, gone, _ in found}
    with database.connect() as connection:
        indexed = dict(connection.execute("SELECT id, n FROM public.items_index").fetchall())
        of_group = dict(connection.execute("SELECT id, n FROM public.items_of_group").fetchall())
    lost = sum(naive.rows.get(key) != row for key, row in there.items())
    print(f"naive cursor: {lost} of {len(there)} rows lost or out of date; runs killed: {killed}")
    print(f"deletions forgotten meanwhile: {cleaning.purged}")
    assert indexed == {key: n for key, (n, gone) in there.items() if not gone}
    assert of_group == {key: n for key, n, gone, tenant in found if not gone and tenant == "a"}
    assert lost > 0
    assert cleaning.dropped == []
