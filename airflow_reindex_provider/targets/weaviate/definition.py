"""What a Weaviate index is to be: its public name and the types of its properties. Data, without a session."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Self

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.targets.public_name import GROUP, NamedIndex, PublicName

REGISTER = "_register"
"""What the collection that says which generations there are has behind the public name."""
LOCK = "_lock_"
"""What a lock has behind the name of the collection that it is of; a number follows."""
_NUMBER_ROOM = 20
MAX_NAME_BYTES = 255 - len(LOCK) - _NUMBER_ROOM
_NAME = re.compile(r"[A-Z][A-Za-z0-9_]*")
_DASH = "D"
"""Stands in the name of a group for a dash, which names of collections cannot have. Names of groups have no capitals."""


@dataclass(frozen=True, slots=True)
class WeaviateDefinition(NamedIndex):
    """The fields of a :class:`~airflow_reindex_provider.targets.weaviate.target.WeaviateTarget`, which documents them."""

    _: KW_ONLY
    columns: Mapping[str, str] = field(default_factory=dict)
    chunk_rows: int = 1_000

    def require_name(self) -> None:
        if not _NAME.fullmatch(self.index.replace(GROUP, "group")):
            raise ConfigurationError(
                f"{self.label}: the name of a Weaviate collection begins with a capital, and has letters, digits and underscores"
                " alone."
            )

    def of_group(self, name: str) -> Self:
        return replace(self, index=self.index.replace(GROUP, name.replace("-", _DASH)))

    @property
    def public_name(self) -> PublicName:
        return PublicName(self.index, MAX_NAME_BYTES)

    @property
    def register(self) -> str:
        return self.index + REGISTER
