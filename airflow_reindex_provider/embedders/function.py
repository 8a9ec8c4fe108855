"""Any Python function as a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from airflow_reindex_provider.core.embedding.embedder import Answer, Identity, Limits, Vector
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.stable_text import stable_text
from airflow_reindex_provider.embedders.failures import named
from airflow_reindex_provider.embedders.vectors import vector_of


@dataclass(frozen=True, kw_only=True)
class FunctionEmbedder:
    """A function of yours makes the vectors.

    :param function: gets a list of texts and gives a vector for each, in their order: sequences of numbers, or rows of a NumPy
        array. Several threads call it at once. What it needs it makes itself when it is called first, since a Dag file is read
        without the model. What it raises that carries an HTTP status is told apart by it; anything else fails the task's try.
    :param model: the name by which the vectors are known. Give another one whenever the function makes other numbers.
    :param dimensions: of a vector.
    :param query_function: the same, for what a search asks with. Default: ``function``.
    :param texts_per_request: at the most; default 64.
    """

    function: Callable[[list[str]], Sequence[Any]]
    model: str
    dimensions: int
    query_function: Callable[[list[str]], Sequence[Any]] | None = None
    texts_per_request: int = 64

    def __post_init__(self) -> None:
        require_sizes(self.label, self.dimensions, self.texts_per_request)

    def __repr__(self) -> str:
        return stable_text(self)

    @property
    def identity(self) -> Identity:
        return Identity("function", self.model, self.dimensions)

    @property
    def limits(self) -> Limits:
        return Limits(self.texts_per_request)

    @property
    def label(self) -> str:
        return f"the function of model {self.model!r}"

    @contextmanager
    def open(self) -> Iterator[FunctionSession]:
        yield FunctionSession(self.function, self.query_function or self.function, self.label)


class FunctionSession:
    """See :class:`~airflow_reindex_provider.core.embedding.embedder.EmbedderSession`."""

    def __init__(
        self,
        documents: Callable[[list[str]], Sequence[Any]],
        queries: Callable[[list[str]], Sequence[Any]],
        label: str,
    ) -> None:
        self._documents = documents
        self._queries = queries
        self._label = label

    def embed(self, texts: Sequence[str]) -> Answer:
        return Answer(self._vectors(self._documents, texts))

    def embed_query(self, text: str) -> Vector:
        (vector,) = self._vectors(self._queries, [text])
        return vector

    def _vectors(self, function: Callable[[list[str]], Sequence[Any]], texts: Sequence[str]) -> list[Vector]:
        with named(self._label):
            rows = function(list(texts))
        try:
            found = list(rows)
        except TypeError:
            raise ConfigurationError(f"{self._label} gave a {type(rows).__name__}, not a list of vectors.") from None
        return [vector_of(row, self._label) for row in found]


def require_sizes(label: str, dimensions: int, texts_per_request: int) -> None:
    """:raises ConfigurationError: one of them is none."""
    if dimensions < 1 or texts_per_request < 1:
        raise ConfigurationError(f"{label}: dimensions and texts_per_request start at 1.")
