"""The statements that move staged rows into a physical table, and answer with their counts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from airflow_reindex_provider.databases.postgres.types import converted

VERSION = "_reindex_version"
DELETED = "_reindex_deleted"
BY_INDEX = "SET LOCAL enable_seqscan = off"
"""Before a query for each of many hashes or keys. Of a table without statistics, as in a load, the server would take reading it
from its beginning for cheap; and the table grows by what another session writes, while that is done for each of them."""
_FIRST = sql.SQL(BY_INDEX + "; ")
_BY_KEY = _FIRST + sql.SQL("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; ")
"""Before a statement whose only join is to look up each row by its key."""


@dataclass(frozen=True, slots=True)
class Statements:
    """All go through the staged rows in key order and answer with created, updated, deleted and noops.

    Whether a document was to be seen before decides how it is counted: created or updated, deleted or a noop. What was
    refused for its version is not in the answer at all.
    """

    values: Mapping[str, sql.Composed]
    """Of each column, what is written of a staged row ``s``."""
    is_twice: sql.Composed
    """Whether two staged documents have equal keys."""
    insert: sql.Composed
    """Of all staged rows; fails if one key is there already."""
    update: sql.Composed | None
    """Of all staged rows, and of those alone whose keys are there: writes over what is not newer. The last of several statements.
    None where which row a staged one is about is more than a question of equal keys, or where what was written is noted."""
    _before: sql.Composed
    _after: sql.Composed

    def upsert(self, places: list[str] | None = None) -> sql.Composed:
        """Of all staged rows, or of those at these places (ctids); writes over what is not newer."""
        if places is None:
            return self._before + self._after
        return self._before + sql.SQL(" AND s.ctid = ANY({}::tid[])").format(sql.Literal(places)) + self._after

    @classmethod
    def of(
        cls,
        table: sql.Identifier,
        columns: Mapping[str, str],
        staged: Mapping[str, str],
        primary_key: Sequence[str],
        *,
        has_deletes: bool,
        loose: Collection[str] = (),
        noted: Sequence[sql.Composable] = (),
    ) -> Statements:
        """:param columns: the table's columns and their types. :param staged: their types in the staging table.
        :param loose: columns whose equal values can have several texts (``core.keys``). Of those in the key, a document takes the
            place of the one with an equal key, its spelling included, and a deletion is about its own spelling only.
        :param noted: what of each written row ``t`` is told beside the counts, a list each; where there can be deletions.
        """
        spelled = [n for n in primary_key if n in loose]

        def value(name: str) -> sql.Composed:
            cell = converted(sql.Identifier("s", name), staged[name], columns[name])
            if has_deletes and name not in primary_key:
                cell = sql.SQL("CASE WHEN s.{} THEN NULL ELSE {} END").format(sql.Identifier(DELETED), cell)
            return cell

        values = {name: value(name) for name in columns}
        # A deletion is a row too: its version must stay to refuse a late write.
        written = (*(n for n in columns if n not in primary_key or n in spelled), VERSION, DELETED)
        parts = {
            "table": table,
            "key": sql.SQL(", ").join(map(sql.Identifier, primary_key)),
            "own_key": sql.SQL(", ").join(sql.Identifier("t", n) for n in primary_key),
            "order": sql.SQL(", ").join(map(value, primary_key)),
            "version": sql.Identifier(VERSION),
            "deleted": sql.Identifier(DELETED),
            "names": sql.SQL(", ").join(map(sql.Identifier, (*columns, VERSION, DELETED))),
            "values": sql.SQL(", ").join(values.values()),
            "updates": sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(n)) for n in written),
        }
        insert = sql.SQL(
            "INSERT INTO {table} AS t ({names})"
            " SELECT {values}, s.{version}, s.{deleted} FROM pg_temp.reindex_staging AS s"
        ).format(**parts)
        conflict = sql.SQL(
            " ON CONFLICT ({key}) DO UPDATE SET {updates} WHERE t.{version} <= excluded.{version}"
        ).format(**parts)
        told: sql.Composable = sql.SQL("true")
        if spelled and has_deletes:
            same = sql.SQL(" AND ").join(
                sql.SQL("{} = {}").format(_text("t", n), _text("excluded", n)) for n in spelled
            )
            conflict += sql.SQL(" AND (NOT excluded.{deleted} OR t.{deleted} OR {same})").format(**parts, same=same)
            # Within a statement one of them can take the place: the document, which the deletion would not touch.
            told = sql.SQL(
                "(NOT s.{deleted} OR ({order}) NOT IN (SELECT {order} FROM pg_temp.reindex_staging AS s WHERE NOT s.{deleted}))"
            ).format(**parts)
        where = sql.SQL(" WHERE ") + told
        is_twice = sql.SQL(
            "SELECT EXISTS (SELECT FROM pg_temp.reindex_staging AS s WHERE NOT s.{deleted} GROUP BY {order} HAVING count(*) > 1)"
        ).format(**parts)
        by_key = sql.SQL(" ORDER BY {order}").format(**parts)
        # Each staged row is to be looked up in the key's index, in their order, where another plan would read the whole table,
        # and lock its rows in the order of that. Where there are other joins, which may well be hashed, an array sees to it: it
        # is no condition to hash or merge by, and takes longer.
        looked_up = "t.{0} = ANY (ARRAY[n.{0}])" if has_deletes else "t.{0} = n.{0}"
        same = sql.SQL(" AND ").join(sql.SQL(looked_up).format(sql.Identifier(n)) for n in primary_key)
        update = sql.SQL(
            "UPDATE {table} AS t SET {sets} FROM (SELECT {named}, s.{version}, s.{deleted}"
            " FROM pg_temp.reindex_staging AS s ORDER BY {order}) AS n WHERE {same} AND t.{version} <= n.{version}"
        ).format(
            **parts,
            sets=sql.SQL(", ").join(sql.SQL("{0} = n.{0}").format(sql.Identifier(n)) for n in written),
            named=sql.SQL(", ").join(sql.SQL("{} AS {}").format(v, sql.Identifier(n)) for n, v in values.items()),
            same=same,
        )
        if not has_deletes:
            counts = sql.Composed(
                [
                    sql.SQL(
                        " RETURNING t.xmax = 0 AS is_new)"
                        " SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new), 0, 0 FROM written"
                    )
                ]
            )
            begin = sql.SQL("WITH written AS (")
            all_updated = sql.SQL(" RETURNING 1) SELECT 0, count(*), 0, 0 FROM written")
            return cls(
                values,
                is_twice,
                begin + insert + by_key + counts,
                None if spelled else _BY_KEY + begin + update + all_updated,
                begin + insert + where,
                by_key + conflict + counts,
            )
        names = [sql.Identifier(f"_reindex_noted_{n}") for n in range(len(noted))]
        parts["noted"] = sql.Composed(
            [sql.SQL(", {} AS {}").format(value, name) for value, name in zip(noted, names, strict=True)]
        )
        parts["lists"] = sql.Composed([sql.SQL(", array_agg({})").format(name) for name in names])
        plain_counts = sql.SQL(
            " RETURNING t.{deleted} AS gone{noted})"
            " SELECT count(*) FILTER (WHERE NOT gone), 0, 0, count(*) FILTER (WHERE gone){lists} FROM written"
        ).format(**parts)
        # Deleted rows that are about to be written over: nobody has seen them, though they are there. Each is looked up alone:
        # to join them with the staging table, of which it has no statistics, the server would read the whole table.
        hidden = sql.SQL(
            "hidden AS (SELECT h.*, true AS _reindex_hidden FROM pg_temp.reindex_staging AS s CROSS JOIN LATERAL"
            " (SELECT {own_key} FROM {table} AS t WHERE ({own_key}) = ({order}) AND t.{deleted} OFFSET 0) AS h), "
        ).format(**parts)
        told_of = " RETURNING {own_key}, %s AS _reindex_new, t.{deleted} AS _reindex_gone{noted})"
        summed = (
            " SELECT count(*) FILTER (WHERE unseen AND NOT gone), count(*) FILTER (WHERE NOT unseen AND NOT gone),"
            " count(*) FILTER (WHERE NOT unseen AND gone), count(*) FILTER (WHERE unseen AND gone){lists}"
            " FROM (SELECT written.*, _reindex_new OR _reindex_hidden IS TRUE AS unseen, _reindex_gone AS gone"
            " FROM written LEFT JOIN hidden USING ({key})) AS w"
        )
        counts = sql.SQL(told_of % "t.xmax = 0" + summed).format(**parts)
        updated = sql.SQL(told_of % "false" + summed).format(**parts)
        return cls(
            values,
            is_twice,
            sql.SQL("WITH written AS (") + insert + by_key + plain_counts,
            None
            if spelled or noted
            else _FIRST + sql.SQL("WITH ") + hidden + sql.SQL("written AS (") + update + updated,
            sql.SQL("WITH ") + hidden + sql.SQL("written AS (") + insert + where,
            by_key + conflict + counts,
        )


def _text(row: str, column: str) -> sql.Composed:
    return sql.SQL('{}::text COLLATE "C"').format(sql.Identifier(row, column))
