"""Streams that run one after another window."""

from datetime import timedelta

from airflow.sdk import DAG, Asset
from streams_for_tests import QUICK, braked, stream

from airflow_reindex_provider import AssetCheckpoint, ChangesSensor, ReindexDag, ReindexTaskGroup

ReindexDag(stream("late", conn_id="late_db"))
ReindexDag(stream("hourly"), schedule="@hourly")
ReindexDag(stream("delta"), schedule=timedelta(hours=1))
ReindexDag(stream("narrow", batch_size=10, transform=braked("narrow")), max_active_batches=2)
ReindexDag(stream("in_asset", checkpoint=AssetCheckpoint(Asset("tests.in_asset"))))
ReindexDag(stream("kept"))
ReindexDag(stream("paced", chunk_rows=10, transform=braked("paced")), task_args=QUICK)

with DAG("reindex_poked", schedule=None):
    poked = stream("poked")
    sensor = ChangesSensor(task_id="changes", stream=poked, deferrable=False, poke_interval=1, timeout=300)
    group = ReindexTaskGroup(poked)
    sensor >> group
