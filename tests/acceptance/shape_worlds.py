"""The databases that documents of any shape are read from, and the sessions that change their rows."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, ClassVar

import psycopg
import pymysql
from document_shapes import Shape
from shape_words import MySqlWords, PostgresWords, Words

from airflow_reindex_provider.sources.mysql import MySqlSource
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.testing.mariadb import MariaDatabase
from airflow_reindex_provider.testing.postgres import Database


class Writer(ABC):
    """A session that changes rows."""

    @abstractmethod
    def execute(self, statement: str) -> None: ...

    @abstractmethod
    def may(self, statement: str) -> None:
        """Alone, or as a part of the transaction that is open: what the tables do not allow does not happen."""

    def write(self, statements: Sequence[str]) -> None:
        for statement in statements:
            self.may(statement)


class World(ABC):
    """A database that documents are read from. :ivar source: its class."""

    words: Words
    source: type[PostgresSource] | type[MySqlSource]
    conn_id: str

    @abstractmethod
    def writers(self) -> AbstractContextManager[tuple[Writer, Writer]]: ...

    @abstractmethod
    def said(self, shape: Shape) -> list[tuple[Any, ...]]:
        """What one statement says."""


class PostgresWriter(Writer):
    CANNOT_BE: ClassVar = (
        psycopg.errors.IntegrityError,
        psycopg.errors.LockNotAvailable,
        psycopg.errors.DeadlockDetected,
    )

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        connection.execute("SET lock_timeout = '20ms'; SET client_min_messages = error")

    def execute(self, statement: str) -> None:
        self._connection.execute(statement.encode())

    def may(self, statement: str) -> None:
        try:
            with self._connection.transaction():
                self.execute(statement)
        except self.CANNOT_BE:
            return


class PostgresWorld(World):
    words = PostgresWords()
    source = PostgresSource

    def __init__(self, database: Database) -> None:
        self._database = database
        self.conn_id = database.conn_id

    @contextmanager
    def writers(self) -> Iterator[tuple[Writer, Writer]]:
        with self._database.connect() as one, self._database.connect() as late:
            yield PostgresWriter(one), PostgresWriter(late)

    def said(self, shape: Shape) -> list[tuple[Any, ...]]:
        with self._database.connect() as connection:
            return connection.execute(shape.said().encode()).fetchall()


class MySqlWriter(Writer):
    CANNOT_BE = (1005, 1062, 1215, 1451, 1452, 1506)
    """A key that is there, a foreign key that cannot be, what it refers to, what refers to it, one of partitions."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, statement: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)

    def may(self, statement: str) -> None:
        try:
            self.execute(statement)
        except pymysql.err.MySQLError as error:
            if error.args[0] not in self.CANNOT_BE:
                raise


class MySqlWorld(World):
    source = MySqlSource

    def __init__(self, database: MariaDatabase) -> None:
        self._database = database
        self.conn_id = database.conn_id
        self.words = MySqlWords(database.name)

    @contextmanager
    def writers(self) -> Iterator[tuple[Writer, Writer]]:
        try:
            with closing(self._database.connect()) as one, closing(self._database.connect()) as late:
                yield MySqlWriter(one), MySqlWriter(late)
        finally:
            self._database.execute(f"DROP DATABASE IF EXISTS {self.words.quoted(self.words.schemas[1])}")

    def said(self, shape: Shape) -> list[tuple[Any, ...]]:
        own = len(shape.root.key) + 1
        found = self._database.execute("SET SESSION group_concat_max_len = 10000000", shape.said())
        return [(*row[:own], *map(json.loads, row[own:])) for row in found]
