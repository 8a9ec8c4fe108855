"""Whatever happens while texts are embedded, each document ends with the passages that its row makes, and hardly a text is
embedded twice: processes are killed, the model is out of order and throttles, in first loads, runs and rebuilds."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from unittest import mock

import pytest
from clean_ups import CleanUps
from passages_elsewhere import LanceArticles, WeaviateArticles, articles_in
from passages_under_test import Articles, CountingEmbedder, paragraphs
from storms import tries

from airflow_reindex_provider.caches.postgres import PostgresVectorCache
from airflow_reindex_provider.checkpoints.table import TableCheckpoint
from airflow_reindex_provider.core.embedding.cache import VectorCache
from airflow_reindex_provider.core.embedding.embed import Embed
from airflow_reindex_provider.core.embedding.embedder import Answer
from airflow_reindex_provider.core.embedding.requests import Requests
from airflow_reindex_provider.core.errors import ReindexError, StreamBusyError, ThrottledError, TransientError
from airflow_reindex_provider.core.leases import Keeper
from airflow_reindex_provider.targets.weaviate import lock
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.weaviate_server import WeaviateServer

ROWS = 500
"""Enough for what an interruption may cost, the dozen texts that are asked for and not written, to be a small part."""
ROWS_BEFORE_A_CACHE = 150
"""Which leaves the few texts that are under way as a process is killed."""
SEEDS = range(tries(2, of=10))
FIRST_DELAY_S = 0.001


class RoughEmbedder(CountingEmbedder):
    """Notes every text that it answers in a file, which outlives the process, and is out of order now and then.

    :ivar weather: how likely a request is throttled, and how likely one is the first of an outage."""

    def __init__(self, notes: Path, seed: int) -> None:
        super().__init__(texts_a_request=3)
        self._notes = notes
        self._random = random.Random(seed)
        self._out_of_order = 0
        self.weather = (0.0, 0.0)

    def begin_try(self, seed: float) -> None:
        """Of a process that is forked, which else had the weather of the one before it, request for request."""
        self._random = random.Random(seed)

    def embed(self, texts: Sequence[str]) -> Answer:
        throttles, breaks = self.weather
        with self._lock:
            if self._out_of_order:
                self._out_of_order -= 1
                raise TransientError("the model is out of order")
            if self._random.random() < breaks:
                self._out_of_order = 20
                raise TransientError("the model is out of order")
            if self._random.random() < throttles:
                raise ThrottledError("too many requests", retry_after_s=0.001)
        answer = super().embed(texts)
        with self._notes.open("a") as notes:
            notes.write("".join(f"{text}\n" for text in texts))
        return answer


@pytest.fixture(autouse=True)
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Requests.__init__.__kwdefaults__, "first_delay_s", FIRST_DELAY_S)


@pytest.mark.storm
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["postgres", "opensearch"])
def test_storm(
    database: Database,
    tmp_path: Path,
    kind: str,
    seed: int,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    articles = articles_in(kind, database, request=request, tmp_path=tmp_path, monkeypatch=monkeypatch)
    storm(articles, tmp_path / "texts", seed, rows=ROWS)


@pytest.mark.storm
@pytest.mark.parametrize("seed", range(tries(1, of=10)))
def test_storm_before_a_cache(database: Database, tmp_path: Path, seed: int) -> None:
    """Nothing but what is under way as a process is killed is asked for twice: a few rows are enough to see it."""
    storm(Articles(database), tmp_path / "texts", seed, rows=ROWS_BEFORE_A_CACHE, cache=cache_in(database))


@pytest.mark.storm
@pytest.mark.parametrize("seed", range(tries(1, of=10)))
def test_storm_in_lance(database: Database, tmp_path: Path, seed: int) -> None:
    """From a process that has not used LanceDB when it is forked, like a worker of Airflow's: whose threads do not come along."""
    in_a_new_process(storm_in_lance, database, tmp_path, seed)


@pytest.mark.storm
@pytest.mark.parametrize("seed", range(tries(1, of=10)))
def test_storm_in_weaviate(database: Database, weaviate: WeaviateServer, tmp_path: Path, seed: int) -> None:
    """Likewise, of gRPC's threads. Locks of those that were killed are taken over after a second."""
    in_a_new_process(storm_in_weaviate, database, tmp_path, seed, weaviate.url)


def storm_in_lance(database: Database, folder: Path, seed: int) -> None:
    import_module("lancedb")  # once for all, and nothing of it is used here
    lake = folder / "lake"
    lake.mkdir()
    os.environ["AIRFLOW_CONN_LAKE"] = json.dumps({"conn_type": "generic", "host": str(lake)})
    storm_of_few(LanceArticles(database, lake), database, folder, seed)


def storm_in_weaviate(database: Database, folder: Path, seed: int, url: str) -> None:
    import_module("weaviate")  # as above
    with mock.patch.object(lock, "TAKE_OVER_S", 1.0):
        storm_of_few(WeaviateArticles(database, WeaviateServer(url=url)), database, folder, seed)


