"""Postgres as a target: a physical table for each generation, behind a view with the public name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_reindex_provider.common.postgres import WRITER_TAG, connect, split_name
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Format, Guarantee

if TYPE_CHECKING:
    import psycopg

    from airflow_reindex_provider.targets.postgres.session import PostgresTargetSession

MAX_NAME_BYTES = 63
"""Postgres cuts longer identifiers off in silence."""
STAMP_LENGTH = len("_YYYYMMDDtHHMMSS")
GROUP = "{group}"


@dataclass(frozen=True, slots=True)
class FullText:
    """A generated ``tsvector`` column over some text columns, with a GIN index.

    :param columns: in the order in which their texts are joined; NULL counts as empty.
    :param config: text search configuration. :param name: the column's name.
    """

    columns: tuple[str, ...]
    _: KW_ONLY
    config: str = "english"
    name: str = "search"


@dataclass(frozen=True, slots=True)
class PostgresTarget:
    """A Postgres index: one column per field, read through a view with the name ``index``.

    Guarantee: versioned. Every row keeps the version (:meth:`CursorType.ordinal`) it was written with, and a write or
    delete with an older one changes nothing. A deleted document leaves a row of key and version behind, hidden from the
    view, so that a late write cannot bring it back.

    The physical tables are ``{index}_{YYYYMMDDtHHMMSS}``, beside the view. Their extra columns are ``_reindex_version``
    and ``_reindex_deleted``.

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
    """

    conn_id: str
    _: KW_ONLY
    index: str
    columns: Mapping[str, str] = field(default_factory=dict)
    full_text: FullText | None = None
    indexes: tuple[str, ...] = ()
    chunk_rows: int = 10_000

    guarantee: ClassVar[Guarantee] = Guarantee.VERSIONED
    formats: ClassVar[tuple[Format, ...]] = (Format.PG_COPY, Format.ROWS)

    def __post_init__(self) -> None:
        if GROUP in (split_name(self.index)[0] or ""):
            raise ConfigurationError(f"{self.label}: {GROUP} belongs into the name, behind the schema.")
        if len(self._fixed_name) > MAX_NAME_BYTES - STAMP_LENGTH:
            raise ConfigurationError(
                f"{self.label}: the name may have {MAX_NAME_BYTES - STAMP_LENGTH} bytes, so that generations can add a time."
            )
        if self.chunk_rows < 1:
            raise ConfigurationError(f"{self.label}: chunk_rows must be at least 1.")

    @property
    def label(self) -> str:
        return f"index {self.index!r} on connection {self.conn_id!r}"

    @property
    def group_room(self) -> int | None:
        count = self.index.count(GROUP)
        return (MAX_NAME_BYTES - STAMP_LENGTH - len(self._fixed_name)) // count if count else None

    def of_group(self, name: str) -> PostgresTarget:
        return replace(self, index=self.index.replace(GROUP, name))

    @property
    def _fixed_name(self) -> bytes:
        """What of the name is the same for all groups."""
        return split_name(self.index)[1].replace(GROUP, "").encode()

    def generation_name(self, stamp: str) -> str:
        return f"{split_name(self.index)[1]}_{stamp}"

    @contextmanager
    def open(self, stream: str) -> Iterator[PostgresTargetSession]:
        from airflow_reindex_provider.targets.postgres.session import PostgresTargetSession

        with self.connect() as connection:
            yield PostgresTargetSession(self, stream, connection)

    def connect(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        return connect(self.conn_id, owner=f"Target {self.label}", tag=WRITER_TAG)
