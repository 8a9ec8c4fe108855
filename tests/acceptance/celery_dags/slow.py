"""Streams whose rows take their time, so that a worker is surely killed in the middle of a batch."""

import os
import time
from datetime import timedelta
from pathlib import Path

from airflow_reindex_provider import OpenSearchTarget, PostgresSource, PostgresTarget, ReindexDag, Stream

BRAKE = Path(os.environ["REINDEX_TEST_BRAKE"])


def slowly(row):
    """A row takes a fifth of a second as long as there is the brake."""
    print(f"row {row['id']}.")
    if BRAKE.exists():
        time.sleep(0.2)
    return row


TARGETS = {
    "slow_postgres": PostgresTarget("search_db", index="public.slow_postgres", chunk_rows=10),
    "slow_opensearch": OpenSearchTarget("opensearch", index="slow_opensearch", chunk_rows=10),
}

for name, target in TARGETS.items():
    stream = Stream(
        name=name,
        source=PostgresSource(
            "slow_db", table=f"public.{name}", primary_key="id", cursor_field="updated_at", margin=timedelta(0)
        ),
        target=target,
        batch_size=100,
        transform=slowly,
    )
    ReindexDag(stream, task_args={"retry_delay": timedelta(seconds=1)})
