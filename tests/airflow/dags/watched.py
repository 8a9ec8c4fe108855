"""A stream whose runs start when there is something to do."""

from datetime import timedelta

from streams_for_tests import QUICK, stream

from airflow_reindex_provider import ReindexDag, changes_of

watched = stream("watched")
ReindexDag(
    watched,
    schedule=changes_of(watched, poll_interval=timedelta(seconds=0.5), at_most_every=timedelta(seconds=1)),
    task_args=QUICK,
)
