"""How databases say what documents of any shape are made of: names, types, tables, JSON, and what happens to rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from document_shapes import Table


class Words(ABC):
    """:ivar types: of keys, with how their values are written. :ivar schemas: where tables are, first the session's own."""

    types: ClassVar[Mapping[str, str]]
    schemas: tuple[str, str]

    @abstractmethod
    def quoted(self, *names: str) -> str: ...

    @abstractmethod
    def literal(self, text: str) -> str: ...

    @abstractmethod
    def schema(self) -> str:
        """Makes the other one."""

    @abstractmethod
    def table(self, table: Table, number: int) -> Iterator[str]:
        """Makes it, with what stamps its rows and the indexes that runs need."""

    @abstractmethod
    def rule(self, change: str) -> str:
        """What a foreign key does when the row that it refers to is deleted (``change``) or gets another key."""

    @abstractmethod
    def object(self, fields: Sequence[tuple[str, str]], source: str) -> str:
        """A subquery for the JSON of the one row of a FROM clause. :param fields: names, and SQL of their values."""

    @abstractmethod
    def objects(self, fields: Sequence[tuple[str, str]], source: str, order: Sequence[str]) -> str:
        """One for a list of them."""

    @abstractmethod
    def put(self, table: Table, row: Mapping[str, str], key: Sequence[str]) -> str:
        """Inserts a row, or changes the one that is there."""

    @abstractmethod
    def empty(self, table: Table) -> str:
        """Deletes all rows, as fast as it goes."""

    def same(self, a: str, of_a: Sequence[str], b: str, of_b: Sequence[str], and_: Sequence[str] = ()) -> str:
        pairs = (f"{a}.{self.quoted(x)} = {b}.{self.quoted(y)}" for x, y in zip(of_a, of_b, strict=True))
        return " AND ".join([*pairs, *and_])

    def columns(self, table: Table, stamp: str, flag: str, text: str) -> str:
        """What stands in the parentheses of CREATE TABLE."""
        columns = [f"{self.quoted(name)} {kind}" for name, kind in zip(table.key, table.types, strict=True)]
        for key, to in table.referring.items():
            columns += [f"{self.quoted(name)} {kind}" for name, kind in zip(key, to.types, strict=True)]
        columns += [f"{self.quoted(table.cursor)} {stamp}", f"{self.quoted(table.body)} {text}"]
        return f"{', '.join(columns)}, {self.quoted(table.gone)} {flag}, PRIMARY KEY ({self.quoted(*table.identity)})"

    @staticmethod
    def indexes(table: Table) -> Iterator[Sequence[str]]:
        yield table.cursor, *table.identity
        for key in table.referring:
            yield key
            yield table.cursor, *key


