"""What a Postgres index is to be: its public name, the types of its columns, full text and indexes. Data, without a session."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.databases.postgres.connection import connect
from airflow_reindex_provider.databases.postgres.names import split_name
from airflow_reindex_provider.databases.postgres.settings import WRITER_TAG
from airflow_reindex_provider.targets.public_name import GROUP, NamedIndex, PublicName

if TYPE_CHECKING:
    import psycopg

MAX_NAME_BYTES = 63
"""Postgres cuts longer identifiers off in silence."""
SUFFIX = "_passages"
"""What the table of a generation's passages, and the view of them, have behind the generation's name and the public one."""


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
class PostgresIndexDefinition(NamedIndex):
    """The fields of a :class:`~airflow_reindex_provider.targets.postgres.target.PostgresTarget`, which documents them."""

    _: KW_ONLY
    columns: Mapping[str, str] = field(default_factory=dict)
    full_text: FullText | None = None
    indexes: tuple[str, ...] = ()
    passage_indexes: tuple[str, ...] | None = None

    def require_name(self) -> None:
        if GROUP in (split_name(self.index)[0] or ""):
            raise ConfigurationError(f"{self.label}: {GROUP} belongs into the name, behind the schema.")

    @property
    def public_name(self) -> PublicName:
        added = len(SUFFIX) if self.passages else 0
        return PublicName(split_name(self.index)[1], MAX_NAME_BYTES - added)

    def connect(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        return connect(self.conn_id, owner=f"Target {self.label}", tag=WRITER_TAG)
