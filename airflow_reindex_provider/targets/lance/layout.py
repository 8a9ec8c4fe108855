"""The table of a generation: its columns, and what is noted in its schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.embedding.recipe import Recipe
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.keys import KeyKind, key_kinds
from airflow_reindex_provider.core.model import Schema
from airflow_reindex_provider.targets.key_texts import KeyTexts
from airflow_reindex_provider.targets.lance.definition import LanceDefinition
from airflow_reindex_provider.targets.lance.passages import COLUMNS, fields
from airflow_reindex_provider.targets.lance.types import arrow_type, is_loose_vector
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


@dataclass(frozen=True, slots=True)
class Layout:
    """:ivar columns: types by name, without our own. :ivar key: the kinds of the key's columns that the generation was made
    for, by name. :ivar recipe: what its passages are made by."""

    columns: Mapping[str, str]
    key: Mapping[str, KeyKind]
    recipe: Recipe | None = None

    @property
    def key_texts(self) -> KeyTexts:
        return KeyTexts(tuple(self.key.values()))

    def schema(self, stream: str) -> pa.Schema:
        import pyarrow as pa

        mark = {"stream": stream, "columns": dict(self.columns), "key": list(self.key.items())}
        if self.recipe is not None:
            mark["recipe"] = self.recipe.to_json()
        return pa.schema(
            [
                pa.field(KEY, pa.string(), nullable=False, metadata=UNIQUE),
                pa.field(VERSION, pa.int64(), nullable=False),
                pa.field(DELETED, pa.bool_(), nullable=False),
                *(pa.field(name, arrow_type(kind)) for name, kind in self.columns.items()),
                *(fields(self.recipe) if self.recipe else ()),
            ],
            metadata={MARK: json.dumps(mark)},
        )

    @classmethod
    def of(cls, schema: pa.Schema) -> Layout:
        """:param schema: of a generation's table."""
        mark = mark_of(schema)
        recipe = Recipe.from_json(mark["recipe"]) if "recipe" in mark else None
        return cls(mark["columns"], {name: KeyKind(kind) for name, kind in mark["key"]}, recipe)


def layout_for(target: LanceDefinition, schema: Schema) -> Layout:
    """:raises ConfigurationError: a column cannot have its name in a LanceDB table."""
    columns = {**{field.name: field.type for field in schema.fields}, **target.columns}
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
    return Layout(columns, dict(zip(schema.primary_key, key_kinds(schema), strict=True)), target.passages)


def mark_of(schema: pa.Schema) -> dict[str, Any]:
    """What is noted in a table's schema; empty where this package did not make it."""
    try:
        mark = json.loads((schema.metadata or {})[MARK])
    except (ValueError, KeyError):
        return {}
    return mark if isinstance(mark, dict) else {}
