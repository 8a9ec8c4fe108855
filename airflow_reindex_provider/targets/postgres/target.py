"""Postgres as a target: a physical table for each generation, behind a view with the public name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from airflow_reindex_provider.core.model import Format, Guarantee
from airflow_reindex_provider.targets.postgres.definition import PostgresIndexDefinition

if TYPE_CHECKING:
    from airflow_reindex_provider.targets.postgres.session import PostgresTargetSession


@dataclass(frozen=True, slots=True)
class PostgresTarget(PostgresIndexDefinition):
    """A Postgres index: one column per field, read through a view with the name ``index``.

    Guarantee: versioned. Every row keeps the version (:meth:`CursorType.ordinal`) it was written with, and a write or
    delete with an older one changes nothing. A deleted document leaves a row of key and version behind, hidden from the
    view, so that a late write cannot bring it back.

    The physical tables are ``{index}_{YYYYMMDDtHHMMSS}``, beside the view. Their extra columns are ``_reindex_version``
    and ``_reindex_deleted``. Of a stream that embeds texts, each has one of passages beside it, and ``{index}_passages`` is the
    view of those of the live one: pgvector has to be installed.

    :param conn_id: Airflow connection of type Postgres. Its role needs CREATE on the schema. An index task uses two
        sessions of it, which take turns with the chunks.
    :param index: ``schema.name`` or ``name`` of the view, taken literally. ``{group}`` in the name stands for a group's, in a
        stream with groups.
    :param columns: types to give instead of the source's, by column: ``{"embedding": "vector(384)"}``. A name the source
        does not have makes a column that a transform fills.
    :param full_text: a generated full-text column.
    :param indexes: what follows ``CREATE INDEX ON table``, like ``"(category)"`` or ``"USING hnsw (embedding
        vector_cosine_ops)"``; built once the first load is done.
    :param chunk_rows: rows written in one transaction.
    :param passage_indexes: what follows ``CREATE INDEX ON`` the table of passages, whose columns are ``document, hash, text,
        embedding``; built once the first load is done. Default: one ``hnsw`` by cosine.
    :param passages: given by a stream with ``embed``, and by nobody else.
    """

    guarantee: ClassVar[Guarantee] = Guarantee.VERSIONED
    formats: ClassVar[tuple[Format, ...]] = (Format.PG_COPY, Format.PG_TEXT, Format.ROWS)

    @contextmanager
    def open(self, stream: str) -> Iterator[PostgresTargetSession]:
        from airflow_reindex_provider.targets.postgres.session import PostgresTargetSession

        with self.connect() as connection:
            yield PostgresTargetSession(self, stream, connection)
