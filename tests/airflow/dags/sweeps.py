"""Streams that are swept."""

from streams_for_tests import QUICK, stream

from airflow_reindex_provider import ReindexDag, SweepDag

swept = stream("swept", batch_size=100)
ReindexDag(swept, task_args=QUICK)
SweepDag(swept, max_delete_fraction=0.1, task_args=QUICK)

emptied = stream("emptied")
ReindexDag(emptied, task_args=QUICK)
SweepDag(emptied, task_args=QUICK)
