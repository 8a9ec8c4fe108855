"""The collection of a generation: its properties and vectors, and what is noted in its description."""

from __future__ import annotations

import json
import re
from typing import Any

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Schema
from airflow_reindex_provider.targets.made_for import MadeFor
from airflow_reindex_provider.targets.row_passages import HASHES, PASSAGES, require_room
from airflow_reindex_provider.targets.weaviate.definition import WeaviateDefinition
from airflow_reindex_provider.targets.weaviate.passages import property_configs, vector_config
from airflow_reindex_provider.targets.weaviate.register import GENERATION, MARK, mark_of
from airflow_reindex_provider.targets.weaviate.types import is_vector, weaviate_type

KEY, VERSION, DELETED = "_reindex_key", "_reindex_version", "_reindex_deleted"
_ID, _ID_PROPERTY = "id", "id_"
"""An object's own id is a UUID, and no property is called so."""
_NAME = re.compile(r"[a-z_][A-Za-z0-9_]{0,229}")
_TAKEN = ("_id", "_additional", "vector")


class Layout(MadeFor):
    """The collection's properties and vectors, and what is noted with them."""

    __slots__ = ()

    @property
    def properties(self) -> dict[str, str]:
        """Names of properties by column; those that are vectors are none."""
        return {name: property_name(name) for name, kind in self.columns.items() if not is_vector(kind)}

    @property
    def vectors(self) -> list[str]:
        """Columns that are vectors; each is a named vector."""
        return [name for name, kind in self.columns.items() if is_vector(kind)]

    def config(self, name: str) -> dict[str, Any]:
        """As Weaviate's REST interface takes it."""
        mark = {"is": GENERATION, **self.noted}
        own = [
            # Whole, and nothing but hexadecimal digits: its order is that of bytes, whatever a text is made of.
            {"name": KEY, "dataType": ["text"], "tokenization": "field", "indexSearchable": False},
            {"name": VERSION, "dataType": ["text"], "tokenization": "field", "indexSearchable": False},
            {"name": DELETED, "dataType": ["boolean"]},
        ]
        made = [{"name": p, "dataType": [weaviate_type(self.columns[c])]} for c, p in self.properties.items()]
        vectors = {column: vector_config() for column in self.vectors}
        if self.recipe is not None:
            made += property_configs()
            vectors |= {"passages": vector_config(several=True)}
        config = {"class": name, "description": json.dumps({MARK: mark}), "properties": own + made}
        return {**config, "vectorConfig": vectors} if vectors else {**config, "vectorizer": "none"}

    @classmethod
    def of(cls, description: str) -> Layout:
        """:param description: of a generation's collection."""
        return cls.from_noted(mark_of(description))


def property_name(column: str) -> str:
    return _ID_PROPERTY if column == _ID else column


def layout_for(target: WeaviateDefinition, schema: Schema) -> Layout:
    """:raises ConfigurationError: a column cannot have its name in Weaviate."""
    layout = Layout.wanted(target, schema)
    columns = layout.columns
    remedy = "Give it another name in a query (AS), or leave it out with columns= of the source."
    for name, kind in columns.items():
        if name.startswith("_reindex_"):
            raise ConfigurationError(
                f"{target.label}: the column {name!r} has a name that is kept for our own. {remedy}"
            )
        if not _NAME.fullmatch(name) or (name in _TAKEN and not is_vector(kind)):
            raise ConfigurationError(
                f"{target.label}: Weaviate can have no property {name!r}: names begin with a small letter, have letters, digits"
                f" and underscores alone, and {', '.join(_TAKEN)} are its own. {remedy}"
            )
    if _ID in columns and _ID_PROPERTY in columns:
        raise ConfigurationError(
            f"{target.label}: the column {_ID_PROPERTY!r} has the name of the property that {_ID!r} becomes. {remedy}"
        )
    if target.passages is not None:
        require_room(target.passages, columns, target.label, taken=(PASSAGES, HASHES))
    return layout
