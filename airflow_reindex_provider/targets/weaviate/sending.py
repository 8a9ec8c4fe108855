"""Objects into a collection, under the lock of its writers: what is older than what is held is left out, what Weaviate refuses is
told by key."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.errors import ReindexError, TransientError
from airflow_reindex_provider.core.model import Counts, Rejection
from airflow_reindex_provider.targets.weaviate.layout import DELETED, VERSION
from airflow_reindex_provider.targets.weaviate.lock import Hold, Lock
from airflow_reindex_provider.targets.weaviate.rows import Row, units, version_of
from airflow_reindex_provider.targets.weaviate.server import FENCED, TOO_LARGE, MissingError, Server, meant
from airflow_reindex_provider.targets.whole_documents import Held, fate

if TYPE_CHECKING:
    from weaviate.collections import Collection


@dataclass(frozen=True, slots=True)
class Sending:
    """:ivar generation: the name of its collection."""

    server: Server
    generation: str
    register: str

    def send(self, rows: Sequence[Row], rejected: list[Rejection], *, fresh_only: bool = False) -> Counts:
        """:param fresh_only: leave out also those of which the generation holds anything but an older deletion. :param rejected:
        takes what Weaviate refuses."""
        fared = Counts()
        lock = Lock(self.server, self.generation, self.register)
        for unit in units(rows):
            with lock.held() as hold:
                fared += self._sent(unit, hold, rejected, fresh_only)
        return fared

    def _sent(self, unit: Sequence[Row], hold: Hold, rejected: list[Rejection], fresh_only: bool) -> Counts:
        held = held_of(self.server, self.generation, [row.id for row in unit])
        wanted = [row for row in unit if _is_wanted(row, held.get(row.id), fresh_only)]
        refused: dict[str, str] = {}
        if wanted:
            hold.doubtful = True
            refused = self._inserted(wanted, hold)
            hold.doubtful = False
        rejected += [Rejection(row.document.key, refused[row.id]) for row in wanted if row.id in refused]
        fared = Counts(version_conflicts=len(unit) - len(wanted), failures=len(refused))
        for row in wanted:
            if row.id not in refused:
                fared += fate(row.document, held.get(row.id))
        return fared

    def _inserted(self, rows: Sequence[Row], hold: Hold) -> dict[str, str]:
        """Why what was refused was, by id."""
        from weaviate.classes.data import DataObject
        from weaviate.exceptions import WeaviateInsertManyAllFailedError

        collection = self.server.collection(hold.alias)
        objects = [DataObject(uuid=r.id, properties=dict(r.properties), vector=dict(r.vectors)) for r in rows]
        try:
            with self.server.explained(), quiet():
                try:
                    found = collection.data.insert_many(objects)
                except WeaviateInsertManyAllFailedError as error:
                    reasons = dict.fromkeys((row.id for row in rows), str(error))
                else:
                    reasons = {rows[at].id: failed.message for at, failed in found.errors.items()}
        except ReindexError as error:
            if TOO_LARGE not in str(error):
                raise
            reasons = dict.fromkeys((row.id for row in rows), f"it is too large for one request: {error}")
        # Weaviate has answered, whatever it says.
        hold.doubtful = False
        for reason in reasons.values():
            self._require_of_one(reason)
        if len(reasons) == len(rows) > 1:
            # The client tells of all together, or they were too large together.
            hold.doubtful = True
            half = len(rows) // 2
            reasons = {**self._inserted(rows[:half], hold), **self._inserted(rows[half:], hold)}
        return reasons

    def _require_of_one(self, reason: str) -> None:
        """:raises ReindexError: what was refused was so for all, and not for its own sake."""
        if FENCED in reason:
            raise TransientError(
                f"{self.server.label}: this task was held up for so long that others have taken its lock over, or"
                f" {self.generation} was dropped. It has changed nothing since. Try again."
            )
        error = meant(reason, self.server.label, self.server.conn_id)
        if isinstance(error, (TransientError, MissingError)):
            raise error


def held_of(server: Server, generation: str, ids: Sequence[str]) -> dict[str, Held]:
    """:param ids: some hundreds at the most."""
    from weaviate.classes.query import Filter

    collection: Collection[Any, Any] = server.collection(generation)
    with server.explained():
        found = collection.query.fetch_objects(
            filters=Filter.by_id().contains_any(list(ids)), limit=len(ids), return_properties=[VERSION, DELETED]
        )
    return {
        str(o.uuid): Held(version_of(str(o.properties[VERSION])), bool(o.properties[DELETED])) for o in found.objects
    }


def _is_wanted(row: Row, held: Held | None, fresh_only: bool) -> bool:
    if held is None:
        return True
    if fresh_only:
        return held.deleted and held.version < row.document.version
    return held.version <= row.document.version


@contextmanager
def quiet() -> Iterator[None]:
    """The client logs objects that are refused, with all that is in them."""
    logger = logging.getLogger("weaviate-client")
    logger.addFilter(_is_no_answer)
    try:
        yield
    finally:
        logger.removeFilter(_is_no_answer)


def _is_no_answer(record: logging.LogRecord) -> bool:
    return not isinstance(record.msg, Mapping)
