"""A stream in use and a clean-up of it, on each target: what the tests of clean-ups plant things around."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from secrets import token_hex
from typing import Any

import pytest

from airflow_reindex_provider.checkpoints.table import TableCheckpoint
from airflow_reindex_provider.control.cleaning import Cleaning, Found, drop_orphans, find_orphans
from airflow_reindex_provider.core.cleaning.records import Orphan, Rules
from airflow_reindex_provider.core.model import Parked, Position
from airflow_reindex_provider.core.protocols import OwnedTarget, RebuildingTarget
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.elasticsearch import ElasticsearchTarget
from airflow_reindex_provider.targets.lance import LanceTarget
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.targets.weaviate import WeaviateTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner

LONG_AGO = "2020-01-01T00:00:00+00:00"
HOLDER = "reindex_maintenance run"


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y%m%dt%H%M%S")


@dataclass
class World:
    """A stream in use, with a live generation and one that was served before, and all that is planted around it."""

    database: Database
    stream: Stream
    cleaning: Cleaning
    old: Stream
    """Of a name that a person says is gone."""

    def run(self) -> None:
        self.runner.run()

    @property
    def runner(self) -> Runner:
        s = self.stream
        return Runner(source=s.source, target=s.target, stream=s.name, store=s.checkpoint)

    def generations(self, stream: Stream | None = None) -> list[str]:
        stream = stream or self.stream
        with stream.target.open(stream.name) as session:
            return [g.name for g in session.generations()]

    def live(self) -> str:
        with self.stream.target.open(self.stream.name) as session:
            return next(g.name for g in session.generations() if g.live)

    def make(self, moment: datetime) -> str:
        name = self.stream.target.generation_name(stamp(moment))
        with self.stream.target.open(self.stream.name) as target, self.stream.source.open() as source:
            assert isinstance(target, RebuildingTarget)
            target.create(name, source.schema())
        return name

    def keep(self, generation: str, *, stream: str | None = None, saved_at: str = LONG_AGO, **values: Any) -> None:
        name = stream or self.stream.name
        before = self.stream.checkpoint.load(name, generation)
        position = values.pop("position", before.position or Position("2026-01-01 00:00:00+00", ("1",)))
        self.stream.checkpoint.save(replace(before, position=position, saved_at=saved_at, **values))

    def kept(self, generation: str, stream: str | None = None) -> bool:
        return bool(self.stream.checkpoint.load(stream or self.stream.name, generation).version)

    def park(self, *keys: str) -> None:
        parked = tuple(Parked((key,), "no", 1, LONG_AGO, "2036-01-01T00:00:00+00:00") for key in keys)
        before = self.stream.checkpoint.load(self.stream.name, self.live())
        self.stream.checkpoint.save(replace(before, parked=parked))

    def parked(self) -> set[str]:
        return {p.key[0] for p in self.stream.checkpoint.load(self.stream.name, self.live()).parked}

    def find(self, **changes: Any) -> Found:
        return find_orphans(replace(self.cleaning, **changes))

    def clean(self, **changes: Any) -> list[Orphan]:
        cleaning = replace(self.cleaning, **changes)
        found = find_orphans(cleaning)
        assert not found.troubles
        done = drop_orphans(cleaning, found.orphans, holder=HOLDER)
        assert not done.troubles
        assert {o.identity for o in done.dropped} == {o.identity for o in found.orphans}
        return done.dropped


SEARCH_ENGINES = [pytest.param(name, marks=pytest.mark.versions) for name in ("opensearch", "elasticsearch")]
ENGINES = [*SEARCH_ENGINES, pytest.param("lance", marks=pytest.mark.versions)]


def make_world(request: pytest.FixtureRequest, database: Database) -> Iterator[World]:
    """:param request: of a fixture, whose parameter is the kind of target; default: Postgres."""
    kind = getattr(request, "param", "postgres")
    if kind == "lance":
        lake = {"conn_type": "generic", "host": str(request.getfixturevalue("tmp_path"))}
        request.getfixturevalue("monkeypatch").setenv("AIRFLOW_CONN_LAKE", json.dumps(lake))
    elif kind != "postgres":
        request.getfixturevalue(kind)
    with database.connect() as db:
        db.execute(
            "CREATE TABLE items (id int PRIMARY KEY, v timestamptz NOT NULL DEFAULT now() - interval '1 h',"
            " gone bool DEFAULT false)"
        )
        db.execute("INSERT INTO items (id) SELECT n FROM generate_series(1, 8) n")
    source = PostgresSource(
        database.conn_id,
        table="public.items",
        primary_key="id",
        cursor_field="v",
        tombstones=True,
        soft_delete_column="gone",
    )
    source.install_tombstones()
    made: dict[str, Callable[[str], Any]] = {
        "postgres": lambda name: PostgresTarget(database.conn_id, index=f"public.{name}"),
        "opensearch": lambda name: OpenSearchTarget("opensearch", index=name),
        "elasticsearch": lambda name: ElasticsearchTarget("elasticsearch", index=name),
        "lance": lambda name: LanceTarget("lake", index=name),
        "weaviate": lambda name: WeaviateTarget("weaviate", index=name.capitalize()),
    }
    # Workers share the engines, and each has a database of the same name.
    word = f"cleaning_{database.name}_{token_hex(3)}"
    stream = Stream(
        name=f"{word}_items",
        source=source,
        target=made[kind](f"{word}_index"),
        checkpoint=TableCheckpoint(database.conn_id),
    )
    old = replace(stream, name=f"{word}_old", target=made[kind](f"{word}_old"))
    cleaning = Cleaning(streams=[stream], rules=Rules(retain=1))
    world = World(database, stream, cleaning, old)
    Runner(source=source, target=stream.target, stream=stream.name, store=stream.checkpoint).run()
    Rebuilder(run=world.runner).rebuild("20260601t000000")
    world.run()
    yield world
    for one in (stream, old):
        with one.target.open(one.name) as session:
            assert isinstance(session, OwnedTarget)
            session.remove()
