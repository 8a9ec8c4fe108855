"""Whether a generation can still take the source's rows: its columns and its key against the source's of now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from airflow_reindex_provider.core.embedding.recipe import Recipe, require_recipe
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.keys import KeyKind, key_kinds
from airflow_reindex_provider.core.model import Schema
from airflow_reindex_provider.databases.postgres.types import fits


class Made(Protocol):
    """What a generation was made for: types of columns by name, kinds of the key's columns by name, and the recipe of its
    passages."""

    @property
    def columns(self) -> Mapping[str, str]: ...

    @property
    def key(self) -> Mapping[str, KeyKind]: ...

    @property
    def recipe(self) -> Recipe | None: ...


class Wanted(Protocol):
    """What the target's definition says: types of columns by name, and the recipe of passages."""

    @property
    def columns(self) -> Mapping[str, str]: ...

    @property
    def passages(self) -> Recipe | None: ...

    @property
    def label(self) -> str: ...


def require_fit(
    target: Wanted, generation: str, made: Made, schema: Schema, *, engine_type: Callable[[str], object]
) -> None:
    """:param engine_type: what the engine has for a type of the source; of two equal ones each takes the other's values.
    :raises ConfigurationError: names what does not fit."""
    require_recipe(made.recipe, target.passages, generation, target.label)
    at_source = {field.name: field for field in schema.fields}
    if list(made.key.items()) != list(zip(schema.primary_key, key_kinds(schema), strict=True)):
        raise ConfigurationError(
            f"{target.label}: generation {generation!r} was made for the primary key ({', '.join(made.key)}), not"
            f" ({', '.join(schema.primary_key)}), or for other types of it. Rebuild the index."
        )
    for name, kind in made.columns.items():
        if name in target.columns:
            continue
        if name not in at_source:
            raise ConfigurationError(
                f"{target.label}: generation {generation!r} has the column {name!r}, which the source no longer has. Bring it"
                " back, list the columns of the stream, or rebuild the index."
            )
        now = at_source[name].type
        if engine_type(now) != engine_type(kind) and not fits(now, kind):
            raise ConfigurationError(
                f"{target.label}: column {name!r} of generation {generation!r} was made for {kind}, and the source's is {now} by"
                f" now, whose values do not all fit. Rebuild the index, or declare the type:"
                f" {type(target).__name__}(columns={{{name!r}: {kind!r}}})."
            )
