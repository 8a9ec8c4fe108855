"""The tasks of a clean-up: find what nothing needs, then drop it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_reindex_provider.control.cleaning import Cleaning, drop_orphans, find_orphans
from airflow_reindex_provider.core.cleaning.records import Orphan, OrphanKind, Rules
from airflow_reindex_provider.core.published import ORPHANS_KEY
from airflow_reindex_provider.events import Event, events_alias, tell_event
from airflow_reindex_provider.operators.base import DEFAULT_RETRIES, RETRY_POLICY, is_true
from airflow_reindex_provider.operators.conf import require_known

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_reindex_provider.stream import Stream

_OF_INDEXES = (OrphanKind.GENERATION, OrphanKind.ALIAS, OrphanKind.VIEW)
MOST_TOLD = 500
"""Things of each kind of answer that an XCom holds; the log has all of them."""


class MaintenanceOperator(BaseOperator):
    """A task of a clean-up, of all streams at once.

    :param streams: all that are in use. :param retain: generations that were served and stay beside the live one; None: all.
    :param older_than: nothing younger is judged.
    :param tombstones_older_than: of recorded deletions; None keeps all. :param owners: see ``MaintenanceDag``.
    :param gone: names of streams that are gone for good. A template.
    """

    template_fields: Sequence[str] = ("gone",)
    dropped: Sequence[Orphan] = ()
    """By this try."""

    def __init__(
        self,
        *,
        streams: Sequence[Stream],
        retain: int | None = None,
        older_than: timedelta = Rules().older_than,
        tombstones_older_than: timedelta | None = timedelta(days=30),
        owners: Mapping[str, str] | None = None,
        gone: Sequence[str] | str = (),
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("retries", DEFAULT_RETRIES)
        kwargs.setdefault("retry_policy", RETRY_POLICY)
        kept_in = [asset for stream in streams for asset in stream.checkpoint_assets]
        kwargs["inlets"] = [*(kwargs.get("inlets") or []), *kept_in]
        super().__init__(**kwargs)
        self.streams = tuple(streams)
        self.retain = retain
        self.older_than = older_than
        self.tombstones_older_than = tombstones_older_than
        self.owners = dict(owners or {})
        self.gone = gone

    def get_openlineage_facets_on_start(self) -> Any:
        """OpenLineage's provider calls it, and the two below."""
        return self._lineage(())

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        return self._lineage(self.dropped)

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Any:
        """What was dropped is gone, whatever has become of the rest."""
        return self.get_openlineage_facets_on_complete(task_instance)

    def _lineage(self, dropped: Sequence[Orphan]) -> Any:
        from airflow_reindex_provider.operators.openlineage import lineage_of_clean_up

        return lineage_of_clean_up(self.streams, {orphan.stream for orphan in dropped if orphan.kind in _OF_INDEXES})

    @property
    def cleaning(self) -> Cleaning:
        gone = self.gone.split(",") if isinstance(self.gone, str) else self.gone
        return Cleaning(
            streams=self.streams,
            rules=Rules(self.retain, self.older_than),
            gone=[name.strip() for name in gone if name.strip()],
            tombstones_older_than=self.tombstones_older_than,
            owners=self.owners,
        )


class FindOrphansOperator(MaintenanceOperator):
    """Lists what nothing needs any more, each thing with its size and the reason, and what looks like it and stays; writes
    nothing. Returns what may go; the XCom ``reindex_orphans`` has the rest beside it.

    A stream that cannot be looked at does not keep the others from being cleaned; the last task fails then.
    """

    def execute(self, context: Context) -> list[dict[str, Any]]:
        require_known(context)
        found = find_orphans(self.cleaning)
        for orphan in found.orphans:
            self.log.info("May go: %s", orphan)
        for orphan in found.left:
            self.log.info("Stays: %s", orphan)
        freed = sum(orphan.bytes or 0 for orphan in found.orphans)
        self.log.info("%d things that nothing needs, %s bytes.", len(found.orphans), f"{freed:,}")
        report = {
            "orphans": len(found.orphans),
            "bytes": freed,
            "left": [orphan.to_json() for orphan in found.left[:MOST_TOLD]],
            "troubles": found.troubles,
        }
        context["ti"].xcom_push(key=ORPHANS_KEY, value=report)
        return [orphan.to_json() for orphan in found.orphans[:MOST_TOLD]]


