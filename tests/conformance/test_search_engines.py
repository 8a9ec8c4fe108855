"""OpenSearch and Elasticsearch keep the promises of a target, on the real engines."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from airflow_reindex_provider.core.bulk import key_of
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Chunk, Counts, Document, Format, Key, Position, Rejection, Schema
from airflow_reindex_provider.core.windows import Sizes
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.elasticsearch import ElasticsearchTarget
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.targets.search.documents import bulk_lines
from airflow_reindex_provider.targets.search.indexes import Index, Indexes
from airflow_reindex_provider.targets.search.session import SearchTargetSession
from airflow_reindex_provider.targets.search.target import SearchTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.search_engine import SearchEngine
from airflow_reindex_provider.testing.target_conformance import TargetConformance, text_schema

pytestmark = pytest.mark.versions

_TARGETS: Mapping[str, type[SearchTarget]] = {"opensearch": OpenSearchTarget, "elasticsearch": ElasticsearchTarget}
NAMES = sorted(_TARGETS)


class SearchIndex:
    def __init__(self, engine: SearchEngine) -> None:
        self.engine = engine
        self.target = _TARGETS[engine.name](engine.name, index=f"products-{uuid4().hex[:8]}")

    def schema(self) -> Schema:
        return text_schema()

    def published(self) -> Mapping[Key, str] | None:
        found = self.engine.documents(self.target.index)
        return None if found is None else {key_of(id, 1): source["body"] for id, source in found.items()}

    def chunk(self, documents: Sequence[Document], format: Format) -> Chunk:
        if format is Format.ROWS:
            return Chunk(Position("1"), format, list(documents))
        rejected: list[Rejection] = []
        lines = list(bulk_lines(documents, rejected))
        assert not rejected
        return Chunk(Position("1"), format, iter(lines))

    def bad_body(self) -> str:
        # A term that is longer than Lucene takes, in the keyword that these tests map the body to.
        return "x" * 40_000

    def occupy(self) -> None:
        self.engine.call("PUT", f"/{self.target.index}/_doc/1?refresh=true", {"body": "mine"})

    def occupant_is_unharmed(self) -> bool:
        return self.engine.documents(self.target.index) == {"1": {"body": "mine"}}


class SearchConformance(TargetConformance):
    formats = SearchTarget.formats

    @pytest.fixture
    def index(self, engine: SearchEngine) -> SearchIndex:
        index = SearchIndex(engine)
        mapping = {"properties": {"body": {"type": "keyword"}}}
        index.target = type(index.target)(index.target.conn_id, index=index.target.index, mappings=mapping)
        return index


class TestOpenSearch(SearchConformance):
    @pytest.fixture
    def engine(self, opensearch: SearchEngine) -> SearchEngine:
        return opensearch


class TestElasticsearch(SearchConformance):
    @pytest.fixture
    def engine(self, elasticsearch: SearchEngine) -> SearchEngine:
        return elasticsearch


@pytest.fixture(params=NAMES)
def index(request: pytest.FixtureRequest) -> SearchIndex:
    return SearchIndex(request.getfixturevalue(request.param))


def test_a_key_that_the_engine_does_not_take(index: SearchIndex) -> None:
    """An ``_id`` of more than 512 bytes poisons the whole body; that document is parked, the others are in."""
    keys = [("1",), ("x" * 600,), ("2",), ("",), ("3",)]
    documents = [Document(key, 1, {"id": key[0], "body": "b"}) for key in keys]
    with index.target.open("s") as session:
        name = session.create_first(index.target.generation_name("20260101t000000"), index.schema())
        with session.writer(name, index.schema(), Format.BULK) as writer:
            result = writer.write(index.chunk(documents, Format.BULK))
        session.promote(name)
    assert result.counts == Counts(created=3, failures=2)
    assert {r.key for r in result.rejected} == {("x" * 600,), ("",)}
    assert set(index.published() or {}) == {("1",), ("2",), ("3",)}


def test_a_load_has_no_refresh_and_no_copies_until_it_is_public(index: SearchIndex) -> None:
    """Also after a crash between the settings and the alias: the next promotion sets both."""
    target = type(index.target)(index.target.conn_id, index=index.target.index, settings={"refresh_interval": "5s"})
    with target.open("s") as session:
        name = session.create_first(target.generation_name("20260101t000000"), index.schema())
        during = _settings(index, name)
        session.promote(name)
        session.promote(name)
    after = _settings(index, name)
    assert (during["refresh_interval"], during["number_of_replicas"]) == ("-1", "0")
    assert (after["refresh_interval"], after["number_of_replicas"]) == ("5s", "1")
    assert after["gc_deletes"] == "1h"


def _settings(index: SearchIndex, name: str) -> dict[str, str]:
    settings: dict[str, str] = index.engine.call("GET", f"/{name}/_settings")[name]["settings"]["index"]
    return settings


@pytest.mark.parametrize(("gc_deletes", "forgets"), [(None, False), ("1ms", True)])
def test_how_long_a_deletion_is_remembered(index: SearchIndex, gc_deletes: str | None, forgets: bool) -> None:
    """For an hour, or as the author's settings say: then a late write brings the document back."""
    settings = {"gc_deletes": gc_deletes} if gc_deletes else None
    target = type(index.target)(index.target.conn_id, index=index.target.index, settings=settings)
    with target.open("s") as session:
        name = session.create_first(target.generation_name("20260101t000000"), index.schema())
        with session.writer(name, index.schema(), Format.BULK) as writer:
            for document in (Document(("1",), 1, {"id": "1", "body": "b"}), Document(("1",), 5, None)):
                writer.write(index.chunk([document], Format.BULK))
            for _ in range(100):
                index.engine.call("POST", f"/{name}/_refresh")
                index.engine.call("POST", f"/{name}/_flush?force=true")
                counts = writer.write(
                    index.chunk([Document(("1",), 4, {"id": "1", "body": "late"})], Format.BULK)
                ).counts
                if not forgets or counts.created:
                    break
                time.sleep(0.1)
    assert counts == (Counts(created=1) if forgets else Counts(version_conflicts=1))


