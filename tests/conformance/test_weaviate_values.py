"""What Weaviate makes of values, names, connections, and of an index that was tampered with."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ConfigurationError, TransientError
from airflow_reindex_provider.core.model import Chunk, Counts, Document, Field, Format, Level, Position, Schema
from airflow_reindex_provider.targets.weaviate import WeaviateTarget, rows, server
from airflow_reindex_provider.targets.weaviate.session import WeaviateTargetSession
from airflow_reindex_provider.testing.weaviate_server import WeaviateServer

pytestmark = pytest.mark.versions

STREAM = "products"
TARGET = WeaviateTarget("weaviate", index="Values")
FIRST = TARGET.generation_name("20260101t000000")
NOON = "2026-03-01T12:00:00Z"
VALUES: dict[str, tuple[str, Any, Any]] = {
    "small": ("smallint", 7, 7),
    "big": ("bigint", -(2**53), -(2**53)),
    "number": ("numeric", Decimal("1.5"), 1.5),
    "real": ("real", 0.5, 0.5),
    "flag": ("boolean", False, False),
    "bytes": ("bytea", b"\0\xff", "AP8="),
    "day": ("date", date(2026, 3, 1), "2026-03-01T00:00:00Z"),
    "at": ("timestamp with time zone", datetime(2026, 3, 1, 12, tzinfo=UTC), NOON),
    "local": ("timestamp without time zone", "2026-03-01 12:00:00", NOON),
    "uuid": ("uuid", UUID(int=1), str(UUID(int=1))),
    "json": ("jsonb", {"a": [1, Decimal("0.1")], "b": "é"}, '{"a": [1, 0.1], "b": "é"}'),
    "tags": ("text[]", ["a", "b"], ["a", "b"]),
    "numbers": ("integer[]", [1, 2], [1, 2]),
    "words": ("text", " NUL\0, é 😀 ", " NUL\0, é 😀 "),
    "empty": ("character varying(10)", "", ""),
}
VECTORS = {"vector": ("vector(3)", "[1,0.5,-2]", [1.0, 0.5, -2.0]), "halves": ("halfvec", [1, 2], [1.0, 2.0])}
BAD: dict[str, Any] = {
    "small": "seven",
    "big": 2**53 + 1,
    "number": Decimal("NaN"),
    "flag": "yes",
    "day": "0044-03-15 BC",
    "at": "infinity",
    "uuid": "no uuid",
    "tags": ["a", None],
    "vector": "[1,2]",
    "halves": [0.0, 0.0],
    "words": "\ud83d",
}


@pytest.fixture
def there(weaviate: WeaviateServer) -> WeaviateServer:
    weaviate.clear("Values")
    return weaviate


@pytest.fixture
def session(there: WeaviateServer) -> Iterator[WeaviateTargetSession]:
    with TARGET.open(STREAM) as session:
        yield session


def schema(types: dict[str, str], *key: str) -> Schema:
    fields = tuple(Field(name, kind, kind, nullable=name not in key) for name, kind in types.items())
    return Schema(fields, key, CursorType.INTEGER, has_deletes=True)


def write(session: WeaviateTargetSession, made: Schema, *documents: Document) -> Any:
    with session.writer(FIRST, made, Format.ROWS) as writer:
        return writer.write(Chunk(Position("1"), Format.ROWS, documents))


def test_values_have_the_type_of_their_column(session: WeaviateTargetSession, there: WeaviateServer) -> None:
    """Each comes back as it was, and is equal to itself; one that is none of its column's parks its document alone."""
    all_of_them = VALUES | VECTORS
    made = schema({"id": "bigint", **{name: kind for name, (kind, _, _) in all_of_them.items()}}, "id")
    values = {name: value for name, (_, value, _) in all_of_them.items()}
    good = [Document(("1",), 1, {"id": 1, **values}), Document(("2",), 1, {"id": 2}), Document(("3",), 1, None)]
    bad = [Document((str(n),), 1, {"id": n, **values, name: BAD[name]}) for n, name in enumerate(sorted(BAD), start=10)]
    session.promote(session.create_first(FIRST, made))
    result = write(session, made, *bad, *good, Document(("99",), 1, {"id": 99, "other": "x"}))
    assert list(session.differing(FIRST, good[:2], made)) == []
    for name, other in {"number": Decimal("1.6"), "vector": [1, 0.5, 2], "tags": ["a"], "at": NOON[:-2] + "1Z"}.items():
        changed = Document(("1",), 1, {"id": 1, **values, name: other})
        assert list(session.differing(FIRST, [changed], made)) == [(("1",), name)]

    assert result.counts == Counts(created=2, noops=1, failures=len(BAD) + 1)
    reasons = {rejection.key[0]: rejection.reason for rejection in result.rejected}
    for n, column in enumerate(sorted(BAD), start=10):
        assert f"column {column!r}" in reasons[str(n)]
    assert "columns=" in reasons["99"]
    found = there.call("GET", "/objects?class=Values&include=vector")["objects"]
    one = next(o for o in found if o["properties"].get("id_") == 1)
    assert {name: one["properties"][name] for name in VALUES} == {name: wanted for name, (*_, wanted) in VALUES.items()}
    assert one["vectors"] == {name: wanted for name, (*_, wanted) in VECTORS.items()}
    two = next(o for o in found if o["properties"].get("id_") == 2)
    assert two["properties"].keys() == {"id_", "_reindex_key", "_reindex_version", "_reindex_deleted"}


