"""What a source of rows must do with groups, whichever database it is of."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow_reindex_provider import Stream
from airflow_reindex_provider.core.groups import known_groups
from airflow_reindex_provider.core.protocols import Source
from airflow_reindex_provider.core.running.outcomes import GroupOutcomes
from airflow_reindex_provider.core.running.settling_groups import require_all
from airflow_reindex_provider.core.sweeping.records import Difference
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.groups import GroupRunner
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.sweeps import Sweeper

TENANTS = ("acme", "Acme", "acme ", "größe", "'; DROP TABLE items; -- %s :a \\")


def lives_of_groups(source: Source, database: Database, execute: Callable[[str, Sequence[Any]], object]) -> None:
    """Each value has an index of its own, by its bytes; a first load of one stores nothing of the others; rows move, leave, come
    back, and a sweep of one group finds what it lost, and nothing else.

    :param source: whose horizon is the clock. :param execute: a statement with ``?`` for its values, committed."""
    stream = Stream(
        name="items", source=source, target=PostgresTarget(database.conn_id, index="items_{group}", chunk_rows=3)
    )
    run = GroupRunner(stream=stream)

    def put(id: int, tenant: str | None, body: str) -> None:
        execute("DELETE FROM items WHERE id = ?", [id])
        execute(
            "INSERT INTO items (id, tenant, body, updated_at) VALUES (?, ?, ?, ?)",
            [id, tenant, body, f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"],
        )

    def run_all() -> GroupOutcomes:
        # A clock of thousandths has to pass the last stamp.
        now = time.time()
        while time.time() < now + 0.002:
            pass
        return run.run()

    def index(tenant: str) -> dict[int, str]:
        target = stream.of_group(tenant).target
        assert isinstance(target, PostgresTarget)
        with database.connect() as connection:
            return dict(connection.execute(f'SELECT id, body FROM "{target.index}"').fetchall())

    for number in range(4 * len(TENANTS)):
        put(number, TENANTS[number % len(TENANTS)], "new")
    put(100, None, "in none")
    outcome = run_all()
    require_all(outcome)
    assert outcome.plans.nulls == 1
    assert known_groups("items", run.store) == tuple(sorted(TENANTS))
    for place, tenant in enumerate(TENANTS):
        assert set(index(tenant)) == {place + n * len(TENANTS) for n in range(4)}, tenant
    with database.connect() as connection:
        stored = [
            connection.execute(f'SELECT count(*) FROM "{plan.generation}"').fetchone() for plan in outcome.plans.plans
        ]
    assert stored == [(4,)] * len(TENANTS)

    put(0, "Acme", "moved")
    put(1, None, "moved")
    put(2, "new one", "moved")
    require_all(run_all())
    assert (0 in index("acme"), index("Acme")[0]) == (False, "moved")
    assert 1 not in index("Acme")
    assert 2 not in index("acme ")
    assert index("new one") == {2: "moved"}
    assert run_all().counts.processed == 0

    # No run is told of either.
    execute("UPDATE items SET tenant = 'acme' WHERE id = 6", [])
    execute("DELETE FROM items WHERE id = 11", [])
    found, _ = Sweeper(run=run.of_group("Acme"), max_delete_fraction=0.5).sweep()
    assert (found.differences, found.count(Difference.ORPHANED)) == (2, 2)
    assert set(index("Acme")) == {0, 16}
    found, _ = Sweeper(run=run.of_group("größe")).sweep()
    assert (found.differences, found.indexed, found.listed) == (0, 4, 4)
