"""What a generation was made for, as it is noted beside it where the engine's own catalogue does not say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from airflow_reindex_provider.core.embedding.recipe import Recipe
from airflow_reindex_provider.core.keys import KeyKind, key_kinds
from airflow_reindex_provider.core.model import Schema
from airflow_reindex_provider.targets.fitting import Wanted
from airflow_reindex_provider.targets.key_texts import KeyTexts


@dataclass(frozen=True, slots=True)
class MadeFor:
    """:ivar columns: types by name, without our own. :ivar key: the kinds of the key's columns that the generation was made
    for, by name. :ivar recipe: what its passages are made by."""

    columns: Mapping[str, str]
    key: Mapping[str, KeyKind]
    recipe: Recipe | None = None

    @property
    def key_texts(self) -> KeyTexts:
        return KeyTexts(tuple(self.key.values()))

    def lends_to(self, recipe: Recipe | None) -> bool:
        """Whether its vectors are those of the recipe's model."""
        return recipe is not None and self.recipe is not None and self.recipe.model == recipe.model

    @property
    def noted(self) -> dict[str, Any]:
        """As JSON can say it."""
        noted = {"columns": dict(self.columns), "key": list(self.key.items())}
        return {**noted, "recipe": self.recipe.to_json()} if self.recipe is not None else noted

    @classmethod
    def from_noted(cls, noted: Mapping[str, Any]) -> Self:
        recipe = Recipe.from_json(noted["recipe"]) if "recipe" in noted else None
        return cls(noted["columns"], {name: KeyKind(kind) for name, kind in noted["key"]}, recipe)

    @classmethod
    def wanted(cls, target: Wanted, schema: Schema) -> Self:
        """For the rows of this schema, as the target's definition says."""
        columns = {**{field.name: field.type for field in schema.fields}, **target.columns}
        return cls(columns, dict(zip(schema.primary_key, key_kinds(schema), strict=True)), target.passages)
