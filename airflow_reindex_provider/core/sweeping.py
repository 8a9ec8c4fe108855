"""What a sweep compares, and what follows from it: pure rules over the key listings of a source and an index.

plan -> compare (a range each, reads only) -> allow (the cap on deletions) -> repair (the ranges that differ)

Everything is judged below a bound, the checkpoint that the sweep started from. What lies at or above it on either side
belongs to the incremental runs, and a sweep says nothing of it. So runs, writers and a sweep may work at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import islice
from typing import Any, NamedTuple

from airflow_reindex_provider.core.contents import Content, Contents
from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ConfigurationError, SourceIncompleteError, TooManyDeletesError
from airflow_reindex_provider.core.keys import Checksum, KeyRange, Listed, in_order, key_kinds, placing
from airflow_reindex_provider.core.model import Guarantee, Key, Schema, Transform
from airflow_reindex_provider.core.planning import Sizes, current_generation
from airflow_reindex_provider.core.protocols import (
    CheckpointStore,
    ComparingTarget,
    ContentSource,
    ContentTarget,
    ListingSource,
    ListingTarget,
    Source,
    SourceSession,
    Target,
    TargetSession,
)

LEAF_ROWS = 2_000
"""Ranges up to this size are merged key by key; larger ones that differ are cut further."""
FAN_OUT = 25
MAX_DIFFERING = 32
"""Parts of one range that differ, in a report; more are joined with what lies between them."""
EXAMPLES = 5
CONTENTS_AT_ONCE = 500
"""Keys whose rows and documents are read together, to compare what they say."""
TOLD_ROWS = 10_000
"""Rows after which a merge says how far it is."""


class Compare(StrEnum):
    """What of a row and its document is compared; keys always are."""

    VERSIONS = "versions"
    CONTENT = "content"


class Difference(StrEnum):
    """What can be wrong with a key. ``CHANGED``: of the row's version, with other content. ``NEWER`` is left alone: the index
    holds a later version than the source."""

    MISSING = "missing"
    STALE = "stale"
    CHANGED = "changed"
    ORPHANED = "orphaned"
    NEWER = "newer"


class Finding(NamedTuple):
    key: Key
    difference: Difference
    at_source: bool
    """Whether the source has a row of the key; an orphan with a row is soft-deleted or filtered out there."""


class _Met(NamedTuple):
    """A key that a walk has met. ``is_listed``: the source has it; ``is_indexed``: the index does, below the bound;
    ``is_equal``: both know it with the same version, though the index may know it as deleted."""

    key: Key
    found: Finding | None
    is_listed: bool
    is_indexed: bool
    is_equal: bool

    def with_content(self, content: Content) -> _Met:
        difference = None
        if self.is_equal and self.is_indexed:
            # A transform that was changed may take out many: that is for the cap on deletions.
            difference = {Content.OTHER: Difference.CHANGED, Content.NONE: Difference.ORPHANED}.get(content)
        return self if difference is None else self._replace(found=Finding(self.key, difference, True))


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What all tasks of a sweep share."""

    stream: str
    generation: str
    bound: str
    """Cursor value; rows and documents at or above it are not judged."""
    cursor_type: CursorType
    max_delete_fraction: float = 0.05
    dry_run: bool = False
    compare: Compare = Compare.VERSIONS

    @property
    def bound_version(self) -> int:
        return self.cursor_type.ordinal(self.bound)

    def to_json(self) -> dict[str, Any]:
        return {
            "stream": self.stream,
            "generation": self.generation,
            "bound": self.bound,
            "cursor_type": str(self.cursor_type),
            "max_delete_fraction": self.max_delete_fraction,
            "dry_run": self.dry_run,
            "compare": str(self.compare),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SweepPlan:
        typed = {"cursor_type": CursorType(value["cursor_type"]), "compare": Compare(value["compare"])}
        return cls(**{**value, **typed})


@dataclass(frozen=True, slots=True)
class SweepRange:
    """A part of the key space: the unit that Airflow maps. ``rows`` is the source's number of rows in it."""

    number: int
    of: int
    keys: KeyRange
    rows: int

    @property
    def label(self) -> str:
        begin = "/".join(self.keys.start) if self.keys.start else "the first key"
        return f"{self.number + 1}/{self.of}: {self.rows:,} keys from {begin[:40]}"

    def to_json(self) -> dict[str, Any]:
        return {"number": self.number, "of": self.of, "rows": self.rows, **self.keys.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SweepRange:
        return cls(value["number"], value["of"], KeyRange.from_json(value), value["rows"])


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What the comparison of a range found, or of several added up.

    :ivar indexed: documents in the index, below the bound. :ivar listed: of the source's rows, how many were compared key by
        key; checksums settled the others. :ivar differing: the parts in which something is to be repaired.
    """

    indexed: int = 0
    listed: int = 0
    counts: Mapping[Difference, int] = field(default_factory=dict)
    examples: Mapping[Difference, tuple[Key, ...]] = field(default_factory=dict)
    differing: tuple[KeyRange, ...] = ()

    def count(self, *of: Difference) -> int:
        return sum(self.counts.get(d, 0) for d in of)

    @property
    def differences(self) -> int:
        return self.count(*Difference)

    def __add__(self, other: SweepReport) -> SweepReport:
        return SweepReport(
            self.indexed + other.indexed,
            self.listed + other.listed,
            {d: n for d in Difference if (n := self.count(d) + other.count(d))},
            {
                d: found[:EXAMPLES]
                for d in Difference
                if (found := (*self.examples.get(d, ()), *other.examples.get(d, ())))
            },
            coalesced(self.differing + other.differing),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "indexed": self.indexed,
            "listed": self.listed,
            **{str(d): self.count(d) for d in Difference},
            "examples": {str(d): [list(key) for key in keys] for d, keys in self.examples.items()},
            "differing": [part.to_json() for part in self.differing],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SweepReport:
        return cls(
            value["indexed"],
            value["listed"],
            {d: n for d in Difference if (n := value[str(d)])},
            {Difference(d): tuple(tuple(key) for key in keys) for d, keys in value["examples"].items()},
            tuple(KeyRange.from_json(part) for part in value["differing"]),
        )


@dataclass(slots=True)
class _Tally:
    indexed: int = 0
    listed: int = 0
    counts: dict[Difference, int] = field(default_factory=dict)
    examples: dict[Difference, tuple[Key, ...]] = field(default_factory=dict)

    def add(self, found: Finding) -> None:
        number = self.counts.get(found.difference, 0)
        self.counts[found.difference] = number + 1
        if number < EXAMPLES:
            self.examples[found.difference] = (*self.examples.get(found.difference, ()), found.key)

    def report(self, differing: tuple[KeyRange, ...] = ()) -> SweepReport:
        return SweepReport(self.indexed, self.listed, self.counts, self.examples, differing)


@dataclass(frozen=True, slots=True)
class RepairJob:
    """The parts of one range in which something is to be repaired, and how many documents may be deleted there."""

    range: SweepRange
    parts: tuple[KeyRange, ...]
    repairs: int
    may_delete: int

    @property
    def label(self) -> str:
        return f"{self.range.number + 1}/{self.range.of}: {self.repairs:,} repairs"

    def to_json(self) -> dict[str, Any]:
        return {
            "range": self.range.to_json(),
            "parts": [part.to_json() for part in self.parts],
            "repairs": self.repairs,
            "may_delete": self.may_delete,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RepairJob:
        parts = tuple(KeyRange.from_json(part) for part in value["parts"])
        return cls(SweepRange.from_json(value["range"]), parts, value["repairs"], value["may_delete"])


def plan_sweep(
    stream: str,
    *,
    source: SourceSession,
    target: TargetSession,
    store: CheckpointStore,
    sizes: Sizes,
    guarantee: Guarantee,
    max_delete_fraction: float = 0.05,
    dry_run: bool = False,
    compare: Compare = Compare.VERSIONS,
) -> tuple[SweepPlan, tuple[SweepRange, ...]]:
    """The bound and the ranges. Nothing is written.

    :raises ConfigurationError: one of the two cannot be swept, or nothing has been indexed yet.
    """
    if not 0 <= max_delete_fraction <= 1:
        raise ConfigurationError(
            f"max_delete_fraction is a part of the index, from 0 to 1, and not {max_delete_fraction}."
        )
    reading, writing = _listing_source(source, stream), _listing_target(target, stream)
    if guarantee is not Guarantee.VERSIONED and not dry_run:
        raise ConfigurationError(
            f"Stream {stream!r}: the target keeps the last write, whatever its version ({guarantee}). A deletion could take a"
            " row that has come back meanwhile, so only a dry run can sweep it."
        )
    if compare is Compare.CONTENT:
        _comparing_target(target, stream)
    generation = current_generation(target)
    position = store.load(stream, generation).position if generation else None
    if generation is None or position is None:
        raise ConfigurationError(
            f"Stream {stream!r} has no checkpoint yet, and a sweep judges only what lies below it: let an incremental run"
            " finish first."
        )
    survey = source.survey()
    writing.fields(generation, survey.schema)
    parts = reading.key_ranges(KeyRange(), rows=sizes.batch_rows, max_ranges=sizes.max_batches)
    plan = SweepPlan(
        stream, generation, position.cursor, survey.schema.cursor_type, float(max_delete_fraction), dry_run, compare
    )
    return plan, tuple(SweepRange(n, len(parts), part, rows) for n, (part, rows) in enumerate(parts))


class Comparison:
    """Compares source and index, range by range, on two open sessions. It only reads.

    :param transform: the stream's. Since it can take rows out of the index, a document remembered as deleted with the version
        that the row still has is as it should be, and missing without one.
    :param contents: compares what documents say, on sessions of its own: these two are in the middle of their listings then.
    """

    def __init__(
        self,
        plan: SweepPlan,
        *,
        source: SourceSession,
        target: TargetSession,
        transform: Transform | None = None,
        contents: Contents | None = None,
    ) -> None:
        self._plan = plan
        self.source = _listing_source(source, plan.stream)
        self.target = _listing_target(target, plan.stream)
        self._transform = transform
        self.schema: Schema = source.schema()
        self._contents = contents
        self._place_of = placing(key_kinds(self.schema))

    def report(self, within: KeyRange, rows: int) -> Iterator[tuple[int, SweepReport]]:
        """What differs in a range, in parts: how many of its rows have been compared since, and what was found.

        Equal checksums settle a range. One that differs is cut further, until its parts are small enough to go through."""
        theirs, ours = self._checksums(within)
        if theirs and ours == theirs:
            yield rows, SweepReport(indexed=theirs.count)
        elif ours and rows > LEAF_ROWS:
            step = max(LEAF_ROWS, -(-rows // FAN_OUT))
            for part, count in self.source.key_ranges(within, rows=step, max_ranges=FAN_OUT):
                yield from self.report(part, count)
        else:
            yield from self._merged(within, rows)

    def findings(self, within: KeyRange) -> Iterator[Finding]:
        """Every difference of the range, by a merge of both listings. Complete once it has ended, or it raises."""
        return (met.found for met in self._walk(within) if met.found is not None)

    def _checksums(self, within: KeyRange) -> tuple[Checksum | None, Checksum | None]:
        """Of the index and of the source; None where one of them cannot compute it. What a transform makes of a row, the
        source cannot know."""
        plan, source, target = self._plan, self.source, self.target
        if plan.compare is Compare.VERSIONS:
            theirs = target.checksum(plan.generation, within, self.schema, below=plan.bound_version)
            return theirs, theirs and source.checksum(within, below=plan.bound)
        if self._transform or not isinstance(source, ContentSource) or not isinstance(target, ContentTarget):
            return None, None
        columns = target.content_columns(plan.generation, self.schema)
        ours = source.content_checksum(within, below=plan.bound, columns=columns)
        return ours and target.content_checksum(plan.generation, within, self.schema, below=plan.bound_version), ours

    def _merged(self, within: KeyRange, rows: int) -> Iterator[tuple[int, SweepReport]]:
        tally, differs = _Tally(), False
        for met in self._walk(within):
            tally.listed += met.is_listed
            tally.indexed += met.is_indexed
            if met.found is not None:
                tally.add(met.found)
                differs = differs or met.found.difference is not Difference.NEWER
            if tally.listed == TOLD_ROWS:
                yield tally.listed, tally.report()
                rows, tally = rows - tally.listed, _Tally()
        yield max(rows, 0), tally.report((within,) if differs else ())

    def _walk(self, within: KeyRange) -> Iterator[_Met]:
        """Each key of either side, in order."""
        if self._contents is None:
            yield from self._met(within)
            return
        walk = self._met(within)
        while some := list(islice(walk, CONTENTS_AT_ONCE)):
            contents = self._contents.of([met.key for met in some if met.is_equal])
            yield from (met.with_content(contents.get(met.key, Content.SAME)) for met in some)

    def _met(self, within: KeyRange) -> Iterator[_Met]:
        """As far as keys and versions tell."""
        rows = in_order(self.source.keys(within, below=self._plan.bound), self._place_of, "The source")
        documents = in_order(self.target.keys(self._plan.generation, within, self.schema), self._place_of, "The index")
        row, document = next(rows, None), next(documents, None)
        while row is not None or document is not None:
            here, there = row, document
            if row is not None and document is not None and row.key != document.key:
                before = self._place_of(row.key) < self._place_of(document.key)
                here, there = (row, None) if before else (None, document)
            difference = self._judge(here, there)
            key = here.key if here is not None else there.key if there is not None else ()
            is_indexed = there is not None and not there.gone and self._is_below(there)
            found = None if difference is None else Finding(key, difference, here is not None)
            is_equal = here is not None and there is not None and not here.gone and here.version == there.version
            yield _Met(key, found, here is not None, is_indexed, is_equal and found is None)
            if here is not None:
                row = next(rows, None)
            if there is not None:
                document = next(documents, None)

    def _judge(self, row: Listed | None, document: Listed | None) -> Difference | None:
        if (row is not None and row.version is None) or (document is not None and not self._is_below(document)):
            return None
        there = document is not None and not document.gone
        if row is None or row.version is None:
            return Difference.ORPHANED if there else None
        held = None if document is None else document.version
        if held is not None and held > row.version:
            # A row that is gone has nothing to say to a deletion of any version.
            return None if row.gone and not there else Difference.NEWER
        if row.gone:
            return Difference.ORPHANED if there else None
        if not there:
            return None if held == row.version and self._transform else Difference.MISSING
        return Difference.STALE if held != row.version else None

    def _is_below(self, document: Listed) -> bool:
        return document.version is not None and document.version < self._plan.bound_version


@contextmanager
def opened(plan: SweepPlan, *, source: Source, target: Target, transform: Transform | None) -> Iterator[Comparison]:
    """The comparison that the plan asks for, on sessions that end with it."""
    with ExitStack() as stack:

        def sessions() -> tuple[SourceSession, TargetSession]:
            return stack.enter_context(source.open()), stack.enter_context(target.open(plan.stream))

        contents = None
        if plan.compare is Compare.CONTENT:
            reading, holding = sessions()
            contents = Contents.opened(
                plan.stream, plan.generation, plan.bound, reading, _comparing_target(holding, plan.stream), transform
            )
        listing, listed = sessions()
        yield Comparison(plan, source=listing, target=listed, transform=transform, contents=contents)


def coalesced(parts: Sequence[KeyRange]) -> tuple[KeyRange, ...]:
    """At most ``MAX_DIFFERING`` ranges, in order, that hold all of these; neighbours are joined."""
    joined: list[KeyRange] = []
    for part in parts:
        if joined and joined[-1].end == part.start:
            joined[-1] = replace(joined[-1], end=part.end)
        else:
            joined.append(part)
    step = -(-len(joined) // MAX_DIFFERING) or 1
    return tuple(
        KeyRange(joined[n].start, joined[min(n + step, len(joined)) - 1].end) for n in range(0, len(joined), step)
    )


def allow(plan: SweepPlan, reports: Sequence[tuple[SweepRange, SweepReport]]) -> tuple[RepairJob, ...]:
    """What may be repaired. Every range gets the deletions that its comparison found, and an equal share of what the cap
    leaves besides, for rows that are deleted while the sweep runs.

    :raises TooManyDeletesError: the orphans of all ranges are more than the cap.
    """
    total = sum((report for _, report in reports), SweepReport())
    orphans = total.count(Difference.ORPHANED)
    cap = int(total.indexed * plan.max_delete_fraction)
    if orphans > cap:
        raise TooManyDeletesError(
            f"Stream {plan.stream!r}: {orphans:,} of {total.indexed:,} documents of {plan.generation!r} are not in the source,"
            f" more than max_delete_fraction={plan.max_delete_fraction:g} allows ({cap:,}). Nothing was repaired. Is all of the"
            f" source there? If so, trigger the Dag with a higher max_delete_fraction. First ones:"
            f" {_shown(total.examples.get(Difference.ORPHANED, ()))}."
        )
    differing = [(part, report) for part, report in reports if report.differing]
    spare = (cap - orphans) // len(differing) if differing else 0
    return tuple(
        RepairJob(
            part,
            report.differing,
            report.differences - report.count(Difference.NEWER),
            report.count(Difference.ORPHANED) + spare,
        )
        for part, report in differing
    )


def require_absent(orphans: Sequence[Key], found: Iterable[Listed]) -> list[Key]:
    """Those of the orphans that may be deleted, by a look-up at the source after the scan.

    :param found: what of them the source has after all; a row at or above the bound has come since, and is left to the
        incremental runs.
    :raises SourceIncompleteError: a row below the bound was there all the time, so the scan did not see all of the source.
    """
    wanted, since = set(orphans), set()
    for row in found:
        if row.version is not None or row.key not in wanted:
            raise SourceIncompleteError(
                f"Key {'/'.join(row.key)!r} was not in the scan of the source, and a look-up finds it: the scan did not see all"
                " rows, or an old row was put back by hand. Nothing of this part was deleted."
            )
        since.add(row.key)
    return [key for key in orphans if key not in since]


def deletion_version(plan: SweepPlan, horizon: str | None) -> int:
    """The version to delete an orphan with: past all that is in the index below the bound, and before any row that can
    still appear, since those carry cursor values at or above the horizon.

    :param horizon: taken before the look-up; None where nothing is known but the bound.
    """
    kind = plan.cursor_type
    return max(plan.bound_version, plan.bound_version if horizon is None else kind.ordinal(horizon)) - 1


def _listing_source(source: SourceSession, stream: str) -> ListingSource:
    if not isinstance(source, ListingSource):
        raise ConfigurationError(f"Stream {stream!r}: its source cannot list its keys in order, so it cannot be swept.")
    return source


def _listing_target(target: TargetSession, stream: str) -> ListingTarget:
    if not isinstance(target, ListingTarget):
        raise ConfigurationError(f"Stream {stream!r}: its target cannot list its keys in order, so it cannot be swept.")
    return target


def _comparing_target(target: TargetSession, stream: str) -> ComparingTarget:
    if not isinstance(target, ComparingTarget):
        raise ConfigurationError(
            f"Stream {stream!r}: its target cannot compare documents, so a sweep of it compares versions only."
        )
    return target


def _shown(keys: Iterable[Key]) -> str:
    return ", ".join("/".join(key) for key in keys)
