"""Streams that tests break, and see go on."""

from streams_for_tests import QUICK, braked, picky, stream

from airflow_reindex_provider import ReindexDag

BATCHES = {"batch_size": 100, "chunk_rows": 10}

ReindexDag(stream("killed", **BATCHES, transform=braked("killed")), task_args=QUICK)
ReindexDag(stream("given_up", **BATCHES, transform=braked("given_up")), task_args={"retries": 0})
ReindexDag(stream("stopped", **BATCHES, transform=braked("stopped")), task_args=QUICK)
ReindexDag(stream("run_stopped", **BATCHES, transform=braked("run_stopped")), task_args=QUICK)
ReindexDag(stream("cut_off", **BATCHES), task_args=QUICK)
ReindexDag(stream("gap", **BATCHES, transform=picky, max_failures=2, target={"columns": {"length": "integer"}}))
ReindexDag(stream("no_table", table="public.no_such_table"), task_args=QUICK)
ReindexDag(stream("mended", conn_id="mended_db"), task_args=QUICK)
ReindexDag(stream("parked", transform=picky, target={"columns": {"length": "integer"}}), task_args=QUICK)
ReindexDag(stream("garbage"), task_args=QUICK)
ReindexDag(stream("told"), task_args=QUICK)
