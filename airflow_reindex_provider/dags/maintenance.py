"""The Dag that finds and drops what nothing needs any more, of all streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from airflow.sdk import DAG, Asset

from airflow_reindex_provider.core.cleaning.records import DEFAULT_AGE
from airflow_reindex_provider.dags.common import FIRST_DAY, of_ours
from airflow_reindex_provider.dags.forms import MAINTENANCE_PARAMS
from airflow_reindex_provider.events import Event, event_asset
from airflow_reindex_provider.operators.maintenance import DropOrphansOperator, FindOrphansOperator
from airflow_reindex_provider.stream import Stream


class MaintenanceDag(DAG):
    """Finds what nothing needs any more, of all streams, and drops it; the Dag registers itself.

    ``find -> drop``. The first run only lists what would go. Nothing that is younger than ``older_than`` is judged, nothing that
    does not carry this package's mark, and nothing of a stream that is not among ``streams``, unless its name is in ``gone``. May
    run beside everything else: it holds each stream's lease while it drops something of it.

    :param streams: all that are in use.
    :param dag_id: default ``reindex_maintenance``. :param schedule: whatever a Dag takes. Default: by hand only.
    :param retain: generations that were served and stay for a rollback, beside the live one. Default: all that the RebuildDags
        have left; else the greatest ``retain`` of these.
    :param older_than: default a day.
    :param tombstones_older_than: recorded deletions that are older go, once every generation of all streams that read them has
        passed them; default 30 days, None for never.
    :param owners: connections whose roles may delete recorded deletions, by the source's connection: ``{"shop_db":
        "shop_owner"}``. Default: the source's own.
    :param gone: names of streams that are gone for good; the form can name more.
    :param task_args: further arguments of both operators, like ``retries`` or ``queue``.
    :param kwargs: further arguments of the Dag.
    """

    reads_all_conf = True
    """See ``operators.conf``."""

    completed: ClassVar[Asset] = event_asset(Event.GC_COMPLETED)
    """The asset that every clean-up updates, with what was freed in the event's ``extra``."""

    def __init__(
        self,
        streams: Sequence[Stream],
        *,
        dag_id: str = "reindex_maintenance",
        schedule: Any = None,
        retain: int | None = None,
        older_than: timedelta = DEFAULT_AGE,
        tombstones_older_than: timedelta | None = timedelta(days=30),
        owners: Mapping[str, str] | None = None,
        gone: Sequence[str] = (),
        start_date: datetime = FIRST_DAY,
        catchup: bool = False,
        task_args: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("description", f"Drops what nothing needs any more, of {len(streams)} streams")
        super().__init__(
            dag_id=dag_id,
            schedule=schedule,
            start_date=start_date,
            catchup=catchup,
            **of_ours(kwargs, MAINTENANCE_PARAMS),
        )
        named = "{{ (params.get('gone') or []) | join(',') }}"
        of_all: dict[str, Any] = {
            "streams": streams,
            "retain": retain,
            "older_than": older_than,
            "tombstones_older_than": tombstones_older_than,
            "owners": owners,
            "gone": ",".join((*gone, named)),
            "retry_delay": timedelta(seconds=30),
            **(task_args or {}),
        }
        with self:
            find = FindOrphansOperator(task_id="find", **of_all)
            drop = DropOrphansOperator(
                task_id="drop",
                find_task_id=find.task_id,
                report_only="{{ '' if params.get('dry_run') is none else params.get('dry_run') }}",
                **of_all,
            )
            find >> drop
