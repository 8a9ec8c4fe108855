"""A search engine is killed in the middle of a run and comes back: the run ends right, and nothing that was acknowledged is
lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
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
from airflow_reindex_provider.targets.search.writer import Patience, SearchWriter
from airflow_reindex_provider.testing.memory import MemoryReporter, MemoryResumeLog
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.search_engine import SearchEngine
from airflow_reindex_provider.testing.sweeps import Sweeper

Connection = psycopg.Connection[Any]
TARGETS = {"opensearch": OpenSearchTarget, "elasticsearch": ElasticsearchTarget}
TRANSFORMS: dict[str, Transform | None] = {"bulk": None, "rows": dict}
ROWS = 8_000
CHUNK = 500


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


def test_killed_and_back_within_a_run(engine: SearchEngine, database: Database, db: Connection) -> None:
    """SIGKILL while two runs, one of each format, have written some chunks, with others on their way; the engine is back within
    seconds. The runs wait for it and go on, and the load's settings are undone at the end."""
    runs = {name: runner(database, engine, f"killed-{name}", transform) for name, transform in TRANSFORMS.items()}
    plans = {name: run.plan() for name, run in runs.items()}
    restarts: list[threading.Thread] = []

    def kill() -> None:
        engine.kill()
        restarts.append(threading.Thread(target=engine.restart))
        restarts[-1].start()

    both_are_there = threading.Barrier(len(runs), action=kill, timeout=120)

    def index(name: str) -> BatchResult:
        (batch,) = plans[name].batches
        return index_and_harm(runs[name], batch, MemoryResumeLog(), {5: both_are_there.wait})

    with ThreadPoolExecutor() as pool:
        results = dict(zip(runs, pool.map(index, runs), strict=True))
    for restart in restarts:
        restart.join()

    assert len(restarts) == 1
    for name, run in runs.items():
        plan, result = plans[name], results[name]
        run.settle(plan, [result])
        assert result.counts.processed == ROWS
        assert result.counts.failures == result.counts.version_conflicts == 0
        assert equal(db, engine, f"killed-{name}")
        settings = engine.call("GET", f"/{plan.generation}/_settings")[plan.generation]["settings"]["index"]
        assert (settings["refresh_interval"], settings["number_of_replicas"]) == ("2s", "1")


def test_killed_and_gone_for_longer(
    engine: SearchEngine, database: Database, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine stays away for longer than a task waits: the try fails, worth another one, which goes on after the last
    acknowledged chunk and finds everything that was acknowledged.

    The versions of what was deleted are in the node's memory: a write that was held up beyond the restart brings a document of
    another index back, and the next sweep takes it out."""
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

    run = runner(database, engine, "gone")
    plan = run.plan()
    (batch,) = plan.batches
    resume = MemoryResumeLog()
    with monkeypatch.context() as impatience:
        impatient = partial(SearchWriter, patience=Patience(busy_s=1, gone_s=1))
        impatience.setattr(search_session, "SearchWriter", impatient)
        with pytest.raises(TransientError, match="does not answer"):
            index_and_harm(run, batch, resume, {4: engine.kill})
    engine.restart()
    noted = resume.load()
    assert noted is not None
    acknowledged = Counts.from_json(noted["counts"]).processed
    assert 4 * CHUNK <= acknowledged < ROWS
    engine.call("POST", f"/{plan.generation}/_refresh")
    assert engine.call("GET", f"/{plan.generation}/_count")["count"] >= acknowledged

    result = index_and_harm(run, batch, resume, {})
    run.settle(plan, [result])
    assert result.counts.processed == ROWS - 1
    assert equal(db, engine, "gone")

    assert write(late) == Counts(created=1)
    _, done = Sweeper(run=restarted).sweep()
    assert done.counts == Counts(deleted=1)
    assert equal(db, engine, "restarted")
