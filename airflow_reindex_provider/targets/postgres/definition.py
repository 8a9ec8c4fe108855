"""What a Postgres index is to be: its public name, the types of its columns, full text and indexes. Data, without a session."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.databases.postgres.connection import WRITER_TAG, connect
from airflow_reindex_provider.databases.postgres.names import split_name

if TYPE_CHECKING:
    import psycopg

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
class PostgresIndexDefinition:
    """The fields of a :class:`~airflow_reindex_provider.targets.postgres.target.PostgresTarget`, which documents them."""

    conn_id: str
    _: KW_ONLY
    index: str
    columns: Mapping[str, str] = field(default_factory=dict)
    full_text: FullText | None = None
    indexes: tuple[str, ...] = ()
    chunk_rows: int = 10_000

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

    def of_group(self, name: str) -> Self:
        return replace(self, index=self.index.replace(GROUP, name))

    @property
    def _fixed_name(self) -> bytes:
        """What of the name is the same for all groups."""
        return split_name(self.index)[1].replace(GROUP, "").encode()

    def generation_name(self, stamp: str) -> str:
        return f"{split_name(self.index)[1]}_{stamp}"

    def connect(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        return connect(self.conn_id, owner=f"Target {self.label}", tag=WRITER_TAG)
