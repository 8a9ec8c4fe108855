"""What embedders share whose model is known by the name that its author gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from airflow_reindex_provider.core.embedding.embedder import Identity
from airflow_reindex_provider.core.stable_text import stable_text
from airflow_reindex_provider.embedders.sizes import Sized, require_sizes


@dataclass(frozen=True, kw_only=True, repr=False)
class NamedModel(Sized):
    """See :class:`FunctionEmbedder` and :class:`LangChainEmbedder`, which document the fields.

    :cvar PROVIDER: in the identity. :cvar KIND: of a model, for messages."""

    PROVIDER: ClassVar[str]
    KIND: ClassVar[str]

    model: str
    dimensions: int
    texts_per_request: int = 64

    def __post_init__(self) -> None:
        require_sizes(self.label, self.dimensions, self.texts_per_request)

    def __repr__(self) -> str:
        return stable_text(self)

    @property
    def identity(self) -> Identity:
        return Identity(self.PROVIDER, self.model, self.dimensions)

    @property
    def label(self) -> str:
        return f"{self.KIND} {self.model!r}"
