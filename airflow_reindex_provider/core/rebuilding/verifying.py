"""Whether a rebuilt generation may be promoted: compared with the source key by key, a sample of documents field by field."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from airflow_reindex_provider.core.errors import VerificationError
from airflow_reindex_provider.core.keys import KeyRange
from airflow_reindex_provider.core.model import Batch, Document, Format, Key, Mode, Position, Schema, Transform, Window
from airflow_reindex_provider.core.opened import Opened
from airflow_reindex_provider.core.protocols import (
    ListingSource,
    ListingTarget,
    SourceSession,
)
from airflow_reindex_provider.core.rebuilding.steps import rebuilding
from airflow_reindex_provider.core.sweeping.comparing import Comparison
from airflow_reindex_provider.core.sweeping.records import Difference, Finding, SweepPlan

SAMPLE = 100
_SHOWN = 3
_PAGE = 1_000
_PART_ROWS = 50_000
_MAX_PARTS = 1_000


@dataclass(frozen=True, slots=True)
class Verification:
    """The numbers of a check that was passed.

    :ivar documents: in the new generation. :ivar live_documents: in the live one. :ivar rows: of the source, below the
        checkpoint of the new generation; None where the two sides cannot list their keys. :ivar sampled: documents compared
        field by field. :ivar orphaned: documents whose row was deleted outright since it was copied; a sweep removes them.
    """

    documents: int
    live_documents: int
    rows: int | None
    sampled: int
    orphaned: int
    parked: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def verify(
    opened: Opened[SourceSession],
    generation: str,
    *,
    transform: Transform | None = None,
    min_size_ratio: float = 0.5,
    initial_value: str | None = None,
    sample: int = SAMPLE,
) -> Verification:
    """Compare the generation with what the source holds below its checkpoint. It only reads.

    Rows that change meanwhile move past the checkpoint and are judged on neither side, so they make nothing fail. Parked
    documents may be missing.

    :raises VerificationError: rows are missing or stale, a document has other values, or the generation is far smaller than
        the live one; names the numbers.
    """
    stream, source, target = opened.stream, opened.source, opened.target
    writing = rebuilding(target, stream)
    checkpoint = opened.store.load(stream, generation)
    schema = source.schema()
    parked = {p.key for p in checkpoint.parked}
    documents = writing.count(generation)
    live = next((g.name for g in writing.generations() if g.live and g.name != generation), None)
    live_documents = writing.count(live) if live else documents
    if documents < live_documents * min_size_ratio:
        raise VerificationError(
            f"Stream {stream!r}: generation {generation!r} has {documents:,} documents, less than min_size_ratio="
            f"{min_size_ratio:g} of the {live_documents:,} in the live generation {live!r}. It was not promoted. Is all of the"
            " source there? If so, rebuild with a lower min_size_ratio."
        )
    rows, orphaned, sampled = None, 0, 0
    if checkpoint.position is not None:
        bound = checkpoint.position.cursor
        if isinstance(source, ListingSource) and isinstance(target, ListingTarget):
            plan = SweepPlan(stream, generation, bound, schema.cursor_type)
            comparison = Comparison(plan, source=source, target=target, transform=transform)
            before = _rows_before(source, initial_value, schema)

            def wanted(keys: Sequence[Key]) -> set[Key]:
                fields = writing.fields(generation, schema)
                return {key for key, made in _made(source, bound, keys, fields, transform) if made is not None}

            rows, orphaned = _compare(comparison, stream, generation, parked, before, wanted if transform else None)
        drawn = _sample(source, bound, sample, writing.fields(generation, schema), transform, parked)
        _require_equal(stream, generation, writing.differing(generation, drawn, schema))
        sampled = len(drawn)
    return Verification(documents, live_documents, rows, sampled, orphaned, len(parked))


def _rows_before(source: ListingSource, initial_value: str | None, schema: Schema) -> int:
    """How many rows lie before the stream's first one; they are in no index."""
    if initial_value is None:
        return 0
    below = schema.cursor_type.bound(initial_value, schema.cursor_timezone)
    found = source.checksum(KeyRange(), below=below)
    return found.count if found else 0


