"""Whatever can be done to a stream by a run, done to a real one; what cannot be done says why, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from airflow_reindex_provider.checkpoints.table import TableCheckpoint
from airflow_reindex_provider.control.acts import ACTS, UnknownArgumentsError
from airflow_reindex_provider.control.doing import do
from airflow_reindex_provider.core.errors import (
    CheckpointConflictError,
    CheckpointInvalidError,
    ConfigurationError,
    StreamBusyError,
)
from airflow_reindex_provider.core.leases import acquire
from airflow_reindex_provider.core.model import Checkpoint, Parked
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.operators.acting import Asked, asked_of
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.groups import GroupRunner
from airflow_reindex_provider.testing.memory import MemoryCheckpoint, MemorySource, MemoryTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner

STORES = ["memory", "table"]
_LATER = "2036-01-01T00:00:00+00:00"
PARKED = tuple(Parked((str(n),), "no", 1, "2026-01-01T00:00:00+00:00", _LATER) for n in (3, 5, 7))


@pytest.fixture
def make(database: Database) -> Callable[..., Stream]:
    """Makes a stream of eight rows, loaded, with three of them parked."""

    def make(kind: str = "memory", **options: Any) -> Stream:
        with database.connect() as db:
            db.execute(
                "CREATE TABLE items (id int PRIMARY KEY, tenant text DEFAULT 'a', v timestamptz DEFAULT now() - interval '1 h')"
            )
            db.execute("INSERT INTO items (id) SELECT n FROM generate_series(1, 8) n")
        store: Any = MemoryCheckpoint() if kind == "memory" else TableCheckpoint(database.conn_id)
        stream = Stream(
            name="products",
            source=PostgresSource(database.conn_id, table="items", primary_key="id", cursor_field="v", **options),
            target=PostgresTarget(database.conn_id, index="items_{group}" if "group_by" in options else "items_index"),
            checkpoint=store,
        )
        if options.get("tombstones"):
            do(stream, "tombstones-install", {})
        if not stream.has_groups:
            runner(stream).run()
            park(stream)
        return stream

    return make


def runner(stream: Stream) -> Runner:
    return Runner(source=stream.source, target=stream.target, stream=stream.name, store=stream.checkpoint)


def stored(stream: Stream) -> Checkpoint:
    with stream.target.open(stream.name) as session:
        (generation,) = [g.name for g in session.generations() if g.live]
    return stream.checkpoint.load(stream.name, generation)


def park(stream: Stream, parked: tuple[Parked, ...] = PARKED) -> None:
    stream.checkpoint.save(replace(stored(stream), parked=parked))


def keys(stream: Stream) -> list[str]:
    return [p.key[0] for p in stored(stream).parked]


def due(stream: Stream) -> list[str]:
    """Parked keys that the next run tries."""
    return [key[0] for batch in runner(stream).plan().batches for key in batch.keys]


# -- parked documents


@pytest.mark.parametrize("kind", STORES)
def test_parked_documents_are_tried_again(kind: str, make: Callable[..., Stream]) -> None:
    """Those named, and then all; reason, attempts and the checkpoint stay."""
    stream = make(kind)
    before = stored(stream)
    answer = do(stream, "parked-retry", {"keys": [["5"]]})
    assert (answer["count"], due(stream)) == (1, ["5"])
    assert answer["lines"] == ["1 parked document is tried again by the next run."]
    assert do(stream, "parked-retry", {})["count"] == 3
    assert sorted(due(stream)) == ["3", "5", "7"]
    after = stored(stream)
    assert (after.position, after.saved_by) == (before.position, "by hand")
    assert {(p.reason, p.attempts) for p in after.parked} == {("no", 1)}
    runner(stream).run()
    assert keys(stream) == []
    assert do(stream, "parked-retry", {})["count"] == 0


@pytest.mark.parametrize("kind", STORES)
def test_parked_documents_are_given_up(kind: str, make: Callable[..., Stream]) -> None:
    """Those named, and then all."""
    stream = make(kind)
    assert do(stream, "parked-drop", {"keys": [["3"], ["7"]]})["count"] == 2
    assert keys(stream) == ["5"]
    assert do(stream, "parked-drop", {})["count"] == 1
    assert keys(stream) == []


@pytest.mark.parametrize("name", ["parked-retry", "parked-drop"])
def test_a_key_that_is_not_parked_changes_nothing(name: str, make: Callable[..., Stream]) -> None:
    """Nor does what was named beside it."""
    stream = make()
    before = stored(stream)
    with pytest.raises(ConfigurationError, match="no parked document has the key 99; nothing was changed"):
        do(stream, name, {"keys": [["5"], ["99"]]})
    assert stored(stream) == before


@dataclass
class Raced(MemoryCheckpoint):
    """A run saves the checkpoint between our look at it and our save, so many times."""

    races: int = 0
    released: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def save(self, checkpoint: Checkpoint) -> Checkpoint:
        if self.races and checkpoint.saved_by == "by hand":
            self.races -= 1
            there = self.load(checkpoint.stream, checkpoint.generation)
            left = tuple(p for p in there.parked if p.key[0] not in self.released)
            super().save(replace(there, parked=left, saved_by="a run"))
        return super().save(checkpoint)


def raced(races: int = 0, released: list[str] | None = None) -> Stream:
    source = MemorySource(now_us=10)
    with source.transaction() as transaction:
        for n in range(8):
            transaction.put({"id": str(n), "title": "x"})
    source.now_us += 1
    store = Raced(released=released or [])
    stream = Stream(name="products", source=source, target=MemoryTarget(), checkpoint=store)
    runner(stream).run()
    park(stream)
    store.races = races
    return stream


def test_a_run_that_saves_meanwhile_loses_nothing() -> None:
    """What it released stays released, and the others are tried again."""
    stream = raced(races=2, released=["3"])
    assert do(stream, "parked-retry", {"keys": [["3"], ["5"]]})["count"] == 1
    found = stored(stream)
    assert [(p.key[0], p.next_try_at == _LATER) for p in found.parked] == [("5", False), ("7", True)]
    assert do(stream, "checkpoint-set", {"cursor": "1970-01-01T00:00:00Z"})
    with pytest.raises(CheckpointConflictError):
        do(raced(races=99), "parked-drop", {})


def test_a_retry_during_a_run_is_not_lost(make: Callable[..., Stream]) -> None:
    """The run that was planned before does not know of it; what it parks and how far it came is kept too."""
    stream = make()
    plan = runner(stream).plan()
    do(stream, "parked-retry", {})
    runner(stream).settle(plan, [runner(stream).index(batch) for batch in plan.batches])
    assert sorted(due(stream)) == ["3", "5", "7"]


def test_thousands_of_parked_documents_keep_their_room(make: Callable[..., Stream]) -> None:
    """Those that are alike are written as one, as a run writes them."""
    stream = make()
    many = tuple(
        replace(PARKED[0], key=(str(n),), next_try_at=f"2036-01-01T00:{n % 50:02}:00+00:00") for n in range(3000)
    )
    park(stream, many)
    do(stream, "parked-retry", {})
    assert len(stored(stream).to_json()["parked"]) == 1
    assert len(stored(stream).parked) == 3000


# -- the checkpoint


@pytest.mark.parametrize("kind", STORES)
def test_a_checkpoint_is_set(kind: str, make: Callable[..., Stream], database: Database) -> None:
    """The next run reads on from there; what is parked stays."""
    stream = make(kind)
    with database.connect() as db:
        db.execute("UPDATE items SET v = '2026-01-01 00:00:00.5+00' WHERE id > 5")
    answer = do(stream, "checkpoint-set", {"cursor": "2026-01-01T00:00:00.500000Z", "key": ["7"]})
    assert "2026-01-01 00:00:00.5" in answer["lines"][0]
    position = stored(stream).position
    assert position is not None
    assert (position.key, keys(stream)) == (("7",), ["3", "5", "7"])
    assert runner(stream).plan().rows == 2 + 5


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"cursor": "yesterday"}, "is no timestamptz value"),
        ({"cursor": 7}, "is no timestamptz value"),
        ({"cursor": "2136-01-01T00:00:00Z"}, "ahead of the source's clock"),
        ({"cursor": "2026-01-01T00:00:00Z", "key": ["1", "2"]}, "a text for each of id"),
        ({"cursor": "2026-01-01T00:00:00Z", "group": "a"}, "has no groups"),
    ],
)
def test_a_place_that_is_none_changes_nothing(arguments: dict[str, Any], why: str, make: Callable[..., Stream]) -> None:
    """And says why."""
    stream = make()
    before = stored(stream)
    with pytest.raises(ConfigurationError, match=why):
        do(stream, "checkpoint-set", arguments)
    assert stored(stream) == before


@pytest.mark.parametrize("kind", STORES)
def test_a_checkpoint_is_forgotten(kind: str, make: Callable[..., Stream]) -> None:
    """Also one that cannot be read."""
    stream = make(kind)
    answer = do(stream, "checkpoint-reset", {})
    assert "with 3 parked documents. The next run reads all rows." in answer["lines"][0]
    assert (stored(stream).version, runner(stream).plan().rows) == (0, 8)


def test_a_checkpoint_that_cannot_be_read_is_forgotten(make: Callable[..., Stream]) -> None:
    """That is what its error says to do."""
    stream = make()
    assert isinstance(stream.checkpoint, MemoryCheckpoint)
    stream.checkpoint.texts["products", stored(stream).generation] = "{"
    with pytest.raises(CheckpointInvalidError):
        do(stream, "parked-retry", {})
    assert "it could not be read" in do(stream, "checkpoint-reset", {})["lines"][0]
    assert stored(stream).version == 0


def test_a_checkpoint_goes_to_a_table(make: Callable[..., Stream], database: Database) -> None:
    """With what is parked; a dry run says so and does nothing."""
    stream = make()
    to = {"to": "table", "conn_id": database.conn_id, "name": "public.kept"}
    before = stored(stream)
    asked = do(stream, "checkpoint-move", {**to, "dry_run": True})
    assert stored(stream) == before
    done = do(stream, "checkpoint-move", to)
    assert (asked["dry_run"], done["dry_run"]) == (True, False)
    assert done["lines"][:-1] == asked["lines"]
    assert "Dag file" in done["lines"][-1]
    moved = replace(stream, checkpoint=TableCheckpoint(database.conn_id, table="public.kept"))
    assert (stored(moved).position, keys(moved)) == (before.position, ["3", "5", "7"])
    assert stored(stream).version == 0


@pytest.mark.parametrize(
    ("dry_run", "name"),
    [(True, "public.reindex_checkpoint"), (False, "public.reindex_checkpoint"), (False, "reindex_checkpoint")],
)
def test_a_checkpoint_that_is_there_already_is_not_lost(
    dry_run: bool, name: str, make: Callable[..., Stream], database: Database
) -> None:
    """The same table by another name is the same table. What is moved onto itself would be forgotten."""
    stream = make("table")
    to = {"to": "table", "conn_id": database.conn_id, "name": name, "dry_run": dry_run}
    with pytest.raises(ConfigurationError, match="there already"):
        do(stream, "checkpoint-move", to)
    assert keys(stream) == ["3", "5", "7"]
    assert stream.checkpoint.load("products", "lease").version == 0


@pytest.mark.parametrize(("to", "lacks"), [("table", "conn_id"), ("asset", "name of the asset")])
def test_a_move_says_what_it_lacks(to: str, lacks: str, make: Callable[..., Stream]) -> None:
    """Before it begins."""
    with pytest.raises(ConfigurationError, match=lacks):
        do(make(), "checkpoint-move", {"to": to})


# -- the stream itself


@pytest.mark.parametrize("kind", STORES)
def test_a_stream_is_renamed_and_removed(kind: str, make: Callable[..., Stream], database: Database) -> None:
    """Each says first what it would do, and what is to be done in the Dag file."""
    stream = make(kind)
    asked = do(stream, "rename", {"name": "goods", "dry_run": True})
    assert keys(stream) == ["3", "5", "7"]
    done = do(stream, "rename", {"name": "goods"})
    assert done["lines"][:-1] == asked["lines"]
    assert "name='goods'" in done["lines"][-1]
    renamed = replace(stream, name="goods")
    assert (keys(renamed), runner(renamed).plan().rows) == (["3", "5", "7"], 0)

    asked = do(renamed, "remove", {"dry_run": True})
    assert keys(renamed) == ["3", "5", "7"]
    done = do(renamed, "remove", {})
    assert done["lines"][:-1] == asked["lines"]
    with database.connect() as db:
        assert db.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'items_index%'").fetchone() == (0,)


def test_a_stream_that_has_the_name_is_left_alone(make: Callable[..., Stream]) -> None:
    """Its checkpoints would be handed over to it, and then forgotten."""
    stream = make()
    with pytest.raises(ConfigurationError, match="has this name already"):
        do(stream, "rename", {"name": "products"})
    assert keys(stream) == ["3", "5", "7"]


@pytest.mark.parametrize("name", ["rename", "remove", "checkpoint-move"])
def test_who_changes_the_stream_itself_meets_the_lease(
    name: str, make: Callable[..., Stream], database: Database
) -> None:
    """Of a rebuild that is under way, and nothing is changed."""
    stream = make()
    acquire(stream.checkpoint, "products", holder="rebuild 1", purpose="rebuild", now=utc_now())
    arguments = {
        "rename": {"name": "goods"},
        "remove": {},
        "checkpoint-move": {"to": "table", "conn_id": database.conn_id},
    }
    with pytest.raises(StreamBusyError, match="rebuild 1"):
        do(stream, name, arguments[name])
    assert keys(stream) == ["3", "5", "7"]


def test_changes_are_accepted(make: Callable[..., Stream]) -> None:
    """What is remembered goes, checkpoints stay."""
    stream = make()
    do(stream, "accept-changes", {})
    assert stream.checkpoint.load("products", "stream").version == 0
    assert keys(stream) == ["3", "5", "7"]


def test_a_refresh_does_nothing(make: Callable[..., Stream]) -> None:
    """The closing task publishes how the stream stands."""
    stream = make()
    assert isinstance(stream.checkpoint, MemoryCheckpoint)
    before = dict(stream.checkpoint.texts)
    assert do(stream, "refresh", {})["lines"] == []
    assert stream.checkpoint.texts == before


# -- tombstones


def test_the_life_of_tombstones(make: Callable[..., Stream], database: Database) -> None:
    """Shown, installed, read, purged, removed."""
    stream = make(tombstones=True)
    assert "CREATE TABLE IF NOT EXISTS" in do(stream, "tombstones-ddl", {})["ddl"]
    with database.connect() as db:
        db.execute("DELETE FROM items WHERE id = 1")
        db.execute("UPDATE items_tombstones SET v = now() - interval '40 min'")
    do(stream, "parked-drop", {})
    do(stream, "checkpoint-set", {"cursor": "2026-01-01T00:00:00Z"})
    runner(stream).run()
    assert do(stream, "tombstones-purge", {"older_than_days": 1})["count"] == 0
    assert do(stream, "tombstones-purge", {"older_than_days": 0.01})["count"] == 1
    do(stream, "tombstones-remove", {"conn_id": database.conn_id})
    with database.connect() as db:
        assert db.execute("SELECT to_regclass('items_tombstones')").fetchone() == (None,)


@pytest.mark.parametrize("too", [True, False])
def test_a_stream_is_removed_with_its_tombstones(too: bool, make: Callable[..., Stream], database: Database) -> None:
    """Only on request: other streams may read them."""
    stream = make(tombstones=True)
    lines = do(stream, "remove", {"tombstones": too})["lines"]
    assert any(("with their triggers" if too else "left alone") in line for line in lines)
    with database.connect() as db:
        (left,) = db.execute("SELECT to_regclass('items_tombstones')").fetchone() or ()
    assert (left is None) == too


def test_a_source_without_tombstones(make: Callable[..., Stream]) -> None:
    """Says so; one that never has any too."""
    with pytest.raises(ConfigurationError, match="reads no tombstones"):
        do(make(), "tombstones-ddl", {})
    with pytest.raises(ConfigurationError, match="does not record deletions"):
        do(raced(), "tombstones-install", {})


# -- groups


@pytest.fixture
def groups(make: Callable[..., Stream], database: Database) -> Stream:
    """Two, each with a parked document."""
    stream = make(group_by="tenant")
    with database.connect() as db:
        db.execute("UPDATE items SET tenant = 'b' WHERE id > 4")
    GroupRunner(stream=stream, store=stream.checkpoint).run()
    park(stream.of_group("a"), PARKED[:1])
    park(stream.of_group("b"), PARKED[1:])
    return stream


def test_parked_documents_of_groups(groups: Stream) -> None:
    """Of all of them, or of one, by its value or by the name of its stream; a key is looked for in each."""
    a, b = groups.of_group("a"), groups.of_group("b")
    assert do(groups, "parked-drop", {"keys": [["3"], ["5"]]})["count"] == 2
    assert (keys(a), keys(b)) == ([], ["7"])
    park(a, PARKED[:2])
    assert do(groups, "parked-drop", {"group": "a", "keys": [["3"]]})["count"] == 1
    assert do(groups, "parked-drop", {"group": "products.b"})["count"] == 1
    assert (keys(a), keys(b)) == (["5"], [])
    assert do(groups, "parked-retry", {})["count"] == 1
    with pytest.raises(ConfigurationError, match="no parked document has the key 7"):
        do(groups, "parked-retry", {"group": "a", "keys": [["7"]]})
    with pytest.raises(ConfigurationError, match="no run has met a group 'c'"):
        do(groups, "parked-retry", {"group": "c"})


def test_the_checkpoint_of_a_group(groups: Stream) -> None:
    """Each has its own, so one is to be named."""
    a, b = groups.of_group("a"), groups.of_group("b")
    before = stored(b)
    for name, arguments in (("checkpoint-set", {"cursor": "2026-01-01T00:00:00Z"}), ("checkpoint-reset", {})):
        with pytest.raises(ConfigurationError, match="say which with group"):
            do(groups, name, arguments)
        do(groups, name, {**arguments, "group": "a"})
    assert (stored(a).version, stored(b)) == (0, before)


# -- what was asked for


def test_every_act_that_is_none_of_a_form_can_be_done() -> None:
    """By its name; the others are runs of their own."""
    for act in ACTS.values():
        with pytest.raises(ConfigurationError) as caught:
            do(raced(), act.name, {"no such": "argument"} if not act.in_form else {})
        wanted = "a run of its own" if act.in_form and not act.needed else "argument"
        assert wanted in str(caught.value)


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("parked-retyr", {}, "nothing called 'parked-retyr'"),
        ("parked-retry", {"key": ["1"]}, "'key' was unexpected"),
        ("parked-retry", {"keys": ["1"]}, "argument 'keys.0'"),
        ("parked-retry", {"keys": []}, "keys"),
        ("checkpoint-set", {}, "'cursor' is a required property"),
        ("checkpoint-move", {"to": "elsewhere"}, "argument 'to'"),
        ("tombstones-purge", {"older_than_days": -1}, "older_than_days"),
        ("rename", {"name": ""}, "argument 'name'"),
    ],
)
def test_what_nobody_knows_is_refused(name: str, arguments: dict[str, Any], why: str) -> None:
    """With the argument's name, and those that there are."""
    stream = raced()
    assert isinstance(stream.checkpoint, MemoryCheckpoint)
    before = dict(stream.checkpoint.texts)
    with pytest.raises(UnknownArgumentsError, match=why):
        do(stream, name, arguments)
    assert stream.checkpoint.texts == before


