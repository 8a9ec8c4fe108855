"""What LanceDB makes of values, keys, connections and an index that was tampered with."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import lancedb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.keys import KeyKind, placing
from airflow_reindex_provider.core.model import Chunk, Counts, Document, Field, Format, Level, Position, Schema
from airflow_reindex_provider.targets.key_texts import KeyTexts
from airflow_reindex_provider.targets.lance import LanceTarget
from airflow_reindex_provider.targets.lance.storage import place

pytestmark = pytest.mark.versions

STREAM = "products"
VALUES: dict[str, tuple[str, Any, Any]] = {
    "small": ("smallint", 7, 7),
    "big": ("bigint", -(2**63), -(2**63)),
    "number": ("numeric", Decimal("1.5"), 1.5),
    "price": ("numeric(10,2)", Decimal("9.90"), Decimal("9.90")),
    "real": ("real", 0.5, 0.5),
    "flag": ("boolean", True, True),
    "bytes": ("bytea", b"\0\xff", b"\0\xff"),
    "day": ("date", date(2026, 3, 1), date(2026, 3, 1)),
    "at": ("timestamp with time zone", datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)),
    "local": ("timestamp without time zone", datetime(2026, 3, 1), datetime(2026, 3, 1)),  # noqa: DTZ001, it has no zone
    "clock": ("time without time zone", time(12, 30), time(12, 30)),
    "uuid": ("uuid", UUID(int=1), str(UUID(int=1))),
    "json": ("jsonb", {"a": [1, Decimal("0.1")], "b": "é"}, '{"a": [1, 0.1], "b": "é"}'),
    "tags": ("text[]", ["a", None, "b"], ["a", None, "b"]),
    "vector": ("vector(3)", "[1,0.5,-2]", [1.0, 0.5, -2.0]),
    "embedding": ("vector(12)", [0.5] * 12, [0.5] * 12),
    "halves": ("halfvec", [1, 2], [1.0, 2.0]),
    'odd "name" %s': ("text", "x", "x"),
}
BAD: dict[str, Any] = {
    "small": 2**15,
    "price": Decimal("0.001"),
    "flag": "yes",
    "day": "0044-03-15 BC",
    "at": "infinity",
    "vector": "[1,2]",
    "halves": [float("nan")],
    "tags": "a",
    "uuid": object(),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "generic", "host": str(tmp_path)}))
    return tmp_path


def schema(types: dict[str, str], *key: str) -> Schema:
    fields = tuple(Field(name, kind, kind, nullable=name not in key) for name, kind in types.items())
    return Schema(fields, key, CursorType.INTEGER, has_deletes=True)


def rows(folder: Path) -> list[dict[str, Any]]:
    database = lancedb.connect(folder)
    (name,) = database.open_table("products").to_arrow()["table"].to_pylist()
    return database.open_table(name).search().where("NOT _reindex_deleted").to_list()


def test_values_have_the_type_of_their_column(folder: Path) -> None:
    """Each comes back as it was, and is equal to itself; one that is none of its column's parks its document alone."""
    made = schema({"id": "bigint", **{name: kind for name, (kind, _, _) in VALUES.items()}}, "id")
    values = {name: value for name, (_, value, _) in VALUES.items()}
    good = [Document(("1",), 1, {"id": 1, **values}), Document(("2",), 1, {"id": 2}), Document(("3",), 1, None)]
    bad = [Document((str(n),), 1, {"id": n, **values, name: BAD[name]}) for n, name in enumerate(sorted(BAD), start=10)]
    target = LanceTarget("lake", index="products")
    with target.open(STREAM) as session:
        name = session.create_first(target.generation_name("20260101t000000"), made)
        session.promote(name)
        with session.writer(name, made, Format.ROWS) as writer:
            unknown = Document(("99",), 1, {"id": 99, "words": "x"})
            result = writer.write(Chunk(Position("1"), Format.ROWS, [*bad, *good, unknown]))
        assert list(session.differing(name, good[:2], made)) == []
        other = Document(("1",), 1, {"id": 1, **values, "price": Decimal("9.91")})
        assert list(session.differing(name, [other], made)) == [(("1",), "price")]

    assert result.counts == Counts(created=2, noops=1, failures=len(BAD) + 1)
    reasons = {rejection.key[0]: rejection.reason for rejection in result.rejected}
    for n, column in enumerate(sorted(BAD), start=10):
        assert f"column {column!r}" in reasons[str(n)]
    assert "columns=" in reasons["99"]
    one, two = sorted(rows(folder), key=lambda row: row["id"])
    assert {name: one[name] for name in VALUES} == {name: wanted for name, (_, _, wanted) in VALUES.items()}
    assert all(two[name] is None for name in VALUES)


_PART = st.text(st.sampled_from("\0\x01a'b~é😀"), max_size=4)
_NUMBER = st.integers(-(2**63), 2**63 - 1) | st.integers(-20, 20)


@given(st.lists(st.tuples(_PART, _NUMBER, _PART), min_size=2, max_size=8, unique=True))
def test_texts_of_keys_have_their_order(parts: list[tuple[str, int, str]]) -> None:
    """By bytes, as ``core.keys`` has it, and each leads back to its key."""
    kinds = (KeyKind.TEXT, KeyKind.NUMBER, KeyKind.TEXT)
    texts, keys = KeyTexts(kinds), [(one, str(number), other) for one, number, other in parts]
    assert [texts.key(texts.text(key)) for key in keys] == keys
    assert sorted(keys, key=lambda key: texts.text(key).encode()) == sorted(keys, key=placing(kinds))


