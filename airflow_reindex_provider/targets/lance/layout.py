"""The table of a generation: its columns, and what is noted in its schema."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Schema
from airflow_reindex_provider.targets.lance.definition import LanceDefinition
from airflow_reindex_provider.targets.lance.passages import COLUMNS, fields
from airflow_reindex_provider.targets.lance.types import arrow_type, is_loose_vector
from airflow_reindex_provider.targets.made_for import MadeFor
from airflow_reindex_provider.targets.row_passages import require_room

if TYPE_CHECKING:
    import pyarrow as pa

_GUESSED = re.compile("vector|embedding", re.IGNORECASE)
"""Names by which LanceDB guesses what a column is; of lists that differ in length it would drop some."""
MARK = b"airflow_reindex_provider"
KEY, VERSION, DELETED = "_reindex_key", "_reindex_version", "_reindex_deleted"
OWN = (KEY, VERSION, DELETED)
UNIQUE = {"lance-schema:unenforced-primary-key:position": "1"}
"""Of the column that is the key. Without it, two writers that insert one key at the same moment both do; set later, it would be
set too late."""


class Layout(MadeFor):
    """The columns of the table, and what is noted with them."""

    __slots__ = ()

    def schema(self, stream: str) -> pa.Schema:
        import pyarrow as pa

        return pa.schema(
            [
                pa.field(KEY, pa.string(), nullable=False, metadata=UNIQUE),
                pa.field(VERSION, pa.int64(), nullable=False),
                pa.field(DELETED, pa.bool_(), nullable=False),
                *(pa.field(name, arrow_type(kind)) for name, kind in self.columns.items()),
                *(fields(self.recipe) if self.recipe else ()),
            ],
            metadata={MARK: json.dumps({"stream": stream, **self.noted})},
        )

    @classmethod
    def of(cls, schema: pa.Schema) -> Layout:
        """:param schema: of a generation's table."""
        return cls.from_noted(mark_of(schema))


def layout_for(target: LanceDefinition, schema: Schema) -> Layout:
    """:raises ConfigurationError: a column cannot have its name in a LanceDB table."""
    layout = Layout.wanted(target, schema)
    columns = layout.columns
    for name in columns:
        if name.startswith("_reindex_"):
            raise ConfigurationError(f"{target.label}: the column {name!r} has a name that is kept for our own.")
        if "." in name:
            raise ConfigurationError(
                f"{target.label}: the column {name!r} has a dot in its name, which LanceDB takes for a field of another one. Give"
                " it another name in a query (AS), or leave it out with columns= of the source."
            )
        if _GUESSED.search(name) and is_loose_vector(columns[name]):
            raise ConfigurationError(
                f"{target.label}: the column {name!r} is a {columns[name]} of no stated length, and LanceDB takes a column"
                f" of such a name for vectors of one length: columns={{{name!r}: 'vector(384)'}}, or 'text'."
            )
    if target.passages is not None:
        require_room(target.passages, columns, target.label, taken=COLUMNS)
    return layout


def mark_of(schema: pa.Schema) -> dict[str, Any]:
    """What is noted in a table's schema; empty where this package did not make it."""
    try:
        mark = json.loads((schema.metadata or {})[MARK])
    except (ValueError, KeyError):
        return {}
    return mark if isinstance(mark, dict) else {}
