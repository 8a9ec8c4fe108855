"""Texts and vectors that are not as they should be, and streams that are more than a table: transforms, groups, swaps."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from passages_under_test import Articles, CountingEmbedder, paragraphs

from airflow_reindex_provider.core.embedding.embed import Embed
from airflow_reindex_provider.core.embedding.embedder import Answer
from airflow_reindex_provider.core.embedding.splitting import SplitByContent
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Rejection
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.sources.sql.children import Child
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.memory import MemoryTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner


class OddEmbedder(CountingEmbedder):
    """Whose answers somebody changes."""

    def __init__(self, change: Callable[[Sequence[str], list[Any]], list[Any]], dimensions: int = 4) -> None:
        super().__init__(dimensions=dimensions)
        self._change = change

    def embed(self, texts: Sequence[str]) -> Answer:
        return Answer(self._change(texts, list(super().embed(texts).vectors)))


@pytest.fixture
def articles(database: Database) -> Articles:
    return Articles(database)


def parked(articles: Articles) -> list[Rejection]:
    outcome = articles.run()
    found = articles.runner.store.load(articles.runner.stream, outcome.plan.generation).parked
    return [Rejection(one.key, one.reason) for one in found]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda texts, vectors: vectors[:-1], r"answered 1 vectors for 2 texts"),
        (lambda texts, vectors: [vector[:3] for vector in vectors], r"vectors of 3 dimensions, and the stream says 4"),
    ],
    ids=["too few vectors", "other dimensions"],
)
def test_a_model_that_cannot_be_used_ends_the_run(articles: Articles, change: Any, says: str) -> None:
    """Nothing is written, and no retry is worth its while."""
    odd = articles.with_model(OddEmbedder(change))
    odd.put(1, "Boots", "For snow.")
    with pytest.raises(ConfigurationError, match=says):
        odd.run()

    assert not odd.has_view()


@pytest.mark.parametrize("number", ["nan", "inf", "0"])
def test_a_vector_that_cannot_be_searched_parks_its_document(articles: Articles, number: str) -> None:
    def change(texts: Sequence[str], vectors: list[Any]) -> list[Any]:
        odd = array("f", [float(number)] * 4)
        return [odd if "odd" in text else vector for text, vector in zip(texts, vectors, strict=True)]

    changed = articles.with_model(OddEmbedder(change))
    changed.put(1, "Boots", "An odd text.")
    changed.put(2, "Boots", "For snow.")
    (refused,) = parked(changed)

    assert refused.key == ("1",)
    assert "field 'body', characters 0 to 12" in refused.reason
    assert {key for key, _ in changed.shown()} == {"2"}


def test_texts_of_every_kind(articles: Articles) -> None:
    """Empty ones and whitespace have no passage; 5 MB without a space and one emoji again and again are cut all the same."""
    embed = Embed(("title", "body"), model=articles.model, splitter=SplitByContent())
    articles.runner = replace(articles.runner, embed=embed)
    articles.put(1, None, "")
    articles.put(2, " \n\t", "For snow.")
    articles.put(3, "long", "x" * 5_000_000)
    articles.put(4, "😀" * 9_000, "e\u0301" * 3_000)
    assert parked(articles) == []

    articles.require_true()
    assert {key for key, _ in articles.shown()} == {"2", "3", "4"}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (7, "field 'body' is to be embedded and holds a int, not a text"),
        ("a\0b", "column 'body': a text cannot hold the character NUL"),
        ("\ud83d", "field 'body' holds half of a surrogate pair"),
    ],
    ids=["a number", "NUL", "half a pair"],
)
def test_what_is_no_text_parks_its_document(articles: Articles, value: Any, says: str) -> None:
    """Told with the key and the field; the others of the chunk are written."""
    articles.runner = replace(articles.runner, transform=lambda row: {**row, "body": value} if row["id"] == 1 else row)
    articles.put(1, "Boots", "x")
    articles.put(2, "Sandals", "For sand.")
    (refused,) = parked(articles)

    assert refused.key == ("1",)
    assert says in refused.reason
    assert {key for key, _ in articles.shown()} == {"2"}


def test_a_splitter_that_raises_parks_its_document(articles: Articles) -> None:
    def split(text: str) -> list[str]:
        if "odd" in text:
            raise ValueError("I do not like it")
        return paragraphs(text)

    articles.runner = replace(articles.runner, embed=Embed(("title", "body"), model=articles.model, splitter=split))
    articles.put(1, "Boots", "odd")
    articles.put(2, "Boots", "even")
    (refused,) = parked(articles)

    assert "the splitter raised ValueError: I do not like it" in refused.reason


def test_wide_vectors_are_halves(articles: Articles) -> None:
    """Above what pgvector can index as ``vector``; numbers beyond a half's are told as what they are."""
    wide = articles.with_model(CountingEmbedder(dimensions=3072))
    wide.put(1, "Boots", "For snow.")
    wide.run()
    assert len(wide.shown()) == 2
    far = articles.with_model(OddEmbedder(lambda texts, vectors: [array("f", [1e6] * 3072) for _ in vectors], 3072))
    far.put(2, "Boots", "For ice.")
    with pytest.raises(ConfigurationError, match="beyond the 65,504"):
        far.run()
    with pytest.raises(ConfigurationError, match="pgvector indexes 4,000 at the most"):
        Rebuilder(run=articles.with_model(CountingEmbedder(dimensions=4097)).runner).rebuild("20260601t000000")


