"""Passages with vectors in Postgres: what a run embeds, what it writes, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from passages_under_test import Articles, CountingEmbedder

from airflow_reindex_provider.control.checking import findings
from airflow_reindex_provider.core.embedding.recipe import Recipe
from airflow_reindex_provider.core.embedding.requests import Requests
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Key, Level, Mode, Schema
from airflow_reindex_provider.core.protocols import Target
from airflow_reindex_provider.core.published import PLAN_KEY
from airflow_reindex_provider.core.running.estimating import MOST_ROWS, estimate
from airflow_reindex_provider.core.running.indexing import embedding_target
from airflow_reindex_provider.core.sweeping.records import Difference
from airflow_reindex_provider.core.windows import Request
from airflow_reindex_provider.operators.extract import ExtractChangesOperator
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.sweeps import Sweeper
from airflow_reindex_provider.testing.target_conformance import PassageConformance, PassageIndex, text_schema


class _Index:
    """Passages by their view, of documents by theirs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection = database.connect()
        self._connection.execute("CREATE EXTENSION vector")

    def target(self, recipe: Recipe) -> Target:
        return PostgresTarget(
            self._database.conn_id, index="public.words", columns={"body": "varchar(40)"}
        ).with_passages(recipe)

    def schema(self) -> Schema:
        return text_schema()

    def bad_body(self) -> str:
        return "x" * 41

    def shown(self) -> Mapping[Key, Sequence[tuple[str, Sequence[float]]]]:
        found: dict[Key, list[tuple[str, Sequence[float]]]] = {
            (key,): [] for (key,) in self._connection.execute("SELECT id FROM words")
        }
        rows = self._connection.execute("SELECT id, text, embedding::real[] FROM words_passages ORDER BY id, place")
        for key, text, vector in rows:
            found[key,].append((text, vector))
        return found


class TestPostgresPassages(PassageConformance):
    @pytest.fixture
    def passage_index(self, database: Database) -> PassageIndex:
        return _Index(database)


@pytest.fixture
def articles(database: Database, monkeypatch: pytest.MonkeyPatch) -> Articles:
    """With a model that is asked again at once."""
    monkeypatch.setitem(Requests.__init__.__kwdefaults__, "first_delay_s", 0.01)
    return Articles(database)


def test_a_first_load_embeds_every_text_once(articles: Articles) -> None:
    """Each text of each row is there as the splitter cuts it, with the model's vector, its place and its offsets."""
    articles.put(1, "Boots", "For snow.\n\nFor ice.")
    articles.put(2, "Sandals", "For sand.\n\nFor snow.")
    outcome = articles.run()

    assert articles.shown() == {
        ("1", 0): ("title", 0, "Boots"),
        ("1", 1): ("body", 0, "For snow."),
        ("1", 2): ("body", 11, "For ice."),
        ("2", 0): ("title", 0, "Sandals"),
        ("2", 1): ("body", 0, "For sand."),
        ("2", 2): ("body", 11, "For snow."),
    }
    articles.require_true()
    assert sorted(articles.model.texts) == ["Boots", "For ice.", "For sand.", "For snow.", "Sandals"]
    assert outcome.to_json()["reused"] == 1
    assert outcome.to_json()["embedded"] == outcome.to_json()["tokens"] == 5


def test_a_load_does_not_read_its_tables_for_each_text(articles: Articles) -> None:
    """They have no statistics yet, and while a text is looked for another session writes: what was small grows."""
    for n in range(40):
        articles.put(n, f"Title {n}", "\n\n".join(f"Paragraph {n} {m}." for m in range(5)))
    articles.run()
    scans = articles.scans()
    assert len(scans) == 2
    # A few are those that build its indexes.
    assert max(scans.values()) < 10, scans


def test_another_column_embeds_nothing_and_touches_no_passage(articles: Articles) -> None:
    articles.put(1, "Boots", "For snow.\n\nFor ice.", price=1)
    articles.run()
    before, articles.model.texts = articles.places_on_disk(), []
    articles.put(1, "Boots", "For snow.\n\nFor ice.", price=2)
    outcome = articles.run()

    assert outcome.counts.updated == 1
    assert articles.model.texts == []
    assert articles.places_on_disk() == before
    assert outcome.passages.reused == outcome.passages.passages == 3


