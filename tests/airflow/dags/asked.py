"""Streams that are steered by REST."""

from streams_for_tests import QUICK, braked, stream

from airflow_reindex_provider import RebuildDag, ReindexDag

asked = stream("asked", batch_size=100, chunk_rows=10, transform=braked("asked"))
ReindexDag(asked, task_args=QUICK)
RebuildDag(asked, task_args=QUICK)

ReindexDag(stream("struck", transform=braked("struck")), task_args={**QUICK, "retries": 0})

ReindexDag(stream("called_off", batch_size=400, chunk_rows=10, transform=braked("called_off")), task_args=QUICK)
