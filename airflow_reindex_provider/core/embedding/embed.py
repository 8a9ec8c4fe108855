"""Which of a stream's texts are embedded, and how: what a Dag author writes down."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from airflow_reindex_provider.core.embedding.cache import VectorCache
from airflow_reindex_provider.core.embedding.embedder import Embedder
from airflow_reindex_provider.core.embedding.passages import Splitter
from airflow_reindex_provider.core.embedding.recipe import Recipe, named
from airflow_reindex_provider.core.embedding.splitting import SplitByContent
from airflow_reindex_provider.core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Embed:
    """Cuts texts of each document into passages and keeps a vector of each beside it.

    :param fields: names of the document's fields, as they are after the transform. A field that is NULL or empty has no passage.
    :param model: makes the vectors. :param splitter: cuts a text into pieces; default: :class:`SplitByContent`, whose cuts stay
        where they are when a text is edited elsewhere. Any function of a text that gives a list of texts can take its place.
    :param concurrency: requests to the model at a time, of each batch; default 4.
    :param cache: where vectors are kept beside the index, as soon as the model has answered; default: nowhere.
    """

    fields: tuple[str, ...]
    _: KW_ONLY
    model: Embedder
    splitter: Splitter | SplitByContent = field(default_factory=SplitByContent)
    concurrency: int = 4
    cache: VectorCache | None = None

    def __post_init__(self) -> None:
        fields: Any = self.fields
        if isinstance(fields, str) or not fields or not all(isinstance(name, str) for name in fields):
            raise ConfigurationError(f"embed= takes the names of fields, ('title', 'body'), and not {self.fields!r}.")
        if self.concurrency < 1:
            raise ConfigurationError("embed= needs a concurrency of at least 1.")

    @property
    def split(self) -> Splitter:
        """What cuts the texts for this model."""
        splitter = self.splitter
        return splitter.for_model(self.model) if isinstance(splitter, SplitByContent) else splitter

    @property
    def recipe(self) -> Recipe:
        identity = self.model.identity
        return Recipe(tuple(self.fields), str(identity), identity.dimensions, named(self.splitter))
