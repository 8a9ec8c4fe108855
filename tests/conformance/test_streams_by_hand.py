"""What is done to a stream outside of its runs: renamed, moved to another store, removed. Nothing is read again for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import airflow_task
import pytest
from airflow_task import InTask

from airflow_reindex_provider import accept_changes, move_checkpoint, remove_stream, rename_stream
from airflow_reindex_provider.checkpoints.asset import AssetCheckpoint
from airflow_reindex_provider.checkpoints.table import TableCheckpoint
from airflow_reindex_provider.checkpoints.variable import VariableCheckpoint
from airflow_reindex_provider.core.errors import ConfigurationError, StreamBusyError
from airflow_reindex_provider.core.leases import acquire
from airflow_reindex_provider.core.model import Checkpoint, Parked
from airflow_reindex_provider.core.remembered import STREAM
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.elasticsearch import ElasticsearchTarget
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.groups import GroupRunner
from airflow_reindex_provider.testing.memory import MemoryCheckpoint, MemorySource, MemoryTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner

PARKED = Parked(("7",), "no", 1, "2026-01-01T00:00:00+00:00", "2036-01-01T00:00:00+00:00")


STORES = ["memory", "table", "variable", "asset"]


@pytest.fixture
def make_store(request: pytest.FixtureRequest, database: Database) -> Callable[[str], Any]:
    def make(kind: str) -> Any:
        if kind == "memory":
            return MemoryCheckpoint()
        if kind == "table":
            return TableCheckpoint(database.conn_id)
        task = request.getfixturevalue("task")
        task.run(airflow_task.delete_variables if kind == "variable" else airflow_task.clear_state)
        return InTask(VariableCheckpoint() if kind == "variable" else AssetCheckpoint(airflow_task.ASSET), task)

    return make


def stream_on_postgres(database: Database, store: Any, **options: Any) -> Stream:
    with database.connect() as db:
        db.execute(
            "CREATE TABLE items (id int PRIMARY KEY, tenant text DEFAULT 'a', v timestamptz DEFAULT now() - interval '1 h')"
        )
        db.execute("INSERT INTO items (id) SELECT n FROM generate_series(1, 8) n")
    return Stream(
        name="products",
        source=PostgresSource(database.conn_id, table="items", primary_key="id", cursor_field="v", **options),
        target=PostgresTarget(database.conn_id, index="items_{group}" if "group_by" in options else "items_index"),
        checkpoint=store,
    )


def stream_in_memory(store: Any) -> Stream:
    source = MemorySource(now_us=10)
    with source.transaction() as transaction:
        for n in range(8):
            transaction.put({"id": str(n), "title": "x"})
    source.now_us += 1
    return Stream(name="products", source=source, target=MemoryTarget(), checkpoint=store)


def runner(stream: Stream) -> Runner:
    return Runner(source=stream.source, target=stream.target, stream=stream.name, store=stream.checkpoint)


def loaded(stream: Stream) -> Stream:
    """With two generations and a parked document."""
    run = runner(stream)
    run.run()
    generation = Rebuilder(run=run).rebuild("20270101t000000")
    stored = stream.checkpoint.load(stream.name, generation)
    stream.checkpoint.save(replace(stored, parked=(PARKED,)))
    run.plan()
    return stream


def require_nothing_lost(stream: Stream) -> None:
    """A run goes on where it was: nothing is read again, nothing is said, and what is parked is known."""
    plan = runner(stream).plan()
    assert plan.rows == 0
    assert not [w for w in plan.warnings if "products" in w]
    assert stream.checkpoint.load(stream.name, plan.generation).parked == (PARKED,)


def everything(stream: Stream, name: str, store: Any) -> list[Checkpoint]:
    with stream.target.open(stream.name) as session:
        generations = [g.name for g in session.generations()]
    return [found for g in (*generations, STREAM, "lease") if (found := store.load(name, g)).version]


@pytest.mark.parametrize("kind", STORES)
def test_a_renamed_stream_goes_on_where_it_was(kind: str, database: Database, make_store: Callable[[str], Any]) -> None:
    """Index, generations kept for a rollback, checkpoints and parked documents; nothing is left under the old name. Asked
    first, it only says what it would do; done again, it finds nothing to do."""
    stream = loaded(stream_on_postgres(database, make_store(kind)))
    before = everything(stream, "products", stream.checkpoint)
    asked = rename_stream(stream, "goods")
    assert everything(stream, "products", stream.checkpoint) == before

    done = rename_stream(stream, "goods", dry_run=False)

    assert asked == done
    assert len(done) == 5
    renamed = replace(stream, name="goods")
    assert everything(renamed, "products", stream.checkpoint) == []
    require_nothing_lost(renamed)
    with renamed.target.open("goods") as session:
        assert [(g.live, g.served) for g in session.generations()] == [(False, True), (True, True)]
    rename_stream(stream, "goods", dry_run=False)
    require_nothing_lost(renamed)
    Rebuilder(run=runner(renamed)).rollback()


@pytest.mark.parametrize(("kind", "other"), [(a, b) for a in STORES for b in STORES if a != b and "memory" in (a, b)])
def test_moved_checkpoints_go_on_where_they_were(
    kind: str, other: str, database: Database, make_store: Callable[[str], Any]
) -> None:
    """From any store to any other: nothing is read again, parked documents are known, and the old store is empty."""
    store, to = make_store(kind), make_store(other)
    stream = loaded(stream_on_postgres(database, store))
    before = everything(stream, "products", store)
    move_checkpoint(stream, to)
    assert everything(stream, "products", store) == before
    assert everything(stream, "products", to) == []

    done = move_checkpoint(stream, to, dry_run=False)

    assert len(done) == 3
    moved = replace(stream, checkpoint=to)
    assert everything(stream, "products", store) == []
    require_nothing_lost(moved)


def test_a_move_that_broke_off_is_ended(database: Database) -> None:
    """What is there already is the same, so it is taken as it is."""
    stream = loaded(stream_in_memory(MemoryCheckpoint()))
    to = Breaking()
    with pytest.raises(ZeroDivisionError):
        move_checkpoint(stream, to, dry_run=False)
    assert len(everything(stream, "products", stream.checkpoint)) == 3

    move_checkpoint(stream, to, dry_run=False)

    require_nothing_lost(replace(stream, checkpoint=to))


class Breaking(MemoryCheckpoint):
    """Fails at its second save, once."""

    saves = 0

    def save(self, checkpoint: Checkpoint) -> Checkpoint:
        self.saves += 1
        if self.saves == 2:
            raise ZeroDivisionError
        return super().save(checkpoint)


def test_what_is_there_already_is_not_overwritten() -> None:
    """A stream or a store that has been in use meanwhile keeps what it has."""
    stream = loaded(stream_in_memory(MemoryCheckpoint()))
    generation = runner(stream).plan().generation
    to = MemoryCheckpoint()
    other = to.save(Checkpoint("products", generation))
    for what in (move_checkpoint(stream, MemoryCheckpoint()), rename_stream(stream, "goods")):
        assert what
    with pytest.raises(ConfigurationError, match="something else already"):
        move_checkpoint(stream, to, dry_run=False)
    assert to.load("products", generation) == other
    stream.checkpoint.save(Checkpoint("goods", generation))
    with pytest.raises(ConfigurationError, match="something else already"):
        rename_stream(stream, "goods", dry_run=False)
    require_nothing_lost(stream)


@pytest.mark.parametrize("kind", STORES)
def test_a_removed_stream_leaves_nothing(kind: str, database: Database, make_store: Callable[[str], Any]) -> None:
    """The public name, every generation and all that is kept; first it says what. Done again, it finds nothing."""
    store = make_store(kind)
    stream = loaded(stream_on_postgres(database, store, tombstones=False))
    with database.connect() as db:
        db.execute("CREATE TABLE items_index_of_mine (id int)")
        asked = remove_stream(stream)
        assert db.execute("SELECT count(*) FROM items_index").fetchone() == (8,)

        assert remove_stream(stream, dry_run=False) == asked

        left = db.execute("SELECT relname FROM pg_class WHERE relname LIKE 'items_index%'").fetchall()
        assert left == [("items_index_of_mine",)]
    assert len(asked) == 5
    assert everything(stream, "products", store) == []
    assert remove_stream(stream, dry_run=False) == []
    assert runner(stream).run().counts.created == 8


def test_a_view_on_the_index_is_named_before_anything_is_removed(database: Database) -> None:
    """What people have made on top of it stays, and so does all the rest."""
    stream = loaded(stream_on_postgres(database, MemoryCheckpoint()))
    with database.connect() as db:
        db.execute("CREATE VIEW report AS SELECT count(*) FROM items_index")
    with pytest.raises(ConfigurationError, match="report"):
        remove_stream(stream, dry_run=False)
    require_nothing_lost(stream)


def test_nothing_is_done_while_another_run_holds_the_stream() -> None:
    """A rebuild would go on with what is no longer its own."""
    stream = loaded(stream_in_memory(MemoryCheckpoint()))
    acquire(
        stream.checkpoint,
        "products",
        holder="rebuild 1",
        purpose="rebuild",
        now=datetime.now(UTC),
        ttl=timedelta(hours=1),
    )
    for what in (
        lambda: rename_stream(stream, "goods", dry_run=False),
        lambda: move_checkpoint(stream, MemoryCheckpoint(), dry_run=False),
        lambda: remove_stream(stream, dry_run=False),
    ):
        with pytest.raises(StreamBusyError, match="rebuild 1"):
            what()
    require_nothing_lost(stream)


def test_a_stream_with_groups(database: Database) -> None:
    """Each group's index and checkpoint, and the list of groups."""
    store = MemoryCheckpoint()
    stream = stream_on_postgres(database, store, group_by="tenant")
    with database.connect() as db:
        db.execute("UPDATE items SET tenant = 'b' WHERE id > 5")
    GroupRunner(stream=stream, store=store).run()

    rename_stream(stream, "goods", dry_run=False)
    renamed = replace(stream, name="goods")
    assert all(name.startswith("goods") for name, _ in store.texts)
    assert GroupRunner(stream=renamed, store=store).plan().rows == 0

    to = MemoryCheckpoint()
    move_checkpoint(renamed, to, dry_run=False)
    assert store.texts == {}
    moved = replace(renamed, checkpoint=to)
    assert GroupRunner(stream=moved, store=to).plan().rows == 0

    accept_changes(moved)
    assert [name for name in to.texts if name[1] == STREAM] == []
    remove_stream(moved, dry_run=False)
    assert to.texts == {}
    with database.connect() as db:
        assert db.execute(
            "SELECT count(*) FROM pg_class WHERE relname LIKE 'items!_%' ESCAPE '!' AND relkind IN ('r', 'v')"
        ).fetchone() == (0,)


