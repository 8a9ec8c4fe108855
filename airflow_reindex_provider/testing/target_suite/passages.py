"""Passages: written with their document, in one step, under its version, and no vector twice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import pytest

from airflow_reindex_provider.core.embedding.embedder import Identity, Vector
from airflow_reindex_provider.core.embedding.passages import Passage, passages
from airflow_reindex_provider.core.embedding.recipe import Recipe
from airflow_reindex_provider.core.embedding.target import PassageTarget
from airflow_reindex_provider.core.errors import ConfigurationError, VectorsGoneError
from airflow_reindex_provider.core.model import Chunk, Counts, Document, Format, Key, Position, Schema, WriteResult
from airflow_reindex_provider.core.protocols import RebuildingTarget, Target, TargetSession
from airflow_reindex_provider.testing.target_suite.index import STREAM, rebuilding_of

MODEL = Identity("test", "a model", 3)
RECIPE = Recipe(("body",), str(MODEL), MODEL.dimensions, "words")
OTHER_RECIPE = Recipe(("body",), str(Identity("test", "another model", 3)), 3, "words")
_HASHED = MODEL.hasher()


class PassageIndex(Protocol):
    """The suite's view of one target whose documents have passages."""

    def target(self, recipe: Recipe) -> Target:
        """With passages of this recipe. Its public name must be free at the start."""

    def schema(self) -> Schema:
        """A schema with the key ``id`` (text) and a field ``body`` (text)."""

    def bad_body(self) -> str:
        """A ``body`` that this target refuses, while it takes others."""

    def shown(self) -> Mapping[Key, Sequence[tuple[str, Sequence[float]]]]:
        """Of each document that a search finds, also of one without passages, their texts and vectors in their order."""


