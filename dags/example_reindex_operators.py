"""The parts by hand: wait for changes, plan, index in mapped tasks, move a checkpoint that is kept in a table."""

from __future__ import annotations

import pendulum
from airflow.sdk import DAG, CronDataIntervalTimetable

from airflow_reindex_provider import (
    ChangesSensor,
    CheckpointOperator,
    ExtractChangesOperator,
    IndexBatchOperator,
    PostgresSource,
    PostgresTarget,
    Stream,
    TableCheckpoint,
)

orders = Stream(
    name="orders",
    source=PostgresSource(
        "shop_db",
        table="public.order_lines",
        primary_key=("order_id", "line"),
        cursor_field="updated_at",
    ),
    target=PostgresTarget("search_db", index="public.order_lines_index"),
    checkpoint=TableCheckpoint("search_db"),
    batch_size=10_000,
)

with DAG(
    dag_id="example_reindex_operators",
    # A plain cron string gives runs without a data interval, which a backfill could not fill.
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3},
    tags=["reindex"],
):
    changes = ChangesSensor(task_id="changes", stream=orders, deferrable=True, poke_interval=10, timeout=3600)
    extract = ExtractChangesOperator(task_id="extract", stream=orders)
    index = IndexBatchOperator.partial(
        task_id="index",
        stream=orders,
        max_active_tis_per_dagrun=4,
        map_index_template="{{ batch_label }}",
    ).expand(batch=extract.output)
    checkpoint = CheckpointOperator(
        task_id="checkpoint", stream=orders, extract_task_id="extract", index_task_id="index"
    )
    changes >> extract
    index >> checkpoint
