"""A table of articles, its stream with embeddings into Postgres, and a model that counts what it is asked for."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any, NamedTuple, Self

from airflow_reindex_provider.core.embedding.embed import Embed
from airflow_reindex_provider.core.embedding.embedder import Answer, Identity, Limits, Vector
from airflow_reindex_provider.core.embedding.passages import passages
from airflow_reindex_provider.core.errors import TransientError
from airflow_reindex_provider.core.planning import current_generation
from airflow_reindex_provider.core.protocols import Target
from airflow_reindex_provider.core.running.outcomes import Outcome
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner


def paragraphs(text: str) -> list[str]:
    return text.split("\n\n")


def vector_of(text: str, dimensions: int) -> Vector:
    """Always the same for a text, and hardly ever for another; of a text with the word "nothing", zeros."""
    if "nothing" in text:
        return array("f", [0.0] * dimensions)
    digest = sha256(text.encode()).digest()
    return array("f", [digest[n % 32] / 256 + 0.001 for n in range(dimensions)])


class CountingEmbedder:
    """:ivar texts: all that it was asked for. :ivar fails_after: how many it answers before it is out of order. :ivar gives: the
    dimensions of its vectors."""

    def __init__(self, *, dimensions: int = 4, name: str = "counting", texts_a_request: int = 8) -> None:
        self.identity = Identity("test", name, dimensions)
        self.limits = Limits(texts=texts_a_request)
        self.label = f"the model {name!r}"
        self.texts: list[str] = []
        self.fails_after: int | None = None
        self.gives = dimensions
        self._lock = threading.Lock()

    @contextmanager
    def open(self) -> Iterator[CountingEmbedder]:
        yield self

    def embed(self, texts: Sequence[str]) -> Answer:
        with self._lock:
            if self.fails_after is not None and len(self.texts) >= self.fails_after:
                raise TransientError("the model is out of order")
            self.texts += texts
        return Answer([vector_of(text, self.gives) for text in texts], tokens=len(texts))

    def embed_query(self, text: str) -> Vector:
        return vector_of(text, self.identity.dimensions)


class Seen(NamedTuple):
    """What one search, which looks at everything, finds. :ivar coloured: documents with the column ``colour``.
    :ivar turned: passages whose vectors begin with a number below zero, as those of ``TurnedEmbedder`` do."""

    documents: int
    coloured: int
    passages: int
    turned: int


class TurnedEmbedder(CountingEmbedder):
    """Another model, with vectors of the same width."""

    def __init__(self) -> None:
        super().__init__(name="another model")

    def embed(self, texts: Sequence[str]) -> Answer:
        answer = super().embed(texts)
        for vector in answer.vectors:
            vector[0] = -vector[0]
        return answer


class Articles:
    """:ivar runner: of the stream "stream". :ivar model: what embeds. :ivar conn_id: of the database with the articles."""

    def __init__(self, database: Database, **options: Any) -> None:
        self._database = database
        self.conn_id = database.conn_id
        self._connection = database.connect()
        self._connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        self._connection.execute(
            "CREATE TABLE article (id bigint PRIMARY KEY, title text, body text, price int, gone boolean NOT NULL DEFAULT false,"
            " changed timestamptz NOT NULL DEFAULT clock_timestamp())"
        )
        self.model = CountingEmbedder()
        self.runner = Runner(
            source=PostgresSource(
                database.conn_id,
                table="public.article",
                primary_key="id",
                cursor_field="changed",
                soft_delete_column="gone",
                margin=timedelta(0),
                **options,
            ),
            target=self.target(),
            embed=Embed(("title", "body"), model=self.model, splitter=paragraphs),
        )

    def target(self) -> Target:
        """As its author writes it, without the passages that a stream adds."""
        return PostgresTarget(self._database.conn_id, index="public.articles")

    def with_model(self, model: CountingEmbedder) -> Self:
        return self._with(model, Embed(("title", "body"), model=model, splitter=paragraphs))

    def with_fields(self, *fields: str) -> Self:
        return self._with(self.model, Embed(fields, model=self.model, splitter=paragraphs))

    def without_embedding(self) -> Self:
        return self._with(self.model, None)

    def _with(self, model: CountingEmbedder, embed: Embed | None) -> Self:
        other = copy(self)
        other.model = model
        other.runner = replace(self.runner, embed=embed, target=self.target())
        return other

    def as_stream(self) -> Stream:
        runner = self.runner
        return Stream(
            name=runner.stream, source=runner.source, target=self.target(), checkpoint=runner.store, embed=runner.embed
        )

    def run(self) -> Outcome:
        return self.runner.run()

    def put(self, number: int, title: str | None, body: str | None, price: int = 0) -> None:
        self._connection.execute(
            "INSERT INTO article (id, title, body, price, changed) VALUES (%s, %s, %s, %s, clock_timestamp())"
            " ON CONFLICT (id) DO UPDATE SET title = excluded.title, body = excluded.body, price = excluded.price,"
            " changed = excluded.changed",
            [number, title, body, price],
        )

    def remove(self, number: int) -> None:
        self._connection.execute("UPDATE article SET gone = true, changed = clock_timestamp() WHERE id = %s", [number])

    # -- what the index shows

    def generation(self) -> str:
        with self.runner.target.open(self.runner.stream) as target:
            found = current_generation(target)
        assert found is not None
        return found

    def shown(self) -> dict[tuple[str, int], tuple[str, int | None, str]]:
        """Field, begin and text by key and place, as a search finds them."""
        rows = self._connection.execute("SELECT id, place, field, start_at, text FROM articles_passages")
        return {(str(key), place): (field, start, text) for key, place, field, start, text in rows}

    def require_true(self) -> None:
        """Each row's passages are what the splitter and the model make of it, none too many and none too few."""
        embed = self.runner.embed
        assert embed is not None
        hashed = embed.model.identity.hasher()
        wanted: dict[tuple[str, bytes], tuple[str, int, int | None, list[float]]] = {}
        for key, title, body in self._connection.execute("SELECT id, title, body FROM article WHERE NOT gone"):
            row = {"title": title, "body": body}
            for passage in reversed(passages(row, embed.fields, split=embed.split, hashed=hashed)):
                vector = list(vector_of(passage.text, embed.model.identity.dimensions))
                wanted[str(key), passage.hash] = (passage.field, passage.place, passage.start, vector)
        found = {
            (str(key), hashed(text)): (field, start, [float(n) for n in vector.strip("[]").split(",")])
            for key, field, start, text, vector in self._connection.execute(
                "SELECT id, field, start_at, text, embedding::text FROM articles_passages"
            )
        }
        assert found.keys() == wanted.keys()
        for place, (field, start, vector) in found.items():
            other_field, _, other_start, other = wanted[place]
            assert (field, start) == (other_field, other_start)
            assert all(abs(one - two) < 1e-5 for one, two in zip(vector, other, strict=True))
        held = self._connection.execute(f'SELECT count(*) FROM "{self.generation()}_passages"').fetchone()
        assert held == (len(wanted),)

    @contextmanager
    def searching(self) -> Iterator[Callable[[], Seen]]:
        """A search by somebody who knows the public name alone."""
        with self._database.connect() as connection:

            def search() -> Seen:
                found = connection.execute(
                    "SELECT (SELECT count(*) FROM articles), (SELECT count(*) FROM articles a WHERE to_jsonb(a) ? 'colour'),"
                    " count(*), count(*) FILTER (WHERE (embedding::real[])[1] < 0) FROM articles_passages"
                ).fetchone()
                assert found is not None
                return Seen(*found)

            yield search

    def scans(self) -> Mapping[str, int]:
        """How often each table of the index was read as a whole."""
        rows = self._connection.execute(
            "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE starts_with(relname, 'articles_')"
        )
        return dict(rows.fetchall())

    def places_on_disk(self) -> Mapping[str, str]:
        """By text, where the row of a passage lies and which transaction made it."""
        rows = self._connection.execute(f"SELECT text, ctid::text || ' ' || xmin FROM \"{self.generation()}_passages\"")
        return dict(rows.fetchall())

    def damage(self, key: str) -> None:
        """A passage of this document is lost."""
        self._connection.execute(
            f'DELETE FROM "{self.generation()}_passages" WHERE document ='
            f" (SELECT _reindex_document FROM \"{self.generation()}\" WHERE id::text = %s) AND text LIKE 'For%%'",
            [key],
        )

    def has_view(self) -> bool:
        return self._connection.execute("SELECT to_regclass('articles_passages') IS NOT NULL").fetchone() == (True,)

    def tables(self) -> list[str]:
        rows = self._connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')"
            " AND relname NOT IN ('article') ORDER BY 1"
        )
        return [name for (name,) in rows]

    def execute(self, statement: str) -> None:
        self._connection.execute(statement)
