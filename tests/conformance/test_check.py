"""The doctor: each thing that a stream needs, with the statement that mends it. It changes nothing, and one side that is broken
leaves the other's findings."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from stand_in_engine import Reply, Request, stand_in

from airflow_reindex_provider.checkpoints.table import TableCheckpoint
from airflow_reindex_provider.control import checking as doctor
from airflow_reindex_provider.control.checking import check, findings, worst
from airflow_reindex_provider.control.doing import do
from airflow_reindex_provider.core.errors import CheckpointInvalidError
from airflow_reindex_provider.core.findings import statement_in
from airflow_reindex_provider.core.model import Level
from airflow_reindex_provider.sources.postgres import PostgresSource, checking
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.targets.elasticsearch import ElasticsearchTarget
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.targets.search import checking as search_checking
from airflow_reindex_provider.targets.search.engine import RESTART_S
from airflow_reindex_provider.testing.groups import GroupRunner
from airflow_reindex_provider.testing.memory import MemoryCheckpoint, MemorySource, MemoryTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner


@pytest.fixture
def db(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """With a table as it should be: stamped by default and trigger, indexed."""
    with database.connect() as connection:
        connection.execute(
            "CREATE TABLE items (id int PRIMARY KEY, tenant text DEFAULT 'a', v timestamptz NOT NULL DEFAULT now());"
            "CREATE INDEX ON items (v, id);"
            "INSERT INTO items SELECT n, 'a', now() - interval '1 h' FROM generate_series(1, 8) n"
        )
        yield connection


def stream_on(database: Database, *, index: str = "items_index", **options: Any) -> Stream:
    return Stream(
        name="products",
        source=PostgresSource(
            database.conn_id, **{"table": "items", "primary_key": "id", "cursor_field": "v", **options}
        ),
        target=PostgresTarget(database.conn_id, index=index),
        checkpoint=MemoryCheckpoint(),
    )


def run(stream: Stream) -> None:
    Runner(source=stream.source, target=stream.target, stream=stream.name, store=stream.checkpoint).run()


def found(stream: Stream, what: str) -> dict[str, str]:
    """The one finding about it."""
    (one,) = [f for f in check(stream) if f["what"] == what]
    return one


def mended(db: psycopg.Connection[Any], stream: Stream, what: str, level: str = "wrong") -> None:
    """What it says to run makes it ok."""
    before = found(stream, what)
    assert before["level"] == level
    db.execute(before["statement"].encode())
    assert found(stream, what)["level"] == "ok"


def test_a_stream_that_is_well(db: psycopg.Connection[Any], database: Database) -> None:
    """Before its first run and after it; in this order."""
    stream = stream_on(database)
    for expected in ("the first run makes one", "has what the source has"):
        lines = check(stream)
        assert {line["level"] for line in lines} == {"ok"}
        assert [line["what"] for line in lines] == [
            "source: server",
            "source: table",
            "source: rights",
            "source: open transactions",
            "source: index",
            "source: stamps",
            "source: horizon",
            "source: clock",
            "target: server",
            "target: rights",
            "target: room",
            "target: index",
            "checkpoint: store",
        ]
        assert expected in found(stream, "target: index")["says"]
        assert worst(findings(stream)) is Level.OK
        run(stream)


def test_nothing_is_written(db: psycopg.Connection[Any], database: Database) -> None:
    """Neither table nor checkpoint, nor what is remembered."""
    stream = replace(stream_on(database), checkpoint=TableCheckpoint(database.conn_id))
    assert "the first run makes the table" in found(stream, "checkpoint: store")["says"]
    assert db.execute("SELECT array_agg(tablename) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (
        ["items"],
    )
    run(stream)
    assert "may use the table" in found(stream, "checkpoint: store")["says"]


def test_as_an_act(db: psycopg.Connection[Any], database: Database) -> None:
    """With a line of text for each, for the log."""
    db.execute("DROP INDEX items_v_id_idx")
    answer = do(stream_on(database), "check", {})
    assert answer["worst"] == "warning"
    assert len(answer["lines"]) == len(answer["findings"])
    assert any(line.startswith("warning: source: index: ") for line in answer["lines"])


# -- the source


def test_an_index_that_is_missing(db: psycopg.Connection[Any], database: Database) -> None:
    """Every run reads the whole table."""
    db.execute("DROP INDEX items_v_id_idx")
    mended(db, stream_on(database), "source: index", "warning")


@pytest.mark.parametrize("type", ["timestamptz", "timestamp", "date"])
def test_a_cursor_that_nothing_sets(type: str, db: psycopg.Connection[Any], database: Database) -> None:
    """The statement makes a trigger that does, in the zone of the writers."""
    db.execute(f"ALTER TABLE items ALTER v DROP DEFAULT, ALTER v TYPE {type}")
    stream = stream_on(database, cursor_timezone="Asia/Tokyo")
    mended(db, stream, "source: stamps", "warning")
    db.execute("UPDATE items SET v = '2000-01-01' WHERE id = 1")
    now = {
        "timestamptz": "now()",
        "timestamp": "now() AT TIME ZONE 'Asia/Tokyo'",
        "date": "(now() AT TIME ZONE 'Asia/Tokyo')::date",
    }
    assert db.execute(f"SELECT v > {now[type]} - interval '2 min' FROM items WHERE id = 1").fetchone() == (True,)


def test_rights_that_are_missing(
    db: psycopg.Connection[Any], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each side says its own, and what mends it."""
    monkeypatch.setenv("AIRFLOW_CONN_POOR", database.uri.replace("postgres@", "check_poor@"))
    db.execute(
        "CREATE ROLE check_poor LOGIN; REVOKE ALL ON SCHEMA public FROM public; GRANT USAGE ON SCHEMA public TO check_poor"
    )
    db.execute(f"REVOKE TEMPORARY ON DATABASE {database.name} FROM public")
    stream = stream_on(database)
    run(stream)
    poor = replace(
        stream,
        source=replace(stream.source, conn_id="poor"),  # type: ignore[type-var]
        target=replace(stream.target, conn_id="poor"),  # type: ignore[type-var]
        checkpoint=TableCheckpoint("poor"),
    )
    try:
        mended(db, poor, "source: rights")
        mended(db, poor, "source: open transactions")
        lacking = [f for f in check(poor) if f["what"] in ("target: rights", "target: owner", "checkpoint: store")]
        assert [f["level"] for f in lacking] == ["wrong"] * 5
        for one in lacking:
            db.execute(one["statement"].encode())
        assert {f["level"] for f in check(poor)} == {"ok"}
    finally:
        db.execute("REASSIGN OWNED BY check_poor TO postgres; DROP OWNED BY check_poor; DROP ROLE check_poor")


