"""The demo's source table: loaded, changed, and read in the naive way for comparison."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from airflow_reindex_provider.demo.corpus import ApiDoc

DAYS = 7
"""The rows' times of change lie within these last days."""

_CREATE = """
CREATE TABLE api_docs (
    id text PRIMARY KEY, package text NOT NULL, version text NOT NULL, kind text NOT NULL, qualified_name text NOT NULL,
    signature text NOT NULL, docstring text NOT NULL, updated_at timestamptz NOT NULL DEFAULT now(), deleted_at timestamptz
);
CREATE INDEX ON api_docs (updated_at, id);
"""
_COPY = """
COPY api_docs (id, package, version, kind, qualified_name, signature, docstring, updated_at) FROM STDIN
"""
# `share` deals the rows out, so that transactions that are open at the same time never wait for each other's rows.
_PICK = """
id IN (SELECT id FROM api_docs WHERE abs(hashtext(id)) %% 8 = %(share)s AND package <> 'demo'
       ORDER BY md5(id) OFFSET %(skip)s LIMIT %(rows)s)
"""
_EDIT = f"UPDATE api_docs SET docstring = docstring || ' Edited.', updated_at = now() WHERE {_PICK}"
_DELETE = f"UPDATE api_docs SET deleted_at = now(), updated_at = now() WHERE {_PICK}"
_ADD = """
INSERT INTO api_docs (id, package, version, kind, qualified_name, signature, docstring)
SELECT format('demo:demo%%s.added_%%s', %(share)s, n), 'demo', '1', 'function', format('demo%%s.added_%%s', %(share)s, n),
       format('added_%%s()', n), 'A function that was added while the demo ran.'
FROM generate_series(1, %(rows)s) AS n
"""


def load(connection: psycopg.Connection[Any], docs: Iterable[ApiDoc]) -> int:
    """Make the table and COPY the corpus into it; returns how many rows. A row's time follows from its key."""
    now = datetime.now(UTC)
    rows = 0
    connection.execute(_CREATE)
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for doc in docs:
            share = int.from_bytes(hashlib.sha256(doc.id.encode()).digest()[:6]) / 2**48
            copy.write_row((*astuple(doc), now - share * timedelta(days=DAYS)))
            rows += 1
    connection.execute("ANALYZE api_docs")
    return rows


def change(
    connection: psycopg.Connection[Any], *, share: int, created: int, updated: int, deleted: int
) -> Counter[str]:
    """Add, edit and soft-delete rows in the connection's open transaction, all stamped with its ``now()``.

    :param share: 0 to 7; each has rows of its own. :returns: how many rows were created, updated and deleted.
    """
    return Counter(
        created=connection.execute(_ADD, {"share": share, "rows": created}).rowcount,
        updated=connection.execute(_EDIT, {"share": share, "skip": 0, "rows": updated}).rowcount,
        deleted=connection.execute(_DELETE, {"share": share, "skip": updated, "rows": deleted}).rowcount,
    )


class NaiveCursor:
    """What many pipelines do: at every run, take the rows with ``updated_at > last_run``."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._last_run = "-infinity"
        self._copy: dict[str, datetime] = {}

    def run(self) -> None:
        with self._connection.transaction():
            now = self._connection.execute("SELECT now()::text").fetchone()
            found = self._connection.execute(
                "SELECT id, updated_at FROM api_docs WHERE updated_at > %s::timestamptz", [self._last_run]
            )
            self._copy.update(found.fetchall())
        self._last_run = now[0] if now else self._last_run

    def lost(self) -> int:
        """Rows of the table that it does not hold in their last state."""
        rows = self._connection.execute("SELECT id, updated_at FROM api_docs").fetchall()
        return sum(self._copy.get(key) != updated_at for key, updated_at in rows)
