"""What every definition of an index has: above all its public name, where what generations and groups add must find room."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass, replace
from typing import Self

from airflow_reindex_provider.core.embedding.recipe import Recipe
from airflow_reindex_provider.core.errors import ConfigurationError

GROUP = "{group}"
"""Stands in a public name for that of a group."""
STAMP_LENGTH = len("_YYYYMMDDtHHMMSS")
"""What a generation's name has behind the public one."""


@dataclass(frozen=True, slots=True)
class PublicName:
    """:ivar text: the name, without a schema. :ivar max_bytes: of a generation's name, with all that the engine adds to it."""

    text: str
    max_bytes: int

    def require_room(self, label: str) -> None:
        """:raises ConfigurationError: the name is too long for generations to add a time."""
        if self._left < 0:
            raise ConfigurationError(
                f"{label}: the name may have {self.max_bytes - STAMP_LENGTH} bytes, so that generations can add a time."
            )

    @property
    def group_room(self) -> int | None:
        """How many bytes the name of a group may have; None where the name holds no :data:`GROUP`."""
        count = self.text.count(GROUP)
        return self._left // count if count else None

    def generation(self, stamp: str) -> str:
        return f"{self.text}_{stamp}"

    @property
    def _left(self) -> int:
        return self.max_bytes - STAMP_LENGTH - len(self.text.replace(GROUP, "").encode())


@dataclass(frozen=True, slots=True)
class NamedIndex(ABC):
    """What every definition of an index says. The classes that a Dag file names document the fields."""

    conn_id: str
    _: KW_ONLY
    index: str
    chunk_rows: int = 10_000
    passages: Recipe | None = None

    def __post_init__(self) -> None:
        self.require_name()
        self.public_name.require_room(self.label)
        if self.chunk_rows < 1:
            raise ConfigurationError(f"{self.label}: chunk_rows must be at least 1.")

    @abstractmethod
    def require_name(self) -> None:
        """:raises ConfigurationError: the engine takes no such name as ``index``."""

    @property
    @abstractmethod
    def public_name(self) -> PublicName: ...

    @property
    def label(self) -> str:
        return f"index {self.index!r} on connection {self.conn_id!r}"

    @property
    def group_room(self) -> int | None:
        return self.public_name.group_room

    def of_group(self, name: str) -> Self:
        return replace(self, index=self.index.replace(GROUP, name))

    def with_passages(self, recipe: Recipe) -> Self:
        return replace(self, passages=recipe)

    def generation_name(self, stamp: str) -> str:
        return self.public_name.generation(stamp)
