"""What a sweep writes: missing and stale documents by the normal path, deletions after a look-up of each key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from airflow_reindex_provider.core import parking
from airflow_reindex_provider.core.embedding.embed import Embed
from airflow_reindex_provider.core.errors import IndexingStoppedError, TooManyDeletesError
from airflow_reindex_provider.core.keys import KeyRange
from airflow_reindex_provider.core.model import (
    Batch,
    Chunk,
    Counts,
    Document,
    Format,
    Key,
    Mode,
    Position,
    Rejection,
    Transform,
    Window,
)
from airflow_reindex_provider.core.model.packed import packed, unpacked
from airflow_reindex_provider.core.observing import Growth, Observer, Side, Step, Unobserved
from airflow_reindex_provider.core.progress import Progress, Status
from airflow_reindex_provider.core.running.indexing import index_batch
from airflow_reindex_provider.core.sweeping.allowing import deletion_version, require_absent, respelled
from airflow_reindex_provider.core.sweeping.comparing import Comparison
from airflow_reindex_provider.core.sweeping.records import Difference, Finding, RepairJob, SweepPlan

COLLECTED = 2_000
"""Keys that are held at once."""
AT_ONCE = 500
"""Keys that are looked up and written together."""


@dataclass(frozen=True, slots=True)
class RepairResult:
    """What one repair did. ``spared``: orphans that turned out to have come back."""

    counts: Counts = Counts()
    spared: int = 0
    rejected: tuple[Rejection, ...] = ()

    def __add__(self, other: RepairResult) -> RepairResult:
        return RepairResult(self.counts + other.counts, self.spared + other.spared, (*self.rejected, *other.rejected))

    def to_json(self) -> dict[str, Any]:
        return {
            **self.counts.to_json(),
            "spared": self.spared,
            "rejected": packed([rejection.to_json() for rejection in parking.bounded(self.rejected)]),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RepairResult:
        return cls(
            Counts.from_json(value), value["spared"], tuple(map(Rejection.from_json, unpacked(value["rejected"])))
        )


@dataclass(slots=True)
class _Collected:
    """The differences of a range whose listings have ended without an error."""

    to_index: list[Key] = field(default_factory=list)
    retired: list[Key] = field(default_factory=list)
    """Soft-deleted or filtered out: the row itself says so, with its version."""
    orphans: dict[Key, int] = field(default_factory=dict)
    """With the versions of their documents."""


@dataclass(frozen=True, kw_only=True)
class Repair:
    """Writes what differs in a job's ranges. Doing it again finds nothing more to do.

    :param max_failures: documents that the target may refuse at once. :param should_stop: looked at between writes.
    """

    plan: SweepPlan
    comparison: Comparison
    format: Format
    chunk_rows: int
    max_failures: int
    progress: Progress
    transform: Transform | None = None
    embed: Embed | None = None
    should_stop: Callable[[], bool] = lambda: False
    observer: Observer = field(default_factory=Unobserved)

    def run(self, job: RepairJob) -> RepairResult:
        """:raises SourceIncompleteError: an orphan is in the source after all. :raises TooManyDeletesError: there are more
        orphans than the comparison allowed for. Nothing of the part at hand is deleted then.
        """
        result = RepairResult()
        deletes = 0
        self.progress.start()
        try:
            for part in job.parts:
                for found in self._collected(part):
                    deletes += len(found.orphans) + len(found.retired)
                    if deletes > job.may_delete:
                        raise TooManyDeletesError(
                            f"Stream {self.plan.stream!r}: range {part} has more orphans by now than the comparison found"
                            f" ({job.may_delete:,} may be deleted). Sweep again, so that all of it is judged anew."
                        )
                    for write in self._writes(found):
                        if self.should_stop():
                            raise IndexingStoppedError("Stopped between two writes; a retry repairs the rest.")
                        done = write()
                        result = result + done
                        self.progress.add(done.counts)
        except BaseException as error:
            stopped = isinstance(error, IndexingStoppedError)
            self.progress.finish(Status.CANCELLED if stopped else Status.FAILED, str(error)[:300])
            raise
        self.progress.finish(Status.COMPLETED)
        return result

    def _collected(self, within: KeyRange) -> Iterator[_Collected]:
        """The range in pieces of bounded size, each gone through to its end before anything of it is written."""
        start, end = within.start, within.end
        while True:
            found, cut = self._collect(KeyRange(start, end))
            if cut is not None:
                # The listings were left in the middle, and what is written must come from some that have ended.
                end = cut
                continue
            yield found
            if end == within.end:
                return
            start, end = end, within.end

    def _collect(self, within: KeyRange) -> tuple[_Collected, Key | None]:
        """What differs, and None; or too much differs, and the key of the first difference that is too many."""
        collected = _Collected()
        for number, (key, difference, at_source, version) in enumerate(self._repairable(within)):
            if number == COLLECTED:
                return collected, key
            if difference is not Difference.ORPHANED:
                collected.to_index.append(key)
            elif at_source:
                collected.retired.append(key)
            else:
                assert version is not None
                collected.orphans[key] = version
        return collected, None

    def _repairable(self, within: KeyRange) -> Iterator[Finding]:
        return (f for f in self.comparison.findings(within) if f.difference is not Difference.NEWER)

    def _writes(self, found: _Collected) -> Iterator[Callable[[], RepairResult]]:
        for keys in _batched([*found.to_index, *found.retired], AT_ONCE):
            yield partial(self._index, keys)
        for keys in _batched([*found.orphans], AT_ONCE):
            yield partial(self._delete, {key: found.orphans[key] for key in keys})

    def _index(self, keys: tuple[Key, ...]) -> RepairResult:
        """The rows as they are now, as far as they still lie below the bound; the others are the incremental runs'."""
        window = Window(None, Position(self.plan.bound))
        batch = Batch(self.plan.stream, self.plan.generation, 0, 1, window, len(keys), keys, Mode.SWEEP)
        result = index_batch(
            batch,
            source=self.comparison.source,
            target=self.comparison.target,
            format=self.format,
            chunk_rows=self.chunk_rows,
            max_failures=self.max_failures,
            progress=Progress(batch, Mode.SWEEP, _Unheard()),
            resume=_NothingToResume(),
            transform=self.transform,
            embed=self.embed,
            observer=self.observer,
        )
        return RepairResult(result.counts, 0, result.rejected)

    def _delete(self, orphans: Mapping[Key, int]) -> RepairResult:
        # In this order: a row that appears after the look-up has a cursor value at or above this horizon, so it wins.
        horizon = self.comparison.source.survey().horizon.cursor
        found = self.comparison.source.look_up(tuple(orphans), below=self.plan.bound)
        absent, old_texts = require_absent(orphans, found), respelled(orphans, found)
        version = deletion_version(self.plan, horizon)
        deletions = [Document(key, version, None) for key in absent]
        result = RepairResult(spared=len(orphans) - len(absent) - len(old_texts))
        if old_texts:
            # The row first: an index that takes both texts for one key gives its document the new one, and the deletion of the
            # old text finds nothing. With the old document's own version, so that it can touch no other.
            result += self._index(tuple(dict.fromkeys(old_texts.values())))
            deletions += [Document(key, orphans[key], None) for key in old_texts]
        with self.comparison.target.writer(self.plan.generation, self.comparison.schema, Format.ROWS) as writer:
            growth = Growth(self.observer, Side.TARGET, writer)
            try:
                with self.observer.step(Step.WRITE) as span:
                    written = writer.write(Chunk(Position(self.plan.bound), Format.ROWS, deletions))
                    span.set(documents=written.counts.processed, rejected=len(written.rejected))
            finally:
                growth.tell()
        return result + RepairResult(written.counts, 0, written.rejected)


def _batched(keys: Sequence[Key], size: int) -> Iterator[tuple[Key, ...]]:
    return (tuple(keys[n : n + size]) for n in range(0, len(keys), size))


class _Unheard:
    """The repair itself reports, over all of its batches."""

    def report(self, record: dict[str, Any]) -> None: ...


class _NothingToResume:
    """A repair that is tried again compares again, and finds what is left."""

    def load(self) -> dict[str, Any] | None:
        return None

    def save(self, value: dict[str, Any]) -> None: ...

    def clear(self) -> None: ...
