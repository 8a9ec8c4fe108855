"""What a server is, as far as a horizon rests on it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from airflow_reindex_provider.core.errors import HorizonError, ReindexError
from airflow_reindex_provider.sources.mysql.definition import MySqlDefinition
from airflow_reindex_provider.sources.sql.asking import Asking

_LEAST_MYSQL = (8, 0, 22)
"""The first one that says what it replicates by the name that is asked for."""
_IS_ANOTHER = re.compile("tidb|vitess|singlestore|oceanbase", re.IGNORECASE)
"""What speaks like MySQL and keeps its rows elsewhere."""
_REPLICA = {
    True: ("SHOW ALL SLAVES STATUS", "SLAVE MONITOR"),
    False: ("SHOW REPLICA STATUS", "REPLICATION CLIENT"),
}
"""How it is asked whether MariaDB, or MySQL, is a replica, and what for."""
_ELSEWHERE = "point the connection at the primary"
_TABLE = """
SELECT engine, table_type FROM information_schema.tables
WHERE table_schema = coalesce(:schema, database()) AND table_name = :name
"""
_COLUMN = """
SELECT coalesce(datetime_precision, 6), lower(coalesce(column_default, '')), lower(extra) FROM information_schema.columns
WHERE table_schema = coalesce(:schema, database()) AND table_name = :name AND column_name = :column
"""
_TRIGGERS = """
SELECT count(*) FROM information_schema.triggers WHERE event_object_schema = coalesce(:schema, database())
AND event_object_table = :name AND action_timing = 'BEFORE' AND lower(action_statement) LIKE concat('%', lower(:column), '%')
"""
_CASCADES = """
SELECT constraint_name, update_rule IN ('CASCADE', 'SET NULL') OR delete_rule = 'SET NULL', delete_rule = 'CASCADE',
 referenced_table_name FROM information_schema.referential_constraints
