"""Lines of Postgres' text COPY that MySQL or MariaDB itself writes: the worker forwards them and parses no value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, types
from sqlalchemy.dialects import mysql

from airflow_reindex_provider.core.model import Chunk, Format, Position, Schema
from airflow_reindex_provider.databases.postgres.text_copy import cells_of
from airflow_reindex_provider.sources.mysql.description import moment
from airflow_reindex_provider.sources.sql.forms import MB, Form
from airflow_reindex_provider.sources.sql.relation import Part, Relation

# Hexadecimal, so that no mode and no character set of a session has a say in it.
_TAB: ColumnElement[Any] = sa.literal_column("0x09")
_NEWLINE: ColumnElement[Any] = sa.literal_column("0x0A")
_NULL: ColumnElement[Any] = sa.literal_column("0x5C4E")
_ESCAPES = ((b"\\", b"\\\\"), (b"\t", b"\\t"), (b"\n", b"\\n"), (b"\r", b"\\r"))
_AS_THEY_ARE = ("smallint", "integer", "bigint", "numeric", "double precision")
_ZONE = "+00"
"""Of the session, and so of what a TIMESTAMP is written in."""


class CopyForm(Form):
    """One line for each row, ``Format.PG_TEXT``, and nothing beside it: each column costs a client's time.

    No value of it is left out where it is too long for the server to write: the whole line is NULL then, and the row rejected.
    """

    format = Format.PG_TEXT
    chunk_bytes = 8 * MB
    placed = False

    def __init__(self, relation: Relation, schema: Schema, fields: Sequence[str], *, longest: int) -> None:
        """:param longest: how many bytes a value may have at this server."""
        super().__init__(relation)
        self._kinds = {name: schema.field(name).type for name in fields}
        self._keys = schema.primary_key
        self._cursor = schema.cursor_type
        self._longest = longest

    def columns(self, part: Part) -> Sequence[ColumnElement[Any]]:
        of_table = part.body.c
        # Of a row that is to leave, all but the key is nobody's business: a value that is none does not keep it there.
        key_alone = [_cell(of_table[n], kind) if n in self._keys else _NULL for n, kind in self._kinds.items()]
        line = _line(_version(part), "t", key_alone)
        if set(self._kinds) <= set(of_table.keys()):
            whole = _line(_version(part), "f", [_cell(of_table[n], kind) for n, kind in self._kinds.items()])
            line = sa.case((part.gone == sa.literal_column("1"), line), else_=whole)
        return [sa.type_coerce(sa.cast(line, sa.LargeBinary()), types.NullType())]

    def width(self, row: Sequence[Any]) -> int:
        (line,) = row
        if line is None:
            raise ValueError(
                f"its text is longer than the {self._longest:,} bytes that the server's max_allowed_packet lets a value have."
                " Raise it (bytes count twice here), or give the stream a transform, with which values come one by one"
            )
        return len(line)

    def place(self, row: Sequence[Any]) -> Position:
        version, _, *cells = cells_of(row[0])
        texts = dict(zip(self._kinds, ((cell or b"").decode() for cell in cells), strict=True))
        return Position(self._cursor.text(int(version or b"")), tuple(texts[name] for name in self._keys))

    def chunk(self, rows: list[Sequence[Any]], end: Position) -> Chunk:
        lines = b"".join(line for (line,) in rows)
        rows.clear()
        return Chunk(end, self.format, [lines] if lines else [])


def _line(version: ColumnElement[Any], gone: str, cells: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
    """NULL where one of them is too long."""
    parts = [version, _TAB, sa.literal_column(f"'{gone}'")]
    for cell in cells:
        parts += [_TAB, cell]
    return sa.func.concat(*parts, _NEWLINE)


def _version(part: Part) -> ColumnElement[Any]:
    return moment(part.cursor.kind, part.cursor.column)


def _cell(column: ColumnElement[Any], kind: str) -> ColumnElement[Any]:
    """:param kind: as ``Field.type`` names it."""
    is_bits = isinstance(column.type, mysql.BIT)
    # SQLAlchemy has no operators for some of MySQL's types.
    column = sa.type_coerce(column, types.NullType())
    none: ColumnElement[bool] = column.is_(None)
    text: ColumnElement[Any] = sa.func.concat(column)
    match kind:
        case "timestamp with time zone":
            none, text = _is_no_day(column), sa.func.concat(column, sa.literal_column(f"'{_ZONE}'"))
        case "timestamp without time zone" | "date":
            # Nobody's driver has a year 0.
            early = column < sa.literal_column("'0001-01-01'")
            none = _is_no_day(column) | early
        case "bytea":
            text = sa.func.concat(sa.literal_column("0x5C5C78"), sa.func.hex(column))
        case "real":
            # By itself it would have six digits. Postgres makes the same four bytes of these.
            text = column * sa.literal_column("1e0")
        case "text[]":
            text = _escaped(_array(column))
        case _ if is_bits:
            text = sa.cast(column, mysql.INTEGER(unsigned=True))
        case _ if kind not in _AS_THEY_ARE:
            text = _escaped(_bytes(column))
    return sa.case((none, _NULL), else_=text)


def _is_no_day(column: ColumnElement[Any]) -> ColumnElement[bool]:
    """A zero date, a month or a day of 0, the 31st of February: what the clients give as NULL too."""
    days = sa.func.dayofmonth(sa.func.last_day(column))
    left = sa.func.coalesce(days - sa.func.dayofmonth(column), sa.literal_column("-1"))
    return (left < sa.literal_column("0")) | (sa.func.dayofmonth(column) == sa.literal_column("0"))


def _array(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Of a SET, whose words have no comma, as Postgres writes lists."""
    words = _bytes(column)
    for old, new in ((b"\\", b"\\\\"), (b'"', b'\\"'), (b",", b'","')):
        words = _replaced(words, old, new)
    whole = sa.func.concat(sa.literal_column("'{\"'"), words, sa.literal_column("'\"}'"))
    return sa.case((sa.func.length(column) == sa.literal_column("0"), sa.literal_column("'{}'")), else_=whole)


def _bytes(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Of its text in UTF-8."""
    return sa.cast(sa.cast(column, mysql.CHAR(charset="utf8mb4")), sa.LargeBinary())


def _escaped(text: ColumnElement[Any]) -> ColumnElement[Any]:
    for old, new in _ESCAPES:
        text = _replaced(text, old, new)
    return text


def _replaced(text: ColumnElement[Any], old: bytes, new: bytes) -> ColumnElement[Any]:
    return sa.func.replace(text, *(sa.literal_column(f"0x{part.hex()}") for part in (old, new)))