def test_a_generation_that_is_gone_is_not_made_anew(index: SearchIndex) -> None:
    """A write to an index that was dropped meanwhile fails; it does not make an index without a mapping."""
    with index.target.open("s") as session:
        name = session.create_first(index.target.generation_name("20260101t000000"), index.schema())
        with session.writer(name, index.schema(), Format.BULK) as writer:
            index.engine.call("DELETE", f"/{name}")
            with pytest.raises(ConfigurationError, match="is gone"):
                writer.write(index.chunk([Document(("1",), 1, {"id": "1", "body": "b"})], Format.BULK))
    assert index.engine.call("GET", f"/{name}") is None


def _two_generations(index: SearchIndex, session: SearchTargetSession) -> tuple[str, str]:
    """The first is live, the second was never promoted."""
    first, second = (index.target.generation_name(f"2026010{n}t000000") for n in (1, 2))
    session.create_first(first, index.schema())
    session.promote(first)
    session.create(second, index.schema())
    return first, second


def test_what_was_made_live_meanwhile_is_not_dropped(index: SearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine itself refuses the step when the alias has moved since this session looked."""
    with index.target.open("s") as session, index.target.open("s") as other:
        first, second = _two_generations(index, session)
        look = Indexes.own

        def look_and_lose(indexes: Indexes) -> list[Index]:
            found = look(indexes)
            monkeypatch.setattr(Indexes, "own", look)
            other.promote(second)
            return found

        monkeypatch.setattr(Indexes, "own", look_and_lose)
        with pytest.raises(ConfigurationError, match="live one"):
            session.drop(second)
        assert [(g.name, g.live, g.served) for g in session.generations()] == [
            (first, False, True),
            (second, True, True),
        ]


def test_the_alias_points_at_one_generation_whoever_moves_it(
    index: SearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two promotions at the same moment the later one wins; never are both live."""
    with index.target.open("s") as session, index.target.open("s") as other:
        first, second = _two_generations(index, session)
        third = index.target.generation_name("20260103t000000")
        session.create(third, index.schema())
        look = Indexes.own

        def look_and_lose(indexes: Indexes) -> list[Index]:
            found = look(indexes)
            monkeypatch.setattr(Indexes, "own", look)
            other.promote(second)
            return found

        monkeypatch.setattr(Indexes, "own", look_and_lose)
        session.promote(third)
        assert [(g.name, g.live) for g in session.generations()] == [(first, False), (second, False), (third, True)]


def test_what_an_alias_has_goes_along(index: SearchIndex) -> None:
    """A filter that somebody has given to the alias holds for the next generation, and outlives the drop of another one."""
    with index.target.open("s") as session:
        first, second = _two_generations(index, session)
        alias = {"index": first, "alias": index.target.index, "filter": {"term": {"body": "shown"}}, "routing": "1"}
        index.engine.call("POST", "/_aliases", {"actions": [{"add": alias}]})
        session.drop(second)
        kept = _alias(index)
        session.create(second, index.schema())
        session.promote(second)
        assert kept == {first: {"filter": alias["filter"], "index_routing": "1", "search_routing": "1"}}
        assert _alias(index) == {second: kept[first]}


def _alias(index: SearchIndex) -> dict[str, Any]:
    name = index.target.index
    return {index: found["aliases"][name] for index, found in index.engine.call("GET", f"/_alias/{name}").items()}


TABLE = r"""
CREATE TABLE items (
  id bigint PRIMARY KEY, title text, price numeric, at timestamptz, tags text[], more jsonb, raw bytea,
  gone boolean NOT NULL DEFAULT false, changed timestamptz NOT NULL DEFAULT now() - interval '1 h'
);
INSERT INTO items
SELECT n, E'it''s "' || n || E'\\ \n', n / 7.0, now(), ARRAY['a', NULL], '{"a": [1, null]}', decode('ff00', 'hex')
FROM generate_series(1, 500) AS n;
"""


@pytest.mark.parametrize("transform", [None, dict], ids=["bulk", "rows"])
def test_index_equals_table(index: SearchIndex, database: Database, transform: Any) -> None:
    """A first load and an incremental run with a change, a new row and a soft deletion, by either path."""
    with database.connect() as connection:
        connection.execute(TABLE)
        source = PostgresSource(
            database.conn_id,
            table="public.items",
            primary_key="id",
            cursor_field="changed",
            margin=timedelta(0),
            soft_delete_column="gone",
            columns=("title", "price", "at", "tags", "more", "raw"),
        )
        run = Runner(source=source, target=index.target, sizes=Sizes(batch_rows=200), transform=transform)
        first = run.run()
        assert first.counts.created == 500
        connection.execute("UPDATE items SET title = 'new', changed = now() WHERE id = 7")
        connection.execute("UPDATE items SET gone = true, changed = now() WHERE id = 8")
        connection.execute("INSERT INTO items (id, title, changed) VALUES (501, 'added', now())")
        second = run.run()
        assert (second.counts.created, second.counts.updated, second.counts.deleted) == (1, 1, 1)
        rows = connection.execute(
            "SELECT id::text, row_to_json(r)::jsonb FROM (SELECT id, title, price, at, tags, more,"
            " encode(raw, 'base64') AS raw FROM items WHERE NOT gone) AS r"
        ).fetchall()
    assert index.engine.documents(index.target.index) == dict(rows)


def test_unknown_connection(index: SearchIndex) -> None:
    target = type(index.target)("nobody", index="products")
    with pytest.raises(ConfigurationError, match="'nobody', which does not exist"), target.open("s"):
        pass