class PassageSuite(ABC):
    """The promises of ``core.embedding.target.PassageTarget``."""

    @pytest.fixture
    @abstractmethod
    def passage_index(self) -> PassageIndex:
        """A target without generations."""

    def test_passages_appear_with_their_document(self, passage_index: PassageIndex) -> None:
        """Each text of a document with its vector, in their order; one that stands there twice, once."""
        with served(passage_index) as write:
            assert write(embedded("1", 1, "red lamp red"), embedded("2", 1, "")) == WriteResult(Counts(created=2))

        assert shown(passage_index) == {("1",): ["red", "lamp"], ("2",): []}

    def test_passages_follow_their_document(self, passage_index: PassageIndex) -> None:
        """One in front, one at the end, two that change places; a document that got shorter leaves none behind."""
        with served(passage_index) as write:
            write(embedded("1", 1, "a b c"), embedded("2", 1, "b c"))
            for version, body in enumerate(["new a b c", "a b c new", "c a", "a"], start=2):
                write(embedded("1", version, body))
                assert shown(passage_index) == {("1",): body.split(), ("2",): ["b", "c"]}

    def test_an_older_write_changes_no_passage(self, passage_index: PassageIndex) -> None:
        """What a slow worker brings is refused with all that belongs to it, more passages than there are included."""
        with served(passage_index) as write:
            write(embedded("1", 5, "new"))
            assert write(embedded("1", 4, "old and long"), embedded("2", 4, "other")).counts.version_conflicts == 1

        assert shown(passage_index) == {("1",): ["new"], ("2",): ["other"]}

    def test_the_same_version_is_taken(self, passage_index: PassageIndex) -> None:
        """A transform may have changed while the row has not."""
        with served(passage_index) as write:
            write(embedded("1", 5, "one way"))
            write(embedded("1", 5, "another way"))
            write(embedded("1", 5, "another way"))

        assert shown(passage_index) == {("1",): ["another", "way"]}

    def test_what_follows_new_documents(self, passage_index: PassageIndex) -> None:
        """A target may take a shorter way for chunks behind some that were new to it: each row is there with its own passages all
        the same, whatever comes then."""
        bad = Document(("bad",), 1, {"id": "bad", "body": passage_index.bad_body()}, pieces("x"))
        with served(passage_index) as write:
            counts = write.chunks(
                [embedded("1", 2, "a b"), embedded("2", 1, "b")],
                [embedded("3", 1, "c a c"), embedded("4", 1, "")],
                [embedded("5", 1, "e"), embedded("3", 2, "f a"), embedded("1", 1, "late")],
                [embedded("6", 1, "g")],
                [embedded("7", 1, "h"), bad, embedded("8", 1, "i a")],
                [embedded("9", 1, "j")],
                [embedded("10", 1, "k"), Document(("2",), 2, None)],
            )
        assert counts == Counts(created=10, updated=1, deleted=1, version_conflicts=1, failures=1)
        assert shown(passage_index) == {
            ("1",): ["a", "b"],
            ("3",): ["f", "a"],
            ("4",): [],
            ("5",): ["e"],
            ("6",): ["g"],
            ("7",): ["h"],
            ("8",): ["i", "a"],
            ("9",): ["j"],
            ("10",): ["k"],
        }

    def test_a_deleted_document_has_none(self, passage_index: PassageIndex) -> None:
        """A late write brings none back; one that is newer does."""
        with served(passage_index) as write:
            write(embedded("1", 1, "a b"), embedded("2", 1, "b c"))
            write(Document(("1",), 5, None))
            write(embedded("1", 4, "late"))
            assert shown(passage_index) == {("2",): ["b", "c"]}
            write(embedded("1", 6, "again"))

        assert shown(passage_index) == {("1",): ["again"], ("2",): ["b", "c"]}

    def test_a_refused_document_keeps_its_passages(self, passage_index: PassageIndex) -> None:
        """The others of its chunk are written with theirs."""
        with served(passage_index) as write:
            write(embedded("1", 1, "good"))
            refused = Document(("1",), 2, {"id": "1", "body": passage_index.bad_body()}, pieces("bad"))
            result = write(refused, embedded("2", 2, "fine"))

        assert [rejection.key for rejection in result.rejected] == [("1",)]
        assert shown(passage_index) == {("1",): ["good"], ("2",): ["fine"]}

    def test_what_is_held_need_not_be_sent(self, passage_index: PassageIndex) -> None:
        """Texts of this document, and of others: the target says that it has them, and gives them to whoever needs them."""
        with served(passage_index) as write:
            write(embedded("1", 1, "a b"))
            session, generation = write.session, write.generation
            asked = [embedded("1", 2, "b a"), embedded("2", 2, "a new")]
            recalled = session.recall(generation, asked, passage_index.schema())
            assert recalled.known | recalled.vectors.keys() == {_HASHED("a"), _HASHED("b")}
            assert recalled.overtaken == frozenset()
            write(*asked, vectors={**recalled.vectors, _HASHED("new"): vector("new")})

        assert shown(passage_index) == {("1",): ["b", "a"], ("2",): ["a", "new"]}

    def test_what_is_overtaken_is_told(self, passage_index: PassageIndex) -> None:
        """Documents of which a newer version is held need not be embedded."""
        with served(passage_index) as write:
            write(embedded("1", 5, "new"), embedded("2", 5, "new"))
            asked = [embedded("1", 4, "old"), embedded("2", 5, "same"), embedded("3", 1, "first")]
            recalled = write.session.recall(write.generation, asked, passage_index.schema())
            assert recalled.overtaken == {("1",)}
            result = write(*asked, vectors={_HASHED(text): vector(text) for text in ("same", "first")})

        assert result.counts.version_conflicts == 1
        assert shown(passage_index) == {("1",): ["new"], ("2",): ["same"], ("3",): ["first"]}

    def test_without_a_vector_nothing_is_written(self, passage_index: PassageIndex) -> None:
        """A vector that was to be taken from the index and is gone: the chunk fails as a whole, and can be written again."""
        with served(passage_index) as write:
            write(embedded("1", 1, "a b"))
            asked = [embedded("1", 2, "a gone"), embedded("2", 2, "a")]
            recalled = write.session.recall(write.generation, asked, passage_index.schema())
            with pytest.raises(VectorsGoneError) as raised:
                write(*asked, vectors=recalled.vectors)
            assert raised.value.hashes == {_HASHED("gone")}
            assert shown(passage_index) == {("1",): ["a", "b"]}
            write(*asked, vectors={**recalled.vectors, _HASHED("gone"): vector("gone")})

        assert shown(passage_index) == {("1",): ["a", "gone"], ("2",): ["a"]}

    def test_another_recipe_is_refused(self, passage_index: PassageIndex) -> None:
        """Vectors of two models never come into one index: before anything is written, somebody is told to rebuild."""
        with served(passage_index) as write:
            write(embedded("1", 1, "a b"))
        with (
            passage_index.target(OTHER_RECIPE).open(STREAM) as session,
            pytest.raises(ConfigurationError, match=r"[Rr]ebuild"),
        ):
            session.fields(write.generation, passage_index.schema())

    def test_a_rebuild_takes_the_vectors_of_the_live_generation(self, passage_index: PassageIndex) -> None:
        """They are shown with the swap, and not before."""
        target = passage_index.target(RECIPE)
        with served(passage_index) as write:
            write(embedded("1", 1, "a b"), embedded("2", 1, "c"))
        with target.open(STREAM) as session:
            rebuilding, other = rebuilding_of(session), target.generation_name("20260102t000000")
            rebuilding.create(other, passage_index.schema())
            again = _Writing(passage_index, passage_target(session), other)
            asked = [embedded("1", 1, "a b new")]
            recalled = again.session.recall(other, asked, passage_index.schema())
            assert recalled.known | recalled.vectors.keys() == {_HASHED("a"), _HASHED("b")}
            again(*asked, vectors={**recalled.vectors, _HASHED("new"): vector("new")})
            assert shown(passage_index) == {("1",): ["a", "b"], ("2",): ["c"]}
            rebuilding.promote(other)
            assert shown(passage_index) == {("1",): ["a", "b", "new"]}
            rebuilding.drop(write.generation)

        assert shown(passage_index) == {("1",): ["a", "b", "new"]}

    def test_what_is_carried_over_has_its_passages(self, passage_index: PassageIndex) -> None:
        assert shown_of_carried(passage_index, RECIPE) == {("1",): ["a", "b"], ("2",): ["c"]}

    def test_nothing_of_another_model_is_carried_over(self, passage_index: PassageIndex) -> None:
        """The document is, and its passages come with the next run, from the new model."""
        assert shown_of_carried(passage_index, OTHER_RECIPE) == {("1",): [], ("2",): []}