def context(conf: Any, *streams: Stream, reads_all: bool = True) -> Any:
    tasks = [SimpleNamespace(stream=stream) for stream in streams]
    dag = SimpleNamespace(tasks=[*tasks, SimpleNamespace()], reads_all_conf=reads_all)
    return {"dag_run": SimpleNamespace(run_id="r", conf=conf), "dag": dag}


def test_which_stream_of_a_dag_is_meant() -> None:
    """Where it carries several, the conf says so; the tasks of the others end as skipped."""
    mine, other = raced(), replace(raced(), name="goods")
    assert asked_of(context(None, mine), mine) is None
    assert asked_of(context({"action": "look"}, mine), mine) == Asked("look", {})
    both = context({"action": "remove", "stream": "goods", "arguments": {"dry_run": True}}, mine, other)
    assert asked_of(both, other) == Asked("remove", {"dry_run": True})
    with pytest.raises(AirflowSkipException, match="'goods'"):
        asked_of(both, mine)
    for asked in (None, "elsewhere"):
        with pytest.raises(ConfigurationError, match="'goods', 'products'"):
            asked_of(context({"action": "remove", "stream": asked}, mine, other), mine)
    with pytest.raises(ConfigurationError, match="not 'elsewhere'"):
        asked_of(context({"action": "remove", "stream": "elsewhere"}, mine), mine)


