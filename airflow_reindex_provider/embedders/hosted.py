"""What embedders share whose model is behind an Airflow connection."""

from __future__ import annotations

from typing import ClassVar

from airflow_reindex_provider.core.embedding.embedder import Identity
from airflow_reindex_provider.embedders.sizes import Sized


class HostedModel(Sized):
    """A frozen dataclass with these fields, as of :class:`Sized`."""

    __slots__ = ()

    conn_id: str
    model: str

    @property
    def label(self) -> str:
        return f"model {self.model!r} of connection {self.conn_id!r}"


class TruncatingModel(HostedModel):
    """One that can leave out an end of what is too long for it. :cvar PROVIDER: in the identity."""

    __slots__ = ()

    PROVIDER: ClassVar[str]

    dimensions: int
    truncate: str

    @property
    def identity(self) -> Identity:
        settings = () if self.truncate == "NONE" else (("truncate", self.truncate),)
        return Identity(self.PROVIDER, self.model, self.dimensions, settings)
