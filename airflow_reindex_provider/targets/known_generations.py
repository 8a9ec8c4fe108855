"""What is kept of an index by an engine whose own catalogue cannot say it: whose it is, its generations, which one is live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, Self, TypeVar

from airflow_reindex_provider.core.model import Generation


class Made(Protocol):
    """What is noted of a generation."""

    @property
    def served(self) -> bool:
        """Whether it is or was live."""


MadeT = TypeVar("MadeT", bound=Made)


@dataclass(frozen=True, slots=True)
class KnownGenerations(Generic[MadeT]):
    """:ivar stream: whose the index is; None before anybody has made it. :ivar live: the name of a generation."""

    stream: str | None = None
    live: str | None = None
    generations: Mapping[str, MadeT] = field(default_factory=dict)

    def having(self, name: str, made: MadeT) -> Self:
        return replace(self, generations={**self.generations, name: made})

    def without(self, name: str) -> Self:
        return replace(self, generations={n: made for n, made in self.generations.items() if n != name})

    def listed(self) -> Sequence[Generation]:
        """Oldest first."""
        return [Generation(n, n == self.live, made.served) for n, made in sorted(self.generations.items())]
