"""Whether a generation can still take the source's rows: its columns and its key against the source's of now."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.keys import INTEGERS
from airflow_reindex_provider.core.model import Schema
from airflow_reindex_provider.databases.postgres.types import fits
from airflow_reindex_provider.targets.postgres.definition import PostgresIndexDefinition


def require_fit(
    target: PostgresIndexDefinition,
    generation: str,
    columns: Mapping[str, str],
    primary_key: Collection[str],
    schema: Schema,
) -> None:
    """:param columns: of the generation, with their types, without ours. :raises ConfigurationError: names what does not fit."""
    at_source = {f.name: f for f in schema.fields}
    for name, kind in columns.items():
        if name in target.columns:
            continue
        if name not in at_source:
            raise ConfigurationError(
                f"{target.label}: generation {generation!r} has the column {name!r}, which the source no longer has."
                " Bring it back, list the columns of the stream, or rebuild the index."
            )
        there = at_source[name].type
        if name in schema.primary_key and there in INTEGERS and kind not in INTEGERS:
            raise ConfigurationError(
                f"{target.label}: key column {name!r} has the type {kind} in generation {generation!r}, and by now {there} at the"
                " source, in which keys have another order, and some are none any more. Rebuild the index."
            )
        if not fits(there, kind):
            raise ConfigurationError(
                f"{target.label}: column {name!r} has the type {kind} in generation {generation!r}, and by"
                f" now {there} at the source, whose values do not all fit. Rebuild the index, or declare the"
                f" type: PostgresTarget(columns={{{name!r}: {kind!r}}})."
            )
    if set(primary_key) != set(schema.primary_key):
        raise ConfigurationError(
            f"{target.label}: generation {generation!r} was made for another primary key than"
            f" ({', '.join(schema.primary_key)}). Rebuild the index."
        )
