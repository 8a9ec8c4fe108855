"""Passages with vectors in OpenSearch and Elasticsearch: objects within their document, on the real engines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from uuid import uuid4

import pytest
from passages_elsewhere import SEARCH_TARGETS, SearchedArticles, require_vectors
from passages_under_test import CountingEmbedder

from airflow_reindex_provider.core.bulk import key_of
from airflow_reindex_provider.core.embedding.recipe import Recipe
from airflow_reindex_provider.core.embedding.requests import Requests
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Chunk, Document, Format, Key, Position, Schema
from airflow_reindex_provider.core.sweeping.records import Difference
from airflow_reindex_provider.targets.search.target import SearchTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.search_engine import SearchEngine
from airflow_reindex_provider.testing.sweeps import Sweeper
from airflow_reindex_provider.testing.target_conformance import text_schema
from airflow_reindex_provider.testing.target_suite.passages import PassageSuite

pytestmark = pytest.mark.versions

NAMES = sorted(SEARCH_TARGETS)


class SearchPassages:
    def __init__(self, engine: SearchEngine) -> None:
        self._engine = engine
        self._index = f"articles-{uuid4().hex[:8]}"

    def target(self, recipe: Recipe) -> SearchTarget:
        mapping = {"properties": {"body": {"type": "keyword"}}}
        made = SEARCH_TARGETS[self._engine.name](self._engine.name, index=self._index, mappings=mapping)
        return made.with_passages(recipe)

    def schema(self) -> Schema:
        return text_schema()

    def bad_body(self) -> str:
        # A term that is longer than Lucene takes.
        return "x" * 40_000

    def shown(self) -> Mapping[Key, Sequence[tuple[str, Sequence[float]]]]:
        found = self._engine.documents(self._index)
        assert found is not None
        return {
            key_of(id, 1): [(p["text"], p["vector"]) for p in source.get("passages", ())]
            for id, source in found.items()
        }


class TestOpenSearch(PassageSuite):
    @pytest.fixture
    def passage_index(self, opensearch: SearchEngine) -> SearchPassages:
        return SearchPassages(require_vectors(opensearch))


class TestElasticsearch(PassageSuite):
    @pytest.fixture
    def passage_index(self, elasticsearch: SearchEngine) -> SearchPassages:
        return SearchPassages(elasticsearch)


# -- whole runs


@pytest.fixture(params=NAMES)
def articles(
    request: pytest.FixtureRequest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SearchedArticles]:
    monkeypatch.setitem(Requests.__init__.__kwdefaults__, "first_delay_s", 0.01)
    engine: SearchEngine = request.getfixturevalue(request.param)
    return SearchedArticles(database, engine)


def test_a_first_load_embeds_every_text_once_and_is_searched(articles: SearchedArticles) -> None:
    """Across the chunks of a batch, too, whose passages nobody can search yet; and a price embeds nothing."""
    for number in range(30):
        articles.put(number, f"Boots {number}", f"For snow.\n\nFor ice {number % 7}.")
    articles.runner = replace(articles.runner, chunk_rows=4)
    outcome = articles.runner.run()

    articles.require_true()
    assert sorted(articles.model.texts) == sorted({*articles.model.texts})
    assert outcome.passages.embedded == 30 + 1 + 7
    assert outcome.passages.reused == 30 * 3 - 38
    assert articles.nearest("Boots 17") == "17"

    articles.model.texts = []
    articles.put(17, "Boots 17", "For snow.\n\nFor ice 3.", price=5)
    assert articles.runner.run().counts.updated == 1
    assert articles.model.texts == []
    articles.require_true()
    assert articles.source()["17"]["price"] == 5


def test_an_edit_embeds_what_it_changes_and_a_deletion_leaves_nothing(articles: SearchedArticles) -> None:
    articles.put(1, "Boots", "For snow.\n\nFor ice.\n\nFor rain.")
    articles.put(2, "Sandals", "For sand.")
    articles.runner.run()
    articles.model.texts = []
    articles.put(1, "Boots", "First.\n\nFor snow.\n\nFor ice.")
    articles.remove(2)
    articles.runner.run()

    assert articles.model.texts == ["First."]
    assert articles.source().keys() == {"1"}
    articles.require_true()


def test_a_refused_text_parks_its_document_and_leaves_it_as_it_was(articles: SearchedArticles) -> None:
    articles.put(1, "Boots", "For snow.")
    articles.runner.run()
    articles.put(1, "Boots", "This is nothing.")
    articles.put(2, "Sandals", "For sand.")
    assert articles.runner.run().parked == 1

    found = articles.documents()
    assert [text for text, _ in found["1"].passages] == ["Boots", "For snow."]
    assert [text for text, _ in found["2"].passages] == ["Sandals", "For sand."]
    assert (found["1"].body, found["2"].body) == ("For snow.", "For sand.")


def test_a_rebuild_embeds_nothing_and_another_model_all(articles: SearchedArticles) -> None:
    articles.put(1, "Boots", "For snow.\n\nFor ice.")
    articles.put(2, "Sandals", "For sand.\n\nFor snow.")
    articles.runner.run()
    articles.model.texts = []
    Rebuilder(run=articles.runner).rebuild("20260601t000000")

    assert articles.model.texts == []
    articles.require_true()

    model = CountingEmbedder(dimensions=5, name="other")
    articles = articles.with_model(model)
    articles.put(3, "Socks", None)
    with pytest.raises(ConfigurationError, match=r"was made with model .*other.*Rebuild the index"):
        articles.runner.run()
    Rebuilder(run=articles.runner).rebuild("20260601t000001")

    assert sorted(model.texts) == ["Boots", "For ice.", "For sand.", "For snow.", "Sandals", "Socks"]
    articles.require_true()


def test_a_sweep_finds_nothing_to_mend(articles: SearchedArticles) -> None:
    for number in range(5):
        articles.put(number, f"Boots {number}", "For snow.")
    articles.runner.run()
    report, _ = Sweeper(run=articles.runner).sweep()
    assert report.count(Difference.STALE) == report.count(Difference.MISSING) == 0


def test_what_cannot_have_passages_is_refused_before_anything_is_made(articles: SearchedArticles) -> None:
    with pytest.raises(ConfigurationError, match=r"names the field 'summary', which is no column"):
        articles.with_fields("summary").run()


def test_a_field_of_the_name_is_its_documents_own_fault(articles: SearchedArticles) -> None:
    """Which a transform may make of some rows; the others are written."""
    articles.runner.transform = lambda row: row | ({"passages": "mine"} if row["id"] == 1 else {})
    articles.put(1, "Boots", "For snow.")
    articles.put(2, "Sandals", "For sand.")
    assert articles.runner.run().parked == 1
    assert articles.source().keys() == {"2"}


@pytest.mark.parametrize("name", NAMES)
def test_an_author_may_say_more_of_the_vectors(name: str, request: pytest.FixtureRequest) -> None:
    """One property of the field of passages stands in the place of ours, and the others stay."""
    engine = require_vectors(request.getfixturevalue(name))
    mapping = {"properties": {"passages": {"properties": {"text": {"type": "keyword"}}}}}
    target = SEARCH_TARGETS[name](name, index=f"articles-{uuid4().hex[:8]}", mappings=mapping)
    embedded = target.with_passages(Recipe(("body",), "a model", 3, "words"))
    with embedded.open("stream") as session:
        generation = session.create_first(embedded.generation_name("20260101t000000"), text_schema())
        document = Document(("1",), 1, {"id": "1", "body": "x"})
        with session.writer(generation, text_schema(), Format.ROWS) as writer:
            writer.write(Chunk(Position("1"), Format.ROWS, [document]))
    made = engine.call("GET", f"/{generation}/_mapping")[generation]["mappings"]["properties"]["passages"]
    assert made["type"] == "nested"
    assert made["properties"]["text"]["type"] == "keyword"
    assert made["properties"]["vector"]["type"] in ("knn_vector", "dense_vector")
