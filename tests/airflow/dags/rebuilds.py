"""Streams that are rebuilt."""

from streams_for_tests import QUICK, braked, stream

from airflow_reindex_provider import RebuildDag, ReindexDag

rebuilt = stream("rebuilt", batch_size=100)
ReindexDag(rebuilt, task_args=QUICK)
RebuildDag(rebuilt, task_args=QUICK)

shrunk = stream("shrunk")
ReindexDag(shrunk, task_args=QUICK)
RebuildDag(shrunk, task_args=QUICK)

retired = stream("retired", transform=braked("retired"))
ReindexDag(retired, task_args=QUICK)
RebuildDag(retired, retain=0, task_args=QUICK)
