"""One stream: what of it nothing needs, and how that goes. Safe beside everything else that is done to it: what rebuilds,
rollbacks and sweeps use is theirs as long as they hold the lease, which whoever drops something holds too; and what runs use is
never judged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from airflow_reindex_provider.core.cleaning.judging import (
    STRAYS,
    old_parked,
    strays,
    unneeded_checkpoints,
    unneeded_generations,
    unneeded_lease,
    without_rows,
)
from airflow_reindex_provider.core.cleaning.parts import ListingStore, MarkingTarget
from airflow_reindex_provider.core.cleaning.records import Orphan, OrphanKind, Rules
from airflow_reindex_provider.core.errors import CheckpointConflictError, ConfigurationError
from airflow_reindex_provider.core.generations import made_at
from airflow_reindex_provider.core.leases import current
from airflow_reindex_provider.core.model import Checkpoint, Key, Marked, Size
from airflow_reindex_provider.core.parking import beside_each_other
from airflow_reindex_provider.core.protocols import (
    SAVE_TRIES,
    CheckpointStore,
    ListingSource,
    MeasuredTarget,
    RebuildingTarget,
    SourceSession,
    TargetSession,
)
from airflow_reindex_provider.core.rebuilding.steps import discard
from airflow_reindex_provider.core.remembered import Memory, Route

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StreamCleaning:
    """A stream, open, as a clean-up sees it.

    :param kept: all that the store keeps, listed before the target was asked; None asks the store here.
    :param source: opens it, for parked documents; None leaves them alone.
    """

    stream: str
    route: Route
    target: TargetSession
    store: CheckpointStore
    rules: Rules
    now: datetime
    source: Callable[[], AbstractContextManager[SourceSession]] | None = None
    kept: Sequence[Checkpoint] | None = None
    born: Callable[[str], datetime | None] = made_at

    def find(self) -> Iterator[Orphan]:
        """What nothing needs; writes nothing.

        :raises ConfigurationError: the index is another stream's."""
        stream, now, rules = self.stream, self.now, self.rules
        where, place = self.route.target, _place(self.store)
        kept = self._kept()
        known = Memory(self.store, stream, self.route).known
        generations = self.target.generations()
        sizes: Mapping[str, Size] = self.target.sizes() if isinstance(self.target, MeasuredTarget) else {}
        dropped: list[Orphan] = []
        if isinstance(self.target, RebuildingTarget):
            of_target: dict[str, Any] = {"sizes": sizes, "where": where, "rules": rules, "now": now, "born": self.born}
            dropped += unneeded_generations(stream, generations, **of_target)
        yield from dropped
        if isinstance(self.target, MarkingTarget):
            yield from strays(stream, self.target.marked(), where=where, rules=rules, now=now)
        yield from unneeded_checkpoints(stream, kept, generations, known=known, where=place, rules=rules, now=now)
        gone = {orphan.name for orphan in dropped}
        for generation in generations:
            if generation.name not in gone:
                yield from self._parked(generation.name, place)
        yield from unneeded_lease(stream, current(self.store, stream), where=place, rules=rules, now=now)

    def drop(self, wanted: Sequence[Orphan], *, keep: Callable[[], None], troubles: dict[str, str]) -> Iterator[Orphan]:
        """Remove what :meth:`find` has found, as far as nothing needs it now either; says what has gone, as it goes.

        :param keep: of the stream's lease, which is held. What it raises stops this.
        :param troubles: takes why one of them could not go, since something else is made on top of it, say."""
        found = {orphan.identity for orphan in self.find()}
        for orphan in wanted:
            # The lease of whoever drops has taken the place of one that was over.
            if orphan.identity not in found and orphan.kind is not OrphanKind.LEASE:
                continue
            keep()
            try:
                has_gone = self._drop(orphan)
            except ConfigurationError as error:
                troubles[f"{self.stream}: {orphan.name}"] = str(error)
                continue
            if has_gone:
                log.info("Dropped %s", orphan)
                yield orphan

    def _drop(self, orphan: Orphan) -> bool:
        if orphan.kind is OrphanKind.GENERATION and orphan.name in {g.name for g in self.target.generations()}:
            assert isinstance(self.target, RebuildingTarget)
            discard(self.stream, orphan.name, target=self.target, store=self.store)
        elif orphan.kind in STRAYS:
            assert isinstance(self.target, MarkingTarget)
            return self.target.unmake(Marked(orphan.kind, self.stream, orphan.name, stray=True))
        elif orphan.kind is OrphanKind.PARKED:
            return self._release(orphan.name)
        elif orphan.kind is OrphanKind.CHECKPOINT:
            self.store.reset(self.stream, orphan.name)
        return True

    def _kept(self) -> Sequence[Checkpoint]:
        if self.kept is not None:
            return [c for c in self.kept if c.stream == self.stream]
        if not isinstance(self.store, ListingStore):
            return ()
        return [c for c in self.store.kept() if c.stream == self.stream]

    def _parked(self, generation: str, place: str) -> Iterator[Orphan]:
        checkpoint = self.store.load(self.stream, generation)
        old = old_parked(checkpoint, rules=self.rules, now=self.now)
        yield from without_rows(self.stream, generation, old, self._rows(checkpoint, [p.key for p in old]), where=place)

    def _rows(self, checkpoint: Checkpoint, keys: Sequence[Key]) -> Mapping[Key, object]:
        """Those of the keys that have a row; all of them where that cannot be asked."""
        if not keys or checkpoint.position is None or self.source is None:
            return dict.fromkeys(keys)
        with self.source() as source:
            if not isinstance(source, ListingSource):
                return dict.fromkeys(keys)
            return source.look_up(keys, below=checkpoint.position.cursor)

    def _release(self, generation: str) -> bool:
        """Forget the parked documents that have no row; runs may save the same checkpoint meanwhile."""
        for attempt in range(SAVE_TRIES):
            stored = self.store.load(self.stream, generation)
            old = {p.key for p in old_parked(stored, rules=self.rules, now=self.now)}
            found = self._rows(stored, sorted(old))
            left = [p for p in stored.parked if p.key not in old or p.key in found]
            if len(left) == len(stored.parked):
                return False
            try:
                self.store.save(replace(stored, parked=beside_each_other(left)))
            except CheckpointConflictError:
                if attempt == SAVE_TRIES - 1:
                    raise
                continue
            return True
        raise AssertionError("unreachable: the last attempt returns or raises")


def _place(store: CheckpointStore) -> str:
    return repr(store)
