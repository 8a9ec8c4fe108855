"""Statements on one connection, each in a transaction that ends with it: none is left open while a target writes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

FETCHED_ROWS = 1000
Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Asking:
    """:ivar explained: turns the driver's errors into ours."""

    connection: sa.Connection
    explained: Callable[[], AbstractContextManager[None]]

    def all(self, statement: sa.Executable) -> list[Row]:
        with self.explained(), self._ended():
            return list(self.connection.execute(statement).all())

    def one(self, statement: sa.Executable) -> Row:
        (row,) = self.all(statement)
        return row

    def first(self, statement: sa.Executable) -> Row | None:
        return next(iter(self.all(statement)), None)

    def pieces(self, statement: sa.Executable, *, rows: int = FETCHED_ROWS) -> Generator[list[Row]]:
        """The rows in lists of at most so many, in one statement, as the server sends them where the driver can take them so."""
        with self.explained(), self._ended():
            options = {"stream_results": True, "max_row_buffer": rows}
            result = self.connection.execute(statement, execution_options=options)
            try:
                for piece in result.partitions(rows):
                    yield list(piece)
            finally:
                result.close()

    @contextmanager
    def snapshot(self, begin: str) -> Iterator[Asking]:
        """What is asked of it is answered from one snapshot. :param begin: the statement that takes it."""
        with self.explained(), self._ended():
            self.connection.execute(sa.text(begin))
            yield _Within(self.connection, self.explained)

    @contextmanager
    def _ended(self) -> Iterator[None]:
        try:
            yield
        finally:
            # Nothing has been written. Where the connection is broken, what broke it is raised already.
            if not self.connection.invalidated:
                self.connection.rollback()


class _Within(Asking):
    """Of a transaction that goes on."""

    @contextmanager
    def _ended(self) -> Iterator[None]:
        yield