class PostgresWords(Words):
    types: ClassVar = {
        "int": "{}",
        "bigint": "{}",
        "numeric": "{}",
        "text": "'k{}'",
        "uuid": "'00000000-0000-0000-0000-00000000000{}'",
        "date": "'2026-01-0{}'",
    }
    schemas = ("public", "Other Schema")

    def quoted(self, *names: str) -> str:
        return ", ".join('"' + name.replace('"', '""') + '"' for name in names)

    def literal(self, text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    def schema(self) -> str:
        return f"CREATE SCHEMA {self.quoted(self.schemas[1])}"

    def table(self, table: Table, number: int) -> Iterator[str]:
        cursor = self.quoted(table.cursor)
        columns = self.columns(table, "timestamptz NOT NULL DEFAULT now()", "boolean", "text")
        parts = f" PARTITION BY HASH ({self.quoted(table.key[0])})" if table.partitioned else ""
        yield f"CREATE TABLE {table.sql} ({columns}){parts}"
        for part in range(3 if table.partitioned else 0):
            yield f"CREATE TABLE part_{number}_{part} PARTITION OF {table.sql} FOR VALUES WITH (MODULUS 3, REMAINDER {part})"
        yield (
            f"CREATE FUNCTION stamp_{number}() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$BEGIN NEW.{cursor} := now(); RETURN NEW; END$$"
        )
        yield (
            f"CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON {table.sql} FOR EACH ROW EXECUTE FUNCTION stamp_{number}()"
        )
        for index in self.indexes(table):
            yield f"CREATE INDEX ON {table.sql} ({self.quoted(*index)})"

    def rule(self, change: str) -> str:
        return f"ON DELETE {change} ON UPDATE CASCADE"

    def object(self, fields: Sequence[tuple[str, str]], source: str) -> str:
        return f"(SELECT {self._object(fields)} FROM {source})"

    def objects(self, fields: Sequence[tuple[str, str]], source: str, order: Sequence[str]) -> str:
        listed = f"jsonb_agg({self._object(fields)} ORDER BY {', '.join(order)})"
        return f"coalesce((SELECT {listed} FROM {source}), '[]')"

    def _object(self, fields: Sequence[tuple[str, str]]) -> str:
        return f"jsonb_build_object({', '.join(f'{self.literal(name)}, {value}' for name, value in fields)})"

    def put(self, table: Table, row: Mapping[str, str], key: Sequence[str]) -> str:
        again = ", ".join(f"{self.quoted(n)} = EXCLUDED.{self.quoted(n)}" for n in row if n not in key)
        return f"{table.insert(row)} ON CONFLICT ({self.quoted(*key)}) DO UPDATE SET {again}"

    def empty(self, table: Table) -> str:
        return f"TRUNCATE {table.sql} CASCADE"


class MySqlWords(Words):
    """Of MariaDB and MySQL. :param database: the session's own."""

    types: ClassVar = {
        "INT": "{}",
        "BIGINT": "{}",
        "BIGINT UNSIGNED": "{}",
        "VARCHAR(9)": "'k{}'",
        "CHAR(36) CHARACTER SET ascii": "'00000000-0000-0000-0000-00000000000{}'",
        "DATE": "'2026-01-0{}'",
    }

    def __init__(self, database: str) -> None:
        self.schemas = (database, f"{database} other")

    def quoted(self, *names: str) -> str:
        return ", ".join("`" + name.replace("`", "``") + "`" for name in names)

    def literal(self, text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"

    def schema(self) -> str:
        return f"CREATE DATABASE {self.quoted(self.schemas[1])}"

    def table(self, table: Table, number: int) -> Iterator[str]:
        moment = "TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)"
        columns = self.columns(table, moment, "TINYINT(1)", "VARCHAR(99)")
        keys = "".join(f", KEY ({self.quoted(*index)})" for index in self.indexes(table))
        parts = f" PARTITION BY KEY ({self.quoted(table.key[0])}) PARTITIONS 3" if table.partitioned else ""
        yield f"CREATE TABLE {table.sql} ({columns}{keys}){parts}"

    def rule(self, change: str) -> str:
        # Whatever it would change fires no trigger and moves no cursor field, of which plans warn.
        return "ON DELETE RESTRICT ON UPDATE RESTRICT"

    def object(self, fields: Sequence[tuple[str, str]], source: str) -> str:
        return f"JSON_EXTRACT(COALESCE((SELECT {self._object(fields)} FROM {source}), 'null'), '$')"

    def objects(self, fields: Sequence[tuple[str, str]], source: str, order: Sequence[str]) -> str:
        ordered = ", ".join(f"{name} IS NULL, {name}" for name in order)
        listed = f"GROUP_CONCAT({self._object(fields)} ORDER BY {ordered})"
        return f"JSON_EXTRACT((SELECT CONCAT('[', COALESCE({listed}, ''), ']') FROM {source}), '$')"

    def _object(self, fields: Sequence[tuple[str, str]]) -> str:
        return f"JSON_OBJECT({', '.join(f'{self.literal(name)}, {value}' for name, value in fields)})"

    def put(self, table: Table, row: Mapping[str, str], key: Sequence[str]) -> str:
        again = ", ".join(f"{self.quoted(name)} = {value}" for name, value in row.items() if name not in key)
        return f"{table.insert(row)} ON DUPLICATE KEY UPDATE {again}"

    def empty(self, table: Table) -> str:
        # TRUNCATE fires no trigger, and ends the transaction.
        return f"DELETE FROM {table.sql}"
