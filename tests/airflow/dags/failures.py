"""Streams that tests break, and see go on."""

from streams_for_tests import QUICK, braked, stream

from airflow_reindex_provider import ReindexDag


def picky(row):
    """Some titles make no document: one fails in here, one is refused by the index."""
    if row["title"] == "bad":
        raise ValueError("a bad title")
    return row | {"length": "not a number" if row["title"] == "wordy" else len(row["title"])}


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
