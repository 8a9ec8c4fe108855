"""Documents as an Arrow table of a generation's columns, and rows of it as documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.embedding.embedder import Vector
from airflow_reindex_provider.core.model import Document, Rejection
from airflow_reindex_provider.targets.lance.layout import DELETED, KEY, OWN, VERSION, Layout
from airflow_reindex_provider.targets.lance.passages import COLUMNS, values
from airflow_reindex_provider.targets.lance.types import value_for
from airflow_reindex_provider.targets.row_passages import own

if TYPE_CHECKING:
    import pyarrow as pa

_NO_VALUES = (TypeError, ValueError, OverflowError, ArithmeticError, RecursionError)
"""What Python and Arrow raise of a value that is none of a type; Arrow's own errors are among them."""


class Rows:
    """:param schema: of a generation's table."""

    def __init__(self, schema: pa.Schema) -> None:
        layout = Layout.of(schema)
        self._schema = schema
        self._keys = layout.key_texts
        self._values = {name: value_for(kind) for name, kind in layout.columns.items()}
        self._kinds = layout.columns

    def of(
        self, documents: Iterable[Document], rejected: list[Rejection], vectors: Mapping[bytes, Vector] | None = None
    ) -> pa.Table:
        """:param vectors: of the documents' passages, by hash; without them the rows have none.
        :param rejected: takes those that have a value which is none of its column's type."""
        import pyarrow as pa

        rows = [row for document in documents if (row := self._row(document, rejected, vectors)) is not None]
        try:
            return pa.Table.from_pylist(rows, schema=self._schema)
        except _NO_VALUES:
            # Arrow does not say in which row it is.
            return pa.Table.from_pylist([row for row in rows if self._is_taken(row, rejected)], schema=self._schema)

    def _row(
        self, document: Document, rejected: list[Rejection], vectors: Mapping[bytes, Vector] | None
    ) -> dict[str, Any] | None:
        row: dict[str, Any] = {
            KEY: self._keys.text(document.key),
            VERSION: document.version,
            DELETED: document.fields is None,
        }
        for name, value in (document.fields or {}).items():
            make = self._values.get(name)
            try:
                if make is None:
                    raise ValueError(
                        "the index has no such column; declare it in columns= and rebuild, or leave it out"
                    )
                row[name] = None if value is None else make(value)
            except _NO_VALUES as error:
                rejected.append(Rejection(document.key, self._reason(name, error)))
                return None
        if vectors is not None and document.passages:
            row |= values(own(document), vectors)
        return row

    def _is_taken(self, row: Mapping[str, Any], rejected: list[Rejection]) -> bool:
        import pyarrow as pa

        key = self._keys.key(row[KEY])
        for name in self._schema.names:
            try:
                pa.array([row.get(name)], self._schema.field(name).type)
            except _NO_VALUES as error:
                rejected.append(Rejection(key, self._reason(name, error)))
                return False
        return True

    def _reason(self, name: str, error: Exception) -> str:
        kind = self._kinds.get(name)
        return f"column {name!r}" + (f" of type {kind}" if kind else "") + f": {error or type(error).__name__}"

    def documents(self, found: pa.Table) -> list[Document]:
        """Of rows of this table or of another one with the same key: those that they hold, and remembered deletions."""
        names = [name for name in found.column_names if name not in (*OWN, *COLUMNS)]
        return [
            Document(self._keys.key(row[KEY]), row[VERSION], None if row[DELETED] else {n: row[n] for n in names})
            for row in found.to_pylist()
        ]