def test_deletions_that_are_not_recorded(db: psycopg.Connection[Any], database: Database) -> None:
    """The statement is what installs the tombstones."""
    mended(db, stream_on(database, tombstones=True), "source: deletions")


def test_a_table_that_is_not_there(database: Database) -> None:
    """Then nothing else of the source can be looked at, and the target can."""
    lines = check(stream_on(database))
    assert [f["what"] for f in lines if f["level"] == "wrong"] == ["source: table"]
    assert "no such table" in found(stream_on(database), "source: table")["says"]
    assert "target: rights" in [f["what"] for f in lines]


def test_a_horizon_that_is_held(
    db: psycopg.Connection[Any], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whom."""
    monkeypatch.setattr("airflow_reindex_provider.sources.postgres.horizon.GLANCE_NAMED_AFTER_S", 0.0)
    with database.connect() as late, late.transaction():
        late.execute("SELECT 1")
        line = found(stream_on(database), "source: horizon")
    assert (line["level"], "idle in transaction" in line["says"]) == ("warning", True)


@pytest.mark.parametrize(("zone", "level"), [("UTC", "ok"), ("Etc/UTC", "ok"), ("Europe/Berlin", "warning")])
def test_the_zone_of_the_writers(zone: str, level: str, db: psycopg.Connection[Any], database: Database) -> None:
    """Is that of a database's sessions, as far as can be seen."""
    db.execute("ALTER TABLE items ALTER v TYPE timestamp")
    db.execute(f"ALTER DATABASE {database.name} SET TimeZone = 'UTC'")
    stream = stream_on(database, cursor_timezone=zone)
    if level == "ok":
        assert found(stream, "source: time zone")["level"] == "ok"
    else:
        mended(db, stream, "source: time zone", level)


def test_clocks_that_differ(db: psycopg.Connection[Any], database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Are said in seconds."""
    real = checking.utc_now
    monkeypatch.setattr(checking, "utc_now", lambda: real() + timedelta(seconds=90))
    line = found(stream_on(database), "source: clock")
    assert (line["level"], " 90 s apart" in line["says"] or " 89 s apart" in line["says"]) == ("warning", True)


@pytest.mark.parametrize(
    "options", [{"lag": timedelta(minutes=5)}, {"table": None, "query": "SELECT id, v FROM items"}]
)
def test_other_sources_that_are_well(options: dict[str, Any], db: psycopg.Connection[Any], database: Database) -> None:
    """A lag answers for what would be asked; a query has no index of its own."""
    assert {f["level"] for f in check(stream_on(database, **options))} == {"ok"}


def test_a_join_is_refused(db: psycopg.Connection[Any], database: Database) -> None:
    """As a run would."""
    query = "SELECT a.id, a.v FROM items a JOIN items b USING (tenant)"
    line = found(stream_on(database, table=None, query=query), "source: stamps")
    assert (line["level"], "joins relations" in line["says"]) == ("wrong", True)


# -- the target and the store


@pytest.mark.parametrize(
    ("sql", "level"), [("ADD maker text", "warning"), ("ALTER tenant TYPE int USING 1", "ok"), ("DROP tenant", "wrong")]
)
def test_an_index_that_the_source_has_outgrown(
    sql: str, level: str, db: psycopg.Connection[Any], database: Database
) -> None:
    """Columns that are new, and columns that are gone."""
    stream = stream_on(database)
    run(stream)
    db.execute("ALTER TABLE items ALTER tenant DROP DEFAULT")
    db.execute(f"ALTER TABLE items {sql}")
    assert found(stream, "target: index")["level"] == level


def test_a_side_that_does_not_answer(db: psycopg.Connection[Any], database: Database) -> None:
    """Leaves the other side's findings, and says what to do about the connection."""
    stream = stream_on(database)
    for name, side in (("source", "target"), ("target", "source")):
        gone = replace(stream, **{name: replace(getattr(stream, name), conn_id="nobody_made_this")})
        lines = check(gone)
        (broken,) = [f for f in lines if f["level"] == "wrong"]
        assert broken["what"] == f"{name}: connection"
        assert broken["statement"] == "airflow connections add nobody_made_this"
        assert any(f["what"] == f"{side}: rights" and f["level"] == "ok" for f in lines)


@pytest.mark.parametrize("made", [OpenSearchTarget, ElasticsearchTarget])
def test_an_engine_that_is_gone_is_not_waited_for(
    made: Any, db: psycopg.Connection[Any], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run waits a minute for its restart; somebody who looks is told."""
    monkeypatch.setattr(doctor, "PATIENCE_S", 0.0)
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        kind = made.engine_name.lower()
        monkeypatch.setenv("AIRFLOW_CONN_ENGINE", f"{kind}://127.0.0.1:{unheard.getsockname()[1]}/http")
        began = time.monotonic()
        line = found(replace(stream_on(database), target=made("engine", index="things")), "target: connection")
    assert (line["level"], "does not answer" in line["says"]) == ("wrong", True)
    assert time.monotonic() - began < RESTART_S


def test_a_public_name_that_is_not_ours(db: psycopg.Connection[Any], database: Database) -> None:
    """Is left alone, and named."""
    db.execute("CREATE TABLE items_index (id int)")
    assert any("left alone" in f["says"] for f in check(stream_on(database)) if f["level"] == "wrong")


def test_a_store_that_cannot_be_read(db: psycopg.Connection[Any], database: Database) -> None:
    """Is a finding like others."""

    class Broken(MemoryCheckpoint):
        def load(self, stream: str, generation: str) -> Any:
            raise CheckpointInvalidError("spoilt")

    line = found(replace(stream_on(database), checkpoint=Broken()), "checkpoint: store")
    assert (line["level"], line["says"]) == ("wrong", "spoilt")


def test_a_stream_with_groups(db: psycopg.Connection[Any], database: Database) -> None:
    """Rights once, and the index of each group."""
    stream = stream_on(database, index="items_{group}", group_by="tenant")
    db.execute("UPDATE items SET tenant = 'b' WHERE id > 4; CREATE INDEX ON items (tenant, v, id)")
    assert found(stream, "target: groups")["says"] == "None yet."
    GroupRunner(stream=stream, store=stream.checkpoint).run()
    lines = check(stream)
    assert {f["level"] for f in lines} == {"ok"}
    assert [f["what"] for f in lines if "index of" in f["what"]] == [
        "target: index of products.a",
        "target: index of products.b",
    ]


def test_parts_that_say_nothing_of_themselves() -> None:
    """Those of others: what a run would ask is asked."""
    stream = Stream(name="products", source=MemorySource(), target=MemoryTarget(), checkpoint=MemoryCheckpoint())
    assert [f["what"] for f in check(stream)] == ["source: table", "target: index", "checkpoint: store"]


# -- search engines


@pytest.fixture(params=["opensearch", "elasticsearch"])
def searched(
    request: pytest.FixtureRequest, db: psycopg.Connection[Any], database: Database, monkeypatch: pytest.MonkeyPatch
) -> Stream:
    request.getfixturevalue(request.param)
    made: Any = OpenSearchTarget if request.param == "opensearch" else ElasticsearchTarget
    # How full the disk is that the tests run on is none of their business.
    monkeypatch.setattr(search_checking, "LOW", 101.0)
    return replace(stream_on(database), target=made(request.param, index=f"check-{database.name.replace('_', '-')}"))


def test_a_search_engine(searched: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version, health, what the user needs, the index, and room on its disks."""
    for extra in ((), ("target: writes",)):
        lines = [f for f in check(searched) if f["what"].startswith("target")]
        assert [f for f in lines if f["level"] != "ok"] == []
        parts = ("server", "health", "rights")
        assert [f["what"] for f in lines] == [*(f"target: {p}" for p in parts), *extra, "target: room", "target: index"]
        run(searched)
    with searched.target.open("products") as session:
        (generation,) = session.generations()
        session._calls.call("PUT", f"/{generation.name}/_settings", {"index.blocks.write": True})  # type: ignore[attr-defined]
        blocked = found(searched, "target: writes")
        assert blocked["level"] == "wrong"
        assert blocked["statement"].startswith(f"PUT /{generation.name}/_settings")
        session._calls.call("PUT", f"/{generation.name}/_settings", {"index.blocks.write": None})  # type: ignore[attr-defined]
    for low, flood, level in ((0.0, 101.0, "warning"), (0.0, 0.0, "wrong")):
        monkeypatch.setattr(search_checking, "LOW", low)
        monkeypatch.setattr(search_checking, "FLOOD", flood)
        assert found(searched, "target: room")["level"] == level


@pytest.mark.parametrize(("lacks", "level"), [({}, "ok"), ({"write": False, "manage": False}, "wrong")])
def test_what_a_user_may_do(lacks: dict[str, bool], level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An Elasticsearch with security says so; the ones of the other tests have none. In the words of its reference."""
    granted = {"create_index": True, "manage": True, "read": True, "write": True, **lacks}
    told = {
        "username": "indexer",
        "has_all_requested": not lacks,
        "cluster": {"monitor": True},
        "index": {"things": granted, "things_*": granted},
        "application": {},
    }
    replies = {
        "/_security": told,
        "/_cluster": {"status": "red", "number_of_data_nodes": 2},
        "/_cat": [],
        "/_nodes": None,
    }

    def answer(request: Request) -> Reply | None:
        known = next((start for start in replies if request.path.startswith(start)), "")
        return None if known == "/_nodes" else Reply(json=replies.get(known, {}))

    with stand_in("elasticsearch") as engine:
        monkeypatch.setenv("AIRFLOW_CONN_ENGINE", f"elasticsearch://127.0.0.1:{engine.port}/http")
        engine.script = answer
        with ElasticsearchTarget("engine", index="things").open("products") as session:
            by_what = {finding.what: finding for finding in session.check()}
    assert by_what["health"].level == "warning"
    assert by_what["rights"].level == level
    if lacks:
        assert "manage, write on things_*" in by_what["rights"].says
        assert str(by_what["rights"].statement).startswith('PUT /_security/role/reindex {"cluster": ["monitor"]')


# -- statements in what is said


@pytest.mark.parametrize(
    ("says", "statement"),
    [
        (
            "x: no index. CREATE INDEX CONCURRENTLY ON a (b); CREATE INDEX ON c (d);",
            "CREATE INDEX CONCURRENTLY ON a (b); CREATE INDEX ON c (d);",
        ),
        ("ALTER ROLE x SET track_activities = on; and let it reconnect", "ALTER ROLE x SET track_activities = on;"),
        ("run this:\nBEGIN;\nSET x;\nCOMMIT;", "BEGIN;\nSET x;\nCOMMIT;"),
        ('blocked. PUT /x/_settings {"a": {"b": null}}.', 'PUT /x/_settings {"a": {"b": null}}'),
        ("is closed. Open it: POST /x/_open.", "POST /x/_open"),
        ("add one (`airflow connections add x`, or else)", "airflow connections add x"),
        ("GRANT what it lacks to the role", None),
        ("nothing to do", None),
    ],
)
def test_statements_are_found_in_messages(says: str, statement: str | None) -> None:
    """Ready to be copied."""
    assert statement_in(says) == statement
