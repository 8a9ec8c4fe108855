"""Articles of ten paragraphs, each a passage, and stubs of a model: what they cost is the benchmark's to say."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice

from airflow_reindex_provider.core.embedding.embed import Embed
from airflow_reindex_provider.core.embedding.embedder import Answer, Identity, Limits, Vector
from airflow_reindex_provider.core.protocols import Target
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database

PASSAGES = 10
"""Of an article."""
WINDOW = ("2026-01-01 00:00:00+00", "2026-01-02 00:00:00+00")
_POOL = 997

_MAKE = """
CREATE TABLE public.{table} (id int PRIMARY KEY, body text NOT NULL, updated_at timestamptz NOT NULL);
INSERT INTO public.{table} SELECT n,
  (SELECT string_agg(repeat(md5(n::text || ' ' || m::text) || ' ', 8), E'\n\n' ORDER BY m)
   FROM generate_series(1, {passages}) AS m),
  timestamptz '2026-01-01Z' + n * interval '1 ms'
FROM generate_series(1, {rows}) AS n;
CREATE INDEX ON public.{table} (updated_at, id);
ANALYZE public.{table};
"""


def make(database: Database, table: str, rows: int, passages: int = PASSAGES) -> None:
    with database.connect() as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute(_MAKE.format(table=table, rows=rows, passages=passages))


def paragraphs(text: str) -> list[str]:
    return text.split("\n\n")


@dataclass(frozen=True, slots=True)
class Stub:
    """Answers from a pool of vectors, without a look at the texts. :ivar seconds: what a request takes. :ivar texts: at most in
    one. :ivar fresh: whether each vector takes memory of its own, as those that come over a wire do."""

    dimensions: int
    seconds: float = 0.0
    texts: int = 512
    fresh: bool = False

    @property
    def identity(self) -> Identity:
        return Identity("stub", "stub", self.dimensions)

    @property
    def limits(self) -> Limits:
        return Limits(texts=self.texts)

    @property
    def label(self) -> str:
        return "the stub"

    @contextmanager
    def open(self) -> Iterator[_Session]:
        yield _Session(self)


class _Session:
    def __init__(self, stub: Stub) -> None:
        self._stub = stub
        # Cut from one row of numbers: to compute each would take some tenths of a second, which would count as the task's.
        numbers = array("f", [(n * 17 % 101 + 1) / 101 for n in range(101 + stub.dimensions)])
        pool = range(_POOL if stub.dimensions < 1000 else 16)
        self._vectors = cycle([numbers[n % 101 : n % 101 + stub.dimensions] for n in pool])

    def embed(self, texts: Sequence[str]) -> Answer:
        time.sleep(self._stub.seconds)
        vectors = list(islice(self._vectors, len(texts)))
        return Answer([vector[:] for vector in vectors] if self._stub.fresh else vectors)

    def embed_query(self, text: str) -> Vector:
        return self.embed([text]).vectors[0]


def stream(table: str, model: Stub, *, target: Target | None = None, concurrency: int = 4) -> Stream:
    """Into Postgres without an index over vectors, which is built after the load, unless ``target`` is another."""
    return Stream(
        name=table,
        source=PostgresSource("bench", table=f"public.{table}", primary_key="id", cursor_field="updated_at"),
        target=target or PostgresTarget("bench", index=f"public.{table}_index", passage_indexes=()),
        embed=Embed(("body",), model=model, splitter=paragraphs, concurrency=concurrency),
        max_failures=0,
    )
