"""What a sweep may delete, and with which version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from airflow_reindex_provider.core.errors import SourceIncompleteError, TooManyDeletesError
from airflow_reindex_provider.core.keys import Listed
from airflow_reindex_provider.core.model import Key
from airflow_reindex_provider.core.sweeping.records import Difference, RepairJob, SweepPlan, SweepRange, SweepReport


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


def require_absent(orphans: Iterable[Key], found: Mapping[Key, Listed]) -> list[Key]:
    """Those of the orphans that no row has, by a look-up at the source after the scan.

    :param found: the rows that the source has of them after all. One at or above the bound has come since, and is left to the
        incremental runs; one that is gone needs no document under another text of its key either.
    :raises SourceIncompleteError: a row below the bound was there all the time, so the scan did not see all of the source.
    """
    absent = []
    for key in orphans:
        row = found.get(key)
        if row is None or (row.key != key and row.gone and row.version is not None):
            absent.append(key)
        elif row.key == key and row.version is not None:
            raise SourceIncompleteError(
                f"Key {'/'.join(row.key)!r} was not in the scan of the source, and a look-up finds it: the scan did not see all"
                " rows, or an old row was put back by hand. Nothing of this part was deleted."
            )
    return absent


def respelled(orphans: Iterable[Key], found: Mapping[Key, Listed]) -> dict[Key, Key]:
    """Those of the orphans that are an old text of a row's key, each with the text that the row has now (``core.keys``)."""
    rows = ((key, found[key]) for key in orphans if key in found)
    return {key: row.key for key, row in rows if row.key != key and row.version is not None and not row.gone}


def deletion_version(plan: SweepPlan, horizon: str | None) -> int:
    """The version to delete an orphan with: past all that is in the index below the bound, and before any row that can
    still appear, since those carry cursor values at or above the horizon.

    :param horizon: taken before the look-up; None where nothing is known but the bound.
    """
    kind = plan.cursor_type
    return max(plan.bound_version, plan.bound_version if horizon is None else kind.ordinal(horizon)) - 1


def _shown(keys: Iterable[Key]) -> str:
    return ", ".join("/".join(key) for key in keys)
