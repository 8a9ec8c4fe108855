"""Streams that are swept."""

from datetime import timedelta

from streams_for_tests import QUICK, stream

from airflow_reindex_provider import RebuildDag, ReindexDag, SweepDag

swept = stream("swept", batch_size=100)
ReindexDag(swept, task_args=QUICK)
SweepDag(swept, max_delete_fraction=0.1, task_args=QUICK)

emptied = stream("emptied")
ReindexDag(emptied, task_args=QUICK)
SweepDag(emptied, task_args=QUICK)

# Several that want one stream for themselves.
contended = stream("contended")
ReindexDag(contended, task_args=QUICK)
RebuildDag(contended, task_args=QUICK)
SweepDag(contended, task_args=QUICK, max_active_runs=2)
SweepDag(contended, dag_id="sweep_contended_patiently", schedule="@once", task_args=QUICK)
SweepDag(contended, dag_id="sweep_contended_briefly", schedule="@once", max_wait=timedelta(0), task_args=QUICK)
