"""The index that the suite works on, and how its tests write and look."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import pytest

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.model import Chunk, Document, Field, Format, Key, Schema, WriteResult
from airflow_reindex_provider.core.planning import current_generation
from airflow_reindex_provider.core.protocols import ListingTarget, RebuildingTarget, Target, TargetSession, Writer
from airflow_reindex_provider.testing.formats import InEachFormat

STREAM = "products"


class Index(Protocol):
    """The suite's view of one target."""

    @property
    def target(self) -> Target:
        """Its public name must be free at the start."""

    def schema(self) -> Schema:
        """A schema with the key ``id`` (text) and a field ``body`` (text)."""

    def published(self) -> Mapping[Key, str] | None:
        """``body`` by key as a search finds it under the public name; None while that name does not exist."""

    def chunk(self, documents: Sequence[Document], format: Format) -> Chunk:
        """The documents as a chunk in this format. A document's ``fields`` hold ``id`` and ``body``."""

    def bad_body(self) -> str:
        """A ``body`` that this target refuses, while it takes others."""

    def occupy(self) -> None:
        """Put something that is not ours in the place of the public name."""

    def occupant_is_unharmed(self) -> bool: ...


def text_schema() -> Schema:
    """What :meth:`Index.schema` can return for a target whose types go by Postgres' names."""
    return Schema(
        fields=(Field("id", "text", "text", nullable=False), Field("body", "text", "text")),
        primary_key=("id",),
        cursor_type=CursorType.INTEGER,
        has_deletes=True,
    )


class IndexSuite(InEachFormat, ABC):
    """Tests that need an index which does not exist at their start."""

    tells_noops: bool = False
    """Whether a write that changes nothing is counted as a noop instead of an update (or a deletion)."""

    @pytest.fixture
    @abstractmethod
    def index(self) -> Index:
        """A target without generations."""


def rebuilding_of(session: TargetSession) -> RebuildingTarget:
    if not isinstance(session, RebuildingTarget):
        pytest.skip("this target holds one generation at a time")
    return session


def fill(index: Index, session: TargetSession, generation: str, *documents: Document) -> None:
    with session.writer(generation, index.schema(), Format.ROWS) as writer:
        writer.write(index.chunk(documents, Format.ROWS))


def listing_of(session: TargetSession) -> ListingTarget:
    if not isinstance(session, ListingTarget):
        pytest.skip("this target does not list its keys")
    return session


class Write(Protocol):
    def __call__(self, *documents: Document) -> WriteResult: ...


@contextmanager
def published(index: Index, format: Format) -> Iterator[Write]:
    """A live generation, and a function that writes one chunk into it."""
    with index.target.open(STREAM) as session:
        name = session.create_first(index.target.generation_name("20260101t000000"), index.schema())
        session.promote(name)
        assert current_generation(session) == name
        with session.writer(name, index.schema(), format) as writer:
            yield _writing(index, writer, format)


def _writing(index: Index, writer: Writer, format: Format) -> Write:
    def write(*documents: Document) -> WriteResult:
        return writer.write(index.chunk(documents, format))

    return write


def doc(key: str, version: int, body: str) -> Document:
    return Document((key,), version, {"id": key, "body": body})


def gone(key: str, version: int) -> Document:
    return Document((key,), version, None)
