"""Streams with groups: an index for each tenant."""

from dataclasses import replace

from streams_for_tests import QUICK, stream

from airflow_reindex_provider import RebuildDag, ReindexDag, SweepDag

plain = stream("tenants", batch_size=40)
tenants = replace(
    plain,
    source=replace(plain.source, group_by="tenant"),
    target=replace(plain.target, index="public.tenants_{group}"),
)
ReindexDag(tenants, task_args=QUICK)
RebuildDag(tenants, task_args=QUICK)
SweepDag(tenants, task_args=QUICK)
