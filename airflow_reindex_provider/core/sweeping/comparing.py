"""Source against index, range by range: checksums first, then a merge of both listings in key order. It only reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from airflow_reindex_provider.core.keys import Checksum, KeyRange, Listed, in_order, key_kinds, placing
from airflow_reindex_provider.core.model import Key, Schema, Transform
from airflow_reindex_provider.core.protocols import (
    ContentSource,
    ContentTarget,
    Source,
    SourceSession,
    Target,
    TargetSession,
)
from airflow_reindex_provider.core.sweeping.contents import Contents
from airflow_reindex_provider.core.sweeping.records import (
    EXAMPLES,
    Compare,
    Content,
    Difference,
    Finding,
    SweepPlan,
    SweepReport,
)
from airflow_reindex_provider.core.sweeping.sides import comparing_target, listing_source, listing_target

LEAF_ROWS = 2_000
"""Ranges up to this size are merged key by key; larger ones that differ are cut further."""


FAN_OUT = 25


CONTENTS_AT_ONCE = 500
"""Keys whose rows and documents are read together, to compare what they say."""


TOLD_ROWS = 10_000
"""Rows after which a merge says how far it is."""


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
        self.source = listing_source(source, plan.stream)
        self.target = listing_target(target, plan.stream)
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
            version = there.version if there is not None else None
            found = None if difference is None else Finding(key, difference, here is not None, version)
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
                plan.stream, plan.generation, plan.bound, reading, comparing_target(holding, plan.stream), transform
            )
        listing, listed = sessions()
        yield Comparison(plan, source=listing, target=listed, transform=transform, contents=contents)
