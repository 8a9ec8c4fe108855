"""Streams to which something else is done than indexing, by runs of their Dags."""

from airflow.sdk import DAG
from streams_for_tests import QUICK, picky, stream

from airflow_reindex_provider import ReindexDag, ReindexTaskGroup

ReindexDag(stream("acted", transform=picky, target={"columns": {"length": "integer"}}), task_args=QUICK)

with DAG("reindex_pair", schedule=None):
    ReindexTaskGroup(stream("pair_a"), group_id="a")
    ReindexTaskGroup(stream("pair_b"), group_id="b")
