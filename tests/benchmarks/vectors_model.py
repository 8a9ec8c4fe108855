"""The model that comes in a package: ours and what people write by hand, into pgvector; LangChain's own indexing function, into
the store in memory that comes with it. ``vectors_model ours|by_hand|langchain table dsn``.

Four runs: first load; another column of 1% of the rows; one word in 1% of the rows; nothing changed. Answers with the texts that
were embedded in each, and of the first with its seconds and the part of them that was the model's own."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.vectorstores import InMemoryVectorStore

from airflow_reindex_provider.core.embedding.embed import Embed
from airflow_reindex_provider.core.embedding.embedder import Answer
from airflow_reindex_provider.embedders.wordllama import WordLlamaEmbedder
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.runs import Runner
from tests.benchmarks.meter import answer
from tests.benchmarks.vectors_data import paragraphs

RUNS = ("first", "column", "word", "nothing")
_CHANGES = {
    "column": "UPDATE public.{table} SET updated_at = clock_timestamp() WHERE id % 100 = 1",
    "word": "UPDATE public.{table} SET body = 'word ' || body, updated_at = clock_timestamp() WHERE id % 100 = 2",
}


class Measured:
    """:ivar texts: it was asked for. :ivar seconds: it took."""

    def __init__(self) -> None:
        self._model = WordLlamaEmbedder()
        self.identity, self.limits, self.label = self._model.identity, self._model.limits, self._model.label
        self.texts, self.seconds = 0, 0.0

    @contextmanager
    def open(self) -> Iterator[Measured]:
        with self._model.open() as session:
            self._session = session
            yield self

    def embed(self, texts: Sequence[str]) -> Answer:
        began = time.perf_counter()
        made = self._session.embed(texts)
        self.seconds += time.perf_counter() - began
        self.texts += len(texts)
        return made

    def embed_query(self, text: str) -> Any:
        return self._session.embed_query(text)


def ours(table: str, model: Measured, dsn: str) -> Callable[[], object]:
    runner = Runner(
        stream=table,
        source=PostgresSource("bench", table=f"public.{table}", primary_key="id", cursor_field="updated_at"),
        target=PostgresTarget("bench", index=f"public.{table}_ours", passage_indexes=()),
        # One at a time, so that what it takes is its own.
        embed=Embed(("body",), model=model, splitter=paragraphs, concurrency=1),
    )
    return runner.run


def by_hand(table: str, model: Measured, dsn: str) -> Callable[[], object]:
    """Rows that have changed since the last run: their chunks are deleted, embedded and inserted."""
    connection = psycopg.connect(dsn, autocommit=True)
    connection.execute(
        f"CREATE TABLE {table}_hand (id int, place int, text text, embedding vector(256), PRIMARY KEY (id, place))"
    )
    since = ["-infinity"]

    def run() -> None:
        row = connection.execute("SELECT now()::text").fetchone()
        rows = connection.execute(f"SELECT id, body FROM public.{table} WHERE updated_at > %s", since).fetchall()
        chunks = [(key, place, text) for key, body in rows for place, text in enumerate(paragraphs(body))]
        with model.open() as session, connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(f"DELETE FROM {table}_hand WHERE id = %s", [(key,) for key, _ in rows])
            for n in range(0, len(chunks), 128):
                part = chunks[n : n + 128]
                vectors = session.embed([text for _, _, text in part]).vectors
                cursor.executemany(
                    f"INSERT INTO {table}_hand VALUES (%s, %s, %s, %s::vector)",
                    [(*chunk, str(list(vector))) for chunk, vector in zip(part, vectors, strict=True)],
                )
        since[0] = str(row[0]) if row else since[0]

    return run


def langchain(table: str, model: Measured, dsn: str) -> Callable[[], object]:
    """As its documentation tells: a record of what was indexed, cleaned up by the row that a chunk is of; given the rows that
    have changed since the last run. It writes to no database."""
    connection = psycopg.connect(dsn, autocommit=True)
    store, records = InMemoryVectorStore(_Embeddings(model)), InMemoryRecordManager(table)
    records.create_schema()
    since = ["-infinity"]

    def run() -> None:
        row = connection.execute("SELECT now()::text").fetchone()
        rows = connection.execute(f"SELECT id, body FROM public.{table} WHERE updated_at > %s", since).fetchall()
        documents = [
            Document(page_content=text, metadata={"source": str(key)})
            for key, body in rows
            for text in paragraphs(body)
        ]
        with model.open():
            index(documents, records, store, cleanup="incremental", source_id_key="source", key_encoder="sha256")
        since[0] = str(row[0]) if row else since[0]

    return run


class _Embeddings(Embeddings):
    def __init__(self, model: Measured) -> None:
        self._model = model

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [vector.tolist() for vector in self._model.embed(texts).vectors]

    def embed_query(self, text: str) -> list[float]:
        return list(self._model.embed_query(text))


CONTESTANTS = {"ours": ours, "by_hand": by_hand, "langchain": langchain}


def main(contestant: str, table: str, dsn: str) -> None:
    model = Measured()
    with model.open() as session:
        # Its loading is no part of what is measured.
        session.embed(["warm"])
    run = CONTESTANTS[contestant](table, model, dsn)
    found: dict[str, float] = {}
    for name in RUNS:
        if change := _CHANGES.get(name):
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(change.format(table=table))
                # Ours keeps two seconds behind the oldest transaction.
                connection.execute("SELECT pg_sleep(2.2)")
        model.texts, model.seconds = 0, 0.0
        began = time.perf_counter()
        run()
        found |= {
            f"{name}_texts": model.texts,
            f"{name}_s": time.perf_counter() - began,
            f"{name}_model_s": model.seconds,
        }
    answer(**found)


if __name__ == "__main__":
    main(*sys.argv[1:])