def pieces(body: str) -> tuple[Passage, ...]:
    return passages({"body": body}, ("body",), split=str.split, hashed=_HASHED)


def embedded(key: str, version: int, body: str) -> Document:
    """A document whose words are its passages."""
    return Document((key,), version, {"id": key, "body": body}, pieces(body))


def vector(text: str) -> Vector:
    """Of fractions that a float of any width holds exactly."""
    return array("f", [len(text) / 64, sum(text.encode()) % 64 / 64, 0.5])


def passage_target(session: TargetSession) -> PassageTarget:
    assert isinstance(session, PassageTarget)
    return session


class _Writing:
    """Writes documents into a generation, each chunk through a writer of its own."""

    def __init__(self, index: PassageIndex, session: PassageTarget, generation: str) -> None:
        self._index = index
        self.session = session
        self.generation = generation

    def __call__(self, *documents: Document, vectors: Mapping[bytes, Vector] | None = None) -> WriteResult:
        """:param vectors: default: of all passages."""
        with self.session.writer(self.generation, self._index.schema(), Format.ROWS) as writer:
            return writer.write(_chunk(documents, vectors))

    def chunks(self, *chunks: Sequence[Document]) -> Counts:
        """One after the other through one writer."""
        with self.session.writer(self.generation, self._index.schema(), Format.ROWS) as writer:
            return sum((writer.write(_chunk(documents, None)).counts for documents in chunks), Counts())


def _chunk(documents: Sequence[Document], vectors: Mapping[bytes, Vector] | None) -> Chunk:
    if vectors is None:
        vectors = {p.hash: vector(p.text) for document in documents for p in document.passages}
    return Chunk(Position("0"), Format.ROWS, documents, vectors=vectors)


@contextmanager
def served(index: PassageIndex) -> Iterator[_Writing]:
    """A live generation, and what writes into it."""
    target = index.target(RECIPE)
    with target.open(STREAM) as session:
        name = session.create_first(target.generation_name("20260101t000000"), index.schema())
        session.promote(name)
        yield _Writing(index, passage_target(session), name)


def carry_all(index: PassageIndex, session: RebuildingTarget, target: Target, live: str) -> None:
    """A swap to an empty generation, into which all is carried over."""
    other = target.generation_name("20260102t000000")
    session.create(other, index.schema())
    keys = [("1",), ("2",)]

    def carry(served: str) -> None:
        assert served == live
        assert session.carry_over(keys, index.schema(), from_generation=served, to_generation=other) == 2

    session.promote(other, carry=carry)


def shown_of_carried(index: PassageIndex, recipe: Recipe) -> dict[Key, list[str]]:
    """What two documents show once a generation of the recipe has got them by a swap."""
    target = index.target(recipe)
    with served(index) as write:
        write(embedded("1", 1, "a b"), embedded("2", 1, "c"))
    with target.open(STREAM) as session:
        carry_all(index, rebuilding_of(session), target, write.generation)
    return shown(index)


def shown(index: PassageIndex) -> dict[Key, list[str]]:
    """The texts; each of their vectors is looked at by the way."""
    found = index.shown()
    for texts in found.values():
        for text, numbers in texts:
            assert list(numbers) == pytest.approx(list(vector(text)), rel=1e-5)
    return {key: [text for text, _ in texts] for key, texts in found.items()}
