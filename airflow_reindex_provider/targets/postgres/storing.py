"""From the staging table into the physical one: which statement a chunk takes, and what becomes of a refused document.

Chunks resemble the one before. After one of new documents alone the next is likely another, as in a first load, and a plain
insert is a third faster than an upsert. After one that only wrote over documents the next is likely to do so too, and an update
spares the server what an upsert does besides: it locks each row, and logs that, before it writes it. Neither can do what the
upsert would not: where a key is there after all, or is not, nothing of the statement is kept, and the upsert does the chunk.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors, sql

from airflow_reindex_provider.core.model import Counts, Rejection, WriteResult
from airflow_reindex_provider.databases.postgres.sqlstates import REFUSALS
from airflow_reindex_provider.targets.postgres.passage_writer import Written, noted_of
from airflow_reindex_provider.targets.postgres.refused import reason_of
from airflow_reindex_provider.targets.postgres.staging import TABLE, Staged, Staging
from airflow_reindex_provider.targets.postgres.statements import Statements

if TYPE_CHECKING:
    from psycopg import Connection

_HALVED: tuple[type[psycopg.Error], ...] = (*REFUSALS, errors.CardinalityViolation)
"""What ends a statement over several rows, and is looked for among them."""

_Answer = tuple[Counts, Written]
_DEADLOCKS = 2
"""How often a chunk is tried anew when it was the victim of one."""
_LET_GO_S = 0.1
"""Before that. Who waited for it has been woken, and on a busy machine needs a moment to take what it waited for."""


class Storing:
    """In the transaction that has filled the staging table.

    :ivar all_new: whether the next chunk will likely be new to the table, every document of it."""

    def __init__(self, statements: Statements, staging: Staging, columns: Mapping[str, str], *, all_new: bool) -> None:
        """:param columns: the table's, and their types."""
        self._statements = statements
        self._staging = staging
        self._columns = columns
        self.all_new = all_new
        self._updates = 0
        self._updates_needed = 1

    def store(self, connection: Connection[Any], staged: Staged) -> tuple[WriteResult, Written]:
        (counts, written), rejected = self._store(connection, staged.rows)
        result = WriteResult(counts + Counts(failures=len(staged.rejected)), (*staged.rejected, *rejected))
        return result, written

    def _store(self, connection: Connection[Any], staged: int) -> tuple[_Answer, tuple[Rejection, ...]]:
        if self.all_new:
            # It cannot write over anything: one key that is there already, and nothing of it is kept.
            try:
                with connection.transaction():
                    return self._answer(connection.execute(self._statements.insert), staged), ()
            except REFUSALS:
                self.all_new = False
        elif (updated := self._updated(connection, staged)) is not None:
            return updated, ()
        try:
            answer = self._upsert(connection, staged)
        except _HALVED as error:
            if isinstance(error, errors.CardinalityViolation) and not self._are_deletions(connection):
                raise
            places = connection.execute(sql.SQL("SELECT ctid FROM {}").format(TABLE)).fetchall()
            return self._store_all_but_refused(connection, [place for (place,) in places])
        self._learn(answer[0], staged)
        return answer, ()

    def _learn(self, counts: Counts, staged: int) -> None:
        self.all_new = counts.created == staged
        # A noop may be a deletion of what was never there, which makes a row too.
        self._updates = self._updates + 1 if counts.updated + counts.deleted == staged else 0

    def _updated(self, connection: Connection[Any], staged: int) -> _Answer | None:
        """None where that is not likely to do, or a staged row was not written, for whatever reason: then none was."""
        update = self._statements.update
        if update is None or self._updates < self._updates_needed:
            return None
        with suppress(*REFUSALS, errors.DeadlockDetected), connection.transaction():
            cursor = connection.execute(update)
            while cursor.nextset():
                pass
            answer = self._answer(cursor, staged)
            if not answer[0].version_conflicts:
                return answer
            raise psycopg.Rollback
        # What was in vain costs as much as what is spared in five: where it comes again and again, it is tried ever less.
        self._updates, self._updates_needed = 0, 2 * self._updates_needed
        return None

    def _upsert(self, connection: Connection[Any], staged: int) -> _Answer:
        for _ in range(_DEADLOCKS):
            # Another load is copying the same keys straight, in an order of its own. Ours are let go of, so it goes on.
            with suppress(errors.DeadlockDetected), connection.transaction():
                return self._answer(connection.execute(self._statements.upsert()), staged)
            time.sleep(_LET_GO_S)
        with connection.transaction():
            return self._answer(connection.execute(self._statements.upsert()), staged)

    def _store_all_but_refused(
        self, connection: Connection[Any], places: list[str]
    ) -> tuple[_Answer, tuple[Rejection, ...]]:
        counts = Counts()
        written: Written = []
        rejected: list[Rejection] = []
        waiting = [places]
        while waiting:
            part = waiting.pop()
            try:
                with connection.transaction():
                    of_part, rows = self._answer(connection.execute(self._statements.upsert(part)), len(part))
                counts = counts + of_part
                written += rows
            except _HALVED as error:
                if len(part) > 1:
                    middle = len(part) // 2
                    waiting += [part[middle:], part[:middle]]
                else:
                    rejected.append(
                        Rejection(self._staging.key_at(connection, part[0]), self._reason(connection, part[0], error))
                    )
        return (counts + Counts(failures=len(rejected)), written), tuple(rejected)

    def _are_deletions(self, connection: Connection[Any]) -> bool:
        """Whether what is staged twice is deletions of one key's several texts, which are written one after the other."""
        row = connection.execute(self._statements.is_twice).fetchone()
        return row == (False,)

    def _reason(self, connection: Connection[Any], place: str, error: psycopg.Error) -> str:
        row = sql.SQL("{} AS s WHERE ctid = {}::tid").format(TABLE, sql.Literal(place))
        return reason_of(connection, error, row=row, values=self._statements.values, types=self._columns)

    @staticmethod
    def _answer(cursor: psycopg.Cursor[Any], staged: int) -> _Answer:
        row = cursor.fetchone()
        assert row is not None
        created, updated, deleted, noops, *noted = row
        counts = Counts(
            created=created,
            updated=updated,
            deleted=deleted,
            noops=noops,
            version_conflicts=staged - created - updated - deleted - noops,
        )
        return counts, noted_of(zip(*(values or () for values in noted), strict=True))
