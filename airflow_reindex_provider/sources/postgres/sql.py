"""The statements of a Postgres source. Names are quoted and values bound as literals of their column's own type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from psycopg import sql

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.model import Key, Position, Schema, Window
from airflow_reindex_provider.databases.postgres.names import identifier
from airflow_reindex_provider.sources.postgres.tombstones import MARK, Tombstones

if TYPE_CHECKING:
    from airflow_reindex_provider.sources.postgres.definition import PostgresDefinition

# Cursor values as integers (see CursorType.ordinal). Postgres' least finite value stands in for -infinity.
VERSIONS = {
    CursorType.TIMESTAMPTZ: "(extract(epoch FROM greatest({c}, '4714-11-24 00:00:00+00 BC'::timestamptz)) * 1000000)::bigint",
    CursorType.TIMESTAMP: "(extract(epoch FROM greatest({c}, '4714-11-24 00:00:00 BC'::timestamp)) * 1000000)::bigint",
    CursorType.DATE: "(greatest({c}, '4714-11-24 BC'::date) - '1970-01-01'::date)::bigint",
    CursorType.INTEGER: "{c}::bigint",
}


@dataclass(frozen=True, slots=True)
class Relation:
    """What is read, with the names and types that its statements are made of. The rows go by the name ``r``."""

    body: sql.Composable
    cursor: sql.Composable
    cursor_type: sql.Composable
    key: tuple[sql.Composable, ...]
    key_types: tuple[sql.Composable, ...]
    wire_types: dict[str, str]
    version: sql.Composable
    deleted: sql.Composable
    group: sql.Composable | None
    """The column that groups are made by."""
    latest: sql.Composable
    """What the version is made of: the cursor, or of a composed document the greatest one in it."""
    composed: frozenset[str] = frozenset()
    """Columns of type json here and jsonb on the wire: what other tables make of them."""

    @classmethod
    def of(
        cls,
        source: PostgresDefinition,
        schema: Schema,
        own_types: Mapping[str, str],
        *,
        members: bool = False,
        tombstones: Tombstones | None = None,
    ) -> Relation:
        """:param own_types: of the cursor, key and group columns; values are cast to them, never the columns to another type,
        whose order could differ and which no index serves. :param members: only the rows of the source's group, instead of
        all rows, of which the others count as deleted. :param tombstones: are read beside the rows."""
        cursor_type = own_types[source.cursor_field]
        if cursor_type in ("smallint", "integer"):
            # What bounds a window may lie past what such a column holds; an index on it takes a bigint as well.
            cursor_type = "bigint"
        cursor = sql.Identifier("r", source.cursor_field)
        gone: list[sql.Composable] = []
        if source.soft_delete_column:
            gone.append(is_soft_deleted(sql.Identifier("r", source.soft_delete_column)))
        if source.row_filter:
            # The author's SQL may end in a comment: hence the line break before what follows.
            gone.append(sql.SQL("({}\n) IS NOT TRUE").format(sql.SQL(source.row_filter)))
        body = (
            sql.SQL("({}\n) AS r").format(sql.SQL(source.query))
            if source.query is not None
            else sql.SQL("{} AS r").format(identifier(source.table or ""))
        )
        group = sql.Identifier("r", source.group_by) if source.group_by else None
        if group is not None and source.group is not None:
            is_member = sql.SQL("{} = {}").format(group, _cast(source.group, sql.SQL(own_types[source.group_by or ""])))
            if members:
                body = sql.SQL("(SELECT * FROM {} WHERE {}) AS r").format(body, is_member)
            else:
                gone.append(sql.SQL("({}) IS NOT TRUE").format(is_member))
        deleted: sql.Composable = sql.SQL(" OR ").join(gone) if gone else sql.SQL("false")
        if tombstones is not None:
            body = tombstones.body()
            # The author's filter never sees the NULLs of a tombstone.
            deleted = sql.SQL("CASE WHEN {} THEN true ELSE {} END").format(sql.Identifier("r", MARK), deleted)
        return cls(
            body=body,
            cursor=cursor,
            cursor_type=sql.SQL(cursor_type),
            key=tuple(sql.Identifier("r", name) for name in source.key),
            key_types=tuple(sql.SQL(own_types[name]) for name in source.key),
            wire_types={f.name: f.wire_type for f in schema.fields},
            # A transaction id has no cast of its own to a number.
            version=sql.SQL("{c}::text::bigint" if cursor_type == "xid8" else VERSIONS[schema.cursor_type]).format(
                c=cursor
            ),
            deleted=deleted,
            group=group,
            latest=cursor,
        )

    # -- conditions

    def where(self, condition: sql.Composable) -> Relation:
        """Those of its rows."""
        return replace(self, body=sql.SQL("(SELECT * FROM {} WHERE {}) AS r").format(self.body, condition))

    def within(self, window: Window) -> sql.Composed:
        """The window as a condition. Beside each row comparison stands the bound on the cursor alone, which says the same
        and lets the planner estimate it."""
        parts = [sql.SQL("{} < {}").format(self.cursor, self._value(window.end.cursor))]
        if window.end.key:
            parts[0] = sql.SQL("{} <= {}").format(self.cursor, self._value(window.end.cursor))
            parts.append(sql.SQL("{} < {}").format(self._order_row(), self._place(window.end)))
        return sql.SQL(" AND ").join([*parts, *self._from(window.start)])

    def since(self, start: Position | None) -> sql.Composed:
        """As a condition; rows without a cursor value never meet it."""
        return sql.SQL(" AND ").join(self._from(start) or [sql.SQL("{} IS NOT NULL").format(self.cursor)])

    def _from(self, start: Position | None) -> list[sql.Composed]:
        if start is None:
            return []
        parts = [sql.SQL("{} >= {}").format(self.cursor, self._value(start.cursor))]
        if start.key:
            parts.append(sql.SQL("{} >= {}").format(self._order_row(), self._place(start)))
        return parts

    def of_keys(self, keys: Sequence[Key], window: Window) -> sql.Composed:
        rows = sql.SQL(", ").join(
            sql.SQL("({})").format(
                sql.SQL(", ").join(_cast(part, kind) for part, kind in zip(key, self.key_types, strict=True))
            )
            for key in keys
        )
        columns = sql.SQL(", ").join(self.key)
        return sql.SQL("({}) IN ({}) AND {}").format(columns, rows, self.within(window))

    # -- planning

    def exists(self, window: Window) -> sql.Composed:
        return sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {})").format(self.body, self.within(window))

    def exists_since(self, start: Position | None) -> sql.Composed:
        return sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {})").format(self.body, self.since(start))

    def count(self, window: Window) -> sql.Composed:
        return sql.SQL("SELECT count(*) FROM {} WHERE {}").format(self.body, self.within(window))

    def greatest_cursor(self) -> sql.Composed:
        """As text. Goes to the end of an index on the cursor, where there is one."""
        return sql.SQL(
            "SELECT {cursor}::text FROM {body} WHERE {cursor} IS NOT NULL ORDER BY {cursor} DESC LIMIT 1"
        ).format(cursor=self.cursor, body=self.body)

    def outliers(
        self,
        *,
        nulls: bool,
        ahead_of: str | None,
        endless: bool,
        limit: int | None,
        beside: Sequence[tuple[sql.Composable, sql.Composable]] = (),
    ) -> sql.Composed:
        """A subquery with one JSON object: how many rows have no cursor value, one past ``ahead_of``, and ``-infinity``.

        :param limit: of each of the latter two and each table; a range of an index is then not followed further.
        :param beside: tables whose rows count among the latter two, each with its cursor field."""

        def some(operator: sql.SQL, value: str) -> sql.Composed:
            return sql.SQL(" + ").join(
                sql.SQL("(SELECT count(*) FROM (SELECT FROM {} WHERE {} {} {} LIMIT {}) AS o)").format(
                    table, cursor, operator, self._value(value), sql.Literal(limit)
                )
                for table, cursor in ((self.body, self.cursor), *beside)
            )

        counted: dict[str, sql.Composable] = {}
        if nulls:
            counted["nulls"] = sql.SQL("(SELECT count(*) FROM {} WHERE {} IS NULL)").format(self.body, self.cursor)
        if ahead_of is not None:
            counted["ahead"] = some(sql.SQL(">"), ahead_of)
        if endless:
            counted["endless"] = some(sql.SQL("="), "-infinity")
        pairs = [sql.SQL("{}, {}").format(sql.Literal(name), found) for name, found in counted.items()]
        return sql.SQL("(SELECT json_build_object({}))").format(sql.SQL(", ").join(pairs))

    def groups(self, window: Window, limit: int) -> sql.Composed:
        """Each group that has a row in the window, with the number of these; NULL, if there is one, comes first."""
        return sql.SQL(
            "SELECT {0}::text, count(*) FROM {1} WHERE {2} GROUP BY {0} ORDER BY {0} NULLS FIRST LIMIT {3}"
        ).format(self.group or sql.NULL, self.body, self.within(window), sql.Literal(limit + 1))

    def duplicate(self, window: Window) -> sql.Composed:
        """A key of the window that stands for several rows, wherever these lie: what has changed may have another's key."""
        columns = sql.SQL(", ").join(self.key)
        condition = sql.SQL("{} IS NOT NULL").format(self.cursor)
        if window.start is not None:
            condition += sql.SQL(" AND ({0}) IN (SELECT {0} FROM {1} WHERE {2})").format(
                columns, self.body, self.within(window)
            )
        return sql.SQL("SELECT {}, count(*) FROM {} WHERE {} GROUP BY {} HAVING count(*) > 1 LIMIT 1").format(
            self._key_texts(), self.body, condition, columns
        )

    def without_key(self, window: Window) -> sql.Composed:
        """Of a row of the window that lacks a part of its key, which parts it has."""
        has = sql.SQL(", ").join(sql.SQL("{} IS NOT NULL").format(k) for k in self.key)
        lacks = sql.SQL(" OR ").join(sql.SQL("{} IS NULL").format(k) for k in self.key)
        return sql.SQL("SELECT {} FROM {} WHERE {} AND ({}) LIMIT 1").format(has, self.body, self.within(window), lacks)

    def starts(self, window: Window, step: int, *, hop: bool, outliers: sql.Composable | None = None) -> sql.Composed:
        """Cursor, key parts, number and NULL of every ``step``-th row; with ``outliers`` a last row with these alone.

        :param hop: go from one to the next through an index on (cursor, key), where no number is known; else number all rows
            of the window, which is one scan and one sort in the server. The window's last row is then given too.
        """
        key_names = [f"k{i}" for i in range(len(self.key))]
        names = [sql.Identifier(name) for name in key_names]
        columns = sql.SQL(", ").join(
            [sql.SQL("{} AS c").format(self.cursor)]
            + [sql.SQL("{} AS {}").format(k, n) for k, n in zip(self.key, names, strict=True)]
        )
        parts = {
            "columns": columns,
            "body": self.body,
            "within": self.within(window),
            "order": self.order(),
            "step": sql.Literal(step),
        }
        if hop:
            found = self._hops(window, key_names, parts)
        else:
            found = sql.SQL(
                "WITH reindex_hops AS (SELECT * FROM (SELECT {columns}, row_number() OVER w - 1 AS n, lead(1) OVER w AS next"
                " FROM {body} WHERE {within} WINDOW w AS (ORDER BY {order})) AS s"
                " WHERE n % {step} = 0 OR next IS NULL ORDER BY n)"
            ).format(**parts)
        # Never evaluated, but its names and types are checked: a filter that cannot work must show before rows are read.
        found += sql.SQL(", reindex_filter AS (SELECT ({})::boolean FROM {})").format(self.deleted, self.body)
        texts = sql.SQL(", ").join(sql.SQL("{}::text").format(n) for n in (sql.Identifier("c"), *names))
        number = sql.SQL("NULL::bigint" if hop else "n")
        found += sql.SQL(" SELECT {}, {}, NULL::json AS outliers FROM reindex_hops").format(texts, number)
        if outliers is not None:
            found += sql.SQL(" UNION ALL SELECT {}, {}").format(
                sql.SQL(", ").join([sql.NULL] * (2 + len(names))), outliers
            )
        return found

    def _hops(self, window: Window, key_names: Sequence[str], parts: dict[str, sql.Composable]) -> sql.Composed:
        """A hop begins at a cursor value and passes over the step, and over the rows that share this value with the one it
        comes from and lie before that (``ties``). So nothing but the cursor is compared on the way, which is a bound that
        the index gives for nothing; comparing (cursor, key) costs a sixth of the plan. It is done where the ties are more
        than a step, or each hop would pass all of them again. The window's end matters only where a hop lands.
        """

        def place(alias: str, width: int) -> sql.Composed:
            return _row([sql.Identifier(alias, name) for name in ("c", *key_names)[:width]])

        end = self._place(window.end) if window.end.key else self._value(window.end.cursor)
        return sql.SQL(
            "WITH RECURSIVE reindex_hops AS ("
            "SELECT f.*, {ties_of_first} AS ties"
            " FROM (SELECT {columns} FROM {body} WHERE {within} ORDER BY {order} LIMIT 1) AS f"
            " UNION ALL SELECT n.*, CASE WHEN n.c = h.c THEN h.ties + {step} ELSE {ties_of_next} END"
            " FROM reindex_hops AS h, LATERAL ("
            "(SELECT {columns} FROM {body} WHERE {cursor} >= h.c"
            " ORDER BY {order} OFFSET {step} + h.ties LIMIT (h.ties <= {step})::int)"
            " UNION ALL (SELECT {columns} FROM {body} WHERE ({order}) >= {here}"
            " ORDER BY {order} OFFSET {step} LIMIT (h.ties > {step})::int)"
            ") AS n WHERE {landed} < {end})"
        ).format(
            **parts,
            cursor=self.cursor,
            ties_of_first=self._ties("f", key_names),
            ties_of_next=self._ties("n", key_names),
            here=place("h", 1 + len(key_names)),
            landed=place("n", 1 + len(window.end.key)),
            end=end,
        )

    def _ties(self, alias: str, key_names: Sequence[str]) -> sql.Composed:
        """How many rows share the cursor value of ``alias`` and have a lesser key."""
        return sql.SQL("(SELECT count(*) FROM {} WHERE {} = {} AND {} < {})").format(
            self.body,
            self.cursor,
            sql.Identifier(alias, "c"),
            _row(self.key),
            _row([sql.Identifier(alias, name) for name in key_names]),
        )

    # -- reading

    def place(self) -> sql.Composed:
        """A row's place in the order of change, as one text: the cursor, ``|`` and :meth:`document_id`."""
        return sql.SQL("{}::text || '|' || {}").format(self.cursor, self.document_id())

    def document_id(self) -> sql.Composed:
        """The key as ``core.bulk.document_id`` writes it."""
        parts = self.key_texts()
        if len(parts) > 1:
            parts = [sql.SQL(r"replace(replace({}, '\', '\\'), '|', '\|')").format(part) for part in parts]
        return sql.SQL(" || '|' || ").join(parts)

    def places(self, condition: sql.Composable, *, skip: int) -> sql.Composed:
        """Cursor and key parts of the row that so many others come before."""
        return sql.SQL("SELECT {}::text, {} FROM {} WHERE {} ORDER BY {} OFFSET {} LIMIT 1").format(
            self.cursor,
            self._key_texts(),
            self.body,
            condition,
            self.order(),
            sql.Literal(skip),
        )

    def keys_where(self, condition: sql.Composable) -> sql.Composed:
        """Nothing but the keys: rows above the horizon may still change."""
        return sql.SQL("COPY (SELECT {} FROM {} WHERE {}) TO STDOUT").format(self._key_texts(), self.body, condition)

    # -- pieces

    def on_wire(self, name: str, *, binary: bool) -> sql.Composed:
        """:param binary: as COPY sends it in binary, and not as text."""
        column = sql.Identifier("r", name)
        if name in self.composed:
            # A jsonb on the wire is the number of its form and then its text. To make one here would be to take it apart again.
            return sql.SQL("{}::text").format(column) if not binary else sql.SQL(r"E'\x01' || {}::text").format(column)
        return sql.SQL("{}::{}").format(column, sql.SQL(self.wire_types[name]))

    def key_texts(self) -> list[sql.Composed]:
        # A collation that takes different texts for equal cannot search in them.
        return [sql.SQL('({})::text COLLATE "C"').format(k) for k in self.key]

    def _key_texts(self) -> sql.Composed:
        return sql.SQL(", ").join(self.key_texts())

    def order(self) -> sql.Composed:
        return sql.SQL(", ").join((self.cursor, *self.key))

    def _order_row(self) -> sql.Composed:
        return _row((self.cursor, *self.key))

    def _place(self, position: Position) -> sql.Composed:
        key = (_cast(part, kind) for part, kind in zip(position.key, self.key_types, strict=True))
        return _row((self._value(position.cursor), *key))

    def _value(self, cursor: str) -> sql.Composed:
        return _cast(cursor, self.cursor_type)


def is_soft_deleted(column: sql.Composable) -> sql.Composed:
    """A boolean says it itself; of anything else, having a value is what counts."""
    return sql.SQL("coalesce(nullif(({})::text, 'false'), 'f') <> 'f'").format(column)


def _row(parts: Sequence[sql.Composable]) -> sql.Composed:
    return sql.SQL("({})").format(sql.SQL(", ").join(parts))


def _cast(text: str, kind: sql.Composable) -> sql.Composed:
    return sql.SQL("{}::{}").format(sql.Literal(text), kind)
