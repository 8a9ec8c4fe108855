"""Postgres keeps the promises of a source and of a target: with several kinds of key and cursor, in every format."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any, ClassVar, cast

import psycopg
import pytest
from psycopg import sql

from airflow_reindex_provider.core.bulk import key_of
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Chunk, Document, Format, Key, Position, Schema
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.source_conformance import KeyConformance, Made, SourceConformance
from airflow_reindex_provider.testing.target_conformance import TargetConformance, text_schema

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
MOST_KEYS = 2_000
"""That a test asks a table for: they are put in order once for a class."""


@dataclass(frozen=True)
class Keys:
    """A kind of key: its columns with their types, and values of it in the order of the database."""

    columns: Mapping[str, str]
    make: Any


INTEGER = Keys({"id": "bigint"}, lambda n: (str(n + 1),))
_WORDS = [
    "",
    " ",
    "'",
    '"',
    "a b",
    "a\\b",
    "a\tb",
    "a\nb",
    "a,b",
    "{a}",
    "%s",
    "%(a)s",
    "NULL",
    "null",
    "é",
    "e\u0301",
    "😀",
    "ﬀ",
]
TEXT = Keys({"id": "text"}, lambda n: (_WORDS[n] if n < len(_WORDS) else f'it\'s "{n}"',))
VARCHAR = Keys({"id": "varchar(40)"}, lambda n: (f"Zeile {n}",))
PADDED = Keys({"id": "char(12)"}, lambda n: (f"a {n}",))
UUID = Keys({"id": "uuid"}, lambda n: (str(uuid.uuid5(uuid.NAMESPACE_OID, str(n))),))
COMPOSITE = Keys(
    {"tenant": "text", "Order %s {id}": "int", 'at "x"': "timestamptz"},
    lambda n: (f"it's {n % 3}", str(n % 7), str(START + timedelta(microseconds=n))[:-6] + "+00"),
)
ENUM = Keys({"colour": "colour", "id": "int"}, lambda n: (["red", "blue", "green"][n % 3], str(n)))
NUMERIC = Keys({"id": "numeric"}, lambda n: (f"{n - 500}.{n:04}" if n else "NaN",))
BYTES = Keys({"id": "bytea"}, lambda n: ("\\x" + n.to_bytes(3, "big").hex(),))


def from_arrays(columns: Mapping[str, str], ordinality: str = "", *further: str) -> sql.Composed:
    """A query for rows whose columns, of these types, are each an array of texts, the first of which is ``$1``.

    :param ordinality: after ``unnest``. :param further: columns that it makes."""
    names = sql.SQL(", ").join(map(sql.Identifier, (*columns, *further)))
    typed = [sql.SQL("{0}::{1} AS {0}").format(sql.Identifier(n), sql.SQL(kind)) for n, kind in columns.items()]
    arrays = sql.SQL(", ").join(sql.SQL(f"${n}::text[]") for n in range(1, len(columns) + 1))
    shown = sql.SQL(", ").join([*typed, *map(sql.Identifier, further)])
    return sql.SQL("SELECT {} FROM unnest({}) {} AS made ({})").format(shown, arrays, sql.SQL(ordinality), names)


class PostgresTable:
    """A table with soft deletes and a filter; each hides every other row that is gone."""

    cursor_type = "timestamptz"

    def __init__(self, database: Database, keys: Keys, *, index: bool = True, **options: Any) -> None:
        self._database = database
        self._keys = keys
        # A session that a test has left open fails the next one, which else waited for ever to empty the table.
        self._connection = database.connect(options="-c timezone=UTC -c lock_timeout=30s")
        names = [sql.Identifier(n) for n in keys.columns]
        self._names = sql.SQL(", ").join(names)
        if keys is ENUM:
            self._connection.execute("CREATE TYPE colour AS ENUM ('red', 'blue', 'green')")
        columns = sql.SQL(", ").join(
            sql.SQL("{} {}").format(n, sql.SQL(t)) for n, t in zip(names, keys.columns.values(), strict=True)
        )
        self._connection.execute(
            sql.SQL(
                'CREATE TABLE "t ""1""" ({}, body text, gone boolean, hidden boolean, changed {}, PRIMARY KEY ({}))'
            ).format(columns, sql.SQL(self.cursor_type), self._names)
        )
        if index:
            self._connection.execute(sql.SQL('CREATE INDEX ON "t ""1""" (changed, {})').format(self._names))
        self.source = PostgresSource(
            database.conn_id,
            **{
                "table": 'public.t "1"',
                "primary_key": tuple(keys.columns),
                "cursor_field": "changed",
                "soft_delete_column": "gone",
                "row_filter": "NOT hidden -- a comment",
                **options,
            },
        )

    def clear(self) -> None:
        """As it was made, and nothing left of what was decoded."""
        self._connection.execute('TRUNCATE "t ""1"""')
        self._connection.execute("DISCARD TEMP")

    def keys(self, count: int) -> Sequence[Key]:
        assert count <= MOST_KEYS
        return [key for number, key in self._ordered if number <= count]

    @cached_property
    def _ordered(self) -> Sequence[tuple[int, Key]]:
        """As many as a test ever wants, with their numbers, in the order of the database."""
        texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(n)) for n in self._keys.columns)
        order = sql.SQL(", ").join(sql.Identifier("v", n) for n in self._keys.columns)
        source = from_arrays(self._keys.columns, "WITH ORDINALITY", "number")
        statement = sql.SQL("SELECT number, {} FROM ({}) AS v ORDER BY {}").format(texts, source, order)
        columns = zip(*(self._keys.make(n) for n in range(MOST_KEYS)), strict=True)
        with psycopg.RawCursor(self._connection) as cursor:
            return [(number, tuple(key)) for number, *key in cursor.execute(statement, list(map(list, columns)))]

    def put(self, rows: Sequence[Made]) -> None:
        given = {"body": "text", "gone": "boolean", "hidden": "boolean", "changed": self.cursor_type}
        columns = {**self._keys.columns, **given}
        updates = sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(n)) for n in given)
        statement = sql.SQL('INSERT INTO "t ""1""" ({}) {} ON CONFLICT ({}) DO UPDATE SET {}').format(
            sql.SQL(", ").join(map(sql.Identifier, columns)), from_arrays(columns), self._names, updates
        )
        values = [
            (
                *row.key,
                row.text,
                str(row.gone and number % 2 == 0),
                str(row.gone and number % 2 == 1),
                None if row.us is None else self.cursor(row.us),
            )
            for number, row in enumerate(rows)
        ]
        # Not psycopg's own placeholders, which would take the percent signs of the names for theirs.
        with psycopg.RawCursor(self._connection) as cursor:
            cursor.execute(statement, list(map(list, zip(*values, strict=True))))

    def cursor(self, us: int) -> str:
        return str(START + timedelta(microseconds=us))

    def documents(self, chunk: Chunk, fields: Sequence[str]) -> Sequence[Document]:
        if chunk.format is Format.ROWS:
            return [_plain(d) for d in chunk.payload]  # type: ignore[arg-type]
        decoded = bulk_documents if chunk.format is Format.BULK else copied_documents
        return decoded(self._connection, chunk, self._schema, fields)

    @cached_property
    def _schema(self) -> Schema:
        with self.source.open() as source:
            return source.schema()