def test_what_no_longer_fits_is_told(folder: Path) -> None:
    """Another type of a column, another kind of key: before anything is written. A wider text, a declared type: no matter."""
    target, made = LanceTarget("lake", index="products"), schema({"id": "integer", "n": "integer", "v": "text"}, "id")
    with target.open(STREAM) as session:
        name = session.create_first(target.generation_name("20260101t000000"), made)
        for types, said in (
            ({"id": "integer", "n": "text", "v": "text"}, "'n'"),
            ({"id": "text", "n": "integer", "v": "text"}, "primary key"),
            ({"id": "integer", "n": "integer"}, "'v'"),
        ):
            with pytest.raises(ConfigurationError, match=said):
                session.fields(name, schema(types, "id"))
        assert list(session.fields(name, schema({"id": "integer", "n": "smallint", "v": "citext"}, "id"))) == [
            "id",
            "n",
            "v",
        ]
    declared = LanceTarget("lake", index="products", columns={"n": "bigint"})
    with declared.open(STREAM) as session:
        session.fields(name, schema({"id": "integer", "n": "text", "v": "text"}, "id"))


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("_reindex_key", "text", "kept for our own"),
        ("a.b", "text", "a dot in its name"),
        ("vector", "halfvec", "no stated length"),
        ("embeddings", "real[]", "no stated length"),
    ],
)
def test_a_column_that_cannot_be(folder: Path, name: str, kind: str, said: str) -> None:
    target = LanceTarget("lake", index="products")
    with target.open(STREAM) as session, pytest.raises(ConfigurationError, match=said):
        session.create_first("products_20260101t000000", schema({"id": "text", name: kind}, "id"))


@pytest.mark.parametrize("host", ["", "lake", "./lake", "~/lake", "/no/such/folder", "db://cloud", "https://x"])
def test_a_place_that_is_none(host: str) -> None:
    """Refused with the connection's name: a worker's own folder would be another index on each."""
    with pytest.raises(ConfigurationError, match="'lake'"):
        place(host, "lake", "index")
    assert place("s3://bucket/prefix", "lake", "index") == "s3://bucket/prefix"


def test_a_connection_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_OTHER", json.dumps({"conn_type": "generic", "host": "s3://b", "extra": {"storage_options": 1}})
    )
    for conn_id, said in (("nowhere", "airflow connections add"), ("other", "storage_options")):
        with pytest.raises(ConfigurationError, match=said), LanceTarget(conn_id, index="products").open(STREAM):
            pass


def test_names_and_kinds_that_lancedb_does_not_have(folder: Path) -> None:
    for index in ("a/b", "a b", "x" * 250):
        with pytest.raises(ConfigurationError, match="name"):
            LanceTarget("lake", index=index)
    target = LanceTarget("lake", index="products", indexes={"v": "Btree"})
    with target.open(STREAM) as session:
        name = session.create_first(
            target.generation_name("20260101t000000"), schema({"id": "text", "v": "text"}, "id")
        )
        with pytest.raises(ConfigurationError, match="LanceDB has: BTree"):
            session.promote(name)


def test_it_is_kept_tidy_and_searched_by_its_indexes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files are joined; few vectors wait for an index, and are found without."""
    monkeypatch.setattr("airflow_reindex_provider.targets.lance.indexing.SMALL_FILES", 3)
    made = schema({"id": "text", "words": "text", "v": "vector(2)"}, "id")
    target = LanceTarget("lake", index="products", indexes={"words": "FTS", "v": "IvfHnswSq"})
    with target.open(STREAM) as session:
        name = session.create_first(target.generation_name("20260101t000000"), made)
        session.promote(name)
        for n in range(3):
            with session.writer(name, made, Format.ROWS) as writer:
                document = Document((str(n),), 1, {"id": str(n), "words": f"lamp {n}", "v": [1.0, n]})
                writer.write(Chunk(Position("1"), Format.ROWS, [document]))
        assert session.count(name) == 3

    database = lancedb.connect(folder)
    table = database.open_table(database.open_table("products").to_arrow()["table"][0].as_py())
    assert table.stats()["fragment_stats"]["num_fragments"] == 1
    assert {column for index in table.list_indices() for column in index.columns} == {"_reindex_key", "words"}
    assert [row["id"] for row in table.search("2", query_type="fts").to_list()] == ["2"]
    assert [row["id"] for row in table.search([1.0, 2.0]).distance_type("cosine").limit(1).to_list()] == ["2"]


def test_the_doctor_says_where_it_is(folder: Path) -> None:
    """Place, rights and room; a folder that the worker cannot write in is wrong. Nothing is written."""
    target = LanceTarget("lake", index="products")
    with target.open(STREAM) as session:
        findings = list(session.check())
    assert [(f.what, f.level) for f in findings] == [("database", Level.OK), ("rights", Level.OK), ("room", Level.OK)]
    assert str(folder) in findings[0].says
    assert list(folder.iterdir()) == []


def test_it_goes_with_all_that_belongs_to_it(folder: Path) -> None:
    """Handed to another stream, and removed."""
    target, made = LanceTarget("lake", index="products"), schema({"id": "text"}, "id")
    with target.open(STREAM) as session:
        session.promote(session.create_first(target.generation_name("20260101t000000"), made))
        session.create(target.generation_name("20260102t000000"), made)
        session.hand_over("another")
        assert len(session.generations()) == 2
    with target.open(STREAM) as session, pytest.raises(ConfigurationError, match="'another'"):
        session.generations()
    with target.open("another") as session:
        session.remove()
        assert list(session.generations()) == []
    assert list(folder.iterdir()) == []
