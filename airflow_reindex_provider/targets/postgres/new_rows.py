"""Documents with passages that are new to the table, as in a first load: copied straight into it, with numbers that are known."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from psycopg import sql

from airflow_reindex_provider.core.embedding.passages import distinct
from airflow_reindex_provider.core.model import Document
from airflow_reindex_provider.core.observing import Meter
from airflow_reindex_provider.targets.postgres.passage_writer import Written
from airflow_reindex_provider.targets.postgres.passages import DOCUMENT
from airflow_reindex_provider.targets.postgres.staging import copy_rows
from airflow_reindex_provider.targets.postgres.statements import DELETED, VERSION

if TYPE_CHECKING:
    from psycopg import Connection

_PLAIN = frozenset(
    (
        *(
            "text",
            "character varying",
            "character",
            "boolean",
            "smallint",
            "integer",
            "bigint",
            "numeric",
            "real",
            "uuid",
        ),
        *("double precision", "date", "timestamp with time zone", "timestamp without time zone", "json", "jsonb"),
    )
)
"""Types that take a text by COPY as they take it by a cast."""
_RESERVED = 2_000
"""Numbers that are asked for at once, which may leave gaps: each question is a round trip."""
_LENGTH = re.compile(r"\(.*?\)")


class NewRows:
    """:param columns: of the table, with their types, as its rows come. :param meter: counts what is sent."""

    def __init__(self, table: sql.Identifier, columns: Sequence[str], meter: Meter) -> None:
        self._numbers = sql.SQL("SELECT nextval(pg_get_serial_sequence({}, {})) FROM generate_series(1, %s)").format(
            sql.Literal(table.as_string(None)), sql.Literal(DOCUMENT)
        )
        # COPY alone may give a generated number its value.
        self._copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
            table, sql.SQL(", ").join(map(sql.Identifier, (DOCUMENT, VERSION, DELETED, *columns)))
        )
        self._meter = meter
        self._reserved: list[int] = []

    @staticmethod
    def fit(columns: Mapping[str, str]) -> bool:
        return all(_LENGTH.sub("", kind).removesuffix("[]") in _PLAIN for kind in columns.values())

    def copy(
        self,
        connection: Connection[Any],
        documents: Sequence[Document],
        row_of: Callable[[Document], tuple[Any, ...]],
    ) -> Written:
        """In a transaction: all of them or, where a key is there already or a value is refused, an error and none."""
        numbers = self._taken(connection, len(documents))
        rows = ((number, *row_of(document)) for number, document in zip(numbers, documents, strict=True))
        copy_rows(connection, self._copy, rows, meter=self._meter)
        return [
            (number, [passage.hash for passage in distinct(document.passages)])
            for number, document in zip(numbers, documents, strict=True)
        ]

    def _taken(self, connection: Connection[Any], count: int) -> list[int]:
        """Numbers that nobody else is given, whatever becomes of the transaction in which they are asked for."""
        if len(self._reserved) < count:
            more = connection.execute(self._numbers, [max(count, _RESERVED)])
            self._reserved += [number for (number,) in more]
        taken, self._reserved = self._reserved[:count], self._reserved[count:]
        return taken
