"""From commit to searchable, on a real Airflow: 200 single changes of a stream that is watched, beside a schedule of one minute;
``BENCH_CHANGES`` is how many there are. They come at random, whatever has become of those before. Then others, while the
triggerer, the source's connections and the scheduler are killed. And what a hundred watchers cost one triggerer.
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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from airflow_reindex_provider.testing.airflow import Airflow
from airflow_reindex_provider.testing.postgres import Database, EmbeddedPostgres
from tests.benchmarks.contest import process, say
from tests.benchmarks.figures import Figure
from tests.benchmarks.meter import answer

CHANGES = int(os.environ.get("BENCH_CHANGES", "200"))
WATCHERS = 100
_WATCHED_S = 20.0
_TIMEOUT_S = 300.0
_SPREAD_S = 360.0
_KILLED_FOR_S = 3.0
_DAGS = """
from airflow_reindex_provider import PostgresSource, PostgresTarget, ReindexDag, Stream, changes_of

def stream(name):
    return Stream(
        name=name,
        source=PostgresSource("shop_db", table=f"public.{name}", primary_key="id", cursor_field="updated_at"),
        target=PostgresTarget("search_db", index=f"public.{name}_index"),
    )

watched, minute = stream("watched"), stream("minute")
# Airflow watches for a Dag that is not paused as its file is parsed.
ReindexDag(watched, schedule=changes_of(watched), is_paused_upon_creation=False)
ReindexDag(minute, schedule="* * * * *", is_paused_upon_creation=True)
"""
_SETTINGS = {"AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60"}
"""As in docker-compose.yaml: so long a task of a scheduler that was killed looks as if it ran."""
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
        settings = shop.env | search.env | _SETTINGS
        with Airflow(Path(home) / "airflow", dag_folders={"fresh": dags}, postgres=server, env=settings) as airflow:
            # On the schedule a change waits for most of the time, so fewer of them tell as much.
            by_minute = _measure_stream(airflow, "minute", shop, search, changes=min(CHANGES, 60), spread_s=90.0)
            airflow.pause("reindex_minute")
            watched = _measure_stream(airflow, "watched", shop, search, changes=CHANGES, spread_s=_SPREAD_S)
            killing = partial(_kill_all, airflow)
            killed = _measure_stream(
                airflow, "watched", shop, search, changes=30, spread_s=60.0, first=CHANGES + 1, meanwhile=killing
            )
        watchers = process("freshness")
    for name, found in (("watched", watched), ("every minute", by_minute), ("watched, killed", killed)):
        p50, p95 = _percentiles(found)
        say(f"{name}: {len(found)} changes, p50 {p50:.1f} s, p95 {p95:.1f} s, at the longest {max(found):.1f} s")
    say(
        f"{WATCHERS} watchers: {watchers['polls_per_s']:.0f} polls/s, {watchers['cpu'] * 100:.0f} % of a processor,"
        f" {watchers['peak_mb']:.0f} MB, {watchers['connections']:.0f} connection"
    )
    return [
        Figure.alone("fresh_watched_p95_s", _percentiles(watched)[1], "s", at_most=15),
        Figure.compared("fresh_vs_minute_p50", _percentiles(watched)[0], _percentiles(by_minute)[0], "s", at_most=0.5),
        Figure.alone("fresh_killed_longest_s", max(killed), "s", at_most=3600),
        Figure.alone("watchers_100_cpu", watchers["cpu"], "of one", at_most=0.3),
    ]


def _percentiles(found: Sequence[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(found, n=100, method="inclusive")
    return cuts[49], cuts[94]


def _measure_stream(
    airflow: Airflow,
    name: str,
    shop: Database,
    search: Database,
    *,
    changes: int,
    spread_s: float,
    first: int = 1,
    meanwhile: Callable[[Any], None] = lambda source: None,
) -> list[float]:
    """Seconds from commit to searchable of each.

    :param spread_s: how long they come. :param first: the first one's id.
    :param meanwhile: is called with a connection to the source, in a thread of its own.
    :raises TimeoutError: one was not found in time, so it may be lost."""
    airflow.wait_for_dag(f"reindex_{name}")
    airflow.pause(f"reindex_{name}", False)
    committed: dict[int, float] = {}
    found: dict[int, float] = {}
    chance = random.Random(7)
    with (
        shop.connect() as source,
        search.connect() as target,
        _looking(target, name, found) as wait_for,
        ThreadPoolExecutor(1) as pool,
    ):
        wait_for([first - 1])
        say(f"{name}: {changes} changes from here on")
        disturbing = pool.submit(meanwhile, source)
        for id in range(first, first + changes):
            time.sleep(chance.uniform(0, 2 * spread_s / changes))
            source.execute(f"INSERT INTO {name} VALUES ({id}, 'a change')".encode())
            committed[id] = time.monotonic()
        disturbing.result()
        wait_for(list(committed))
    return [found[id] - at for id, at in committed.items()]


def _kill_all(airflow: Airflow, source: Any) -> None:
    """One after the other, each away for a while, with whatever tasks it has started."""
    for component in ("triggerer", "scheduler"):
        airflow.kill(component)
        time.sleep(_KILLED_FOR_S)
        airflow.restart(component)
        say(f"the {component} was killed and is back")
    for _ in range(3):
        source.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        time.sleep(_KILLED_FOR_S)
    say("the source's connections were killed, three times")


@contextmanager
def _looking(target: Any, name: str, found: dict[int, float]) -> Iterator[Callable[[Sequence[int]], None]]:
    """Looks ten times a second for what a search finds by now; gives a function that waits for some of them."""
    over, arrived = threading.Event(), threading.Condition()

    def look() -> None:
        while not over.is_set():
            try:
                rows = target.execute(f"SELECT id FROM {name}_index").fetchall()
            except Exception:
                rows = []
            now = time.monotonic()
            with arrived:
                for (id,) in rows:
                    found.setdefault(id, now)
                arrived.notify_all()
            over.wait(0.1)

    def wait_for(ids: Sequence[int]) -> None:
        with arrived:
            if not arrived.wait_for(lambda: found.keys() >= set(ids), timeout=_TIMEOUT_S):
                missing = sorted(set(ids) - found.keys())
                raise TimeoutError(f"{name}: changes {missing} were not found within {_TIMEOUT_S:g} s")

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