def test_what_is_copied_at_a_swap_keeps_its_values(session: WeaviateTargetSession, there: WeaviateServer) -> None:
    """Vectors and dates too."""
    made = schema({"id": "bigint", "at": "date", "v": "vector(2)", "tags": "text[]"}, "id")
    document = Document(("1",), 1, {"id": 1, "at": date(2026, 3, 1), "v": [0.1, 0.2], "tags": ["a"]})
    session.promote(session.create_first(FIRST, made))
    write(session, made, document)
    second = TARGET.generation_name("20260102t000000")
    session.create(second, made)
    assert session.carry_over([("1",), ("2",)], made, from_generation=FIRST, to_generation=second) == 1
    assert list(session.differing(second, [document], made)) == []
    assert session.carry_over([("1",)], made, from_generation=FIRST, to_generation=second) == 0


@pytest.mark.parametrize(
    ("types", "said"),
    [
        ({"_reindex_key": "text"}, "kept for our own"),
        ({"Name": "text"}, "small letter"),
        ({"a b": "text"}, "letters, digits"),
        ({"_id": "text"}, "its own"),
        ({"vector": "text"}, "its own"),
        ({"id_": "text"}, "'id' becomes"),
    ],
)
def test_a_column_that_cannot_be(session: WeaviateTargetSession, types: dict[str, str], said: str) -> None:
    """Told with a remedy, before anything is made."""
    with pytest.raises(ConfigurationError, match=said) as raised:
        session.create_first(FIRST, schema({"id": "text", **types}, "id"))
    assert "AS" in str(raised.value)
    assert list(session.generations()) == []


