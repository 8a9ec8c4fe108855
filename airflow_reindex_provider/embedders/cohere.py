"""Cohere's models, at Cohere or at a server of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_reindex_provider.core.embedding.embedder import Answer, Vector
from airflow_reindex_provider.core.errors import ConfigurationError, TransientError
from airflow_reindex_provider.embedders.failures import named
from airflow_reindex_provider.embedders.hooks import connected, installed
from airflow_reindex_provider.embedders.hosted import TruncatingModel
from airflow_reindex_provider.embedders.sizes import dimensions_of, require_sizes, shortened
from airflow_reindex_provider.embedders.vectors import vectors_of

if TYPE_CHECKING:
    from cohere import ClientV2

MOST_TEXTS = 96
DOCUMENT, QUERY = "search_document", "search_query"
"""Cohere's words for the two sides."""
_DIMENSIONS: dict[str, tuple[int, ...]] = {
    "embed-v4.0": (1536, 1024, 512, 256),
    "embed-english-v3.0": (1024,),
    "embed-multilingual-v3.0": (1024,),
    "embed-english-light-v3.0": (384,),
    "embed-multilingual-light-v3.0": (384,),
}
"""The first is what a model has where none is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CohereEmbedder(TruncatingModel):
    """A model of Cohere's. Passages are embedded as ``search_document``, what a search asks as ``search_query``.

    Needs ``pip install 'airflow-reindex-provider[cohere]'``. The key and the address are those of an Airflow connection.

    :param conn_id: first. A connection of type Cohere: the key as its password; as its host another address than Cohere's.
    :param model: its name there, such as ``embed-v4.0``.
    :param dimensions: of a vector. Default: what Cohere's models have; ``embed-v4.0`` makes vectors of 1024, 512 and 256 as well.
        Of a model that is not known here it must be said, and is not sent.
    :param truncate: what becomes of a text that is longer than the model takes: ``NONE``, it is refused, and its document is
        parked; ``END`` or ``START``, that end of it is not embedded. Default: ``NONE``.
    :param texts_per_request: at the most; default 96, which is all that Cohere takes.
    :param timeout_s: how long an answer may take before the request is sent again; default 60.
    """

    PROVIDER: ClassVar[str] = "cohere"

    conn_id: str = field(kw_only=False)
    model: str
    dimensions: int = 0
    truncate: Literal["NONE", "START", "END"] = "NONE"
    texts_per_request: int = MOST_TEXTS
    timeout_s: int = 60

    def __post_init__(self) -> None:
        object.__setattr__(self, "dimensions", dimensions_of(self.label, self.dimensions, _DIMENSIONS.get(self.model)))
        require_sizes(self.label, self.dimensions, self.texts_per_request, MOST_TEXTS)
        require_truncate(self.label, self.truncate)

    @contextmanager
    def open(self) -> Iterator[_Session]:
        with installed(self.label, "cohere"):
            from airflow.providers.cohere.hooks.cohere import CohereHook
        with connected(self.label, self.conn_id, "a Cohere"):
            hook = CohereHook(conn_id=self.conn_id, timeout=self.timeout_s)
            client = hook.get_conn()
        with client:
            yield _Session(client, self)


class _Session:
    """See :class:`~airflow_reindex_provider.core.embedding.embedder.EmbedderSession`."""

    def __init__(self, client: ClientV2, embedder: CohereEmbedder) -> None:
        self._client = client
        self._embedder = embedder

    def embed(self, texts: Sequence[str]) -> Answer:
        return self._create(list(texts), DOCUMENT)

    def embed_query(self, text: str) -> Vector:
        return self._create([text], QUERY).vectors[0]

    def _create(self, texts: list[str], side: str) -> Answer:
        embedder, label = self._embedder, self._embedder.label
        asked: dict[str, Any] = {
            "model": embedder.model,
            "input_type": side,
            "texts": texts,
            "embedding_types": ["float"],
            "truncate": embedder.truncate,
            # What is throttled is waited for by all requests together, which the client's own retries know nothing of.
            "request_options": {"max_retries": 0, "timeout_in_seconds": embedder.timeout_s},
        }
        if shortened(embedder.dimensions, _DIMENSIONS.get(embedder.model)):
            asked["output_dimension"] = embedder.dimensions
        with named(label):
            try:
                answer: Any = self._client.embed(**asked)
            except (ValueError, TypeError) as error:
                raise TransientError(f"{label} answered something that is not of Cohere's API: {error}") from error
        rows = getattr(getattr(answer, "embeddings", None), "float_", None) or ()
        billed = getattr(getattr(answer, "meta", None), "billed_units", None)
        tokens = getattr(billed, "input_tokens", None)
        return Answer(vectors_of(rows, texts, label), None if tokens is None else int(tokens))


def require_truncate(label: str, truncate: str) -> None:
    """:raises ConfigurationError: it is no word of Cohere's for it."""
    if truncate not in ("NONE", "START", "END"):
        raise ConfigurationError(f"{label}: truncate is NONE, START or END, and not {truncate!r}.")
