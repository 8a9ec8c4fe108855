"""Weaviate as a target: a collection for each generation, behind an alias with the public name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from airflow_reindex_provider.core.model import Format, Guarantee
from airflow_reindex_provider.targets.refusing import require_modules
from airflow_reindex_provider.targets.weaviate.definition import WeaviateDefinition

if TYPE_CHECKING:
    from airflow_reindex_provider.targets.weaviate.session import WeaviateTargetSession


@dataclass(frozen=True, slots=True)
class WeaviateTarget(WeaviateDefinition):
    """A Weaviate index, from 1.32 on: an alias ``index``, which points at the live one of its generations' collections.

    Guarantee: versioned. Weaviate has no conditional write, so whoever writes holds the generation's lock while it reads the
    versions that are held and writes what is not older. Weaviate's own consensus gives the lock to one of two; each holder
    writes through a name of its own, which whoever takes the lock over takes away first, so that a task that was held up
    writes nothing when it goes on. A deleted document leaves an object of key and version behind, so that a late write cannot
    bring it back.

    An object a document, its id made from the key. Properties of ours are ``_reindex_key``, ``_reindex_version`` and
    ``_reindex_deleted``; whoever lists objects or searches without a vector leaves out those with the last.

    :param conn_id: Airflow connection of the type ``weaviate``, with the gRPC port in its extra.
    :param index: the public name: a capital first, then letters, digits and underscores. ``{group}`` in it stands for a
        group's, in a stream with groups.
    :param columns: types to give instead of the source's, by column, as Postgres calls them: ``{"price": "text"}``,
        ``{"embedding": "vector(384)"}``. A name the source does not have makes a property that a transform fills.
    :param chunk_rows: rows written under the lock at once.
    :param passages: what a stream with ``embed`` tells its target; nobody else gives it.
    """

    guarantee: ClassVar[Guarantee] = Guarantee.VERSIONED
    formats: ClassVar[tuple[Format, ...]] = (Format.ROWS,)

    @contextmanager
    def open(self, stream: str) -> Iterator[WeaviateTargetSession]:
        require_modules(self.label, "weaviate", "weaviate", "airflow.providers.weaviate")
        from airflow_reindex_provider.targets.weaviate.server import Server
        from airflow_reindex_provider.targets.weaviate.session import WeaviateTargetSession

        with Server.opened(self.conn_id, self.label) as server:
            yield WeaviateTargetSession(self, stream, server)
