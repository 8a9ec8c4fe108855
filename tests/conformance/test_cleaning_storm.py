"""Storms of clean-ups: orphans of every kind and what only looks like them, planted together by chance. All of the first go, none
of the second is touched, and the stream is as it was."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from littered import ENGINES, HOLDER, LONG_AGO, World, make_world, stamp
from storms import tries

from airflow_reindex_provider.control.cleaning import drop_orphans, find_orphans
from airflow_reindex_provider.core.cleaning.parts import MarkingTarget
from airflow_reindex_provider.core.cleaning.records import OrphanKind
from airflow_reindex_provider.core.groups import GROUPS
from airflow_reindex_provider.core.leases import LEASE, acquire, release
from airflow_reindex_provider.core.model import Generation, Parked
from airflow_reindex_provider.core.protocols import OwnedTarget, RebuildingTarget
from airflow_reindex_provider.core.remembered import STREAM
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.lance.storage import Storage
from airflow_reindex_provider.targets.search.session import SearchTargetSession
from airflow_reindex_provider.targets.search.target import SearchTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.sweeps import Sweeper

SEEDS = range(50)
A_TIME = 5
"""Storms in one world, which each leaves more littered with what stays."""
COUNTED = (OrphanKind.PARKED, OrphanKind.TOMBSTONES)
Thing = tuple[str, str, str]


@pytest.fixture(params=["postgres", *ENGINES])
def world(request: pytest.FixtureRequest, database: Database) -> Iterator[World]:
    yield from make_world(request, database)


@pytest.mark.storm
@pytest.mark.parametrize("first_seed", SEEDS[::A_TIME][: tries(1, of=10)])
def test_what_is_needed_stays_and_what_is_not_goes(world: World, first_seed: int) -> None:
    """With another clean-up behind it, which finds nothing more."""
    for seed in range(first_seed, first_seed + A_TIME):
        Storm(world, seed).pass_over()


class Storm:
    """What is planted, and what must become of it.

    :ivar goes: kind, stream and name of all that a clean-up must find, those that are counted apart. :ivar stays: whether each of
    the others is there."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.seed = world, seed
        self.chance = random.Random(seed)
        self.name = world.stream.name
        self.goes: set[Thing] = set()
        self.stays: dict[str, Callable[[], bool]] = {}
        self.said_gone = [world.old.name]
        self.removed: list[Stream] = []
        self.is_read_elsewhere = False
        self.undo: list[Callable[[], Any]] = []
        self.parked: dict[str, bool] = {}
        """By key, whether it stays."""

    def pass_over(self) -> None:
        world, said = self.world, f"seed {self.seed}"
        for name in (g for g in world.generations() if g != world.live()):
            self.stays[f"generation {name}"] = lambda name=name: name in world.generations()
        plants = [
            self.left,
            self.checkpoint,
            self.lease,
            self.park,
            self.tombstones,
            self.others,
            self.reader,
            self.stray,
        ]
        self.served()
        for n, plant in enumerate(self.chance.choices(plants, k=8)):
            plant(n)
        # Whatever chance has left out: each kind is met in each world.
        plants[self.seed % len(plants)](len(plants))
        self.save_parked()
        try:
            self.clean(said)
        finally:
            for undo in self.undo:
                undo()

    def clean(self, said: str) -> None:
        world = self.world
        cleaning = replace(world.cleaning, gone=self.said_gone)
        now = datetime.now(UTC)
        tombstones, parked = self.purgeable(), sum(not stays for stays in self.parked.values())
        found = find_orphans(cleaning, now=now)
        assert not found.troubles, said
        assert self.named(o for o in found.orphans if o.kind not in COUNTED) == self.goes, said
        counts = {o.kind: o.count for o in found.orphans if o.kind in COUNTED}
        assert counts.get(OrphanKind.PARKED, 0) == parked, said
        assert counts.get(OrphanKind.TOMBSTONES, 0) == tombstones, said
        assert all(o.reason for o in (*found.orphans, *found.left)), said

        acquire(world.stream.checkpoint, self.name, holder="a rebuild", purpose="rebuild", now=now)
        mine = [o for o in found.orphans if o.stream == self.name and o.kind is not OrphanKind.TOMBSTONES]
        held = drop_orphans(cleaning, mine, holder=HOLDER, now=now)
        assert (held.dropped, held.troubles, bool(held.busy)) == ([], {}, bool(mine)), said
        release(world.stream.checkpoint, self.name, holder="a rebuild")

        first = drop_orphans(cleaning, found.orphans, holder=HOLDER, now=now)
        assert not first.troubles, said
        assert not first.busy, said
        # The lease that was over went to the rebuild above.
        assert {o.identity for o in first.dropped} == {o.identity for o in found.orphans}, said
        again = drop_orphans(cleaning, found.orphans, holder="another run", now=now)
        assert [o for o in again.dropped if o.kind not in (OrphanKind.LEASE, OrphanKind.TOMBSTONES)] == [], said

        left = find_orphans(cleaning, now=now)
        assert self.named(left.orphans) <= {(str(OrphanKind.TOMBSTONES), self.name, self.recorded)}, said
        for label, there in self.stays.items():
            assert there(), f"{said}: {label} has gone"
        for stream in self.removed:
            assert world.generations(stream) == [], said
        kept = {p.key[0] for p in world.stream.checkpoint.load(self.name, world.live()).parked}
        assert kept == {key for key, stays in self.parked.items() if stays}, said

        world.run()
        report, done = Sweeper(run=world.runner).sweep()
        assert (report.differences, done.counts.deleted, report.indexed) == (0, 0, 8), said

    def named(self, orphans: Any) -> set[Thing]:
        return {(str(o.kind), o.stream, o.name) for o in orphans}

    # -- what is planted: of each kind what goes, and what stays

    def served(self) -> None:
        """Another generation, and perhaps one more than are kept. A rebuild drops what was left before it, so it comes first."""
        if self.chance.random() < 0.4:
            moment = datetime(2026, 7, 1, tzinfo=UTC) + timedelta(days=self.seed)
            before = [g.name for g in self.all_generations() if g.served]
            Rebuilder(run=self.world.runner, retain=9).rebuild(stamp(moment))
            self.world.run()
            names = [g.name for g in self.all_generations()]
            self.stays = {f"generation {before[-1]}": lambda: before[-1] in self.world.generations()}
            self.goes |= {("generation", self.name, name) for name in before[:-1] if name in names}

    def left(self, n: int) -> None:
        """By a rebuild, perhaps half made; one of today may be gone on with."""
        young = self.chance.random() < 0.3
        moment = datetime.now(UTC) - timedelta(minutes=n + 1) if young else self.moment(n)
        name = self.world.make(moment)
        if self.chance.random() < 0.5:
            self.world.keep(name)
        if young:
            self.stays[f"generation {name}"] = lambda: name in self.world.generations()
        else:
            self.goes.add(("generation", self.name, name))

    def checkpoint(self, n: int) -> None:
        """Of a generation that is gone; one that was saved today, or by a person's hand, stays."""
        name = self.world.stream.target.generation_name(stamp(self.moment(n) - timedelta(days=365)))
        saved = self.chance.choice([LONG_AGO, datetime.now(UTC).isoformat(), None])
        self.world.keep(name, saved_at=saved)
        if saved == LONG_AGO:
            self.goes.add(("checkpoint", self.name, name))
        else:
            self.stays[f"checkpoint {name}"] = lambda: self.world.kept(name)
            self.undo.append(lambda: self.world.stream.checkpoint.reset(self.name, name))

    def lease(self, n: int) -> None:
        """That is over; one that is over since a moment is judged tomorrow."""
        store = self.world.stream.checkpoint
        store.reset(self.name, LEASE)
        self.goes = {thing for thing in self.goes if thing[0] != "lease"}
        old = self.chance.random() < 0.6
        since = datetime(2026, 3, 1, tzinfo=UTC) if old else datetime.now(UTC) - timedelta(minutes=20)
        acquire(store, self.name, holder=f"dead run {n}", purpose="sweep", now=since)
        if old:
            self.goes.add(("lease", self.name, f"dead run {n}"))

    def park(self, n: int) -> None:
        """Documents whose rows are gone, and others whose rows are there or may come, since they were parked a moment ago."""
        key = 100 * (self.seed + 1) + n
        self.parked |= {str(1 + n % 8): True, str(key): False, str(key + 50): True}

    def save_parked(self) -> None:
        world = self.world
        now = datetime.now(UTC).isoformat()

        def parked(key: str, stays: bool) -> Parked:
            young = stays and int(key) > 8
            return Parked((key,), "no", 1, now if young else LONG_AGO, "2036-01-01T00:00:00+00:00")

        before = world.stream.checkpoint.load(world.stream.name, world.live())
        entries = tuple(parked(key, stays) for key, stays in sorted(self.parked.items()))
        world.stream.checkpoint.save(replace(before, parked=entries))

    def tombstones(self, n: int) -> None:
        """Old ones that all have passed, some that only the live generation has, young ones, and one of a parked document."""
        first = 10_000 + 1000 * self.seed + 10 * n
        stamps = {"2025-06-01": 2, "2026-02-01": 2, "now() - interval '1 h'": 1}
        with self.world.database.connect() as db:
            for when, how_many in stamps.items():
                value = when if "(" in when else f"'{when}'"
                for key in range(first, first + how_many):
                    db.execute(f"INSERT INTO items_tombstones (id, v) VALUES ({key}, {value})".encode())
                first += how_many
            for key in (key for key, stays in self.parked.items() if not stays):
                db.execute(
                    f"INSERT INTO items_tombstones (id, v) VALUES ({key}, '2025-06-01') ON CONFLICT DO NOTHING".encode()
                )

    def others(self, n: int) -> None:
        """A stream that a person says is gone, with all that it had; one that nobody says that of, and one that is at work."""
        world, fate = self.world, self.chance.choice(["gone", "gone", "only not in sight", "at work", "leased"])
        of_old: Any = world.old.target
        target: Any = replace(of_old, index=f"{of_old.index}_{self.seed}_{n}")
        other = replace(world.old, name=f"{world.old.name}_{self.seed}_{n}", target=target)
        names = [target.generation_name(stamp(self.moment(n) + timedelta(days=days))) for days in (0, 1)]
        with other.target.open(other.name) as session, other.source.open() as source:
            assert isinstance(session, RebuildingTarget)
            session.create_first(names[0], source.schema())
            session.promote(names[0])
            session.create(names[1], source.schema())
        for generation in (names[0], GROUPS, STREAM, target.generation_name("20250101t000000")):
            world.keep(generation, stream=other.name)
        store = world.stream.checkpoint
        if fate == "at work":
            world.keep(names[0], stream=other.name, saved_at=datetime.now(UTC).isoformat())
        elif fate == "leased":
            acquire(store, other.name, holder="its run", purpose="sweep", now=datetime.now(UTC))
        if fate != "only not in sight":
            self.said_gone.append(other.name)
        if fate == "gone":
            self.removed.append(other)
            self.goes |= self.all_of(other, (names[0], target.generation_name("20250101t000000"), GROUPS, STREAM))
            return
        self.stays[f"all of {other.name}"] = lambda: (
            world.generations(other) == names and all(world.kept(g, other.name) for g in (names[0], GROUPS, STREAM))
        )
        self.undo.append(lambda: self.remove(other))

    def all_of(self, other: Stream, kept: tuple[str, ...]) -> set[Thing]:
        """Its two generations, what points at them, and what is kept of it."""
        with other.target.open(other.name) as session:
            assert isinstance(session, MarkingTarget)
            marked = [m for m in session.marked() if m.stream == other.name]
        assert sum(m.kind == "generation" for m in marked) == 2
        words = {GROUPS: OrphanKind.GROUPS, STREAM: OrphanKind.MEMORY}
        things = {(str(words.get(name, OrphanKind.CHECKPOINT)), other.name, name) for name in kept}
        return things | {(m.kind, other.name, m.name) for m in marked}

    def remove(self, other: Stream) -> None:
        with other.target.open(other.name) as session:
            assert isinstance(session, OwnedTarget)
            session.remove()
        store: Any = other.checkpoint
        for kept in [c for c in store.kept() if c.stream == other.name]:
            store.reset(other.name, kept.generation)

    def reader(self, n: int) -> None:
        """A stream that is not in sight, and reads the same table as far as is remembered: it may need what is recorded."""
        store, name = self.world.stream.checkpoint, f"{self.name}_elsewhere_{n}"
        store.save(replace(store.load(self.name, STREAM), stream=name, version=0))
        self.is_read_elsewhere = True
        self.stays[f"memory of {name}"] = lambda: self.world.kept(STREAM, name)
        self.undo.append(lambda: store.reset(name, STREAM))

    def stray(self, n: int) -> None:
        """What carries our mark and stands where nothing uses it; and what only looks like ours."""
        kind = type(self.world.stream.target).__name__
        plant = {"PostgresTarget": self.tables, "LanceTarget": self.lance_tables}.get(kind, self.aliases)
        plant(n)

    def tables(self, n: int) -> None:
        """Without our mark, with another's, and one of ours that somebody has renamed."""
        ours = json.dumps({"airflow_reindex_provider": {"stream": self.world.old.name}})
        word = self.world.stream.target.generation_name("").rpartition(".")[2]
        comments = {
            f"{word}{stamp(self.moment(n))}": None,
            f"{word}{stamp(self.moment(n + 100))}": '{"other_tool": {"stream": "items"}}',
            f"{word}kept_{n}": ours,
        }
        with self.world.database.connect() as db:
            for name, comment in comments.items():
                if db.execute("SELECT to_regclass(%s)", [f'"{name}"']).fetchone() != (None,):
                    continue
                db.execute(f'CREATE TABLE "{name}" (id int)'.encode())
                if comment:
                    db.execute(f"COMMENT ON TABLE \"{name}\" IS '{comment}'".encode())
                self.stays[f"table {name}"] = lambda name=name: self.is_a_table(name)
                self.undo.append(lambda name=name: self.drop_table(name))

    def is_a_table(self, name: str) -> bool:
        with self.world.database.connect() as db:
            return db.execute("SELECT to_regclass(%s)", [f'"{name}"']).fetchone() != (None,)

    def drop_table(self, name: str) -> None:
        with self.world.database.connect() as db:
            db.execute(f'DROP TABLE "{name}"'.encode())

    def lance_tables(self, n: int) -> None:
        """Whose drop was killed; one that is being dropped now, and somebody's own by a name like ours."""
        import lancedb
        import pyarrow as pa

        world, target = self.world, self.world.stream.target
        folder = json.loads(os.environ["AIRFLOW_CONN_LAKE"])["host"]
        database = lancedb.connect(folder)
        for moment in (self.moment(n + 200), datetime.now(UTC) - timedelta(minutes=n + 1)):
            before = set(database.list_tables().tables)
            name = world.make(moment)
            with target.open(self.name) as session, mock.patch.object(Storage, "drop"):
                assert isinstance(session, RebuildingTarget)
                session.drop(name)
            (table,) = set(database.list_tables().tables) - before
            if moment.year == 2026 and moment < datetime.now(UTC) - timedelta(days=1):
                self.goes.add(("generation", self.name, table))
            else:
                self.keeps_table(database, table)
        alike = f"{target.generation_name(stamp(self.moment(n)))}_0a1b2c3d"
        if alike not in database.list_tables().tables:
            database.create_table(alike, schema=pa.schema([pa.field("id", pa.string())]))
            self.keeps_table(database, alike)

    def keeps_table(self, database: Any, name: str) -> None:
        self.stays[f"table {name}"] = lambda: name in database.list_tables().tables
        self.undo.append(lambda: database.drop_table(name))

    def aliases(self, n: int) -> None:
        """On a copy, as a snapshot that was restored leaves it; and an index of that name that is nobody's."""
        target = self.world.stream.target
        assert isinstance(target, SearchTarget)
        index, live = target.index, self.world.live()
        copy, alike = f"{index}_copy_{n}", f"{index}_{stamp(self.moment(n + 300))}"
        shown = f"{index}_{stamp(self.moment(n + 301))}_write"
        aliases = {f"{live}_write": True, f"{index}_served": True, shown: False, f"{index}_mine": True}
        mark = self.call("GET", f"/{live}")[live]["mappings"]["_meta"]
        self.call("PUT", f"/{copy}", {"mappings": {"_meta": mark}})
        self.call("PUT", f"/{alike}", {})
        actions = [{"add": {"index": copy, "alias": name, "is_hidden": hidden}} for name, hidden in aliases.items()]
        self.call("POST", "/_aliases", {"actions": actions})
        self.goes |= {("alias", self.name, f"{name} -> {copy}") for name in (f"{live}_write", f"{index}_served")}
        self.stays[f"index {copy}"] = lambda: (
            set(self.call("GET", f"/{copy}")[copy]["aliases"]) == {shown, f"{index}_mine"}
        )
        self.stays[f"index {alike}"] = lambda: alike in self.call("GET", f"/{alike}")
        self.stays["the live one's alias"] = lambda: f"{live}_write" in self.call("GET", f"/{live}")[live]["aliases"]
        self.undo += [lambda: self.call("DELETE", f"/{copy}"), lambda: self.call("DELETE", f"/{alike}")]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """As people do it beside us."""
        with self.world.stream.target.open(self.name) as session:
            assert isinstance(session, SearchTargetSession)
            return session._calls.call(method, path, *([] if body is None else [body]))

    # -- what is known of the world

    def moment(self, n: int) -> datetime:
        """Long ago, another one for each."""
        return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=n)

    def all_generations(self) -> list[Generation]:
        with self.world.stream.target.open(self.name) as session:
            return list(session.generations())

    @property
    def recorded(self) -> str:
        source = self.world.stream.source
        assert isinstance(source, PostgresSource)
        return str(source.tombstone_table)

    def purgeable(self) -> int:
        """Recorded deletions that may go: none where a generation has no checkpoint, or another stream may read them."""
        world = self.world
        kept = [world.stream.checkpoint.load(self.name, name) for name in world.generations()]
        if self.is_read_elsewhere or any(c.position is None for c in kept):
            return 0
        cursors = [c.position.cursor for c in kept if c.position is not None]
        parked = [int(p.key[0]) for c in kept for p in c.parked]
        with world.database.connect() as db:
            row = db.execute(
                "SELECT count(*) FROM items_tombstones WHERE v < now() - interval '30 d' AND NOT id = ANY(%s)"
                " AND v < (SELECT min(c) FROM unnest(%s::timestamptz[]) c)",
                [parked, cursors],
            ).fetchone()
        assert row is not None
        return int(row[0])
