"""Streams of which tests look at what is told of them: metrics, traces and lineage."""

import os
from pathlib import Path

from airflow.providers.openlineage.utils.selective_enable import enable_lineage
from airflow.sdk.exceptions import AirflowTaskTimeout
from streams_for_tests import QUICK, picky, stream

from airflow_reindex_provider import ReindexDag, SweepDag


def trips(row):
    """Where there is a file for it, the task fails once at the row titled `trip`, in the middle of its batch; one titled `bad`
    makes no document."""
    brake = Path(os.environ["REINDEX_TEST_BRAKES"]) / "tripped"
    if row["title"] == "trip" and brake.exists():
        brake.unlink()
        # Nothing that a document could be parked for.
        raise AirflowTaskTimeout("tripped")
    return picky(row)


enable_lineage(ReindexDag(stream("unchanged")))

tripped = stream("tripped", chunk_rows=10, transform=trips, target={"columns": {"length": "integer"}})
enable_lineage(ReindexDag(tripped, task_args=QUICK))
enable_lineage(SweepDag(tripped, max_delete_fraction=0.2, task_args=QUICK))