def bulk_documents(
    connection: psycopg.Connection[Any], chunk: Chunk, schema: Schema, fields: Sequence[str]
) -> list[Document]:
    """What a chunk of bulk lines holds, its JSON read by Postgres into the columns' types."""
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(n), sql.SQL(schema.field(n).wire_type))  # type: ignore[misc]
        for n in fields
    )
    statement = sql.SQL(
        "SELECT d.* FROM unnest($1::text[]) WITH ORDINALITY AS line (content, number),"
        " json_to_record(line.content::json) AS d ({}) ORDER BY line.number"
    ).format(columns)
    lines = (line.decode() for line in b"".join(cast("Iterable[bytes]", chunk.payload)).splitlines())
    documents, contents = [], []
    for line in lines:
        ((action, named),) = json.loads(line).items()
        contents += [next(lines)] if action == "index" else []
        documents.append((key_of(named["_id"], len(schema.primary_key)), named["version"], action == "index"))
    with psycopg.RawCursor(connection) as cursor:
        found = iter(cursor.execute(statement, [contents]).fetchall())
    return [
        _plain(Document(key, version, dict(zip(fields, next(found), strict=True)) if has_content else None))
        for key, version, has_content in documents
    ]


def copied_documents(
    connection: psycopg.Connection[Any], chunk: Chunk, schema: Schema, fields: Sequence[str]
) -> list[Document]:
    """What a chunk of binary COPY holds: Postgres itself decodes it."""
    columns = [sql.SQL("_version bigint, _gone boolean")]
    columns += [
        sql.SQL("{} {}").format(sql.Identifier(n), sql.SQL(schema.field(n).wire_type))  # type: ignore[misc]
        for n in fields
    ]
    with connection.transaction(), connection.cursor() as cursor:
        made = sql.SQL("CREATE TEMP TABLE IF NOT EXISTS decoded ({}) ON COMMIT DELETE ROWS")
        cursor.execute(made.format(sql.SQL(", ").join(columns)))
        with cursor.copy("COPY decoded FROM STDIN (FORMAT binary)") as copy:
            for piece in cast("Iterable[bytes]", chunk.payload):
                copy.write(piece)
        keys = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(n)) for n in schema.primary_key)
        names = sql.SQL(", ").join(map(sql.Identifier, fields))
        cursor.execute(sql.SQL("SELECT _version, _gone, {}, {} FROM decoded ORDER BY ctid").format(keys, names))
        width = len(schema.primary_key)
        return [
            _plain(
                Document(
                    tuple(row[2 : 2 + width]),
                    row[0],
                    None if row[1] else dict(zip(fields, row[2 + width :], strict=True)),
                )
            )
            for row in cursor
        ]


