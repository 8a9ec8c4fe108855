"""Clean-up on real systems: planted orphans of every kind go, and what looks like them and is needed, or is not ours, stays. All
of them together: test_cleaning_storm."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from littered import ENGINES, HOLDER, SEARCH_ENGINES, World, make_world

from airflow_reindex_provider.control.cleaning import drop_orphans, find_orphans
from airflow_reindex_provider.core.cleaning.records import Orphan, OrphanKind, Rules
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.groups import GROUPS
from airflow_reindex_provider.core.leases import LEASE, acquire, current
from airflow_reindex_provider.core.protocols import OwnedTarget
from airflow_reindex_provider.core.remembered import STREAM
from airflow_reindex_provider.targets.weaviate import WeaviateTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner

everywhere = pytest.mark.parametrize(
    "world", ["postgres", *ENGINES, pytest.param("weaviate", marks=pytest.mark.versions)], indirect=True
)
"""What a target itself has a part in. All else is judged by what target, source and checkpoints say, whichever that is: it is
asked in Postgres, where a world is soon made, and storms plant it elsewhere too."""


@pytest.fixture
def world(request: pytest.FixtureRequest, database: Database) -> Iterator[World]:
    yield from make_world(request, database)


def kinds(found: list[Orphan]) -> list[OrphanKind]:
    return [o.kind for o in found]


def test_a_stream_that_is_well_has_no_orphans(world: World) -> None:
    """Its live generation, the one that a rollback would bring back, their checkpoints and what is remembered all stay."""
    found = world.find()
    assert found.orphans == []
    assert not found.troubles


@everywhere
def test_a_generation_that_a_rebuild_has_left_goes_with_its_checkpoint(world: World) -> None:
    """Half-made or loaded; it is listed with its size. One of today stays, since whoever looks into the failure may go on."""
    left, loaded = world.make(datetime(2026, 3, 1, tzinfo=UTC)), world.make(datetime(2026, 3, 2, tzinfo=UTC))
    world.keep(loaded)
    young = world.make(datetime.now(UTC))
    before = world.generations()

    found = world.find().orphans
    assert [(o.kind, o.name) for o in found] == [(OrphanKind.GENERATION, left), (OrphanKind.GENERATION, loaded)]
    assert all("rebuild" in o.reason for o in found)
    # Weaviate alone does not say how large a collection is.
    assert all((o.bytes is None) == isinstance(world.stream.target, WeaviateTarget) for o in found)
    assert world.generations() == before
    world.clean()

    assert world.generations() == [g for g in before if g not in (left, loaded)]
    assert young in world.generations()
    assert not world.kept(loaded)
    world.run()


@everywhere
def test_a_first_load_is_never_an_orphan(world: World) -> None:
    """While nothing is live, whatever is there may be a load that takes days."""
    first = replace(world.stream, name=world.old.name, target=world.old.target)
    with first.target.open(first.name) as target, first.source.open() as source:
        target.create_first(first.target.generation_name("20260101t000000"), source.schema())
    assert world.find(streams=[world.stream, first]).orphans == []


def test_served_generations_go_past_those_that_are_kept(world: World) -> None:
    """By default none does: a RebuildDag may keep more for its rollbacks than a clean-up knows of."""
    keep_all = Rebuilder(run=world.runner, retain=9)
    keep_all.rebuild("20260602t000000")
    keep_all.rebuild("20260603t000000")
    world.run()
    before = world.generations()
    assert world.find(rules=Rules()).orphans == []

    assert {o.name for o in world.clean()} == set(before[:-2])

    assert world.generations() == before[-2:]
    keep_all.rollback()


def test_a_checkpoint_goes_once_its_generation_has(world: World) -> None:
    """One that was saved today stays, and one that a person has written."""
    index = world.stream.target.generation_name("")
    gone, young, by_hand = f"{index}20250101t000000", f"{index}20250102t000000", f"{index}20250103t000000"
    world.keep(gone)
    world.keep(young, saved_at=datetime.now(UTC).isoformat())
    with world.database.connect() as db:
        db.execute(
            "INSERT INTO reindex_checkpoint (stream, generation, cursor) VALUES (%s, %s, '2026-01-01')",
            [world.stream.name, by_hand],
        )
    assert [(o.kind, o.name) for o in world.clean()] == [(OrphanKind.CHECKPOINT, gone)]
    assert not world.kept(gone)
    assert world.kept(young)
    assert world.kept(by_hand)


@everywhere
def test_an_index_that_is_not_the_one_that_runs_know_keeps_all_checkpoints(world: World) -> None:
    """A connection that leads to a copy today shows other generations; tomorrow it leads back."""
    elsewhere = replace(world.stream, target=world.old.target)
    with world.old.target.open(world.stream.name) as target, world.stream.source.open() as source:
        name = world.old.target.generation_name("20260101t000000")
        target.create_first(name, source.schema())
        target.promote(name)
    try:
        assert world.find(streams=[elsewhere]).orphans == []
    finally:
        with world.old.target.open(world.stream.name) as session:
            assert isinstance(session, OwnedTarget)
            session.remove()


def test_a_lease_that_is_over_goes_and_one_that_is_held_keeps_everything(world: World) -> None:
    """Whoever holds it may be in the middle of a rebuild, whose generation looks like one that was left."""
    left = world.make(datetime(2026, 3, 1, tzinfo=UTC))
    store, name = world.stream.checkpoint, world.stream.name
    acquire(store, name, holder="rebuild_items run", purpose="rebuild", now=datetime.now(UTC))
    found = find_orphans(world.cleaning)
    done = drop_orphans(world.cleaning, found.orphans, holder=HOLDER)
    assert done.dropped == []
    assert "rebuild of run rebuild_items run" in done.busy[name]
    assert not done.troubles
    assert left in world.generations()
    assert current(store, name) is not None

    store.reset(name, LEASE)
    acquire(store, name, holder="dead run", purpose="sweep", now=datetime(2026, 3, 1, tzinfo=UTC))
    assert OrphanKind.LEASE in kinds(world.clean())
    assert current(store, name) is None
    assert left not in world.generations()


def test_parked_documents_go_once_their_rows_have(world: World) -> None:
    """A row that is only marked as deleted is there, and so is one that has changed; each is tried again."""
    with world.database.connect() as db:
        db.execute("UPDATE items SET gone = true, v = now() - interval '10 min' WHERE id = 2")
        db.execute("DELETE FROM items WHERE id = 3")
    world.park("1", "2", "3", "999")
    found = [o for o in world.find().orphans if o.kind is OrphanKind.PARKED]
    assert [o.count for o in found] == [2]
    world.clean(tombstones_older_than=None)
    assert world.parked() == {"1", "2"}


def test_recorded_deletions_go_once_every_generation_has_passed_them(world: World) -> None:
    """Those that are young stay, those that a parked document may need, and all of them while another reader is not in sight."""
    with world.database.connect() as db:
        db.execute("DELETE FROM items WHERE id IN (4, 5, 6)")
        db.execute("UPDATE items_tombstones SET v = '2026-02-01' WHERE id IN (4, 5)")
    count = lambda: world.database.connect().execute("SELECT count(*) FROM items_tombstones").fetchone()  # noqa: E731
    world.park("5")
    rules = Rules(retain=1, older_than=timedelta(days=9999))
    found = world.find(rules=rules).orphans
    assert [(o.kind, o.count) for o in found] == [(OrphanKind.TOMBSTONES, 1)]

    reader = f"{world.stream.name}_other"
    memory = world.stream.checkpoint.load(world.stream.name, STREAM)
    world.stream.checkpoint.save(replace(memory, stream=reader, version=0))
    held = world.find(rules=rules)
    assert held.orphans == []
    assert any(o.kind is OrphanKind.TOMBSTONES and reader in o.reason for o in held.left)

    world.stream.checkpoint.reset(reader, STREAM)
    world.clean(rules=rules)
    assert count() == (2,)


@everywhere
def test_a_stream_that_is_not_in_sight_is_told_and_left(world: World) -> None:
    """Its Dag may only fail to parse today. Once a person says that it is gone, all of it goes, unless it was at work lately."""
    old = world.old
    run = Runner(source=old.source, target=old.target, stream=old.name, store=old.checkpoint)
    run.run()
    Rebuilder(run=run).rebuild("20260601t000000")
    run.run()
    world.keep(GROUPS, stream=old.name)
    mine = lambda found: [o for o in found if o.stream == old.name]  # noqa: E731
    found = world.find()
    assert found.orphans == []
    assert set(kinds(mine(found.left))) >= {OrphanKind.GENERATION, OrphanKind.CHECKPOINT, OrphanKind.MEMORY}

    at_work = find_orphans(replace(world.cleaning, gone=[old.name]))
    assert at_work.orphans == []
    assert any("has saved at" in o.reason for o in mine(at_work.left))

    tomorrow = datetime.now(UTC) + timedelta(days=2)
    gone = replace(world.cleaning, gone=[old.name], tombstones_older_than=None)
    listed = find_orphans(gone, now=tomorrow).orphans
    done = drop_orphans(gone, listed, holder=HOLDER, now=tomorrow)

    assert not done.troubles
    assert not done.spared
    assert world.generations(old) == []
    assert mine(world.find().left) == []
    assert world.find().orphans == []
    world.run()
    with pytest.raises(ConfigurationError, match="cannot be gone"):
        replace(world.cleaning, gone=[world.stream.name])


# What looks like ours and is not.


def test_tables_that_look_like_generations_stay(world: World) -> None:
    """Without our mark, with another's, renamed, temporary, a view of a person's, a column's comment."""
    word = world.stream.target.generation_name("")
    ours = json.dumps({"airflow_reindex_provider": {"stream": world.old.name}})
    stay = {
        f"{word}20200101t000000": None,
        f"{word}20200102t000000": json.dumps({"other_tool": {"stream": world.old.name}}),
        f"{word}20200103t000000": f"made by airflow_reindex_provider for {world.old.name}",
        f"{word}20200104t000000": '{"airflow_reindex_provider": "2"}',
        f"{word}kept_by_somebody": ours,
        f"{word}20200105t000000_backup": ours,
    }
    with world.database.connect() as db:
        for name, comment in stay.items():
            db.execute(f'CREATE TABLE "{name.split(".")[-1]}" (id int)'.encode())
            if comment:
                db.execute(f"COMMENT ON TABLE \"{name.split('.')[-1]}\" IS '{comment}'".encode())
        db.execute(b"CREATE VIEW a_view AS SELECT * FROM items")
        db.execute(f"COMMENT ON COLUMN items.v IS '{ours}'".encode())
    tomorrow = datetime.now(UTC) + timedelta(days=2)
    cleaning = replace(world.cleaning, gone=[world.old.name])
    assert find_orphans(cleaning, now=tomorrow).orphans == []


