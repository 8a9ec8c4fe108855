"""Copies documents from one generation to another within a swap, by key, inside the server."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from psycopg import errors, sql

from airflow_reindex_provider.core.errors import TransientError
from airflow_reindex_provider.core.model import Key
from airflow_reindex_provider.databases.postgres.sqlstates import REFUSALS
from airflow_reindex_provider.databases.postgres.transactions import transaction
from airflow_reindex_provider.databases.postgres.types import without_length
from airflow_reindex_provider.targets.postgres.statements import DELETED, VERSION

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger(__name__)

HOLD_TIMEOUT = "60s"
"""For the chunks that are being written to end. Readers do not wait for it."""

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attgenerated <> '',
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
) -> int:
    """See ``RebuildingTarget.carry_over``. :param primary_key: as the keys have it."""
    here, own_key = _columns(connection, source)
    there, other_key = _columns(connection, target, generated=False)
    if not keys or tuple(primary_key) != own_key or tuple(primary_key) != other_key:
        return 0
    carried = 0
    waiting = [list(keys)]
    while waiting:
        part = waiting.pop()
        try:
            with transaction(connection):
                carried += connection.execute(_statement(part, own_key, source, here, target, there)).rowcount
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


def _statement(
    keys: Sequence[Key],
    key: Sequence[str],
    source: sql.Identifier,
    here: Mapping[str, str],
    target: sql.Identifier,
    there: Mapping[str, str],
) -> sql.Composed:
    shared = [n for n in there if n in here]

    def value(name: str) -> sql.Composable:
        cell = sql.Identifier("l", name)
        # By way of text, which every two types have in common.
        return (
            cell
            if here[name] == there[name]
            else sql.SQL("{}::text::{}").format(cell, sql.SQL(without_length(there[name])))
        )

    numbered = [(sql.Identifier("k", f"k{n}"), name) for n, name in enumerate(key)]
    return sql.SQL(
        "INSERT INTO {target} AS t ({names}) SELECT {values} FROM {source} AS l JOIN unnest({lists}) AS k({aliases}) ON {wanted}"
        " WHERE NOT l.{deleted} AND NOT EXISTS (SELECT FROM {target} AS t WHERE {same}"
        " AND NOT (t.{deleted} AND t.{version} < l.{version}))"
        " ON CONFLICT ({key}) DO UPDATE SET {updates} WHERE t.{deleted} AND t.{version} < excluded.{version}"
    ).format(
        target=target,
        source=source,
        names=_comma(sql.Identifier(n) for n in shared),
        values=_comma(value(n) for n in shared),
        lists=_comma(sql.Literal([part[n] for part in keys]) + sql.SQL("::text[]") for n in range(len(key))),
        aliases=_comma(sql.Identifier(f"k{n}") for n in range(len(key))),
        wanted=sql.SQL(" AND ").join(
            sql.SQL("{} = {}::{}").format(sql.Identifier("l", name), given, sql.SQL(here[name]))
            for given, name in numbered
        ),
        same=sql.SQL(" AND ").join(sql.SQL("{} = {}").format(sql.Identifier("t", n), value(n)) for n in key),
        key=_comma(map(sql.Identifier, key)),
        updates=_comma(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(n)) for n in shared if n not in key),
        version=sql.Identifier(VERSION),
        deleted=sql.Identifier(DELETED),
    )


def _comma(parts: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)
