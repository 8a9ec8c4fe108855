"""Streams of which tests look at what is told of them: metrics and lineage."""

import os
from pathlib import Path

from airflow.providers.openlineage.utils.selective_enable import enable_lineage
from airflow.sdk.exceptions import AirflowTaskTimeout
from streams_for_tests import QUICK, stream

from airflow_reindex_provider import ReindexDag


def trips(row):
    """Where there is a file for it, the task fails once at the row titled `trip`, in the middle of its batch."""
    brake = Path(os.environ["REINDEX_TEST_BRAKES"]) / "tripped"
    if row["title"] == "trip" and brake.exists():
        brake.unlink()
        # Nothing that a document could be parked for.
        raise AirflowTaskTimeout("tripped")
    return row


enable_lineage(ReindexDag(stream("unchanged")))
enable_lineage(ReindexDag(stream("tripped", chunk_rows=10, transform=trips), task_args=QUICK))