class DropOrphansOperator(MaintenanceOperator):
    """Drops what was found, as far as nothing needs it now either, under each stream's lease: no rebuild, rollback, sweep or
    other clean-up of it runs beside this. What it has freed is the event ``gc.completed``.

    In a dry run it ends as skipped. What is of a stream that another run works on waits for the next clean-up: it is told, in
    the XCom's ``busy`` too, and no failure. Fails at the end where something could not be looked at or dropped; the rest is done
    then.

    :param find_task_id: the task before it.
    :param report_only: drop nothing; a template. Empty: nothing, as long as no run of the Dag has succeeded.
    """

    template_fields: Sequence[str] = ("gone", "report_only")

    def __init__(self, *, find_task_id: str, report_only: bool | str | None = None, **kwargs: Any) -> None:
        kwargs["outlets"] = [*(kwargs.get("outlets") or []), events_alias()]
        super().__init__(**kwargs)
        self.find_task_id = find_task_id
        self.report_only = report_only

    def execute(self, context: Context) -> dict[str, Any]:
        ti: Any = context["ti"]
        listed: Any = ti.xcom_pull(task_ids=self.find_task_id)
        before: Any = ti.xcom_pull(task_ids=self.find_task_id, key=ORPHANS_KEY)
        orphans = [Orphan.from_json(value) for value in listed or ()]
        troubles: dict[str, str] = dict((before or {}).get("troubles") or {})
        if self._is_dry(context):
            self._require_none(troubles)
            more = (
                "" if self._is_asked else " The next run drops what it finds, unless it is triggered with dry_run=true."
            )
            raise AirflowSkipException(
                f"Dry run: {len(orphans)} things would go; the log of task {self.find_task_id!r} has each with its reason.{more}"
            )
        done = drop_orphans(self.cleaning, orphans, holder=f"{ti.dag_id} {ti.run_id}")
        self.dropped = done.dropped
        troubles |= done.troubles
        kinds: dict[str, int] = {}
        for orphan in done.dropped:
            kinds[str(orphan.kind)] = kinds.get(str(orphan.kind), 0) + 1
        report: dict[str, Any] = {
            "dropped": len(done.dropped),
            "bytes": sum(orphan.bytes or 0 for orphan in done.dropped),
            "kinds": kinds,
            "things": [orphan.to_json() for orphan in done.dropped[:MOST_TOLD]],
            "spared": len(done.spared),
            "busy": done.busy,
            "troubles": troubles,
        }
        ti.xcom_push(key=ORPHANS_KEY, value=report)
        self.log.info(
            "Dropped %d things, %s bytes; %d spared.", len(done.dropped), f"{report['bytes']:,}", len(done.spared)
        )
        for name, why in done.busy.items():
            self.log.warning("What is of stream %r waits for the next clean-up: %s", name, why)
        self._require_none(troubles)
        tell_event(
            context, Event.GC_COMPLETED, **{name: report[name] for name in ("dropped", "bytes", "kinds", "spared")}
        )
        return report

    @property
    def _is_asked(self) -> bool:
        """Whether somebody has said if it is to be a dry run."""
        return str(self.report_only or "").strip().lower() not in ("", "none")

    def _is_dry(self, context: Context) -> bool:
        if self._is_asked:
            return is_true("dry_run", self.report_only)
        ti: Any = context["ti"]
        return not ti.get_dr_count(dag_id=ti.dag_id, states=["success"])

    def _require_none(self, troubles: Mapping[str, str]) -> None:
        if troubles:
            told = " ".join(f"{name}: {why}" for name, why in troubles.items())
            raise AirflowFailException(
                f"Not all could be cleaned up; what could is done. {len(troubles)} in trouble. {told}"[:4000]
            )