def test_a_paragraph_in_front_embeds_that_one(articles: Articles) -> None:
    """The others move, which is in the row of their document: their own rows stay."""
    articles.put(1, "Boots", "For snow.\n\nFor ice.\n\nFor rain.")
    articles.run()
    before, articles.model.texts = articles.places_on_disk(), []
    articles.put(1, "Boots", "First.\n\nFor snow.\n\nFor ice.")
    articles.run()

    assert articles.model.texts == ["First."]
    articles.require_true()
    assert set(articles.places_on_disk().values()) - set(before.values())
    assert {k: v for k, v in articles.places_on_disk().items() if k in before} == {
        k: v for k, v in before.items() if k != "For rain."
    }


def test_a_deleted_document_leaves_no_passage(articles: Articles) -> None:
    articles.put(1, "Boots", "For snow.")
    articles.put(2, "Sandals", "For sand.")
    articles.run()
    articles.remove(1)
    articles.run()

    assert {key for key, _ in articles.shown()} == {"2"}
    articles.require_true()


def test_a_refused_text_parks_its_document_with_the_place(articles: Articles) -> None:
    """The others are written; the refused one keeps its old passages, and is tried again when it is due."""
    articles.put(1, "Boots", "For snow.")
    articles.put(2, "Sandals", "For sand.")
    articles.run()
    articles.put(1, "Boots", "This is nothing.")
    articles.put(2, "Sandals", "For sand and sea.")
    outcome = articles.run()

    assert outcome.parked == 1
    (parked,) = articles.runner.store.load("stream", outcome.plan.generation).parked
    assert parked.key == ("1",)
    assert "field 'body', characters 0 to 16" in parked.reason
    assert "a vector of zeros" in parked.reason
    assert articles.shown()[("1", 1)][2] == "For snow."
    assert articles.shown()[("2", 1)][2] == "For sand and sea."


def test_a_rebuild_embeds_nothing_that_stays(articles: Articles) -> None:
    """For a new column, another splitter or a setting of the engine: vectors are taken from the live generation."""
    articles.put(1, "Boots", "For snow.\n\nFor ice.")
    articles.run()
    articles.model.texts = []
    first = articles.generation()
    Rebuilder(run=articles.runner).rebuild("20260601t000000")

    assert articles.generation() != first
    assert articles.model.texts == []
    articles.require_true()


def test_another_model_asks_for_a_rebuild_which_embeds_all(articles: Articles) -> None:
    articles.put(1, "Boots", "For snow.\n\nFor ice.")
    articles.run()
    other = articles.with_model(CountingEmbedder(dimensions=5, name="other"))
    other.put(2, "Sandals", "For sand.")
    with pytest.raises(ConfigurationError, match=r"was made with model .*other.*Rebuild the index"):
        other.run()
    Rebuilder(run=other.runner).rebuild("20260601t000000")

    assert sorted(other.model.texts) == ["Boots", "For ice.", "For sand.", "For snow.", "Sandals"]
    other.require_true()


def test_embedding_begun_or_ended_asks_for_a_rebuild(articles: Articles) -> None:
    """Also where no index has passages yet, and where the stream does not want them any more."""
    plain = articles.without_embedding()
    plain.put(1, "Boots", "For snow.")
    plain.run()
    with pytest.raises(ConfigurationError, match=r"has no passages, and the stream has embed="):
        articles.run()
    Rebuilder(run=articles.runner).rebuild("20260601t000000")
    articles.require_true()
    with pytest.raises(ConfigurationError, match=r"and the stream has no embed= any more"):
        plain.run()
    Rebuilder(run=plain.runner).rebuild("20260601t000001")

    assert not articles.has_view()


def test_a_rollback_shows_the_passages_of_before(articles: Articles) -> None:
    articles.put(1, "Boots", "For snow.")
    articles.run()
    rebuilder = Rebuilder(run=articles.runner)
    rebuilder.rebuild("20260601t000000")
    articles.put(1, "Boots", "For sleet.")
    articles.run()
    rebuilder.rollback()

    articles.require_true()
    assert articles.shown()[("1", 1)][2] == "For sleet."


def test_a_sweep_finds_and_mends_what_lacks_a_passage(articles: Articles) -> None:
    for n in range(20):
        articles.put(n, f"Boots {n}", "For snow.")
    articles.run()
    articles.damage("7")
    report, repaired = Sweeper(run=articles.runner).sweep()

    assert report.count(Difference.STALE) == repaired.counts.updated == 1
    articles.require_true()
    _, nothing = Sweeper(run=articles.runner).sweep()
    assert nothing.counts.processed == 0