def storm_of_few(articles: Articles, database: Database, folder: Path, seed: int) -> None:
    with mock.patch.dict(Requests.__init__.__kwdefaults__, first_delay_s=FIRST_DELAY_S):
        storm(articles, folder / "texts", seed, rows=ROWS_BEFORE_A_CACHE, cache=cache_in(database))


def in_a_new_process(work: Callable[..., None], *arguments: object) -> None:
    own = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    own.start()
    own.join()
    assert own.exitcode == 0


def cache_in(database: Database) -> VectorCache:
    return PostgresVectorCache(database.conn_id, table="public.vectors")


def storm(articles: Articles, notes: Path, seed: int, *, rows: int, cache: VectorCache | None = None) -> None:
    """A first load, two runs and a rebuild, each with what may come between; and clean-ups all the while, from the load on."""
    dice = random.Random(seed)
    model = RoughEmbedder(notes, seed)
    articles = articles.with_model(model)
    runner = articles.runner = replace(
        articles.runner,
        embed=Embed(("title", "body"), model=model, splitter=paragraphs, concurrency=2, cache=cache),
        target=articles.target(),
        store=TableCheckpoint(articles.conn_id, table="public.checkpoints"),
        chunk_rows=dice.choice([30, 100, 1000]),
    )
    for n in range(rows):
        articles.put(n, f"Title {n}", body(dice, n))
    # What a session of Postgres imports, each of the processes would import anew.
    with runner.source.open():
        runner.store.load(runner.stream, "none")
    model.weather = (0.1, 0.004)
    until_done(dice, model, runner.run, kills=1)
    in_a_process(articles.require_true)
    rebuilder = Rebuilder(run=runner)
    with cleaned(articles, rebuilder.retain, notes.with_suffix(".over")):
        for _ in range(2):
            change(dice, articles, rows)
            model.weather = (0.1, 0.01)
            until_done(dice, model, runner.run, kills=dice.randint(0, 1))
            model.weather = (0.0, 0.0)
            in_a_process(runner.run)
            in_a_process(articles.require_true)
        lease = Keeper(runner.store, runner.stream, holder="a rebuild", purpose="rebuild")
        in_a_process(partial(wait_for, lease.keep))
        until_done(dice, model, lambda: rebuilder.rebuild("20260601t000000"), kills=2)
        in_a_process(lease.release)
        change(dice, articles, rows)
        in_a_process(runner.run)
    in_a_process(articles.require_true)

    asked = notes.read_text().splitlines()
    assert len(asked) <= 1.02 * len(set(asked))


def body(dice: random.Random, n: int) -> str:
    pieces = [f"Paragraph {dice.randrange(10**9)}." for _ in range(dice.randint(2, 6))]
    if n % 10 == 0:
        pieces.insert(dice.randint(0, len(pieces)), "What all of them say.")
    return "\n\n".join(pieces)


def change(dice: random.Random, articles: Articles, rows: int) -> None:
    for n in dice.sample(range(rows), 25):
        articles.put(n, f"Title {n}", body(dice, n))
    for n in dice.sample(range(rows), 5):
        articles.remove(n)
    articles.execute("UPDATE article SET price = price + 1, changed = clock_timestamp() WHERE id % 50 = 7")


def until_done(dice: random.Random, model: RoughEmbedder, work: Callable[[], object], *, kills: int) -> None:
    """In processes of their own: some are killed, some end with an error of the model; then the next one goes on."""
    for _ in range(200):
        model.begin_try(dice.random())
        with forked(work) as process:
            if kills:
                kills -= 1
                time.sleep(dice.uniform(0.1, 1.0))
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
        if status == 0:
            return
    raise AssertionError("it did not get done")


def wait_for(keep: Callable[[], None]) -> None:
    """A lease that a clean-up may have for a moment."""
    while True:
        try:
            return keep()
        except StreamBusyError:
            time.sleep(0.02)


@contextmanager
def cleaned(articles: Articles, retain: int, over: Path) -> Iterator[None]:
    """Clean-ups go on in a process of their own, which finds nothing to drop but what killed ones left.

    :param over: a file that is not there yet."""
    stream = articles.as_stream()

    def clean() -> None:
        cleaning = CleanUps(stream, retain)
        while not over.exists() or not cleaning.done:
            cleaning.once()
            time.sleep(0.2)
        # A table that was made and never named, which LanceDB alone can have, is no generation's.
        assert all("killed while it made" in reason for reason in cleaning.reasons), cleaning.dropped

    with forked(clean) as process:
        try:
            yield
        finally:
            over.touch()
            status = os.waitpid(process, 0)[1]
    assert status == 0


def in_a_process(work: Callable[[], object]) -> None:
    with forked(work) as process:
        assert os.waitpid(process, 0)[1] == 0


@contextmanager
def forked(work: Callable[[], object]) -> Iterator[int]:
    process = os.fork()
    if process == 0:
        status = 1
        try:
            work()
            status = 0
        except ReindexError:
            status = 2
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    yield process