def test_a_group_whose_index_would_change_its_name_is_refused(database: Database) -> None:
    """The stream's name leaves room for those of its groups."""
    store = MemoryCheckpoint()
    stream = stream_on_postgres(database, store, group_by="tenant")
    with database.connect() as db:
        db.execute("UPDATE items SET tenant = repeat('a', 25)")
    GroupRunner(stream=stream, store=store).run()
    with pytest.raises(ConfigurationError, match="shorter name"):
        rename_stream(stream, "x" * 80, dry_run=False)


def test_tombstones_are_listed_and_left(database: Database) -> None:
    """Other streams may read them."""
    stream = stream_on_postgres(database, MemoryCheckpoint(), tombstones=True)
    stream.source.install_tombstones()  # type: ignore[attr-defined]
    runner(stream).run()
    assert "remove_tombstones()" in remove_stream(stream, dry_run=False)[-1]
    with database.connect() as db:
        assert db.execute("SELECT count(*) FROM items_tombstones").fetchone() == (0,)


@pytest.mark.parametrize("engine", ["opensearch", "elasticsearch"])
def test_in_a_search_engine(engine: str, database: Database, request: pytest.FixtureRequest) -> None:
    """The same: an index is handed over with its alias, and removed with it."""
    request.getfixturevalue(engine)
    made = OpenSearchTarget if engine == "opensearch" else ElasticsearchTarget
    stream = replace(
        stream_on_postgres(database, MemoryCheckpoint()),
        target=made(engine, index=f"by-hand-{database.name.replace('_', '-')}"),
    )
    loaded(stream)
    rename_stream(stream, "goods", dry_run=False)
    renamed = replace(stream, name="goods")
    require_nothing_lost(renamed)
    remove_stream(renamed, dry_run=False)
    with renamed.target.open("goods") as session:
        assert list(session.generations()) == []
