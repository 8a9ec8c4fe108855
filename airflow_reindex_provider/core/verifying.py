"""Whether a rebuilt generation may be promoted: compared with the source key by key, a sample of documents field by field."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from airflow_reindex_provider.core.errors import VerificationError
from airflow_reindex_provider.core.keys import KeyRange
from airflow_reindex_provider.core.model import Batch, Document, Format, Key, Mode, Position, Schema, Transform, Window
from airflow_reindex_provider.core.protocols import (
    CheckpointStore,
    ListingSource,
    ListingTarget,
    SourceSession,
    TargetSession,
)
from airflow_reindex_provider.core.rebuilding import rebuilding
from airflow_reindex_provider.core.sweeping import Comparison, Difference, SweepPlan

SAMPLE = 100
_SHOWN = 3


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
    stream: str,
    generation: str,
    *,
    source: SourceSession,
    target: TargetSession,
    store: CheckpointStore,
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
    writing = rebuilding(target, stream)
    checkpoint = store.load(stream, generation)
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
            comparison = Comparison(plan, source=source, target=target, drops=transform is not None)
            before = _rows_before(source, initial_value, schema)
            rows, orphaned = _compare(comparison, stream, generation, parked, before)
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
    comparison: Comparison, stream: str, generation: str, parked: Collection[Key], before: int
) -> tuple[int, int]:
    ((everything, total),) = comparison.source.key_ranges(KeyRange(), rows=2**62, max_ranges=1)
    wrong: dict[Difference, int] = {}
    shown: list[str] = []
    for _, report in comparison.report(everything, total):
        for part in report.differing:
            for found in comparison.findings(part):
                if found.key not in parked:
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


def _sample(
    source: SourceSession,
    bound: str,
    size: int,
    fields: Sequence[str],
    transform: Transform | None,
    parked: Collection[Key],
) -> Sequence[Document]:
    """Rows spread over the order of change, as documents."""
    below = Window(None, Position(bound))
    whole = source.slices(below, batch_rows=2**31 - 1, max_slices=1)
    parts = source.slices(below, batch_rows=max(1, whole.rows // size), max_slices=size).parts
    keys = tuple(part.start.key for part, _ in parts if part.start and part.start.key and part.start.key not in parked)
    if not keys:
        return ()
    batch = Batch("", "", 0, 1, below, len(keys), keys, Mode.REBUILD)
    drawn: list[Document] = []
    for chunk in source.read(batch, format=Format.ROWS, fields=fields, chunk_rows=size):
        for document in chunk.payload:
            assert isinstance(document, Document)
            if document.fields is not None:
                made = transform(dict(document.fields)) if transform else document.fields
                drawn.append(Document(document.key, document.version, made))
    return [document for document in drawn if document.fields is not None]


def _require_equal(stream: str, generation: str, differing: Sequence[tuple[Key, str]]) -> None:
    if differing:
        shown = ", ".join(f"{'/'.join(key)} (field {name!r})" for key, name in differing[:_SHOWN])
        raise VerificationError(
            f"Stream {stream!r}: {len(differing):,} documents drawn from generation {generation!r} have other values than the"
            f" source's rows of the same version. It was not promoted. First ones: {shown}. Were rows changed without their"
            " cursor field, or does the transform depend on more than the row?"
        )