def test_what_no_longer_fits_is_told(session: WeaviateTargetSession) -> None:
    """Another type of a column, another kind of key: before anything is written. A declared type: no matter."""
    made = schema({"id": "integer", "n": "integer"}, "id")
    session.create_first(FIRST, made)
    for types, said in (
        ({"id": "integer", "n": "text"}, r"WeaviateTarget\(columns={'n': 'integer'}"),
        ({"id": "text", "n": "integer"}, "primary key"),
        ({"id": "integer"}, "no longer has"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            session.fields(FIRST, schema(types, "id"))
    assert list(session.fields(FIRST, schema({"id": "integer", "n": "bigint"}, "id"))) == ["id", "n"]


def test_a_shard_that_takes_no_writes(session: WeaviateTargetSession, there: WeaviateServer) -> None:
    """A disk that is nearly full makes it so: the task is tried again, and writes once it takes them."""
    made = schema({"id": "text"}, "id")
    session.promote(session.create_first(FIRST, made))
    (shard,) = there.call("GET", f"/schema/{FIRST}/shards")
    document = Document(("1",), 1, {"id": "1"})
    there.call("PUT", f"/schema/{FIRST}/shards/{shard['name']}", {"status": "READONLY"})
    with pytest.raises(TransientError, match="Free room"):
        write(session, made, document)
    there.call("PUT", f"/schema/{FIRST}/shards/{shard['name']}", {"status": "READY"})
    assert write(session, made, document).counts == Counts(created=1)


def test_what_weaviate_itself_refuses(
    session: WeaviateTargetSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is told with its key and Weaviate's reason, one alone and several together, and none of them is logged."""
    made = schema({"id": "text", "v": "vector"}, "id")
    session.promote(session.create_first(FIRST, made))
    write(session, made, Document(("0",), 1, {"id": "0", "v": [1.0, 2.0]}))
    good, *bad = (Document((str(n),), 1, {"id": str(n), "v": [1.0] * (1 + n)}) for n in range(1, 4))
    with caplog.at_level(logging.DEBUG, logger="weaviate-client"):
        result = write(session, made, good, *bad)
        assert result.counts == Counts(created=1, failures=2)
        assert sorted(r.key for r in result.rejected) == [("2",), ("3",)]
        assert all("vector" in r.reason for r in result.rejected)
        assert write(session, made, *bad).counts == Counts(failures=2)
    assert "[1.0, 1.0" not in caplog.text


def test_large_documents(session: WeaviateTargetSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are sent in several requests."""
    monkeypatch.setattr(rows, "_MOST_BYTES", 1_000)
    made = schema({"id": "text", "body": "text"}, "id")
    session.promote(session.create_first(FIRST, made))
    documents = [Document((str(n),), 1, {"id": str(n), "body": "x" * 600}) for n in range(4)]
    assert write(session, made, *documents).counts == Counts(created=4)
    assert session.count(FIRST) == 4


def test_a_connection_that_will_not_do(weaviate: WeaviateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """No such one, another key, no server, an old server: told with what to do."""
    known = json.loads(weaviate.connection_uri())
    monkeypatch.setenv("AIRFLOW_CONN_STRANGER", json.dumps({**known, "extra": {**known["extra"], "token": "wrong"}}))
    monkeypatch.setenv("AIRFLOW_CONN_NOWHERE", json.dumps({**known, "port": 1}))
    for conn_id, kind, said in (
        ("missing", ConfigurationError, "airflow connections add"),
        ("stranger", ConfigurationError, "API key"),
        ("nowhere", TransientError, "nowhere|onnect"),
    ):
        with pytest.raises(kind, match=said), WeaviateTarget(conn_id, index="Values").open(STREAM):
            pass
    monkeypatch.setattr(server, "LEAST_VERSION", (99, 0))
    with pytest.raises(ConfigurationError, match="no aliases"), TARGET.open(STREAM):
        pass


@pytest.mark.parametrize("index", ["products", "A b", "A-b", "X" * 250, "{group}"])
def test_names_that_no_collection_can_have(index: str) -> None:
    with pytest.raises(ConfigurationError, match="name"):
        WeaviateTarget("weaviate", index=index)


def test_names_of_groups() -> None:
    """A dash is none of a collection's letters, and no two groups come to one name."""
    target = WeaviateTarget("weaviate", index="Of_{group}")
    assert target.of_group("a-b").index == "Of_aDb"
    assert target.group_room is not None


def test_what_is_not_ours_is_left_alone(session: WeaviateTargetSession, there: WeaviateServer) -> None:
    """An alias with the public name, and a collection with the register's."""
    there.call("POST", "/schema", {"class": "Values_mine", "vectorizer": "none"})
    there.call("POST", "/aliases", {"alias": "Values", "class": "Values_mine"})
    with pytest.raises(ConfigurationError, match="left alone"):
        session.generations()
    there.clear("Values")
    there.call("POST", "/schema", {"class": "Values_register", "vectorizer": "none"})
    with pytest.raises(ConfigurationError, match="left alone"):
        session.create_first(FIRST, schema({"id": "text"}, "id"))
    assert there.collections("Values") == ["Values_register"]


def test_a_generation_that_was_half_made(session: WeaviateTargetSession, there: WeaviateServer) -> None:
    """By a task that was killed: it is made anew."""
    made = schema({"id": "text"}, "id")
    session.create_first(FIRST, made)
    second = TARGET.generation_name("20260102t000000")
    there.call("POST", "/schema", {**there.call("GET", f"/schema/{FIRST}"), "class": second})
    session.create(second, made)
    assert [g.name for g in session.generations()] == [FIRST, second]


def test_the_doctor_says_how_it_stands(session: WeaviateTargetSession, there: WeaviateServer) -> None:
    findings = list(session.check())
    assert [(f.what, f.level) for f in findings] == [("server", Level.OK), ("health", Level.OK), ("rights", Level.OK)]
    assert there.version in findings[0].says


def test_it_goes_with_all_that_belongs_to_it(session: WeaviateTargetSession, there: WeaviateServer) -> None:
    """Handed to another stream, and removed."""
    made = schema({"id": "text"}, "id")
    session.promote(session.create_first(FIRST, made))
    write(session, made, Document(("1",), 1, {"id": "1"}))
    session.create(TARGET.generation_name("20260102t000000"), made)
    session.hand_over("another")
    assert len(session.generations()) == 2
    with TARGET.open(STREAM) as old, pytest.raises(ConfigurationError, match="'another'"):
        old.generations()
    session.remove()
    assert list(session.generations()) == []
    assert there.collections("Values") + there.aliases("Values") == []
