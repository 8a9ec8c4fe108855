"""What to do where another run holds the stream's lease: wait for it without a worker, leave it be, or tell a person."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from airflow_reindex_provider.core.errors import StreamBusyError
from airflow_reindex_provider.core.leases import DEFAULT_LEASE, Keeper, current
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.core.published import BUSY_KEY
from airflow_reindex_provider.operators.base import is_true
from airflow_reindex_provider.operators.groups import OfGroupOperator
from airflow_reindex_provider.triggers.pause import PauseTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

DEFAULT_MAX_WAIT = timedelta(hours=6)
_UNATTENDED = ("scheduled", "asset_triggered", "backfill")
_FIRST_LOOK = timedelta(seconds=5)
_SLOWEST_LOOK = timedelta(minutes=5)
_APART = 0.2


class LeasingOperator(OfGroupOperator):
    """The first task of a run that wants a stream, or a group of it, for itself.

    Where another run holds the lease, a run that nobody has started waits for it, deferred, and looks again: after five
    seconds at first, every five minutes at last, and each run up to a fifth later, by its own name: of two that began to wait
    together, both would find the lease free in one moment, and not every store tells them apart then. After ``max_wait`` it
    ends as skipped, and what comes after it likewise. A run that a person has started fails at once and says who it is, unless
    ``wait`` is true.

    :param wait: whether a person's run waits as well, and fails after ``max_wait``. A template.
    :param max_wait: how long. :param lease: how long a run that died keeps others out.
    """

    template_fields: Sequence[str] = ("group", "wait")

    def __init__(
        self,
        *,
        wait: bool | str = False,
        max_wait: timedelta = DEFAULT_MAX_WAIT,
        lease: timedelta = DEFAULT_LEASE,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wait = wait
        self.max_wait = max_wait
        self.lease = lease

    def execute_again(self, context: Context, event: Any = None) -> Any:
        return self.execute(context)

    def take(self, keeper: Keeper, context: Context) -> None:
        """Hold the lease from now on, or do not come back: see the class."""
        try:
            keeper.keep()
        except StreamBusyError as busy:
            self._wait(StreamBusyError(f"{busy}{self._if_over(context)}"), context)

    def _if_over(self, context: Context) -> str:
        """What Airflow knows of the run that holds the lease, where that helps whoever reads it."""
        held = current(self.own.checkpoint, self.own.name)
        dag_id, _, run_id = held.holder.partition(" ") if held else ("", "", "")
        ti: Any = context["ti"]
        try:
            goes_on = ti.get_dr_count(dag_id=dag_id, run_ids=[run_id], states=["queued", "running"])
        except Exception as error:
            self.log.debug("Airflow does not say whether run %s of %s goes on: %s", run_id, dag_id, error)
            return ""
        return "" if goes_on else " That run is over and has not given its lease back, so it may be deleted."

    def _wait(self, busy: StreamBusyError, context: Context) -> None:
        run: Any = context["dag_run"]
        ti: Any = context["ti"]
        unattended = str(getattr(run.run_type, "value", run.run_type)) in _UNATTENDED
        # The time of the first start is kept while a task is deferred.
        now, began = utc_now(), ti.start_date
        waited, left = now - began, began + self.max_wait - now
        if not unattended and not is_true("wait", self.wait):
            raise StreamBusyError(
                f"{busy} Or trigger this one again with wait=true: it waits up to {self.max_wait}, without a worker."
            ) from busy
        if left > timedelta(0):
            pause = min(max(waited / 4, _FIRST_LOOK), _SLOWEST_LOOK)
            until = now + min(pause * (1 + _APART * _place(f"{ti.dag_id} {ti.run_id}")), left)
            self.log.warning("%s This run waits, for %s at the most, and looks again at %s.", busy, left, until)
            self.defer(trigger=PauseTrigger(until=until.isoformat(), reason=str(busy)), method_name="execute_again")
        said = f"{busy} Waited for {self.max_wait}."
        if not unattended:
            raise StreamBusyError(said) from busy
        ti.xcom_push(key=BUSY_KEY, value=said)
        raise AirflowSkipException(said) from busy


def _place(run: str) -> float:
    """From 0 to 1, the same for a run whenever it is asked."""
    return zlib.crc32(run.encode()) / 0xFFFFFFFF


def skip_if_busy(why: str | None) -> None:
    """End a later task as skipped, where the first one has not got the lease: what has not begun cannot be gone on with.

    :param why: its XCom ``BUSY_KEY``."""
    if why:
        raise AirflowSkipException(why)