WHERE constraint_schema = coalesce(:schema, database()) AND table_name = :name
"""


@dataclass(frozen=True, slots=True)
class Server:
    """:ivar user: of this session, as grants name it. :ivar longest: how many bytes a value may have.
    :ivar precision: digits of a second in the cursor field.
    :ivar cascades: foreign keys, each with whether it changes rows, whether it deletes them, and the table that it refers to."""

    source: MySqlDefinition
    asking: Asking
    is_mariadb: bool
    version: str
    user: str
    longest: int
    engine: str | None
    is_view: bool
    precision: int
    default: str
    on_update: str
    has_trigger: bool
    cascades: Sequence[tuple[str, bool, bool, str]]

    def require(self) -> None:
        """:raises HorizonError: the horizon cannot be told here, and no lag is stated."""
        if self.source.lag is None and (why := next(self.hindrances(), None)):
            raise HorizonError(f"{self.source.label}: {why}, or state lag (after how long no change stays invisible).")

    def hindrances(self) -> Iterator[str]:
        """Why there is no horizon without a lag, and what to do instead."""
        if not self.is_mariadb and (self._release() < _LEAST_MYSQL or _IS_ANOTHER.search(self.version)):
            wanted = ".".join(map(str, _LEAST_MYSQL))
            yield f"the horizon can be told of MariaDB and of MySQL {wanted} and later, and this is {self.version}"
            return
        if self.is_view:
            yield "it is a view, and whose transactions make its rows appear nobody tells: name a table of InnoDB's"
        elif self.engine != "InnoDB":
            table = self.source.table
            yield f"it is kept by {self.engine}, of whose transactions nobody tells: ALTER TABLE {table} ENGINE=InnoDB;"
        if self._is_of_a_group():
            yield "the server is one of a cluster, where rows appear with the stamps of other servers: read elsewhere"
        if self._told("SHOW GLOBAL VARIABLES LIKE 'innodb_read_only'") == "ON":
            yield f"the server only reads, what others write: {_ELSEWHERE}"
        yield from self._replica()

    def doubts(self, *, owned_by: str | None = None) -> Iterator[str]:
        """What may be, and what no catalogue can tell.

        :param owned_by: a table whose rows have lists of these ones: what goes with such a row leaves no document that stays."""
        label, column = self.source.label, self.source.cursor_field
        by_server = "current_timestamp" in self.default and "current_timestamp" in self.on_update
        if not (self.is_view or by_server or self.has_trigger or self.source.lag is not None):
            kind = "TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)"
            yield (
                f"{label}: cursor_field {column!r} is not set by a default with ON UPDATE, nor by a trigger. What an application"
                f" stamps needs a lag, or: ALTER TABLE {self.source.table} MODIFY {column} {kind};"
            )
        for name, changes, deletes, referred in self.cascades:
            if referred == owned_by:
                continue
            if changes:
                yield (
                    f"{label}: the foreign key {name!r} changes rows when another table's do, and that moves no cursor field and"
                    " fires no trigger: such changes wait for a sweep of content. Where it says RESTRICT there are none."
                )
            if deletes and self.source.records_deletions:
                yield (
                    f"{label}: the foreign key {name!r} deletes rows with another table's, which fires no trigger: no tombstone"
                    " tells of them, so they wait for a sweep. Where it says RESTRICT there are none."
                )

    def _release(self) -> tuple[int, ...]:
        return tuple(int(n) for n in re.findall(r"\d+", self.version)[:3])

    def _is_of_a_group(self) -> bool:
        """Of Galera's, or of MySQL's own replication groups."""
        size = self._told("SHOW GLOBAL STATUS LIKE 'wsrep_cluster_size'")
        return int(size or 0) > 0 or bool(self._told("SHOW GLOBAL VARIABLES LIKE 'group_replication_group_name'"))

    def _told(self, statement: str) -> str:
        """The value of a variable; empty where there is no such variable."""
        return next((str(value) for _, value in self.asking.all(sa.text(statement))), "")

    def _replica(self) -> Iterator[str]:
        statement, privilege = _REPLICA[self.is_mariadb]
        try:
            followed = self.asking.all(sa.text(statement))
        except ReindexError as error:
            if privilege not in str(error):
                raise
            yield (
                "the user cannot see whether the server is a replica, whose rows come with the stamps of another one. GRANT"
                f" {privilege} ON *.* TO {self.user};"
            )
            return
        if followed:
            yield f"the server is a replica, which does not know its primary's transactions: {_ELSEWHERE}"


def look_at(source: MySqlDefinition, asking: Asking) -> Server:
    """:raises ConfigurationError, TransientError: it does not answer."""
    *schemas, name = source.split_table()
    said = {"schema": schemas[0] if schemas else None, "name": name, "column": source.cursor_field}

    def ask(text: str) -> Sequence[Any]:
        statement = sa.text(text)
        wanted = {key: value for key, value in said.items() if f":{key}" in text}
        return asking.all(statement.bindparams(**wanted))

    ((version, user, longest),) = asking.all(sa.text("SELECT version(), current_user(), @@max_allowed_packet"))
    engine, kind = next(iter(ask(_TABLE)), (None, "BASE TABLE"))
    precision, default, on_update = next(iter(ask(_COLUMN)), (6, "", ""))
    ((triggers,),) = ask(_TRIGGERS)
    account, _, host = str(user).rpartition("@")
    return Server(
        source=source,
        asking=asking,
        is_mariadb="mariadb" in str(version).lower(),
        version=str(version),
        user=f"`{account}`@`{host}`",
        longest=int(longest),
        engine=engine,
        is_view="VIEW" in str(kind),
        precision=int(precision),
        default=str(default),
        on_update=str(on_update),
        has_trigger=bool(triggers),
        cascades=[(str(n), bool(changes), bool(deletes), str(to)) for n, changes, deletes, to in ask(_CASCADES)],
    )
