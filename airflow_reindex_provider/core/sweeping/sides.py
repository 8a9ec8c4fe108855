"""What source and target must be able to do before a stream can be swept."""

from __future__ import annotations

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.protocols import (
    ComparingTarget,
    ListingSource,
    ListingTarget,
    SourceSession,
    TargetSession,
)


def listing_source(source: SourceSession, stream: str) -> ListingSource:
    if not isinstance(source, ListingSource):
        raise ConfigurationError(f"Stream {stream!r}: its source cannot list its keys in order, so it cannot be swept.")
    return source


def listing_target(target: TargetSession, stream: str) -> ListingTarget:
    if not isinstance(target, ListingTarget):
        raise ConfigurationError(f"Stream {stream!r}: its target cannot list its keys in order, so it cannot be swept.")
    return target


def comparing_target(target: TargetSession, stream: str) -> ComparingTarget:
    if not isinstance(target, ComparingTarget):
        raise ConfigurationError(
            f"Stream {stream!r}: its target cannot compare documents, so a sweep of it compares versions only."
        )
    return target