def _plain(document: Document) -> Document:
    """With values by their text, so that NaN equals NaN and times do not hang on a session's zone."""
    if document.fields is None:
        return document
    texts = {n: v.astimezone(UTC) if isinstance(v, datetime) and v.tzinfo else v for n, v in document.fields.items()}
    return Document(document.key, document.version, {n: repr(v) if n != "body" else v for n, v in texts.items()})


class OneTable:
    """The tests of a class have one table in turn, each as if it were new: a database for each would cost many times as much."""

    formats = PostgresSource.formats
    kind: ClassVar[Keys] = INTEGER

    @classmethod
    def make(cls, database: Database) -> PostgresTable:
        return PostgresTable(database, cls.kind)

    @pytest.fixture
    def table(self, table_of_the_class: PostgresTable) -> PostgresTable:
        table_of_the_class.clear()
        return table_of_the_class


class PostgresSourceConformance(OneTable, SourceConformance):
    """All formats; a subclass names the keys."""


class FurtherKey(OneTable, KeyConformance):
    """The tests in which the kind of key matters."""


@pytest.mark.versions
class TestIntegerKey(PostgresSourceConformance):
    """The everyday case."""


class TestTextKey(FurtherKey):
    """Keys with quotes, separators, placeholders, other scripts, and the empty text."""

    kind = TEXT


class TestVarcharKey(FurtherKey):
    kind = VARCHAR


class TestPaddedKey(FurtherKey):
    """char(n), whose text has lost its blanks."""

    kind = PADDED


@pytest.mark.versions
class TestUuidKey(FurtherKey):
    kind = UUID


@pytest.mark.versions
class TestCompositeKey(PostgresSourceConformance):
    """Three columns, with names that need quoting."""

    kind = COMPOSITE

    def test_the_columns_are_the_sources(self, table: PostgresTable) -> None:
        """Names with quotes, braces and percent signs come as they are."""
        with table.source.open() as source:
            assert source.schema().primary_key == ("tenant", "Order %s {id}", 'at "x"')


class TestEnumKey(FurtherKey):
    """Ordered by the enum, not by its text."""

    kind = ENUM


@pytest.mark.versions
class TestNumericKey(FurtherKey):
    """NaN sorts last."""

    kind = NUMERIC


@pytest.mark.versions
class TestBytesKey(FurtherKey):
    kind = BYTES


class TestWithoutIndex(FurtherKey):
    """The same without an index on (cursor, key), where planning numbers the rows."""

    @classmethod
    def make(cls, database: Database) -> PostgresTable:
        return PostgresTable(database, TEXT, index=False)


class TestQuery(PostgresSourceConformance):
    """A query instead of a table."""

    @classmethod
    def make(cls, database: Database) -> PostgresTable:
        return PostgresTable(database, TEXT, table=None, query='SELECT * FROM "t ""1""" -- all of it')


class TestIntegerCursor(PostgresSourceConformance):
    """A cursor field that counts."""

    @classmethod
    def make(cls, database: Database) -> PostgresTable:
        class Counted(PostgresTable):
            cursor_type = "bigint"

            def cursor(self, us: int) -> str:
                return str(us)

        return Counted(database, TEXT)

    def test_the_survey_describes_the_table(self, table: PostgresTable) -> None:
        """The horizon is one past the greatest value, since nothing is open."""
        table.put([Made(key, 40 + n) for n, key in enumerate(table.keys(3))])
        with table.source.open() as source:
            survey = source.survey()
        assert (survey.horizon.cursor, survey.now) == ("43", None)


class TestTransactionIdCursor(FurtherKey):
    """An xid8, which has no max()."""

    @classmethod
    def make(cls, database: Database) -> PostgresTable:
        class Stamped(PostgresTable):
            cursor_type = "xid8"

            def cursor(self, us: int) -> str:
                return str(us)

        return Stamped(database, INTEGER)


class TestLocalTimestampCursor(PostgresSourceConformance):
    """A cursor field without a zone, which is stated."""

    @classmethod
    def make(cls, database: Database) -> PostgresTable:
        class Local(PostgresTable):
            cursor_type = "timestamp"

            def cursor(self, us: int) -> str:
                return str(START.replace(tzinfo=None) + timedelta(microseconds=us))

        return Local(database, UUID, cursor_timezone="America/New_York")


