"""Waits until a stream's source has changes that are safe to read."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, conf

from airflow_reindex_provider.control.places import reads_from
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.core.windows import incremental_window
from airflow_reindex_provider.operators.base import DEFAULT_RETRIES, RETRY_POLICY
from airflow_reindex_provider.operators.lineage import WithLineage
from airflow_reindex_provider.triggers.changes import ChangesTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_reindex_provider.stream import Stream


class ChangesSensor(WithLineage, BaseSensorOperator):
    """Succeeds once a row lies between the stream's checkpoint and the source's horizon.

    Each look is one cheap query for the horizon and one for a row. A late transaction holds the horizon back, and with it
    the changes since it began.

    :param stream: whose changes to wait for.
    :param deferrable: wait in the triggerer instead of in a worker; default ``[operators] default_deferrable``.
    :param poke_interval: seconds, or a timedelta, between two looks; default one minute, as with every sensor.
    """

    reads_source = True

    def __init__(self, *, stream: Stream, deferrable: bool | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("retries", DEFAULT_RETRIES)
        kwargs.setdefault("retry_policy", RETRY_POLICY)
        kwargs["inlets"] = [*(kwargs.get("inlets") or []), *stream.checkpoint_assets]
        super().__init__(**kwargs)
        self.stream = stream
        if deferrable is None:
            deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        self.deferrable = deferrable

    def poke(self, context: Context) -> bool:
        with self.stream.source.open() as source:
            start, where = reads_from(self.stream, source)
            survey = source.survey()
            window = incremental_window(survey, start, initial_value=self.stream.first_cursor, where=where)
            found = window is not None and source.has_changes(window)
        held_by = survey.horizon.held_by
        what = f"no changes below the horizon {survey.horizon.cursor}" + (
            f", held back by {held_by}" if held_by else ""
        )
        self.log.info("Stream %r: %s.", self.stream.name, "there are changes" if found else what)
        return found

    def execute(self, context: Context) -> Any:
        if not self.deferrable:
            return super().execute(context)
        if not self.poke(context):
            self._wait(context)
        return None

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> None:
        """Looks again: another run may have indexed meanwhile what the trigger saw."""
        if event and event["status"] == "error":
            raise ConfigurationError(event["message"])
        if not self.poke(context):
            self._wait(context)

    def _wait(self, context: Context) -> None:
        # The time of the first start is kept while a task is deferred, so waiting again does not begin the timeout anew.
        waited = utc_now() - context["ti"].start_date
        source = self.stream.source
        with source.open() as session:
            start, where = reads_from(self.stream, session)
        self.defer(
            trigger=ChangesTrigger(
                source_class=f"{type(source).__module__}.{type(source).__qualname__}",
                source=source.serialize(),
                start=start.to_json() if start else None,
                initial_value=self.stream.first_cursor,
                where=where,
                poll_interval_s=self.poke_interval,
            ),
            method_name="execute_complete",
            timeout=max(timedelta(seconds=self.timeout) - waited, timedelta(0)),
        )
