"""What a task notes for its own next try, in Airflow's task state store: it outlives tries and clears, and belongs to the run."""

from __future__ import annotations

from datetime import timedelta

KEEP_JOBS = timedelta(hours=24)
"""So long after it was written for the last time a note is of use: it is given to Airflow with each. Whoever clears a task later
than that begins it anew, which costs time alone. Airflow's own default keeps a row of every run for a month."""
