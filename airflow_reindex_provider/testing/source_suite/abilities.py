"""What a source can do beyond reading a window, by what its sessions are and answer."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_reindex_provider.core.keys import KeyRange
from airflow_reindex_provider.core.protocols import (
    ContentSource,
    CountingSource,
    GroupedSession,
    GroupingSource,
    ListingSource,
    LookingSource,
    PreparingSource,
    Source,
    SourceSession,
)
from airflow_reindex_provider.core.recording import RecordingSource

SWEEPS = "sweeps: lists its keys in order"
CHECKSUMS = "checksums: equal ranges of keys are not listed"
CONTENTS = "contents: a sweep compares values by checksum"
GROUPS = "groups: an index for each value of a column"
TOMBSTONES = "tombstones: rows that are deleted outright"
CHILDREN = "children: documents of several tables"
LOOKS = "looks: how far behind an index is, without a run"
OUTLIERS = "outliers: rows without a cursor or ahead of the clock, told apart"
PREPARES = "prepares: says that the server has to sort before the first row"

_OF_SESSION: Mapping[str, type] = {
    SWEEPS: ListingSource,
    CONTENTS: ContentSource,
    GROUPS: GroupedSession,
    LOOKS: LookingSource,
    OUTLIERS: CountingSource,
    PREPARES: PreparingSource,
}


def abilities(source: Source, session: SourceSession, *, below: str) -> dict[str, bool]:
    """:param below: a cursor value that the session may list keys below."""
    found = {name: isinstance(session, kind) for name, kind in _OF_SESSION.items()}
    found[GROUPS] = found[GROUPS] and isinstance(source, GroupingSource)
    found[CHECKSUMS] = isinstance(session, ListingSource) and session.checksum(KeyRange(), below=below) is not None
    found[TOMBSTONES] = isinstance(source, RecordingSource)
    found[CHILDREN] = hasattr(source, "children")
    return dict(sorted(found.items()))
