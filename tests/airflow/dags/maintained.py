"""Streams that are cleaned up."""

from streams_for_tests import QUICK, stream

from airflow_reindex_provider import MaintenanceDag, RebuildDag, ReindexDag

littered = stream("littered")
ReindexDag(littered, task_args=QUICK)
RebuildDag(littered, task_args=QUICK)
MaintenanceDag([littered], dag_id="maintain_littered", retain=0, task_args=QUICK)
