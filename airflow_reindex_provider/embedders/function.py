"""Any Python function as a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from airflow_reindex_provider.core.embedding.embedder import Answer, Vector
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.embedders.failures import named
from airflow_reindex_provider.embedders.named import NamedModel
from airflow_reindex_provider.embedders.vectors import vector_of


@dataclass(frozen=True, kw_only=True, repr=False)
class FunctionEmbedder(NamedModel):
    """A function of yours makes the vectors.

    :param function: gets a list of texts and gives a vector for each, in their order: sequences of numbers, or rows of a NumPy
        array. Several threads call it at once. What it needs it makes itself when it is called first, since a Dag file is read
        without the model. What it raises that carries an HTTP status is told apart by it; anything else fails the task's try.
    :param model: the name by which the vectors are known. Give another one whenever the function makes other numbers.
    :param dimensions: of a vector.
    :param query_function: the same, for what a search asks with. Default: ``function``.
    :param texts_per_request: at the most; default 64.
    """

    PROVIDER: ClassVar[str] = "function"
    KIND: ClassVar[str] = "the function of model"

    function: Callable[[list[str]], Sequence[Any]]
    query_function: Callable[[list[str]], Sequence[Any]] | None = None

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
