"""An open Postgres source: surveys, plans and reads on one read-only connection in autocommit."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import psycopg
from psycopg import sql

from airflow_reindex_provider.common.postgres import (
    explained,
    identifier,
    is_binary_safe,
    portable_type,
    render,
    split_name,
)
from airflow_reindex_provider.common.postgres_listing import KeyList
from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ConfigurationError, HorizonError
from airflow_reindex_provider.core.keys import Checksum, KeyRange, Listed
from airflow_reindex_provider.core.model import (
    Batch,
    Chunk,
    Field,
    Format,
    Groups,
    Horizon,
    Key,
    Position,
    Schema,
    Slices,
    Survey,
    Window,
)
from airflow_reindex_provider.sources.postgres import listing, reading
from airflow_reindex_provider.sources.postgres.bulk import bulk_chunks
from airflow_reindex_provider.sources.postgres.catalog import STILL_OPEN, Catalogue, Column, read_catalogue
from airflow_reindex_provider.sources.postgres.sql import Relation
from airflow_reindex_provider.sources.postgres.tombstones import Tombstones

if TYPE_CHECKING:
    from airflow_reindex_provider.sources.postgres.source import PostgresSource

log = logging.getLogger(__name__)

HOPS_PER_BATCH = 25
"""A part is joined from whole hops: with 25 to a batch, rounding leaves the parts equal within 1/25. More cost time."""
CHUNK_BYTES = 32 * 1024 * 1024
"""Of a table's mean rows; keeps acknowledgements and progress coming where documents are large."""
NAMED_AFTER_S = 60.0
INTEGER_WAIT_S = 10.0
CANCEL_TIMEOUT_S = 5.0

_CURSOR_TYPES = {
    "timestamp with time zone": CursorType.TIMESTAMPTZ,
    "timestamp without time zone": CursorType.TIMESTAMP,
    "date": CursorType.DATE,
    "smallint": CursorType.INTEGER,
    "integer": CursorType.INTEGER,
    "bigint": CursorType.INTEGER,
    "xid8": CursorType.INTEGER,
}
_GROUP_TYPES = frozenset(
    {"text", "character varying", "character", "smallint", "integer", "bigint", "uuid", "boolean", "date"}
)
"""Types whose equal values have one text. Of a numeric or a citext, which of several texts shows depends on the rows."""
_QUERYABLE = "rpvmf"
"""pg_class.relkind of what can be read; r and p alone can promise that a key is unique."""


