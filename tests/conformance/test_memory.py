"""The parts in memory keep the promises that they stand in for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.model import Chunk, Document, Format, Key, Position, Schema
from airflow_reindex_provider.testing.memory import MemorySource, MemoryTarget
from airflow_reindex_provider.testing.source_conformance import Made, SourceConformance
from airflow_reindex_provider.testing.source_suite.abilities import CHILDREN, CONTENTS, OUTLIERS, PREPARES, TOMBSTONES
from airflow_reindex_provider.testing.target_conformance import TargetConformance, text_schema


class MemoryTable:
    """Writes through transactions that begin when the suite says."""

    def __init__(self, source: MemorySource, width: int) -> None:
        self.source = source
        self._width = width

    def keys(self, count: int) -> Sequence[Key]:
        return sorted(tuple(f"{part} it's {n}" for part in range(self._width)) for n in range(count))

    def put(self, rows: Sequence[Made]) -> None:
        now = self.source.now_us
        for row in rows:
            assert row.us is not None
            self.source.now_us = row.us
            with self.source.transaction() as transaction:
                transaction.put({**dict(zip(self.source.primary_key, row.key, strict=True)), "body": row.text})
                if row.gone:
                    transaction.delete(*row.key)
        self.source.now_us = now

    def cursor(self, us: int) -> str:
        return CursorType.TIMESTAMPTZ.text(us)

    def documents(self, chunk: Chunk, fields: Sequence[str]) -> Sequence[Document]:
        return chunk.payload  # type: ignore[return-value]


class TestMemorySource(SourceConformance):
    cannot = (CHILDREN, CONTENTS, OUTLIERS, PREPARES, TOMBSTONES)
    counts_null_cursors = False

    @pytest.fixture
    def table(self) -> MemoryTable:
        columns = {"id": "text", "body": "text"}
        return MemoryTable(MemorySource(columns=columns, now_us=86_400_000_000), width=1)


class TestMemorySourceWithCompositeKey(TestMemorySource):
    @pytest.fixture
    def table(self) -> MemoryTable:
        columns = {"tenant": "text", "id": "text", "body": "text"}
        source = MemorySource(columns=columns, primary_key=("tenant", "id"), now_us=86_400_000_000)
        return MemoryTable(source, width=2)


class MemoryIndex:
    def __init__(self) -> None:
        self.target = MemoryTarget(
            name="products", refuse=lambda d: "bad" if d.fields and d.fields["body"] == "bad" else None
        )

    def schema(self) -> Schema:
        return text_schema()

    def published(self) -> Mapping[Key, str] | None:
        with self.target.open("products") as session:
            if not any(g.live for g in session.generations()):
                return None
        return {key: fields["body"] for key, fields in self.target.documents().items()}

    def chunk(self, documents: Sequence[Document], format: Format) -> Chunk:
        return Chunk(Position("1"), format, list(documents))

    def bad_body(self) -> str:
        return "bad"

    def occupy(self) -> None:
        with self.target.open("somebody else") as session:
            session.create_first("products_20250101t000000", text_schema())

    def occupant_is_unharmed(self) -> bool:
        with self.target.open("somebody else") as session:
            return [g.name for g in session.generations()] == ["products_20250101t000000"]


class TestMemoryTarget(TargetConformance):
    tells_noops = True

    @pytest.fixture
    def index(self) -> MemoryIndex:
        return MemoryIndex()
