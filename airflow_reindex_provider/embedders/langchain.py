"""Any LangChain ``Embeddings`` as a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Protocol

from airflow_reindex_provider.embedders.function import FunctionSession
from airflow_reindex_provider.embedders.named import NamedModel


class Embeddings(Protocol):
    """What of LangChain's class is used. Any object that has it will do."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]: ...

    def embed_query(self, text: str) -> list[float]: ...


@dataclass(frozen=True, kw_only=True, repr=False)
class LangChainEmbedder(NamedModel):
    """LangChain's ``Embeddings``, of whatever provider it has a package for.

    :param make: makes it, once in each task, such as ``lambda: CohereEmbeddings(model="embed-v4.0")`` or a method of a hook. Turn
        off the retries that it has of its own: what is throttled is waited for here, by all requests together.
    :param model: the name by which the vectors are known. Give another one whenever ``make`` makes other numbers.
    :param dimensions: of a vector.
    :param texts_per_request: at the most; default 64. Give what the provider takes at once.
    """

    PROVIDER: ClassVar[str] = "langchain"
    KIND: ClassVar[str] = "LangChain's model"

    make: Callable[[], Embeddings]

    @contextmanager
    def open(self) -> Iterator[FunctionSession]:
        made = self.make()

        def queries(texts: Sequence[str]) -> list[list[float]]:
            return [made.embed_query(text) for text in texts]

        yield FunctionSession(made.embed_documents, queries, self.label)
