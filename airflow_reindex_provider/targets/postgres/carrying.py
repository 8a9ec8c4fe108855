"""Copies documents from one generation to another within a swap, by key, inside the server."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import errors, sql

from airflow_reindex_provider.core.errors import TransientError
from airflow_reindex_provider.core.model import Key
from airflow_reindex_provider.databases.postgres.sqlstates import REFUSALS
from airflow_reindex_provider.databases.postgres.transactions import transaction
from airflow_reindex_provider.databases.postgres.types import without_length
from airflow_reindex_provider.targets.postgres.passages import DOCUMENT, HASHES, LISTS
from airflow_reindex_provider.targets.postgres.statements import DELETED, VERSION

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger(__name__)

HOLD_TIMEOUT = "60s"
"""For the chunks that are being written to end. Readers do not wait for it."""

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attgenerated <> '' OR a.attidentity <> '',
       array_position(i.indkey::int2[], a.attnum)
FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""


def hold_writes(connection: psycopg.Connection[Any], table: sql.Identifier, *, label: str) -> None:
    """Until the transaction ends, others' writes to the table wait; those under way end first.

    :raises TransientError: they did not end within a minute.
    """
    connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(HOLD_TIMEOUT)))
    try:
        connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(table))
    except errors.LockNotAvailable as error:
        raise TransientError(
            f"{label}: something has held a lock on {table.as_string(None)} for {HOLD_TIMEOUT}, a VACUUM or a very large chunk;"
            " the swap is to be tried again."
        ) from error


def carry_over(
    connection: psycopg.Connection[Any],
    keys: Sequence[Key],
    *,
    primary_key: Sequence[str],
    source: sql.Identifier,
    target: sql.Identifier,
    passages: tuple[sql.Identifier, sql.Identifier] | None = None,
) -> int:
    """See ``RebuildingTarget.carry_over``. :param primary_key: as the keys have it. :param passages: the tables of theirs, where
    passages can go from the one to the other; else a carried document has none until its row is read again."""
    here, own_key = _columns(connection, source)
    there, other_key = _columns(connection, target, generated=False)
    if passages is None:
        there = {name: kind for name, kind in there.items() if name not in LISTS}
    if not keys or tuple(primary_key) != own_key or tuple(primary_key) != other_key:
        return 0
    copying = _Copying(own_key, source, here, target, there)
    carried = 0
    waiting = [list(keys)]
    while waiting:
        part = waiting.pop()
        try:
            with transaction(connection):
                carried += connection.execute(copying.documents(part)).rowcount
                if passages is not None:
                    connection.execute(copying.passages(part, *passages))
        except REFUSALS:
            # Halved until the one that does not fit stands alone. Its row comes with the next run, or is parked by it.
            if len(part) > 1:
                waiting += [part[: len(part) // 2], part[len(part) // 2 :]]
            else:
                log.warning("Key %s does not fit into %s; it is not carried over.", part[0], target.as_string(None))
    return carried


def _columns(
    connection: psycopg.Connection[Any], table: sql.Identifier, *, generated: bool = True
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Columns with their types, and the primary key."""
    rows = connection.execute(_COLUMNS, [table.as_string(None)]).fetchall()
    key = sorted((place, name) for name, _, _, place in rows if place is not None)
    return {name: kind for name, kind, made, _ in rows if generated or not made}, tuple(name for _, name in key)


@dataclass(frozen=True, slots=True)
class _Copying:
    """:ivar key: the primary key's columns. :ivar here: types of the source's columns, by name. :ivar there: the target's."""

    key: tuple[str, ...]
    source: sql.Identifier
    here: Mapping[str, str]
    target: sql.Identifier
    there: Mapping[str, str]

    def documents(self, keys: Sequence[Key]) -> sql.Composed:
        shared = [n for n in self.there if n in self.here]
        return sql.SQL(
            "INSERT INTO {target} AS t ({names}) SELECT {values} FROM {wanted}"
            " WHERE NOT l.{deleted} AND NOT EXISTS (SELECT FROM {target} AS t WHERE {same}"
            " AND NOT (t.{deleted} AND t.{version} < l.{version}))"
            " ON CONFLICT ({key}) DO UPDATE SET {updates} WHERE t.{deleted} AND t.{version} < excluded.{version}"
        ).format(
            target=self.target,
            names=_comma(sql.Identifier(n) for n in shared),
            values=_comma(self._value(n) for n in shared),
            wanted=self._wanted(keys),
            same=self._same(),
            key=_comma(map(sql.Identifier, self.key)),
            updates=_comma(
                sql.SQL("{0} = excluded.{0}").format(sql.Identifier(n)) for n in shared if n not in self.key
            ),
            version=sql.Identifier(VERSION),
            deleted=sql.Identifier(DELETED),
        )

    def passages(self, keys: Sequence[Key], source: sql.Identifier, target: sql.Identifier) -> sql.Composed:
        """Of the documents that were carried over, and of those that have their very version already. :param source: the table
        of theirs."""
        return sql.SQL(
            "INSERT INTO {into} (document, hash, text, embedding) SELECT t.{document}, p.hash, p.text, p.embedding FROM {wanted}"
            " JOIN {target} AS t ON {same} AND t.{version} = l.{version} JOIN {passages} AS p ON p.document = l.{document}"
            " AND p.hash = ANY (t.{hashes}) ON CONFLICT DO NOTHING"
        ).format(
            into=target,
            document=sql.Identifier(DOCUMENT),
            wanted=self._wanted(keys),
            target=self.target,
            same=self._same(),
            version=sql.Identifier(VERSION),
            passages=source,
            hashes=sql.Identifier(HASHES),
        )

    def _wanted(self, keys: Sequence[Key]) -> sql.Composed:
        """The rows ``l`` of these keys."""
        numbered = [(sql.Identifier("k", f"k{n}"), name) for n, name in enumerate(self.key)]
        return sql.SQL("{source} AS l JOIN unnest({lists}) AS k({aliases}) ON {wanted}").format(
            source=self.source,
            lists=_comma(sql.Literal([part[n] for part in keys]) + sql.SQL("::text[]") for n in range(len(self.key))),
            aliases=_comma(sql.Identifier(f"k{n}") for n in range(len(self.key))),
            wanted=sql.SQL(" AND ").join(
                sql.SQL("{} = {}::{}").format(sql.Identifier("l", name), given, sql.SQL(self.here[name]))
                for given, name in numbered
            ),
        )

    def _same(self) -> sql.Composed:
        return sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier("t", n), self._value(n)) for n in self.key
        )

    def _value(self, name: str) -> sql.Composable:
        cell = sql.Identifier("l", name)
        # By way of text, which every two types have in common.
        return (
            cell
            if self.here[name] == self.there[name]
            else sql.SQL("{}::text::{}").format(cell, sql.SQL(without_length(self.there[name])))
        )


def _comma(parts: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)
