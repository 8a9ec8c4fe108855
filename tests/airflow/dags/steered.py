"""Streams that are seen and steered from outside."""

from streams_for_tests import QUICK, braked, picky, stream

from airflow_reindex_provider import RebuildDag, ReindexDag, SweepDag


def typed_transform(row, slow=braked("typed")):
    """A title that is `bad` makes no document."""
    if row["title"] == "bad":
        raise ValueError("a bad title")
    return slow(row)


typed = stream("typed", batch_size=100, chunk_rows=10, transform=typed_transform)
ReindexDag(typed, task_args=QUICK)
RebuildDag(typed, task_args=QUICK)
SweepDag(typed, task_args=QUICK)

ReindexDag(stream("fresh", conn_id="held_db"), task_args=QUICK)

agreed = stream("agreed", transform=picky, target={"columns": {"length": "integer"}})
ReindexDag(agreed, task_args=QUICK)
RebuildDag(agreed, task_args=QUICK)
SweepDag(agreed, task_args=QUICK)
