"""From commit to searchable, on a real Airflow: 200 single changes of a stream that is watched, beside a schedule of one minute;
``BENCH_CHANGES`` is how many there are. And what a hundred watchers cost one triggerer.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from airflow_reindex_provider.testing.airflow import Airflow
from airflow_reindex_provider.testing.postgres import Database, EmbeddedPostgres
from tests.benchmarks.contest import process, say
from tests.benchmarks.figures import Figure
from tests.benchmarks.meter import answer

CHANGES = int(os.environ.get("BENCH_CHANGES", "200"))
WATCHERS = 100
_WATCHED_S = 20.0
_TIMEOUT_S = 300.0
_DAGS = """
from airflow_reindex_provider import PostgresSource, PostgresTarget, ReindexDag, Stream, changes_of

def stream(name):
    return Stream(
        name=name,
        source=PostgresSource("shop_db", table=f"public.{name}", primary_key="id", cursor_field="updated_at"),
        target=PostgresTarget("search_db", index=f"public.{name}_index"),
    )

watched, minute = stream("watched"), stream("minute")
ReindexDag(watched, schedule=changes_of(watched))
ReindexDag(minute, schedule="* * * * *")
"""
_TABLE = "id int PRIMARY KEY, title text, updated_at timestamptz NOT NULL DEFAULT now()"


def figures() -> list[Figure]:
    with EmbeddedPostgres(durable=False) as server, tempfile.TemporaryDirectory() as home:
        shop = server.create_database("shop", conn_id="shop_db")
        search = server.create_database("search", conn_id="search_db")
        with shop.connect() as db:
            for name in ("watched", "minute"):
                db.execute(f"CREATE TABLE {name} ({_TABLE})".encode())
                db.execute(f"CREATE INDEX ON {name} (updated_at, id)".encode())
                db.execute(f"INSERT INTO {name} VALUES (0, 'first')".encode())
        dags = Path(home) / "dags"
        dags.mkdir()
        (dags / "fresh.py").write_text(_DAGS)
        with Airflow(
            Path(home) / "airflow", dag_folders={"fresh": dags}, postgres=server, env=shop.env | search.env
        ) as airflow:
            # On the schedule a change waits for most of the time, so many of them can wait at once.
            by_minute = _measure_stream(airflow, "minute", shop, search, changes=min(CHANGES, 60), spread_s=180.0)
            watched = _measure_stream(airflow, "watched", shop, search, changes=CHANGES, spread_s=None)
        watchers = process("freshness")
    for name, found in (("watched", watched), ("every minute", by_minute)):
        p50, p95 = _percentiles(found)
        say(f"{name}: {len(found)} changes, p50 {p50:.1f} s, p95 {p95:.1f} s, at the longest {max(found):.1f} s")
    say(
        f"{WATCHERS} watchers: {watchers['polls_per_s']:.0f} polls/s, {watchers['cpu'] * 100:.0f} % of a processor,"
        f" {watchers['peak_mb']:.0f} MB, {watchers['connections']:.0f} connection"
    )
    return [
        Figure.alone("fresh_watched_p95_s", _percentiles(watched)[1], "s", at_most=15),
        Figure.compared("fresh_vs_minute_p50", _percentiles(watched)[0], _percentiles(by_minute)[0], "s", at_most=0.5),
        Figure.alone("watchers_100_cpu", watchers["cpu"], "of one", at_most=0.3),
    ]


def _percentiles(found: Sequence[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(found, n=100, method="inclusive")
    return cuts[49], cuts[94]


def _measure_stream(
    airflow: Airflow, name: str, shop: Database, search: Database, *, changes: int, spread_s: float | None
) -> list[float]:
    """Seconds from commit to searchable of each.

    :param spread_s: how long they come at random, whatever has become of those before; None: one after the other, each a
        while after the one before it was found."""
    airflow.wait_for_dag(f"reindex_{name}")
    airflow.pause(f"reindex_{name}", False)
    committed: dict[int, float] = {}
    found: dict[int, float] = {}
    chance = random.Random(7)
    with shop.connect() as source, search.connect() as target, _looking(target, name, committed, found) as seen:
        seen(0)
        say(f"{name}: the first load is done")
        for id in range(1, changes + 1):
            time.sleep(chance.uniform(0, 2 * spread_s / changes if spread_s else 3))
            source.execute(f"INSERT INTO {name} VALUES ({id}, 'a change')".encode())
            committed[id] = time.monotonic()
            if spread_s is None:
                seen(id)
        seen(changes)
    airflow.pause(f"reindex_{name}")
    return [found[id] - at for id, at in committed.items()]


@contextmanager
def _looking(target: object, name: str, committed: dict[int, float], found: dict[int, float]) -> Iterator[object]:
    """Looks ten times a second for what a search finds by now; gives a function that waits for one of them."""
    over, arrived = threading.Event(), threading.Condition()

    def look() -> None:
        while not over.is_set():
            try:
                rows = target.execute(f"SELECT id FROM {name}_index").fetchall()  # type: ignore[attr-defined]  # a connection
            except Exception:
                rows = []
            now = time.monotonic()
            with arrived:
                for (id,) in rows:
                    found.setdefault(id, now)
                arrived.notify_all()
            over.wait(0.1)

    def wait_for(id: int) -> None:
        with arrived:
            if not arrived.wait_for(lambda: id in found, timeout=_TIMEOUT_S):
                raise TimeoutError(f"{name}: change {id} was not found within {_TIMEOUT_S:g} s")

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield wait_for
    finally:
        over.set()
        looking.join()


def _measure() -> None:
    """A hundred idle watchers in this process, of a hundred tables of one database."""
    from airflow_reindex_provider.sources.postgres import PostgresSource
    from airflow_reindex_provider.sources.postgres.session import PostgresSourceSession
    from airflow_reindex_provider.triggers.watching import StreamChangesTrigger

    polls = 0
    peek = PostgresSourceSession.peek

    def counted(self: PostgresSourceSession, since: object) -> bool:
        nonlocal polls
        polls += 1
        return peek(self, since)  # type: ignore[arg-type]  # as it came

    PostgresSourceSession.peek = counted  # type: ignore[method-assign, assignment]  # to count

    async def watch(trigger: StreamChangesTrigger) -> None:
        async for _ in trigger.run():
            pass

    async def hundred() -> None:
        tasks = []
        for n in range(WATCHERS):
            source = PostgresSource("shop_db", table=f"public.t{n}", primary_key="id", cursor_field="updated_at")
            path = f"{type(source).__module__}.{type(source).__qualname__}"
            values = {
                "source_class": path,
                "source": source.serialize(),
                "poll_interval_s": 2.0,
                "min_interval_s": 10.0,
            }
            tasks.append(asyncio.create_task(watch(StreamChangesTrigger(stream=f"t{n}", **values))))
        await asyncio.sleep(8)
        began, cpu = polls, time.process_time()
        await asyncio.sleep(_WATCHED_S)
        polls_per_s, used = (polls - began) / _WATCHED_S, (time.process_time() - cpu) / _WATCHED_S
        (connections,) = count.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
        answer(
            polls_per_s=polls_per_s,
            cpu=used,
            connections=float(connections),
            peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        )
        for task in tasks:
            task.cancel()

    with EmbeddedPostgres(durable=False) as server:
        shop = server.create_database("shop", conn_id="shop_db")
        os.environ.update(shop.env)
        with shop.connect() as count:
            for n in range(WATCHERS):
                count.execute(f"CREATE TABLE t{n} ({_TABLE})".encode())
                count.execute(f"CREATE INDEX ON t{n} (updated_at, id)".encode())
            asyncio.run(hundred())


if __name__ == "__main__":
    _measure()
