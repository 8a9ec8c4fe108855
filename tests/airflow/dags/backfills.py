"""Streams whose runs stand for a given window. Their schedules end in the past, so that nothing runs by itself."""

import pendulum
from airflow.sdk import DAG
from streams_for_tests import QUICK, braked, stream

from airflow_reindex_provider import ReindexDag, ReindexTaskGroup

PAST = {"start_date": pendulum.datetime(2026, 1, 1, tz="UTC"), "end_date": pendulum.datetime(2026, 4, 1, tz="UTC")}

ReindexDag(stream("week"), schedule="@daily", **PAST)
ReindexDag(stream("race", transform=braked("race")), schedule="@daily", **PAST)
ReindexDag(stream("given_twice"), schedule="@daily", **PAST)
ReindexDag(stream("windows"), task_args=QUICK, max_active_runs=4)

with DAG("reindex_plain_cron", schedule="@daily", catchup=False, **PAST):
    ReindexTaskGroup(stream("plain_cron"), task_args=QUICK)
