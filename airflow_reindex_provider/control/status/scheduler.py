"""Whether Airflow's scheduler is there: without one nothing that is asked for happens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from airflow.jobs.job import most_recent_job

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class SchedulerStatus:
    """:ivar last_heartbeat_at: of the one that was heard last; None where there never was one."""

    alive: bool
    last_heartbeat_at: datetime | None

    @property
    def says(self) -> str:
        """Of one that is not there."""
        at = self.last_heartbeat_at
        heard = "none was ever heard" if at is None else f"the last was heard at {at:%Y-%m-%d %H:%M:%S} UTC"
        return f"Nothing moves: no scheduler of Airflow is alive ({heard}). Start `airflow scheduler`."


def scheduler_status(session: Session) -> SchedulerStatus:
    """As Airflow's own health page has it. One statement."""
    job = most_recent_job("SchedulerJob", session=session)
    return SchedulerStatus(job is not None and job.is_alive(), job.latest_heartbeat if job else None)