def test_a_generation_that_something_is_made_on_is_told_and_left(world: World) -> None:
    """The others go all the same."""
    used, other = world.make(datetime(2026, 3, 1, tzinfo=UTC)), world.make(datetime(2026, 3, 2, tzinfo=UTC))
    with world.database.connect() as db:
        db.execute(f'CREATE VIEW reads_it AS SELECT * FROM "{used}"'.encode())
    done = drop_orphans(world.cleaning, find_orphans(world.cleaning).orphans, holder=HOLDER)
    assert "reads_it" in done.troubles[f"{world.stream.name}: {used}"]
    assert [o.name for o in done.dropped] == [other]
    assert used in world.generations()
    with world.database.connect() as db:
        db.execute("DROP VIEW reads_it")


@pytest.mark.parametrize("world", SEARCH_ENGINES, indirect=True)
def test_aliases_that_mean_nothing_go(world: World) -> None:
    """Those that a restored copy bears beside its own name. What is not hidden, is a generation's own, or stands on an index that
    is served, stays; and so does the copy."""
    index = world.stream.target.index  # type: ignore[attr-defined]  # a search target
    live, copy = world.live(), f"{index}_copy"
    with world.stream.target.open(world.stream.name) as session:
        call = session._calls.call  # type: ignore[attr-defined]  # to do what people do beside us
        call("PUT", f"/{copy}", {"mappings": {"_meta": call("GET", f"/{live}")[live]["mappings"]["_meta"]}})
        shown = f"{index}_20190101t000000_write"
        aliases = {f"{live}_write": True, f"{index}_served": True, shown: False, f"{index}_mine": True}
        actions = [{"add": {"index": copy, "alias": name, "is_hidden": hidden}} for name, hidden in aliases.items()]
        call("POST", "/_aliases", {"actions": actions})
        try:
            found = [o for o in world.find().orphans if o.kind is OrphanKind.ALIAS]
            assert {o.name for o in found} == {f"{live}_write -> {copy}", f"{index}_served -> {copy}"}
            world.clean()
            assert set(call("GET", f"/{copy}")[copy]["aliases"]) == {shown, f"{index}_mine"}
            assert f"{live}_write" in call("GET", f"/{live}")[live]["aliases"]
            gone = replace(world.cleaning, gone=[world.old.name])
            assert find_orphans(gone, now=datetime.now(UTC) + timedelta(days=2)).orphans == []
        finally:
            call("DELETE", f"/{copy}")
    world.run()