def test_a_run_for_one_stream_of_a_dag() -> None:
    """Indexes that one alone; of an author's own Dag the key may mean something else."""
    mine, other = raced(), replace(raced(), name="goods")
    assert asked_of(context({"stream": "goods"}, mine, other), other) is None
    with pytest.raises(AirflowSkipException):
        asked_of(context({"stream": "goods"}, mine, other), mine)
    assert asked_of(context({"stream": "of water"}, mine, other), mine) is None


@pytest.mark.parametrize(
    "conf",
    [
        {"arguments": {"keys": [["1"]]}},
        {"action": "parked-drop", "arguments": [["1"]]},
        {"action": "parked-drop", "keys": [["1"]]},
        {"action": "remove", "dry_run": True},
    ],
)
@pytest.mark.parametrize("reads_all", [True, False])
def test_arguments_that_nothing_would_read(conf: dict[str, Any], reads_all: bool) -> None:
    """Would be another act than the one that was meant."""
    stream = raced()
    with pytest.raises(ConfigurationError, match="arguments"):
        asked_of(context(conf, stream, reads_all=reads_all), stream)


def test_other_keys_of_an_authors_own_dag() -> None:
    """Are read by other tasks; a Dag of ours has none."""
    stream = raced()
    conf = {"action": "look", "mine": 1}
    assert asked_of(context(conf, stream, reads_all=False), stream) == Asked("look", {})
    with pytest.raises(ConfigurationError, match="'mine'"):
        asked_of(context(conf, stream), stream)


def test_the_form_as_airflow_sends_it() -> None:
    """With all of its fields, most of them empty."""
    stream = raced()
    conf = {"action": "look", "arguments": None, "window_start": None, "window_end": "", "dry_run": False}
    assert asked_of(context(conf, stream), stream) == Asked("look", {})
