"""LanceDB as a target: a table for each generation, and a table with the public name that says which one is live."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from airflow_reindex_provider.core.model import Format, Guarantee
from airflow_reindex_provider.targets.lance.definition import LanceDefinition
from airflow_reindex_provider.targets.refusing import require_modules

if TYPE_CHECKING:
    from airflow_reindex_provider.targets.lance.session import LanceTargetSession


@dataclass(frozen=True, slots=True)
class LanceTarget(LanceDefinition):
    """A LanceDB index, embedded: tables in a folder or in a bucket, without a server.

    Guarantee: versioned. Every row keeps the version it was written with, and LanceDB's merge takes a row only where that is
    not less than the one held, judged anew in each try to commit. A deleted document leaves a row of key and version behind,
    so that a late write cannot bring it back. The storage has to refuse a file that is there already (put if absent): local
    disks, S3, Google Cloud Storage and Azure do.

    LanceDB has no aliases. The table ``index`` holds one row, the pointer, whose column ``table`` names the table of the live
    generation; a swap is one commit to it. Whoever searches reads it first, and leaves out rows with ``_reindex_deleted``. The
    tables are ``{index}_{YYYYMMDDtHHMMSS}`` and eight hexadecimal digits. Their extra columns are ``_reindex_key``,
    ``_reindex_version`` and ``_reindex_deleted``.

    :param conn_id: Airflow connection of any type, whose host is an absolute path or a URI (``s3://bucket/prefix``); what its
        extra has under ``storage_options`` goes to LanceDB as it is, credentials included.
    :param index: the public name. ``{group}`` in it stands for a group's, in a stream with groups.
    :param columns: types to give instead of the source's, by column, as Postgres calls them: ``{"price": "numeric(12,2)"}``,
        ``{"embedding": "vector(384)"}``. A name the source does not have makes a column that a transform fills.
    :param indexes: LanceDB's kind of index by column, ``{"embedding": "IvfHnswSq", "title": "FTS", "category": "Bitmap"}``;
        built once the first load is done, one of vectors by cosine. The key has one of its own.
    :param chunk_rows: rows written in one commit.
    :param passages: what a stream with ``embed`` tells its target; nobody else gives it.
    """

    guarantee: ClassVar[Guarantee] = Guarantee.VERSIONED
    formats: ClassVar[tuple[Format, ...]] = (Format.ROWS,)

    @contextmanager
    def open(self, stream: str) -> Iterator[LanceTargetSession]:
        require_modules(self.label, "lancedb", "lancedb")
        from airflow_reindex_provider.targets.lance.session import LanceTargetSession
        from airflow_reindex_provider.targets.lance.storage import Storage

        yield LanceTargetSession(self, stream, Storage.open(self.conn_id, self.label))
