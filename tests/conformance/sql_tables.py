"""Tables of several databases for the source suite, written to through SQLAlchemy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any, cast

import sqlalchemy as sa

from airflow_reindex_provider.core.model import Chunk, Document, Format, Key, Schema
from airflow_reindex_provider.core.protocols import Source
from airflow_reindex_provider.databases.postgres.text_copy import cells_of
from airflow_reindex_provider.testing.source_conformance import Made

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
WORDS = ["'", '"', "a b", "a\\b", "a\tb", "a\nb", "a,b", "%s", "%(a)s", ":a", "NULL", "é", "😀", "ﬀ"]


class SqlTable:
    """A table with soft deletes and a filter; each hides every other row that is gone.

    :param source: makes the source under test of the arguments that say what the table is like.
    :param keys: the key's columns with their types in this database. :param make: the ``n``-th key.
    :param cursor: type of the cursor field.
    """

    def __init__(
        self,
        engine: sa.Engine,
        source: Callable[..., Source],
        *,
        keys: Mapping[str, str],
        make: Callable[[int], tuple[str, ...]],
        cursor: str,
        options: str = "",
    ) -> None:
        self._engine = engine
        self._make = make
        self._cursor = cursor
        self._is_number = "INT" in cursor.upper()
        quote = engine.dialect.identifier_preparer.quote
        names = ", ".join(map(quote, keys))
        columns = ", ".join(f"{quote(name)} {kind} NOT NULL" for name, kind in keys.items())
        with engine.begin() as connection:
            connection.exec_driver_sql(
                f"CREATE TABLE things ({columns}, body TEXT, gone SMALLINT, hidden SMALLINT, changed {cursor},"
                f" PRIMARY KEY ({names})) {options}"
            )
            connection.exec_driver_sql(f"CREATE INDEX things_changed ON things (changed, {names})")
        self._table = sa.Table("things", sa.MetaData(), autoload_with=engine)
        self._key = tuple(keys)
        self.source = source(
            table="things",
            primary_key=self._key,
            cursor_field="changed",
            soft_delete_column="gone",
            row_filter="hidden = 0 -- a comment",
        )

    def keys(self, count: int) -> Sequence[Key]:
        """In the order of the database's own, of which it is asked."""
        made = [self._make(n) for n in range(count)]
        with self._engine.begin() as connection:
            connection.execute(self._table.insert(), [{**self._values(key), "changed": self._value(0)} for key in made])
            order = sa.select(*(self._table.c[n] for n in self._key)).order_by(*(self._table.c[n] for n in self._key))
            found = [tuple(map(str, row)) for row in connection.execute(order)]
            connection.rollback()
        return found

    def put(self, rows: Sequence[Made]) -> None:
        with self._engine.begin() as connection:
            there_are_some = connection.execute(self._table.select().limit(1)).first() is not None
            for row in rows if there_are_some else ():
                values = self._values(row.key)
                connection.execute(self._table.delete().where(*(self._table.c[n] == v for n, v in values.items())))
            connection.execute(
                self._table.insert(),
                [
                    {
                        **self._values(row.key),
                        "body": row.text,
                        "gone": int(row.gone and number % 2 == 0),
                        "hidden": int(row.gone and number % 2 == 1),
                        "changed": None if row.us is None else self._value(row.us),
                    }
                    for number, row in enumerate(rows)
                ],
            )

    def cursor(self, us: int) -> str:
        if self._is_number:
            return str(10**6 + us)
        return str(self._moment(us))

    def documents(self, chunk: Chunk, fields: Sequence[str]) -> Sequence[Document]:
        if chunk.format is Format.ROWS:
            return cast("Sequence[Document]", chunk.payload)
        return copied(b"".join(cast("Sequence[bytes]", chunk.payload)), self._schema, fields)

    @cached_property
    def _schema(self) -> Schema:
        with self.source.open() as source:
            return source.schema()

    def _moment(self, us: int) -> datetime:
        moment = START + timedelta(microseconds=us)
        return (
            moment
            if self._cursor == "timestamptz" or self._cursor.startswith("TIMESTAMP")
            else moment.replace(tzinfo=None)
        )

    def _value(self, us: int) -> Any:
        if self._is_number:
            return 10**6 + us
        moment = self._moment(us)
        # MySQL's TIMESTAMP takes the session's time, which is UTC on the servers of the tests.
        return moment.replace(tzinfo=None) if self._cursor.startswith("TIMESTAMP") else moment

    def _values(self, key: Key) -> dict[str, Any]:
        return {n: _typed(self._table.c[n].type, part) for n, part in zip(self._key, key, strict=True)}


def copied(lines: bytes, schema: Schema, fields: Sequence[str]) -> list[Document]:
    """What lines of COPY's text form hold, in Python's values."""
    documents = []
    for line in lines.splitlines(keepends=True):
        version, gone, *cells = (None if cell is None else cell.decode() for cell in cells_of(line))
        texts = dict(zip(fields, cells, strict=True))
        key = tuple(texts[name] or "" for name in schema.primary_key)
        values = {n: None if text is None else _value_of(schema.field(n).type, text) for n, text in texts.items()}
        documents.append(Document(key, int(version or ""), None if gone == "t" else values))
    return documents


def _value_of(kind: str, text: str) -> Any:
    if kind.startswith("timestamp"):
        return datetime.fromisoformat(text)
    return int(text) if kind in ("smallint", "integer", "bigint", "numeric") else text


def _typed(kind: sa.types.TypeEngine[Any], text: str) -> Any:
    if isinstance(kind, sa.Integer):
        return int(text)
    if isinstance(kind, sa.Date):
        return date.fromisoformat(text)
    return text
