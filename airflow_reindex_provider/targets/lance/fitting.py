"""Whether a generation can still take the source's rows: its columns and its key against the source's of now."""

from __future__ import annotations

from airflow_reindex_provider.core.embedding.recipe import require_recipe
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.keys import key_kinds
from airflow_reindex_provider.core.model import Schema
from airflow_reindex_provider.databases.postgres.types import fits
from airflow_reindex_provider.targets.lance.definition import LanceDefinition
from airflow_reindex_provider.targets.lance.layout import Layout
from airflow_reindex_provider.targets.lance.types import arrow_type


def require_fit(target: LanceDefinition, generation: str, layout: Layout, schema: Schema) -> None:
    """:raises ConfigurationError: names what does not fit."""
    require_recipe(layout.recipe, target.passages, generation, target.label)
    at_source = {field.name: field for field in schema.fields}
    if list(layout.key.items()) != list(zip(schema.primary_key, key_kinds(schema), strict=True)):
        raise ConfigurationError(
            f"{target.label}: generation {generation!r} was made for the primary key ({', '.join(layout.key)}), not"
            f" ({', '.join(schema.primary_key)}), or for other types of it. Rebuild the index."
        )
    for name, kind in layout.columns.items():
        if name in target.columns:
            continue
        if name not in at_source:
            raise ConfigurationError(
                f"{target.label}: generation {generation!r} has the column {name!r}, which the source no longer has. Bring it"
                " back, list the columns of the stream, or rebuild the index."
            )
        now = at_source[name].type
        if arrow_type(now) != arrow_type(kind) and not fits(now, kind):
            raise ConfigurationError(
                f"{target.label}: column {name!r} of generation {generation!r} was made for {kind}, and the source's is {now} by"
                f" now, whose values do not all fit. Rebuild the index, or declare the type: LanceTarget(columns={{{name!r}:"
                f" {kind!r}}})."
            )