def test_an_outage_keeps_what_was_embedded(articles: Articles) -> None:
    """The run fails, to be tried again; no text that was answered is asked for again."""
    for n in range(100):
        articles.put(n, f"Boots {n}", f"For snow {n}.")
    articles.model.fails_after = 40
    with pytest.raises(Exception, match="out of order"):
        articles.run()
    articles.model.fails_after = None
    articles.run()

    articles.require_true()
    assert len(articles.model.texts) <= 200 + 2 * articles.model.limits.texts


def test_names_that_are_taken_are_refused_before_anything_is_made(articles: Articles) -> None:
    articles.execute("CREATE TABLE articles_passages (id int)")
    articles.put(1, "Boots", "For snow.")
    with pytest.raises(ConfigurationError, match="there is something else of this name"):
        articles.run()
    assert articles.tables() == ["articles_passages"]


def test_a_field_that_is_no_column_is_refused(articles: Articles) -> None:
    with pytest.raises(ConfigurationError, match=r"embed= names the field 'summary', which is no column of the index"):
        articles.with_fields("title", "summary").run()
    assert articles.tables() == []


def estimated(articles: Articles, *, most_rows: int = MOST_ROWS) -> Mapping[str, int]:
    runner = articles.runner
    plan = runner.plan(Request(Mode.INCREMENTAL, dry_run=True))
    assert runner.embed is not None
    with runner.source.open() as source, runner.target.open(runner.stream) as target:
        return estimate(
            plan,
            source=source,
            target=embedding_target(target, runner.stream),
            embed=runner.embed,
            transform=runner.transform,
            most_rows=most_rows,
        )


def test_what_a_run_would_embed_is_known_before(articles: Articles) -> None:
    """Exactly, where all of its rows are read: before the first run, and what is reused behind it. For this nothing is embedded,
    and nothing made."""
    for n in range(30):
        articles.put(n, f"Boots {n}", f"For snow {n}.\n\nFor ice.")
    said = estimated(articles)
    assert articles.model.texts == []
    assert articles.tables() == []
    outcome = articles.run()
    assert {**said, "tokens": 61} == {"rows_read": 30, **outcome.passages.to_json()}
    assert said["tokens"] == sum(len(text.encode()) // 3 + 1 for text in articles.model.texts)

    articles.put(3, "Boots 3", "For snow 3.\n\nFor rain.")
    articles.put(4, "Boots 4", "For snow 4.\n\nFor ice.", price=7)
    said = estimated(articles)
    assert {name: said[name] for name in ("rows_read", "passages", "reused", "embedded")} == {
        "rows_read": 2,
        "passages": 6,
        "reused": 5,
        "embedded": 1,
    }


def test_what_many_rows_would_embed_is_scaled_up_from_some(articles: Articles) -> None:
    for n in range(200):
        articles.put(n, None, f"For snow {n}.\n\nFor ice {n}.")
    said = estimated(articles, most_rows=20)
    assert said["rows_read"] == 20
    assert said["passages"] == said["embedded"] == 400
    assert said["requests"] == 50


def test_a_dry_run_says_what_it_would_embed(articles: Articles) -> None:
    articles.put(1, "Boots", "For snow.\n\nFor ice.")
    said: dict[str, Any] = {}
    operator = ExtractChangesOperator(task_id="extract", stream=articles.as_stream(), plan_only=True)
    context: Any = {
        "ti": SimpleNamespace(xcom_push=lambda key, value: said.update({key: value})),
        "dag_run": SimpleNamespace(run_type="manual", conf={}),
        "run_id": "by hand",
        "dag": SimpleNamespace(tasks=[]),
    }
    assert operator.execute(context) == []
    assert said[PLAN_KEY]["embedding"] == {
        "rows_read": 1,
        "passages": 3,
        "reused": 0,
        "embedded": 3,
        "requests": 1,
        "tokens": 9,
    }


def test_the_doctor_asks_the_model_for_a_word(articles: Articles) -> None:
    stream = articles.as_stream()
    (found,) = [finding for finding in findings(stream) if finding.what.startswith("model")]
    assert (found.level, found.says) == (Level.OK, "the model 'counting': a vector of 4 dimensions for a word.")
    assert articles.model.texts == ["word"]

    articles.model.identity = replace(articles.model.identity, dimensions=5)
    articles.model.gives = 4
    (found,) = [finding for finding in findings(stream) if finding.what.startswith("model")]
    assert found.level is Level.WRONG
    assert "vectors of 4 dimensions, and the stream says 5" in found.says

    articles.model.fails_after = 0
    (found,) = [finding for finding in findings(stream) if finding.what.startswith("model")]
    assert (found.level, found.says) == (Level.WRONG, "the model is out of order")