class TestDateCursor(PostgresSourceConformance):
    """A day is the finest step: a microsecond of the suite is a day here."""

    first_day: ClassVar[date] = date(2000, 1, 1)

    @classmethod
    def make(cls, database: Database) -> PostgresTable:
        first_day = cls.first_day

        class Daily(PostgresTable):
            cursor_type = "date"

            def cursor(self, us: int) -> str:
                return str(first_day + timedelta(days=us))

        return Daily(database, TEXT, cursor_timezone="UTC")

    @pytest.mark.skip(reason="a date has no microseconds")
    def test_microseconds_are_kept_apart(self) -> None: ...


class TestDateCursorLongAgo(TestDateCursor):
    """Versions below zero, which a search engine does not have."""

    first_day = date(1800, 1, 1)
    formats = (Format.PG_COPY, Format.ROWS)


class PostgresIndex:
    """A view in a schema whose name needs quoting."""

    def __init__(self, database: Database) -> None:
        self._connection = database.connect()
        self._connection.execute('CREATE SCHEMA "My ""search"""')
        self.target = PostgresTarget(
            database.conn_id,
            index='My "search".Products {x} %s',
            indexes=("(body)",),
        )
        self._view = sql.Identifier('My "search"', "Products {x} %s")

    def schema(self) -> Schema:
        return text_schema()

    def published(self) -> Mapping[Key, str] | None:
        try:
            rows = self._connection.execute(sql.SQL("SELECT id, body FROM {}").format(self._view))
        except psycopg.errors.UndefinedTable:
            return None
        return {(key,): body for key, body in rows}

    def chunk(self, documents: Sequence[Document], format: Format) -> Chunk:
        end = Position("1")
        if format is Format.ROWS:
            return Chunk(end, format, list(documents))
        rows = [sql.SQL("(0::bigint, NULL::boolean, NULL::text, NULL::text)")]
        for d in documents:
            values = (d.version, d.fields is None, d.key[0], (d.fields or {}).get("body"))
            rows.append(sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, values))))  # type: ignore[arg-type]
        query = sql.SQL("COPY (SELECT * FROM (VALUES {}) AS v(a, b, c, d) WHERE b IS NOT NULL) TO STDOUT (FORMAT {})")
        form = sql.SQL("text" if format is Format.PG_TEXT else "binary")
        with (
            self._connection.cursor() as cursor,
            cursor.copy(query.format(sql.SQL(", ").join(rows), form)) as copy,
        ):
            return Chunk(end, format, [bytes(piece) for piece in copy])

    def bad_body(self) -> str:
        # Longer than a btree takes, and random, since it compresses.
        return random.Random(1).randbytes(10_000).hex()

    def occupy(self) -> None:
        self._connection.execute(sql.SQL("CREATE TABLE {} AS SELECT 'mine' AS body").format(self._view))

    def occupant_is_unharmed(self) -> bool:
        rows = self._connection.execute(sql.SQL("SELECT body FROM {}").format(self._view)).fetchall()
        return rows == [("mine",)]


@pytest.mark.versions
class TestPostgresTarget(TargetConformance):
    """All formats."""

    formats = PostgresTarget.formats

    @pytest.fixture
    def index(self, database: Database) -> PostgresIndex:
        return PostgresIndex(database)

    @pytest.mark.parametrize(
        "occupant",
        [
            "CREATE VIEW {} AS SELECT 1 AS one",
            "CREATE MATERIALIZED VIEW {} AS SELECT 1 AS one",
            "CREATE SEQUENCE {}",
            "CREATE TYPE {} AS (one int)",
            "CREATE TABLE one (one int); CREATE INDEX {} ON one (one)",
        ],
    )
    def test_any_relation_of_the_name_is_left_alone(self, database: Database, occupant: str) -> None:
        """Whatever kind of thing has the name, the run fails before a table is made, not after the first load."""
        with database.connect() as connection:
            for statement in occupant.split(";"):
                name = sql.Identifier("Taken")
                connection.execute(sql.SQL(statement).format(name))
        target = PostgresTarget(database.conn_id, index="Taken")
        with target.open("stream") as session, pytest.raises(ConfigurationError, match="left alone"):
            session.create_first(target.generation_name("20260101t000000"), text_schema())

    def test_nobody_sees_a_half_made_name(self, index: PostgresIndex, database: Database) -> None:
        """A promotion that fails in the middle (here: a secondary index that cannot be built) leaves no public name, and
        the generation as it was; mended, it succeeds."""
        broken = replace(index.target, indexes=("(body)", "(no_such_column)"))
        with index.target.open("products") as session:
            name = session.create_first(broken.generation_name("20260101t000000"), index.schema())
        with broken.open("products") as session, pytest.raises(ConfigurationError, match="no_such_column"):
            session.promote(name)
        assert index.published() is None
        with index.target.open("products") as session:
            assert [g.live for g in session.generations()] == [False]
            session.promote(name)
        assert index.published() == {}