def test_the_transform_comes_first(articles: Articles, database: Database) -> None:
    """What it makes is embedded, and what it takes out has no passage."""
    articles.runner = Runner(
        source=articles.runner.source,
        target=PostgresTarget(database.conn_id, index="public.articles", columns={"summary": "text"}),
        transform=lambda row: None if row["price"] else {**row, "summary": f"{row['title']}: {row['body']}"},
        embed=Embed(("summary",), model=articles.model, splitter=paragraphs),
    )
    articles.put(1, "Boots", "For snow.")
    articles.put(2, "Sandals", "For sand.", price=1)
    articles.run()
    assert articles.shown() == {("1", 0): ("summary", 0, "Boots: For snow.")}

    articles.put(1, "Boots", "For snow.", price=1)
    articles.run()
    assert articles.shown() == {}


def test_documents_of_two_tables(database: Database) -> None:
    """A child that comes, changes and goes is in its document, and embeds nothing; not in a rebuild either."""
    articles = Articles(
        database,
        children=[
            Child(
                "notes",
                table="public.note",
                foreign_key="article_id",
                cursor_field="changed",
                columns=("id", "words"),
                order_by="id",
                tombstones=True,
            )
        ],
    )
    articles.execute(
        "CREATE TABLE note (id bigint PRIMARY KEY, article_id bigint REFERENCES article, words text,"
        " changed timestamptz NOT NULL DEFAULT clock_timestamp())"
    )
    articles.execute("CREATE INDEX ON note (changed, article_id)")
    articles.execute("CREATE INDEX ON note (article_id)")
    source = articles.runner.source
    assert isinstance(source, PostgresSource)
    source.install_tombstones()
    articles.put(1, "Boots", "For snow.")
    articles.put(2, "Sandals", "For sand.")
    articles.run()
    articles.model.texts.clear()

    def notes() -> Any:
        with database.connect() as connection:
            return connection.execute("SELECT notes FROM articles WHERE id = 1").fetchall()[0][0]

    for change, there in (
        ("INSERT INTO note VALUES (7, 1, 'good')", [{"id": 7, "words": "good"}]),
        ("UPDATE note SET words = 'better', changed = clock_timestamp() WHERE id = 7", [{"id": 7, "words": "better"}]),
        ("DELETE FROM note WHERE id = 7", []),
    ):
        articles.execute(change)
        articles.run()
        assert notes() == there
    Rebuilder(run=articles.runner).rebuild("20260601t000000")
    assert articles.model.texts == []
    articles.require_true()


def test_a_group_has_passages_of_its_own(database: Database) -> None:
    """Each group an index and a view of passages; the name leaves room for them."""
    model = CountingEmbedder()
    stream = Stream(
        name="articles",
        source=PostgresSource(
            database.conn_id, table="article", primary_key="id", cursor_field="changed", group_by="price"
        ),
        target=PostgresTarget(database.conn_id, index="public.articles_{group}"),
        embed=Embed(("title",), model=model),
    )
    of_one = stream.of_group("1")

    assert isinstance(of_one.target, PostgresTarget)
    assert of_one.target.passages == stream.embed.recipe if stream.embed else False
    assert stream.target.group_room == 63 - len("_YYYYMMDDtHHMMSS") - len("_passages") - len("articles_")  # type: ignore[attr-defined]


def test_rows_that_are_not_at_rest_keep_their_passages_over_a_swap(articles: Articles) -> None:
    """A row that changes all the time is carried over with what the live generation holds of it."""
    for n in range(3):
        articles.put(n, f"Title {n}", f"Body {n}.")
    articles.run()
    rebuilder = Rebuilder(run=articles.runner)
    plan = rebuilder.begin("20260601t000000")
    articles.put(1, "Title 1", "Body, changed.")
    articles.run()
    articles.execute("UPDATE article SET changed = clock_timestamp() + interval '1 s' WHERE id = 1")
    rebuilder.copy(plan)
    articles.model.texts.clear()
    with articles.runner.sessions():
        assert rebuilder.swap(plan.generation) == 1

    assert articles.shown()["1", 1][2] == "Body, changed."
    assert len(articles.shown()) == 6
    assert articles.model.texts == []


def test_a_target_without_passages_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="cannot hold passages with vectors, which embed= makes"):
        Stream(
            name="articles",
            source=PostgresSource("shop_db", table="article", primary_key="id", cursor_field="changed"),
            target=MemoryTarget(),
            embed=Embed(("title",), model=CountingEmbedder()),
        )


def test_without_pgvector_it_is_said(database: Database) -> None:
    """Before anything is made, with the statement that mends it."""
    articles = Articles(database)
    articles.execute("DROP EXTENSION vector")
    articles.put(1, "Boots", "For snow.")
    with pytest.raises(ConfigurationError, match="CREATE EXTENSION vector"):
        articles.run()

    assert articles.tables() == []
