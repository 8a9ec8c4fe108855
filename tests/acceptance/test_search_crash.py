"""A search engine is killed in the middle of a run and comes back: the run ends right, and nothing that was acknowledged is
lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.core.errors import TransientError
from airflow_reindex_provider.core.model import Batch, BatchResult, Chunk, Counts, Document, Format, Position, Transform
from airflow_reindex_provider.core.progress import Progress
from airflow_reindex_provider.core.running.indexing import index_batch
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.elasticsearch import ElasticsearchTarget
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.targets.search import session as search_session
from airflow_reindex_provider.targets.search.engine import Calls
from airflow_reindex_provider.targets.search.writer import Patience, SearchWriter
from airflow_reindex_provider.testing.memory import MemoryReporter, MemoryResumeLog
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.search_engine import SearchEngine
from airflow_reindex_provider.testing.sweeps import Sweeper

Connection = psycopg.Connection[Any]
TARGETS = {"opensearch": OpenSearchTarget, "elasticsearch": ElasticsearchTarget}
TRANSFORMS: dict[str, Transform | None] = {"bulk": None, "rows": dict}
ROWS = 3_000
CHUNK = 200
KILLED_AFTER = 5
"""Chunks."""


@pytest.fixture
def engine(engine_apart: SearchEngine) -> SearchEngine:
    if not engine_apart.ours:
        pytest.skip(f"the {engine_apart.name} at {engine_apart.url} is not ours to kill")
    return engine_apart


@pytest.fixture
def db(database: Database) -> Iterator[Connection]:
    with database.connect() as connection:
        connection.execute(
            "CREATE TABLE items (id int PRIMARY KEY, body text, updated_at timestamptz NOT NULL DEFAULT now());"
            "CREATE INDEX ON items (updated_at, id);"
            f"INSERT INTO items SELECT n, md5(n::text), now() - interval '1 h' FROM generate_series(1, {ROWS}) n"
        )
        yield connection


def runner(database: Database, engine: SearchEngine, index: str, transform: Transform | None = None) -> Runner:
    return Runner(
        source=PostgresSource(
            database.conn_id, table="items", primary_key="id", cursor_field="updated_at", margin=timedelta(0)
        ),
        target=TARGETS[engine.name](engine.name, index=index, settings={"refresh_interval": "2s"}),
        transform=transform,
        sizes=Sizes(batch_rows=ROWS, max_batches=1),
        chunk_rows=CHUNK,
    )


def equal(db: Connection, engine: SearchEngine, index: str) -> bool:
    rows = db.execute("SELECT id::text, body FROM items").fetchall()
    return {id: found["body"] for id, found in (engine.documents(index) or {}).items()} == dict(rows)


def index_and_harm(run: Runner, batch: Batch, resume: MemoryResumeLog, harm: dict[int, Any]) -> BatchResult:
    """One try of the batch, as a task does it. ``harm`` is done after so many acknowledged chunks."""
    done = 0

    def between_chunks() -> bool:
        nonlocal done
        done += 1
        if done in harm:
            harm[done]()
        return False

    with run.sessions() as (source, target):
        return index_batch(
            batch,
            source=source,
            target=target,
            format=run.format,
            chunk_rows=CHUNK,
            max_failures=0,
            progress=Progress(batch, batch.mode, MemoryReporter()),
            resume=resume,
            transform=run.transform,
            should_stop=between_chunks,
        )


def test_killed_and_back(
    engine: SearchEngine, database: Database, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL while three runs have written some chunks, with others on their way; the engine is back once the third has left.

    Two of them, one of each format, wait for it and go on, and the load's settings are undone at the end. The third does not
    wait for so long: its try fails, worth another one, which goes on after the last acknowledged chunk and finds everything that
    was acknowledged. And the versions of what was deleted are in the node's memory: a write that was held up beyond the restart
    brings a document of another index back, and the next sweep takes it out."""
    restarted = runner(database, engine, "restarted")
    generation = restarted.run().plan.generation
    version = db.execute("DELETE FROM items WHERE id = 7 RETURNING extract(epoch FROM updated_at) * 1000000").fetchone()
    assert version is not None
    late = Document(("7",), int(version[0]), {"id": 7, "body": "late"})

    def write(document: Document) -> Counts:
        with (
            restarted.sessions() as (source, target),
            target.writer(generation, source.schema(), Format.ROWS) as writer,
        ):
            return writer.write(Chunk(Position(""), Format.ROWS, [document])).counts

    assert write(Document(("7",), late.version + 1, None)) == Counts(deleted=1)
    engine.call("POST", f"/{generation}/_flush?force=true")
    assert write(late) == Counts(version_conflicts=1)

    waiting = {name: runner(database, engine, f"killed-{name}", transform) for name, transform in TRANSFORMS.items()}
    plans = {name: run.plan() for name, run in waiting.items()}
    leaving = runner(database, engine, "gone")
    its_plan = leaving.plan()
    (batch,) = its_plan.batches
    resume = MemoryResumeLog()
    all_are_there = threading.Barrier(len(waiting) + 1, action=engine.kill, timeout=120)

    def wait(name: str) -> BatchResult:
        (batch,) = plans[name].batches
        return index_and_harm(waiting[name], batch, MemoryResumeLog(), {KILLED_AFTER: all_are_there.wait})

    def leave() -> None:
        try:
            with pytest.raises(TransientError, match="does not answer"):
                index_and_harm(leaving, batch, resume, {KILLED_AFTER: all_are_there.wait})
        finally:
            engine.restart()

    with monkeypatch.context() as impatience, ThreadPoolExecutor() as pool:
        impatience.setattr(search_session, "SearchWriter", impatient_for(its_plan.generation))
        leaves = pool.submit(leave)
        results = dict(zip(waiting, pool.map(wait, waiting), strict=True))
        leaves.result()

    for name, run in waiting.items():
        plan, result = plans[name], results[name]
        run.settle(plan, [result])
        assert result.counts.processed == ROWS - 1
        assert result.counts.failures == result.counts.version_conflicts == 0
        assert equal(db, engine, f"killed-{name}")
        settings = engine.call("GET", f"/{plan.generation}/_settings")[plan.generation]["settings"]["index"]
        assert (settings["refresh_interval"], settings["number_of_replicas"]) == ("2s", "1")

    noted = resume.load()
    assert noted is not None
    acknowledged = Counts.from_json(noted["counts"]).processed
    assert KILLED_AFTER * CHUNK <= acknowledged < ROWS - 1
    engine.call("POST", f"/{its_plan.generation}/_refresh")
    assert engine.call("GET", f"/{its_plan.generation}/_count")["count"] >= acknowledged
    result = index_and_harm(leaving, batch, resume, {})
    leaving.settle(its_plan, [result])
    assert result.counts.processed == ROWS - 1
    assert equal(db, engine, "gone")

    assert write(late) == Counts(created=1)
    _, done = Sweeper(run=restarted).sweep()
    assert done.counts == Counts(deleted=1)
    assert equal(db, engine, "restarted")


def impatient_for(generation: str) -> Callable[..., SearchWriter]:
    """Makes writers, of which those of this generation wait a second for an engine that is gone."""

    def made(calls: Calls, path: str, **options: Any) -> SearchWriter:
        if generation in path:
            options["patience"] = Patience(busy_s=1, gone_s=1)
        return SearchWriter(calls, path, **options)

    return made