class PostgresSourceSession:
    """See :class:`~airflow_reindex_provider.core.protocols.SourceSession`."""

    def __init__(self, source: PostgresSource, connection: psycopg.Connection[Any]) -> None:
        self._source = source
        self._connection = connection
        self._schema: Schema | None = None
        self._relation: Relation | None = None
        self._members: Relation | None = None
        self._catalogue: Catalogue | None = None

    # -- what the source says of itself

    def survey(self) -> Survey:
        schema = self.schema()
        assert self._catalogue is not None
        facts = self._catalogue.facts
        kind = schema.cursor_type
        warnings = tuple(self._warnings(facts))
        self._require_clock(kind, facts)
        if kind is CursorType.INTEGER:
            horizon = self._integer_horizon()
            return Survey(schema, self._held_by_prepared(facts) or horizon, None, warnings)
        suffix = {CursorType.TIMESTAMPTZ: "", CursorType.TIMESTAMP: "_local", CursorType.DATE: "_date"}[kind]
        horizon = Horizon(facts["safe" + suffix], self._basis())
        if horizon.cursor == "-infinity":
            horizon = Horizon(None, self._basis(), "the standby, which has replayed no transaction since it started")
        return Survey(schema, self._held_by_prepared(facts) or horizon, facts["now" + suffix], warnings)

    def schema(self) -> Schema:
        schema, types = self._described()
        tombstones = self.tombstones() if self._source.tombstones else None
        if tombstones is not None:
            tombstones.require()
        self._relation = Relation.of(self._source, schema, types, tombstones=tombstones)
        self._members = Relation.of(self._source, schema, types, members=True)
        return schema

    def tombstones(self) -> Tombstones:
        """Whether they are installed or not. :raises ConfigurationError: the source cannot have them."""
        schema = self._schema or self._described()[0]
        assert self._catalogue is not None
        return Tombstones.of(self._source, self._catalogue, schema.cursor_type, self._connection.info.user)

    def _described(self) -> tuple[Schema, dict[str, str]]:
        """The columns, and their own types."""
        source = self._source
        self._catalogue = catalogue = self._read_catalogue()
        columns = catalogue.columns
        if source.table is None:
            columns = self._query_columns()
        elif catalogue.kind is None:
            raise ConfigurationError(
                f"{source.label}: there is no such table or view in this database. Names are taken literally:"
                f" check the schema, the spelling and the case."
            )
        elif catalogue.kind not in _QUERYABLE:
            raise ConfigurationError(f"{source.label} is neither a table nor a view.")
        schema = self._make_schema(columns)
        self._check_key(catalogue, columns)
        self._schema = schema
        return schema, {c.name: _comparable_type(c) for c in columns}

    def _read_catalogue(self) -> Catalogue:
        source = self._source
        lag = source.lag if isinstance(source.lag, timedelta) else None
        try:
            ZoneInfo(source.cursor_timezone or "UTC")
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ConfigurationError(
                f"{source.label}: cursor_timezone {source.cursor_timezone!r} is no time zone."
            ) from error
        with explained(f"Source {source.label}", grant=self._grant()):
            return read_catalogue(
                self._connection,
                relation=None if source.table is None else render(identifier(source.table)),
                tombstones=None if source.tombstone_table is None else render(identifier(source.tombstone_table)),
                lag=lag,
                margin=source.margin,
                zone=source.cursor_timezone or "UTC",
            )

    def _query_columns(self) -> tuple[Column, ...]:
        """A query has no catalogue entry, but its result has a description."""
        statement = sql.SQL("SELECT * FROM ({}\n) AS q LIMIT 0").format(sql.SQL(self._source.query or ""))
        with explained(f"Source {self._source.label}", grant=self._grant()):
            described = self._connection.execute(statement).description or []
            oids = [c.type_code for c in described]
            rows = self._connection.execute(
                "SELECT t.oid::bigint, t.typtype, n.nspname = 'pg_catalog', format_type(t.oid, NULL),"
                " format_type(nullif(t.typbasetype, 0), NULL)"
                " FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = ANY(%s)",
                [oids],
            ).fetchall()
        types = {row[0]: row[1:] for row in rows}
        return tuple(
            Column(c.name, False, kind, builtin, name, name, base)
            for c in described
            for kind, builtin, name, base in [types[c.type_code]]
        )

    def _make_schema(self, columns: tuple[Column, ...]) -> Schema:
        source = self._source
        by_name = {c.name: c for c in columns}
        wanted = source.columns if source.columns is not None else tuple(by_name)
        named = {"primary_key": source.key, "cursor_field": (source.cursor_field,), "columns": wanted}
        if source.soft_delete_column:
            named["soft_delete_column"] = (source.soft_delete_column,)
        if source.group_by:
            named["group_by"] = (source.group_by,)
        for option, names in named.items():
            for name in names:
                if name not in by_name:
                    raise ConfigurationError(
                        f"{source.label}: {option} names {name!r}, which is not a column of it."
                        f" It has: {', '.join(by_name)}."
                    )
        kind = _CURSOR_TYPES.get(by_name[source.cursor_field].type)
        if kind is None:
            raise ConfigurationError(
                f"{source.label}: cursor_field {source.cursor_field!r} is a {by_name[source.cursor_field].declared};"
                " it must be a timestamptz, timestamp, date or integer."
            )
        group = by_name.get(source.group_by or "")
        if group is not None and group.kind != "e" and (group.base or group.type) not in _GROUP_TYPES:
            raise ConfigurationError(
                f"{source.label}: group_by column {group.name!r} is a {group.declared}; it must be a text, integer, uuid,"
                " boolean, date or enum, whose values have one text each."
            )
        if kind is CursorType.TIMESTAMP and source.cursor_timezone is None:
            raise ConfigurationError(
                f"{source.label}: cursor_field {source.cursor_field!r} has no time zone. State the TimeZone of the sessions"
                " that write it, as cursor_timezone='UTC' for example, or make the column a timestamptz."
            )
        if source.lag is not None and isinstance(source.lag, timedelta) == (kind is CursorType.INTEGER):
            raise ConfigurationError(
                f"{source.label}: lag is a timedelta for a cursor made of time and a number for an integer; the cursor_field"
                f" {source.cursor_field!r} is a {kind}."
            )
        names = (*source.key, *(n for n in wanted if n not in source.key))
        return Schema(
            fields=tuple(_field(by_name[n]) for n in names),
            primary_key=source.key,
            cursor_type=kind,
            cursor_timezone=source.cursor_timezone,
            has_deletes=bool(source.soft_delete_column or source.row_filter or source.group_by or source.tombstones),
        )

    def _check_key(self, catalogue: Catalogue, columns: tuple[Column, ...]) -> None:
        if not self._keeps_keys_unique():
            return
        source = self._source
        key = ", ".join(source.key)
        if not catalogue.is_unique(source.key):
            raise ConfigurationError(
                f"{source.label}: nothing makes ({key}) unique, so two rows could be one document. Name the table's key, or"
                f" CREATE UNIQUE INDEX CONCURRENTLY ON {self._table()} ({_quoted(source.key)});"
            )
        nullable = [c.name for c in columns if c.name in source.key and not c.not_null]
        if nullable:
            raise ConfigurationError(
                f"{source.label}: primary_key column {nullable[0]!r} can be NULL:"
                f" ALTER TABLE {self._table()} ALTER COLUMN {_quoted(nullable[:1])} SET NOT NULL;"
            )

    def _keeps_keys_unique(self) -> bool:
        return self._catalogue is not None and self._catalogue.kind in ("r", "p")

    def _indexed(self, *, fresh: bool = False) -> bool:
        """Whether an index has the rows in order of change: all of them, or those of a group beside each other."""
        assert self._catalogue is not None
        source = self._source
        group = (source.group_by,) if fresh and source.group_by else ()
        return self._catalogue.has_index_on((*group, source.cursor_field, *source.key))

    def _warnings(self, facts: dict[str, Any]) -> Iterator[str]:
        source = self._source
        if source.table is not None and self._keeps_keys_unique() and not self._indexed():
            columns = _quoted((source.cursor_field, *source.key))
            yield (
                f"{source.label} has no index on ({columns}): every run reads the whole table."
                f" CREATE INDEX CONCURRENTLY ON {self._table()} ({columns});"
            )
        if source.group_by and self._keeps_keys_unique() and not self._indexed(fresh=True):
            columns = _quoted((source.group_by, source.cursor_field, *source.key))
            yield (
                f"{source.label} has no index on ({columns}): the first load, a rebuild and a sweep of each group read the whole"
                f" table. CREATE INDEX CONCURRENTLY ON {self._table()} ({columns});"
            )
        holder = facts["holder"]
        if holder and holder["age_s"] > NAMED_AFTER_S and source.lag is None:
            yield (
                f"{source.label}: the horizon is held back {holder['age_s']:.0f} s by the {holder['state'] or holder['kind']}"
                f" transaction of user {holder['user']!r}, pid {holder['pid']} ({holder['application'] or 'no name'})."
                f" Changes since then wait for it to end."
            )

    # -- the horizon

    def _basis(self) -> str:
        source = self._source
        if source.lag is not None:
            return f"lag of {source.lag} stated for the stream"
        return f"oldest open transaction, less {source.margin.total_seconds():g} s"

    def _require_clock(self, kind: CursorType, facts: dict[str, Any]) -> None:
        """:raises HorizonError: what the horizon rests on cannot be seen, and no lag is stated."""
        source = self._source
        if source.lag is not None:
            return
        unit = "a number of values" if kind is CursorType.INTEGER else "a timedelta"
        or_lag = f", or state lag ({unit} after which no change stays invisible)"
        if facts["standby"]:
            raise HorizonError(
                f"{source.label} is a standby, which does not know the primary's open transactions: point the connection"
                f" at the primary{or_lag}."
            )
        if not facts["sees_all"]:
            raise HorizonError(
                f"{source.label}: role {facts['role']!r} cannot see other sessions' transactions, so a late commit would be"
                f" skipped. GRANT pg_read_all_stats TO {_quoted([facts['role']])};{or_lag}."
            )
        if facts["untracked"]:
            session = facts["untracked"][0]
            raise HorizonError(
                f"{source.label}: the session of user {session['user']!r}, pid {session['pid']}, has track_activities off,"
                f" so nobody sees its transactions. ALTER ROLE {_quoted([session['user']])} SET track_activities = on; and let it"
                f" reconnect{or_lag}."
            )

    def _held_by_prepared(self, facts: dict[str, Any]) -> Horizon | None:
        prepared = facts["prepared"]
        if not prepared or self._source.lag is not None:
            return None
        return Horizon(
            None,
            "prepared transaction",
            f"prepared transaction {prepared['gid']!r} of user {prepared['user']!r}, open for {prepared['age_s']:.0f} s,"
            " whose rows cannot be dated: COMMIT PREPARED or ROLLBACK PREPARED it",
        )

    def _integer_horizon(self) -> Horizon:
        source = self._source
        relation = self._need_relation()
        with explained(f"Source {source.label}", grant=self._grant()):
            row = self._connection.execute(relation.greatest_cursor()).fetchone()
        assert row is not None
        greatest, at = row
        if greatest is None:
            return Horizon(None, "no row has a cursor value")
        if source.lag is not None:
            assert isinstance(source.lag, int)
            return Horizon(str(int(greatest) - source.lag), self._basis())
        deadline = time.monotonic() + INTEGER_WAIT_S
        while holder := self._connection.execute(STILL_OPEN, {"at": at}).fetchone():
            if time.monotonic() > deadline:
                what, age_s = holder
                return Horizon(None, "transactions open", f"the {what}, open for {age_s:.0f} s")
            time.sleep(0.1)
        return Horizon(str(int(greatest) + 1), "greatest value, after all transactions open then had ended")

    # -- windows and rows

    def has_changes(self, window: Window) -> bool:
        with explained(f"Source {self._source.label}", grant=self._grant()):
            row = self._connection.execute(self._need_relation().exists(window)).fetchone()
        return bool(row and row[0])

    def groups(self, window: Window, *, limit: int) -> Groups:
        with explained(f"Source {self._source.label}", grant=self._grant()):
            rows = self._connection.execute(self._need_relation(fresh=True).groups(window, limit)).fetchall()
        nulls = sum(count for value, count in rows if value is None)
        return Groups(tuple(value for value, _ in rows if value is not None)[:limit], nulls)

    def slices(self, window: Window, *, batch_rows: int, max_slices: int, fresh: bool = False) -> Slices:
        step = max(1, batch_rows // HOPS_PER_BATCH)
        relation = self._need_relation(fresh)
        nullable = not self._cursor_is_not_null()
        with explained(f"Source {self._source.label}", grant=self._grant()):
            self._refuse_duplicates(window)
            starts, nulls = self._starts(window, step, count_nulls=nullable, fresh=fresh)
            if not starts:
                return Slices((), nulls)
            last = Window(starts[-1], window.end)
            row = self._connection.execute(relation.count(last)).fetchone()
        assert row is not None
        return Slices(_join(window, starts, step, row[0], batch_rows, max_slices), nulls)

    def read(self, batch: Batch, *, format: Format, fields: Sequence[str], chunk_rows: int) -> Iterator[Chunk]:
        relation = self._need_relation(batch.fresh)
        with explained(f"Source {self._source.label}", grant=self._grant()):
            if format is Format.ROWS:
                yield from reading.rows(self._connection, relation, batch, fields, chunk_rows)
                return
            windows = self._chunks(batch, chunk_rows)
            if format is Format.BULK:
                assert self._schema is not None
                yield from bulk_chunks(self._connection, relation, self._schema, batch, fields, windows)
            else:
                yield from reading.copies(self._connection, relation, batch, fields, windows)

    # -- keys

    def keys_from(self, cursor: str) -> Iterator[Sequence[Key]]:
        with explained(f"Source {self._source.label}", grant=self._grant()):
            yield from listing.keys_from(self._connection, self._need_relation(), cursor)

    def key_ranges(self, within: KeyRange, *, rows: int, max_ranges: int) -> Sequence[tuple[KeyRange, int]]:
        with explained(f"Source {self._source.label}", grant=self._grant()):
            return self._keys().key_ranges(self._connection, within, rows=rows, max_ranges=max_ranges)

    def keys(self, within: KeyRange, *, below: str) -> Iterator[Sequence[Listed]]:
        with explained(f"Source {self._source.label}", grant=self._grant()):
            yield from self._keys(below).keys(self._connection, within)

    def checksum(self, within: KeyRange, *, below: str) -> Checksum | None:
        with explained(f"Source {self._source.label}", grant=self._grant()):
            return self._keys(below).checksum(self._connection, within)

    def content_checksum(self, within: KeyRange, *, below: str, columns: Mapping[str, str]) -> Checksum | None:
        assert self._schema is not None
        contents = listing.contents(self._need_relation(fresh=True), self._schema, columns)
        if contents is None:
            return None
        with explained(f"Source {self._source.label}", grant=self._grant()):
            return replace(self._keys(below), contents=contents).checksum(self._connection, within)

    def look_up(self, keys: Sequence[Key], *, below: str) -> Sequence[Listed]:
        if not keys:
            return []
        with explained(f"Source {self._source.label}", grant=self._grant()):
            return self._keys(below).look_up(self._connection, listing.among(self._need_relation(fresh=True), keys))

    def _keys(self, below: str = "") -> KeyList:
        relation = self._need_relation(fresh=True)
        assert self._schema is not None
        return listing.key_list(relation, self._schema, below=below)

    def cancel(self) -> None:
        with suppress(psycopg.Error):
            self._connection.cancel_safe(timeout=CANCEL_TIMEOUT_S)

    def _chunks(self, batch: Batch, chunk_rows: int) -> list[Window]:
        """The batch's window cut at every ``chunk_rows`` rows, sooner where rows are wide.

        Without an index each cut costs a scan of the table, so the batch is one chunk then."""
        window = batch.window
        assert self._catalogue is not None
        if self._catalogue.row_bytes:
            chunk_rows = max(1, min(chunk_rows, int(CHUNK_BYTES / self._catalogue.row_bytes)))
        # The rows of a group that no index has together are found among those that one has in order, in one go.
        indexed = self._indexed(fresh=batch.fresh) or self._indexed()
        if batch.keys or batch.rows <= chunk_rows or not indexed:
            return [window]
        starts, _ = self._starts(window, chunk_rows, count_nulls=False, fresh=batch.fresh)
        cuts = [window.start, *starts[1:]]
        return [Window(cut, after or window.end) for cut, after in zip(cuts, [*cuts[1:], None], strict=True)]

    def _starts(self, window: Window, step: int, *, count_nulls: bool, fresh: bool) -> tuple[list[Position], int]:
        """Every ``step``-th row of the window, the first included, and how many rows of the table have no cursor value."""
        relation = self._need_relation(fresh)
        # Each hop would pass all tombstones that rows hide; numbering passes them once.
        hop = self._indexed(fresh=fresh) and (fresh or not self._source.tombstones)
        statement = relation.starts(window, step, hop=hop, count_nulls=count_nulls)
        starts: list[Position] = []
        nulls = 0
        for cursor, *key, count in self._connection.execute(statement):
            if count is None:
                starts.append(Position(cursor, tuple(key)))
            else:
                nulls = count
        return starts, nulls

    def _refuse_duplicates(self, window: Window) -> None:
        if self._keeps_keys_unique():
            return
        row = self._connection.execute(self._need_relation().duplicate(window)).fetchone()
        if row:
            raise ConfigurationError(
                f"{self._source.label}: key {'/'.join(row[:-1])} stands for {row[-1]} rows in {window}. Two rows would be one"
                " document: name a key that is unique, or make the query give one row a key."
            )

    def _cursor_is_not_null(self) -> bool:
        assert self._catalogue is not None
        column = self._catalogue.column(self._source.cursor_field)
        return column is not None and column.not_null

    def _need_relation(self, fresh: bool = False) -> Relation:
        """:param fresh: of the rows alone, without tombstones, and of those of the source's group, should it have one."""
        if self._relation is None:
            self.schema()
        assert self._relation is not None
        assert self._members is not None
        return self._members if fresh else self._relation

    def _grant(self) -> str:
        if self._source.table is None:
            return "GRANT SELECT on what the query reads to the connection's role"
        schema, _ = split_name(self._source.table)
        role = _quoted([self._connection.info.user])
        usage = f"GRANT USAGE ON SCHEMA {_quoted([schema])} TO {role}; " if schema else ""
        tables = ", ".join(render(identifier(t)) for t in (self._source.table, self._source.tombstone_table) if t)
        return f"{usage}GRANT SELECT ON {tables} TO {role};"

    def _table(self) -> str:
        return render(identifier(self._source.table or ""))


def _field(column: Column) -> Field:
    if column.kind == "d" and column.base:
        name = portable_type(column.base)
        return Field(column.name, name if is_binary_safe(name) else "text", name if is_binary_safe(name) else "text")
    name = portable_type(column.type)
    if column.builtin and is_binary_safe(name):
        return Field(column.name, name, name, not column.not_null)
    # An extension's own type (vector, citext, geometry) may be there at the target too; enums and composites are not.
    own = column.kind == "b" and not column.builtin and not column.type.endswith("[]")
    return Field(column.name, column.declared if own else "text", "text", not column.not_null)


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(render(sql.Identifier(name)) for name in names)


def _comparable_type(column: Column) -> str:
    """What a text of the column's value is cast to for comparing it with the column."""
    # Without its length, `character` would mean one character and cut the value off.
    return "bpchar" if column.type == "character" else column.type


def _join(
    window: Window, starts: list[Position], step: int, last_rows: int, batch_rows: int, max_slices: int
) -> tuple[tuple[Window, int], ...]:
    # The rows after the last hop may have moved on before they were counted.
    last_rows = max(1, last_rows)
    rows = (len(starts) - 1) * step + last_rows
    parts = min(max_slices, -(-rows // batch_rows))
    cuts = [len(starts) * i // parts for i in range(parts)]
    ends = [*cuts[1:], len(starts)]
    joined = []
    for number, (cut, end) in enumerate(zip(cuts, ends, strict=True)):
        final = number == parts - 1
        part = Window(starts[cut] if number else window.start, window.end if final else starts[end])
        joined.append((part, (end - cut) * step - (step - last_rows if final else 0)))
    return tuple(joined)
