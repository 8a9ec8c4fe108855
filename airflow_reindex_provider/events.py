"""What happens to streams, as events of Airflow's assets: a Dag is scheduled on one, and reads the figures in its ``extra``."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.progress import utc_now

if TYPE_CHECKING:
    from airflow.sdk import Asset, AssetAlias, Context

_SCHEME = "reindex-event"
_OF_ALL = "all"
"""Stands where a stream has its name, in an event of no stream alone. Its events have other names than those of a stream."""


class Event(StrEnum):
    """What can happen. Each is an asset of its own for each stream; ``gc.completed`` is one for all of them."""

    RUN_STARTED = "run.started"
    RUN_COMPLETED = "run.completed"
    RUN_FAILED = "run.failed"
    REBUILD_STARTED = "rebuild.started"
    SWAP_COMPLETED = "swap.completed"
    ROLLBACK_COMPLETED = "rollback.completed"
    SWEEP_COMPLETED = "sweep.completed"
    WATCH_BROKEN = "watch.broken"
    WATCH_WELL = "watch.well"
    GC_COMPLETED = "gc.completed"


def known_event(name: str) -> Event:
    """:raises ConfigurationError: there is none of this name that streams have."""
    of_streams = [str(event) for event in Event if event is not Event.GC_COMPLETED]
    if name not in of_streams:
        raise ConfigurationError(f"A stream has no event {name!r}. It has: {', '.join(of_streams)}.")
    return Event(name)


def stream_asset(stream: str) -> Asset:
    """The asset that every finished run of the stream updates, and by which the stream is found among all Dags."""
    from airflow.sdk import Asset

    return Asset(name=f"reindex.{stream}", uri=f"reindex://{stream}")


def event_asset(event: Event, stream: str | None = None) -> Asset:
    """The asset to schedule a Dag on. :param stream: its name; None for ``gc.completed``."""
    from airflow.sdk import Asset

    if event is Event.RUN_COMPLETED and stream is not None:
        return stream_asset(stream)
    whose = stream or _OF_ALL
    return Asset(name=f"{_SCHEME}.{whose}.{event}", uri=f"{_SCHEME}://{whose}/{event}", group=_SCHEME)


def events_alias(stream: str | None = None) -> AssetAlias:
    """What a task that tells events of a stream has among its outlets; a Dag that is scheduled on it hears of all of them."""
    from airflow.sdk import AssetAlias

    return AssetAlias(name=f"{_SCHEME}s-of-all" if stream is None else f"{_SCHEME}.{stream}", group=_SCHEME)


def tell_event(context: Context, event: Event, *, stream: str | None = None, **figures: Any) -> None:
    """Add the event to those that Airflow records when the task succeeds. The task has :func:`events_alias` as an outlet.

    :param figures: JSON; beside them stand ``event``, ``stream``, ``at``, ``dag_id``, ``run_id`` and ``try_number``."""
    extra = with_names(context, event, stream, figures)
    context["outlet_events"][events_alias(stream)].add(event_asset(event, stream), extra=extra)


def with_names(context: Context, event: Event, stream: str | None, figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures with what every event says."""
    ti = context["ti"]
    return {
        **figures,
        "event": str(event),
        "stream": stream,
        "at": utc_now().isoformat(timespec="milliseconds"),
        "dag_id": ti.dag_id,
        "run_id": ti.run_id,
        "try_number": ti.try_number,
    }
