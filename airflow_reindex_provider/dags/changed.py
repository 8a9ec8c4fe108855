"""A schedule that starts a run when there is something to do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, AssetOrTimeSchedule, AssetWatcher

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.watching import WatchableSource
from airflow_reindex_provider.dags.reindex import with_data_intervals
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.triggers.watching import StreamChangesTrigger


def changes_of(
    stream: Stream,
    *,
    poll_interval: timedelta = timedelta(seconds=2),
    at_most_every: timedelta = timedelta(seconds=10),
    at_least_every: Any = "@hourly",
) -> AssetOrTimeSchedule:
    """For the ``schedule`` of a ReindexDag: a run once a change is safe to read, seen by a watcher in the triggerer.

    :param stream: the Dag's. :param poll_interval: between two looks of the watcher, one cheap query each; default two seconds.
    :param at_most_every: how long after one event of the watcher the next one may come; default ten seconds.
    :param at_least_every: a cron string, a timedelta or a timetable: a run then as well, whatever the watcher has seen; default
        hourly. Backfills are cut by it.
    :raises ConfigurationError: the source cannot be watched.
    """
    source = stream.source
    if not isinstance(source, WatchableSource):
        raise ConfigurationError(
            f"Stream {stream.name!r}: {source.label} cannot be watched for changes. Give its ReindexDag a schedule of time."
        )
    trigger = StreamChangesTrigger(
        stream=stream.name,
        source_class=f"{type(source).__module__}.{type(source).__qualname__}",
        source=source.serialize(),
        poll_interval_s=poll_interval.total_seconds(),
        min_interval_s=at_most_every.total_seconds(),
    )
    name = f"reindex-changes.{stream.name}"
    watched = Asset(
        name=name,
        uri=f"reindex-changes://{stream.name}",
        group="reindex-changes",
        watchers=[AssetWatcher(name=name, trigger=trigger)],
    )
    return AssetOrTimeSchedule(timetable=with_data_intervals(at_least_every), assets=[watched])
