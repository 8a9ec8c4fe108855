"""What a source says and does that has deletions recorded at its database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from airflow_reindex_provider.core.model import Key
from airflow_reindex_provider.core.protocols import Source


@runtime_checkable
class RecordingSource(Source, Protocol):
    """A source that can have its deletions recorded at its database, and reads them from there. ``conn_id`` of each method: a
    connection that may do so; default: the source's own."""

    @property
    def conn_id(self) -> str: ...

    @property
    def records_deletions(self) -> bool:
        """Whether it reads them; what is recorded may be of its own rows, or of what else its documents are made of."""

    @property
    def tombstone_table(self) -> str | None:
        """Where deletions of its own rows are recorded; None where they are not."""

    def tombstone_ddl(self) -> str:
        """The statements of :meth:`install_tombstones`, for people."""

    def install_tombstones(self, *, conn_id: str | None = None) -> None:
        """Doing it again keeps what is recorded."""

    def remove_tombstones(self, *, conn_id: str | None = None) -> None:
        """With what was recorded. Nothing there is no error."""

    def purge_tombstones(self, *, below: str, keep: Sequence[Key] = (), conn_id: str | None = None) -> int:
        """Forget those below a cursor value but of these keys; says how many."""

    def count_tombstones(self, *, below: str, keep: Sequence[Key] = ()) -> int:
        """How many :meth:`purge_tombstones` would forget."""