def _compare(
    comparison: Comparison,
    stream: str,
    generation: str,
    parked: Collection[Key],
    before: int,
    wanted: Callable[[Sequence[Key]], set[Key]] | None,
) -> tuple[int, int]:
    """:param wanted: those of the keys whose rows make a document: not every target remembers what a transform took out."""
    ((everything, total),) = comparison.source.key_ranges(KeyRange(), rows=2**62, max_ranges=1)
    wrong: dict[Difference, int] = {}
    shown: list[str] = []
    for _, report in comparison.report(everything, total):
        for part in report.differing:
            for found in _findings(comparison, part, parked, wanted):
                wrong[found.difference] = wrong.get(found.difference, 0) + 1
                if found.difference is not Difference.ORPHANED and len(shown) < _SHOWN:
                    shown.append(f"{'/'.join(found.key)} ({found.difference})")
    missing, stale = wrong.get(Difference.MISSING, 0), wrong.get(Difference.STALE, 0)
    if stale or missing > before:
        raise VerificationError(
            f"Stream {stream!r}: of {total:,} rows of the source {missing:,} are missing in generation {generation!r} and"
            f" {stale:,} are stale there. It was not promoted. First ones: {', '.join(shown)}."
        )
    return total, wrong.get(Difference.ORPHANED, 0)


def _findings(
    comparison: Comparison,
    within: KeyRange,
    parked: Collection[Key],
    wanted: Callable[[Sequence[Key]], set[Key]] | None,
) -> Iterator[Finding]:
    """What differs in the range, without parked documents, and without rows of which the transform makes nothing."""
    if wanted is None:
        yield from (f for f in comparison.findings(within) if f.key not in parked)
        return
    for part, _ in comparison.source.key_ranges(within, rows=_PART_ROWS, max_ranges=_MAX_PARTS):
        # All of it, since the source can read rows only once its keys are through.
        found = [f for f in comparison.findings(part) if f.key not in parked]
        missing = [f.key for f in found if f.difference is Difference.MISSING]
        made = {key for n in range(0, len(missing), _PAGE) for key in wanted(missing[n : n + _PAGE])}
        yield from (f for f in found if f.difference is not Difference.MISSING or f.key in made)


def _sample(
    source: SourceSession,
    bound: str,
    size: int,
    fields: Sequence[str],
    transform: Transform | None,
    parked: Collection[Key],
) -> Sequence[Document]:
    """Rows spread over the order of change, as documents; in the source of one group, its own rows."""
    below = Window(None, Position(bound))
    whole = source.slices(below, batch_rows=2**31 - 1, max_slices=1, fresh=True)
    parts = source.slices(below, batch_rows=max(1, whole.rows // size), max_slices=size, fresh=True).parts
    keys = tuple(part.start.key for part, _ in parts if part.start and part.start.key and part.start.key not in parked)
    return [made for _, made in _made(source, bound, keys, fields, transform) if made is not None]


def _made(
    source: SourceSession, bound: str, keys: Sequence[Key], fields: Sequence[str], transform: Transform | None
) -> Iterator[tuple[Key, Document | None]]:
    """The rows of these keys that lie below the bound, as documents; None for one that is not to be in the index."""
    if not keys:
        return
    batch = Batch("", "", 0, 1, Window(None, Position(bound)), len(keys), tuple(keys), Mode.REBUILD, fresh=True)
    for chunk in source.read(batch, format=Format.ROWS, fields=fields, chunk_rows=len(keys)):
        for document in chunk.payload:
            assert isinstance(document, Document)
            made = document.fields
            if made is not None and transform is not None:
                made = transform(dict(made))
            yield document.key, None if made is None else Document(document.key, document.version, made)


def _require_equal(stream: str, generation: str, differing: Sequence[tuple[Key, str]]) -> None:
    if differing:
        shown = ", ".join(f"{'/'.join(key)} (field {name!r})" for key, name in differing[:_SHOWN])
        raise VerificationError(
            f"Stream {stream!r}: {len(differing):,} documents drawn from generation {generation!r} have other values than the"
            f" source's rows of the same version. It was not promoted. First ones: {shown}. Were rows changed without their"
            " cursor field, or does the transform depend on more than the row?"
        )
