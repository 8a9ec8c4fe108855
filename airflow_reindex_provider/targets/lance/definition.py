"""What a LanceDB index is to be: its public name, the types of its columns and its indexes. Data, without a session."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Self

from airflow_reindex_provider.core.embedding.recipe import Recipe
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.targets.public_name import GROUP, NamedIndex, PublicName

TOKEN_LENGTH = len("_0a1b2c3d")
"""What the table of a generation has behind the generation's name."""
MAX_NAME_BYTES = 255 - len(".lance") - TOKEN_LENGTH
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class LanceDefinition(NamedIndex):
    """The fields of a :class:`~airflow_reindex_provider.targets.lance.target.LanceTarget`, which documents them."""

    conn_id: str
    _: KW_ONLY
    index: str
    columns: Mapping[str, str] = field(default_factory=dict)
    indexes: Mapping[str, str] = field(default_factory=dict)
    chunk_rows: int = 10_000
    passages: Recipe | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.index.replace(GROUP, "group")):
            raise ConfigurationError(
                f"{self.label}: the name of a LanceDB table has letters, digits, underscores, dots and dashes alone."
            )
        self.public_name.require_room(self.label)
        if self.chunk_rows < 1:
            raise ConfigurationError(f"{self.label}: chunk_rows must be at least 1.")

    def with_passages(self, recipe: Recipe) -> Self:
        return replace(self, passages=recipe)

    @property
    def public_name(self) -> PublicName:
        return PublicName(self.index, MAX_NAME_BYTES)
